"""Leaps of the loss: steps that would do more harm than good.

One bad batch, or a rate of learning that is a little too high, can undo days. A step whose loss is not a number, or far
above what it was of late, is left out; when leaving out does not help, the training goes back to its newest checkpoint
and passes over the batches since then (as PaLM's did by hand, arXiv 2204.02311, section 5.1).
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Literal

from freehold.training.trainer.recipe import SpikeRecipe

Verdict = Literal["go", "skip", "roll_back"]

FEWEST: Final = 16
"""Losses that must be known before one is judged by them (or the whole window, if that is less)."""
_SMALLEST: Final = 0.01
"""Share of the mean that counts as a deviation at least: losses that hardly differ make no leap of a small one."""


class Spikes:
    """Judges each step by its loss. The same on every process that is told the same losses.

    Args:
        recipe: when a loss leaps, and how often that is borne.
    """

    def __init__(self, recipe: SpikeRecipe) -> None:
        self._recipe = recipe
        self._losses: deque[float] = deque(maxlen=recipe.window)
        self._in_a_row = 0
        self._rollbacks = 0

    @property
    def rollbacks(self) -> int:
        """How often the training was sent back."""
        return self._rollbacks

    @property
    def exhausted(self) -> bool:
        """Whether it was sent back more often than the recipe bears: it should end with an error."""
        return self._rollbacks > self._recipe.rollbacks

    def judge(self, loss: float, grad_norm: float) -> Verdict:
        """What is to be done with a step, before the weights are changed.

        Args:
            loss: of the step, the mean over all processes.
            grad_norm: the gradient's length.
        """
        if not self._leaps(loss, grad_norm):
            self._losses.append(loss)
            self._in_a_row = 0
            return "go"
        self._in_a_row += 1
        if self._in_a_row < self._recipe.patience:
            return "skip"
        self._in_a_row = 0
        self._rollbacks += 1
        return "roll_back"

    def state(self) -> dict[str, Any]:
        """What is remembered, as JSON can say it."""
        return {"losses": list(self._losses), "in_a_row": self._in_a_row, "rollbacks": self._rollbacks}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what a checkpoint says; but how often the training went back is not forgotten by going back."""
        self._losses = deque(state["losses"], maxlen=self._recipe.window)
        self._in_a_row = state["in_a_row"]
        self._rollbacks = max(self._rollbacks, state["rollbacks"])

    def _leaps(self, loss: float, grad_norm: float) -> bool:
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return True
        count = len(self._losses)
        if count < min(FEWEST, self._recipe.window):
            return False
        mean = sum(each / count for each in self._losses)
        deviation = math.hypot(*(each - mean for each in self._losses)) / math.sqrt(count)
        return loss > mean + self._recipe.deviations * max(deviation, _SMALLEST * abs(mean))
