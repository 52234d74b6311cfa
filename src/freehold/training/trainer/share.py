"""Which samples of a step a process computes, and in how many pieces."""

from dataclasses import dataclass
from typing import Self

from freehold.errors import ConfigError
from freehold.training.trainer.recipe import TrainingRecipe


@dataclass(frozen=True, slots=True)
class StepShare:
    """One process's share of each step. The pieces of all processes together are the step's samples, each once.

    Args:
        rank: which of the processes that have different samples this is.
        world: how many there are.
        size: samples of a micro-batch.
        pieces: micro-batches of a step, whose gradients are added up.
    """

    rank: int
    world: int
    size: int
    pieces: int

    @classmethod
    def of(cls, recipe: TrainingRecipe, rank: int, world: int) -> Self:
        """The share of a process: the largest micro-batches that divide its samples, of the recipe's size at most.

        Raises:
            ConfigError: the samples of a step cannot be divided among so many processes.
        """
        if recipe.batch % world:
            raise ConfigError(
                f"the batch of {recipe.batch} samples cannot be divided among {world} groups of devices; "
                f"choose a multiple of {world}: --set training.batch={-(-recipe.batch // world) * world}"
            )
        own = recipe.batch // world
        size = next(size for size in range(min(recipe.micro_batch, own), 0, -1) if own % size == 0)
        return cls(rank, world, size, own // size)

    def rows(self, micro: int) -> range:
        """Which of the step's samples, counted from 0, are in a micro-batch of this process."""
        first = (micro * self.world + self.rank) * self.size
        return range(first, first + self.size)
