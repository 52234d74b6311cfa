"""Prepares a small text for tests that have no tokenizers: `python -m tests.training.language.prepare_program FOLDER`.

The text lies in FOLDER/data then, and in FOLDER/small.json a recipe of 40 steps that each take many small batches.
"""

import sys
from pathlib import Path

from freehold.training.trainer.recipe import CheckpointRecipe
from tests.training.language.texts import prepared, small_recipe


def main(folder: Path) -> None:
    """Write both."""
    (folder / "data").mkdir(parents=True)
    prepared(folder / "data")
    recipe = small_recipe(steps=40, batch=64, micro_batch=2, checkpoints=CheckpointRecipe(every_steps=1000))
    (folder / "small.json").write_text(recipe.model_dump_json(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
