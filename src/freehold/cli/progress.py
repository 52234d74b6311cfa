"""How far a model's fetching is: a bar at a terminal, one line a stage elsewhere. On stderr."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from freehold.cli.output import print_note
from freehold.cli.tables import in_bytes


class FetchProgress:
    """Shows the stages (download, verify, convert, …) of models that are fetched one after another."""

    def __init__(self) -> None:
        self._bars = (
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True, highlight=False),
            )
            if sys.stderr.isatty()
            else None
        )
        self._model = ""
        self._stage = ""
        self._bar: TaskID | None = None

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def begin(self, model: str) -> None:
        """From now on progress is that model's."""
        self._model, self._stage, self._bar = model, "", None

    def show(self, stage: str, done_bytes: int, total_bytes: int | None) -> None:
        """Take in how far a stage is. Sizes are bytes; the total is None or 0 where it is not known."""
        if stage != self._stage:
            self._begin_stage(stage, total_bytes)
        if self._bars and self._bar is not None:
            self._bars.update(self._bar, completed=done_bytes, total=total_bytes or None)

    def _begin_stage(self, stage: str, total_bytes: int | None) -> None:
        self._stage = stage
        if self._bars is None:
            print_note(f"{self._model}: {stage}" + (f" ({in_bytes(total_bytes)})" if total_bytes else ""))
        elif self._bar is None:
            self._bar = self._bars.add_task(f"{self._model}  {stage}", total=total_bytes or None)
        else:
            self._bars.update(self._bar, description=f"{self._model}  {stage}")
