"""A small training that tests kill, starve of room and poison: it learns the next of a text's tokens.

    python -m tests.training.pretrain_program FOLDER RECIPE [POISON…]

RECIPE is the JSON of a `TrainingRecipe`; each POISON is the number of a batch whose loss is a thousand times too high.
"""

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from freehold.training.pretrain import pretrain
from freehold.training.trainer.parallel import Devices
from freehold.training.trainer.recipe import TrainingRecipe

LETTERS = 32
WIDTH = 96
SEQUENCE = 8


class Letters:
    """An objective (`freehold.training.trainer.objective.Objective`): to say the next letter of a made-up language.

    Args:
        recipe: of the training.
        poison: the batches whose loss leaps.
    """

    tokens_per_sample = SEQUENCE
    flops_per_sample = 6.0 * SEQUENCE * (WIDTH * 4 * WIDTH * 2 + WIDTH * LETTERS)

    def __init__(self, recipe: TrainingRecipe, poison: Collection[int] = ()) -> None:
        self._recipe = recipe
        self._poison = frozenset(poison)
        self.model: nn.Module = nn.Sequential(
            nn.Embedding(LETTERS, WIDTH),
            nn.Linear(WIDTH, 4 * WIDTH),
            nn.Tanh(),
            nn.Dropout(0.1),
            nn.Linear(4 * WIDTH, WIDTH),
            nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, LETTERS),
        )

    def initialise(self) -> None:
        """Draw the weights anew, from the recipe's seed."""
        torch.manual_seed(self._recipe.seed)
        for part in self.model.modules():
            if isinstance(part, nn.Embedding | nn.Linear | nn.LayerNorm):
                part.reset_parameters()

    def batch(self, step: int, micro: int) -> tuple[Tensor, Tensor, float]:
        """Letters, those that come next, and by what the loss is multiplied."""
        draw = torch.Generator().manual_seed(1000 * step + micro)
        first = torch.randint(LETTERS, (self._recipe.micro_batch, 1), generator=draw)
        text = (first * 5 + torch.arange(SEQUENCE + 1) * 7) % LETTERS
        return text[:, :-1], text[:, 1:], 1000.0 if step in self._poison else 1.0

    def loss(self, batch: tuple[Tensor, Tensor, float]) -> Tensor:
        """The mean cross-entropy."""
        letters, following, factor = batch
        return factor * nn.functional.cross_entropy(self.model(letters).flatten(0, 1), following.flatten())

    def evaluate(self, samples: int | None) -> Mapping[str, float]:
        """The loss of batches that the training does not reach."""
        losses = [self.loss(self.batch(10**6 + each, 0)).item() for each in range(2 if samples else 4)]
        return {"valid_loss": sum(losses) / len(losses)}

    def identity(self) -> Mapping[str, Any]:
        """What it is."""
        return {"letters": LETTERS, "width": WIDTH, "poison": sorted(self._poison)}


def main(folder: Path, recipe: TrainingRecipe, poison: Collection[int] = ()) -> None:
    """Train, from the folder's newest checkpoint on, on one thread: more add numbers up in other orders."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with Devices.open(recipe.parallel, "cpu") as devices:
            pretrain(recipe, Letters(recipe, poison), devices, folder, description={"name": "letters"})
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    main(Path(sys.argv[1]), TrainingRecipe.model_validate_json(sys.argv[2]), [int(each) for each in sys.argv[3:]])
