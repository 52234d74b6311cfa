"""Tells in lines how the stages' trainings go, from the logs that they write. Needs no torch."""

from pathlib import Path
from typing import Any, Final

from freehold.training.image.recipes import STAGES
from freehold.training.process import Say
from freehold.training.trainer.live import RunView
from freehold.training.trainer.log_file import NAME, Tail

OFTEN_S: Final = 30.0
"""Seconds between two lines about a stage's steps."""


class Narration:
    """What is new in the logs of a painter's stages. What they say already is not told again.

    Args:
        folder: of the painter's training.
        say: is told each line.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        self._say = say
        self._tails = {stage: Tail(folder / stage / NAME) for stage in STAGES}
        self._views = {stage: RunView() for stage in STAGES}
        self._told_s = dict.fromkeys(STAGES, -OFTEN_S)
        for stage in STAGES:
            self._views[stage].take(self._read(stage))

    def go_on(self) -> None:
        """Tell what has been written since."""
        for stage in STAGES:
            for line in self._read(stage):
                self._views[stage].take([line])
                told = self._views[stage].plain(line)
                if told is not None and self._is_due(stage, line):
                    self._say(f"{stage}: {told}")

    def _read(self, stage: str) -> list[dict[str, Any]]:
        """The lines that are new; of a log that was cut, all are known, and none is."""
        cut, lines = self._tails[stage].read()
        if cut:
            self._views[stage] = RunView()
            self._views[stage].take(lines)
        return [] if cut else lines

    def _is_due(self, stage: str, line: dict[str, Any]) -> bool:
        """Whether a line is worth telling: steps only now and then."""
        seconds = line.get("seconds", 0.0)
        if line.get("kind") != "step":
            return True
        if seconds - self._told_s[stage] < OFTEN_S:
            return False
        self._told_s[stage] = seconds
        return True
