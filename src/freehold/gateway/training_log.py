"""How far a training is, as its folder says: the newest checkpoint, and the newest step in its log."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from freehold.gateway.trainings import CHECKPOINTS
from freehold.training.checkpoint_folders import CheckpointFolders
from freehold.training.trainer.log_file import CURVES, NAME, Tail

MOST_NUMBERS: Final = 32
"""Metrics of one step, and characters of a metric's name."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Where a training is.

    Args:
        step: the newest that its log tells, or that a checkpoint holds.
        kept: the newest that a checkpoint holds.
        metrics: the newest value of each.
    """

    step: int = 0
    kept: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)


class TrainingLog:
    """Reads a training's folder while it is written.

    Args:
        out: the folder.
    """

    def __init__(self, out: Path) -> None:
        self._tail = Tail(out / NAME)
        self._folders = CheckpointFolders(out / CHECKPOINTS, 1)
        self._step = 0
        self._metrics: dict[str, float] = {}

    async def look(self) -> Reached:
        """Where the training is now; what cannot be read for the moment is as it was."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> Reached:
        try:
            cut, lines = self._tail.read()
            kept = next((step for step, _ in self._folders.newest_first()), 0)
        except OSError:
            return Reached(self._step, 0, dict(self._metrics))
        if cut:
            self._step, self._metrics = 0, {}
        for line in lines:
            if line.get("kind") in CURVES:
                self._step = int(line.get("step", 0))
                self._metrics |= numbers(line)
        return Reached(max(self._step, kept), kept, dict(self._metrics))


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """What is a number in a line, less its step."""
    found = [
        (name, value)
        for name, value in line.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
    return {name: value for name, value in found[:MOST_NUMBERS] if len(name) <= MOST_NUMBERS}
