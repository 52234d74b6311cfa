"""Averaged weights: they follow those that are trained, and are often the better model (Polyak and Juditsky, 1992)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

PREFIX = "average."
"""Before a weight's name, in checkpoints."""


class Average:
    """A running mean of a model's weights, which lies as they do.

    Args:
        model: its weights are what the mean begins with.
        pace: the share of the mean that stays at a step; less at first, so that the first weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, pace: float) -> None:
        self._pace = pace
        self._weights = [weight for _, weight in model.named_parameters()]
        self._means = [weight.detach().clone() for weight in self._weights]
        self._names = [name for name, _ in model.named_parameters()]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The means by what checkpoints call them."""
        return {f"{PREFIX}{name}": mean for name, mean in zip(self._names, self._means, strict=True)}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take the weights into account, as they are after a step, counted from 1."""
        stays = min(self._pace, step / (step + 10))
        torch._foreach_lerp_(self._means, self._weights, 1 - stays)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the model compute with the means, for as long as this lasts."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for weight, mean in zip(self._weights, self._means, strict=True):
            held = weight.detach().clone()
            weight.copy_(mean)
            mean.copy_(held)
