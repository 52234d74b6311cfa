"""One process of a painter's training: captions, picture encoder, decoder, or the networks beside it.

Run as `python -m freehold.training.image.worker FOLDER (texts|encoder|decoder|others) RECIPE`, the recipe as JSON.
FOLDER has the text encoder in `minilm`; checkpoints and curves go there. Each line of standard output tells how far
it is.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import torch

from freehold.engines.parent import follow_parent
from freehold.training.image import stages
from freehold.training.image.data import Data, prepare_texts, scenes_of
from freehold.training.image.recipe import Recipe

POLITE = 10
"""How far other processes are let before this one."""


def main() -> None:
    """Train, resuming where checkpoints lie."""
    parser = argparse.ArgumentParser(prog="worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("part", choices=("texts", "encoder", "decoder", "others"))
    parser.add_argument("recipe", type=json.loads)
    arguments = parser.parse_args()
    recipe, folder = Recipe(**arguments.recipe), arguments.folder
    follow_parent()
    os.nice(POLITE)
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    scenes = scenes_of(recipe.scenes, recipe.seed)
    texts = prepare_texts(scenes, folder / "minilm", folder / "texts.pt")

    def data(side: int, offset: int) -> Data:
        return Data(scenes, texts, side, recipe.seed + offset)

    if arguments.part == "encoder":
        torch.set_num_threads(2 * recipe.threads)
        stages.train_encoder(data(64, 1), recipe.encoder_minutes, folder, _say, recipe.seed + 9)
    elif arguments.part == "decoder":
        stages.train_decoder(data(64, 6), recipe.minutes, folder, _say, recipe.seed + 7)
    elif arguments.part == "others":
        stages.train_prior(data(64, 2), texts, recipe.prior_minutes, folder, _say, recipe.seed + 3)
        stages.train_upsampler(data(256, 4), recipe.upsampler_minutes, folder, _say, recipe.seed + 5)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
