"""What a training is asked to do: the model, where its samples come from, and what is to become small."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn


class Objective(Protocol):
    """One thing that a model learns. The loop (`freehold.training.pretrain`) knows nothing else of it.

    Samples are the same, in the same order, on any number of processes: sample `i` of step `s` depends on the seed, `s`
    and `i` alone, and each process takes its share (`freehold.training.trainer.share`).
    """

    model: nn.Module
    """What learns. Its weights may have no values yet (meta device), so that they are made where they are to lie."""
    tokens_per_sample: int
    """How many tokens, or pixels, one sample counts as in the log."""
    flops_per_sample: float
    """Floating-point operations of one sample, forward and backward, for the share of the peak that is reached."""

    def initialise(self) -> None:
        """Give the model, which lies on its devices by now, its first weights: the same for any number of processes."""
        ...

    def batch(self, step: int, micro: int) -> Any:
        """The samples of one micro-batch of a step for this process, on its device; the same for the same arguments."""
        ...

    def loss(self, batch: Any) -> Tensor:
        """The mean loss of a micro-batch: a scalar, in nats for language."""
        ...

    def evaluate(self, samples: int | None) -> Mapping[str, float]:
        """What held-out samples say, by the name of the metric; the same on each process.

        Args:
            samples: how many of them, always the same; None for all.
        """
        ...

    def identity(self) -> Mapping[str, Any]:
        """What this is, in a form that is equal for equal objectives: digests of data, sizes of the model."""
        ...
