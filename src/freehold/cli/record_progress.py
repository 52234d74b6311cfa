"""How far the reading of the journal is: a bar at a terminal, nothing elsewhere. On stderr."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class RecordProgress:
    """Shows how many records of the journal are read."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("records"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._bar = self._bars.add_task("records", total=None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, done: int, total: int) -> None:
        """Take in how many records are read, of how many."""
        self._bars.update(self._bar, completed=done, total=total)
