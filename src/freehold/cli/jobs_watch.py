"""How jobs go, until they have ended: bars at a terminal, a line for each change elsewhere."""

import asyncio
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from freehold.cli.control import Control
from freehold.cli.jobs_details import TRAINING, TUNING, details_path, measured, newest_metrics
from freehold.cli.jobs_log import EVERY_S, events_after
from freehold.cli.output import print_note, visible

ACTIVE: Final = ("queued", "running", "preempted", "paused")
"""The states of jobs that have not ended."""
_STEPS: Final = 20
"""Into how many parts a job is cut; elsewhere than at a terminal a line tells when another is done."""
_ENDS: Final = ("succeeded", "failed", "cancelled")
_WITHOUT_NEWS: Final = ("started", "taken_over", "waiting", "placed", "pausing", "resumed", "requeued", "cancelling")
_ORDINARY: Final = frozenset({*ACTIVE, *_ENDS, *_WITHOUT_NEWS})
"""Events that tell no more than the state does."""


@dataclass
class Watched:
    """A job that is looked at again and again.

    Args:
        path: of the job in the API.
        job: as it was last.
        number: of the last event that was read.
        note: what that said, if it is more than the state says.
        measures: of a training, what was measured last.
        result: of a training that has ended, the model that came of it, or why there is none.
    """

    path: str
    job: dict[str, Any]
    number: int = 0
    note: str = ""
    measures: str = ""
    result: str = ""

    @property
    def name(self) -> str:
        """By what a person knows it."""
        return visible(str(self.job.get("subject") or self.job["id"]))

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return "finished_at" in self.job

    async def look(self, control: Control) -> None:
        """Ask how it is now."""
        self.job = await control.request("GET", self.path)
        async for event in events_after(control, self.path, self.number):
            self.number = event["number"]
            if event["event"] not in _ORDINARY:
                self.note = visible(f"{event['event']} {event.get('detail', '')}".strip().replace("\n", " "))
        own = details_path(self.job)
        if own is not None and self.job["kind"] == TUNING:
            await self._measure(control, own)
        elif own is not None and self.job["kind"] == TRAINING:
            training = await control.request("GET", own)
            self.measures = ", ".join(f"{name} {value}" for name, value in measured(training["metrics"]))
            if training["error"] is not None:
                self.result = visible(" ".join(training["error"]["message"].split()))

    async def _measure(self, control: Control, path: str) -> None:
        """Ask how a training goes, and once it has ended what came of it."""
        found = measured(await newest_metrics(control, path))
        self.measures = ", ".join(f"{name} {value}" for name, value in found)
        if self.has_ended:
            tuning = await control.request("GET", path)
            failed = tuning["error"]["message"] if tuning["error"] is not None else ""
            self.result = visible(" ".join(str(tuning["fine_tuned_model"] or failed).split()))

    def outcome(self) -> str:
        """What to say of a job in a word or two: what became of it, or what was last out of the ordinary."""
        return (self.result or str(self.job.get("error_code", ""))) if self.has_ended else self.note

    def told(self) -> str:
        """What there is to say beside the state and how much is done."""
        return "; ".join(part for part in (self.measures, self.outcome()) if part)


async def watch_jobs(control: Control, paths: Sequence[str]) -> bool:
    """Show jobs until all have ended; whether none of them failed.

    Args:
        control: reaches the service.
        paths: of the jobs.

    Raises:
        ErrorAnswer: there is no such job, or the service refuses.
    """
    watched = [Watched(path, await control.request("GET", path)) for path in paths]
    if not watched:
        print_note("no job is under way")
        return True
    with ExitStack() as stack:
        shown = stack.enter_context(_Bars(max(len(each.name) for each in watched))) if sys.stdout.isatty() else _Lines()
        while True:
            for each in watched:
                if not each.has_ended or not each.number:
                    await each.look(control)
                shown.show(each)
            if all(each.has_ended for each in watched):
                break
            await asyncio.sleep(EVERY_S)
    return all(each.job["state"] != "failed" for each in watched)


def state_of(job: dict[str, Any]) -> str:
    """The state of a job, and what was asked of whoever works on it."""
    asked = {"cancel": "cancelling", "pause": "pausing"}.get(job.get("asked", ""))
    return f"{job['state']}, {asked}" if asked else str(job["state"])


def done_of(job: dict[str, Any]) -> str:
    """How much of a job is done, of how much, and how much of that failed."""
    if not job["total"]:
        return ""
    failed = f", {job['failed']} failed" if job["failed"] else ""
    return f"{job['done']} of {job['total']}{failed}"


class _Lines:
    """Prints a line for a job when its state or its note is another, or a twentieth more of it is done."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[object, ...]] = {}

    def show(self, watched: Watched) -> None:
        job = watched.job
        part = job["done"] * _STEPS // job["total"] if job["total"] else 0
        note = watched.outcome()
        now = (state_of(job), part, note)
        if self._last.get(watched.path) == now:
            return
        self._last[watched.path] = now
        told = (watched.name, state_of(job), done_of(job), watched.measures, note)
        print("  ".join(part for part in told if part), flush=True)


class _Rate(ProgressColumn):
    """How many steps a second are done; of a slow job, how many a minute."""

    def render(self, task: Task) -> Text:
        speed = None if task.finished else task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{60 * speed:.1f}/min", style="cyan")


class _Noted(Progress):
    """Bars, and below them a line for each job of which there is more to say."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """See `Progress.get_renderables`."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["note"]:
                yield Text(f"{task.description}: {task.fields['note']}", overflow="fold")


class _Bars:
    """Shows a bar for each job, with how fast it goes and how long it will take.

    Args:
        width: of the longest name, in characters; names are not cut, bars become shorter.
    """

    def __init__(self, width: int) -> None:
        whole = Column(no_wrap=True, min_width=width)
        self._bars = _Noted(
            TextColumn("{task.description}", markup=False, table_column=whole),
            TextColumn("{task.fields[state]}", markup=False),
            BarColumn(bar_width=None, table_column=Column(min_width=4, max_width=24)),
            TextColumn("{task.fields[count]}", markup=False),
            _Rate(),
            TimeRemainingColumn(),
            console=Console(highlight=False),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def show(self, watched: Watched) -> None:
        job = watched.job
        failed = f", {job['failed']} failed" if job["failed"] else ""
        count = f"{job['done']}/{job['total']}{failed}" if job["total"] else ""
        total = job["total"] or (1 if watched.has_ended else None)  # an unknown end is shown by a bar that moves
        fields: dict[str, Any] = {"state": state_of(job), "count": count, "note": watched.told()}
        if watched.path not in self._tasks:
            self._tasks[watched.path] = self._bars.add_task(watched.name, total=total, completed=job["done"], **fields)
        task = self._tasks[watched.path]
        self._bars.update(task, total=total, completed=job["done"], **fields)
        if watched.has_ended:
            self._bars.stop_task(task)
