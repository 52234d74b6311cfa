"""The work on a fine-tuning job: its files are checked and laid down, a process trains, what comes of it is kept.

Whatever is written is written with the lease of the job, and the job's folder holds its task and its checkpoints until
the job has ended. So whoever takes the job after a crash goes on from the newest checkpoint.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from freehold.errors import (
    CatalogError,
    FreeholdError,
    HomeError,
    InternalError,
    JobProcessFailed,
    LeaseLost,
    RequestError,
)
from freehold.gateway.tuned_models import Result, TunedModels
from freehold.gateway.tuning_base import Base, Bases
from freehold.gateway.tuning_changes import TuningChanges
from freehold.gateway.tuning_chart import chart_of
from freehold.gateway.tuning_data import VALIDATED, Problems, lay_down
from freehold.gateway.tuning_files import table_of
from freehold.gateway.tuning_origin import Origin, Record
from freehold.gateway.tuning_run import Caller, Ended, Program, Run, cause_of
from freehold.gateway.tuning_store import FileGone, Tuning, TuningStore
from freehold.jobs.workers import Hold
from freehold.store.fine_tuning import list_checkpoints, running_tunings
from freehold.types.deployment import DeploymentSettings
from freehold.types.fine_tuning import TUNING_ENDED, FineTuningSettings, TuningError, TuningStatus, model_name
from freehold.types.ids import new_id
from freehold.types.jobs import JobState
from freehold.types.model import ModelEntry

log = structlog.get_logger(__name__)

MOST_CRASHES: Final = 3
"""After so many without a new checkpoint between them a job has failed."""
MOST_FULL: Final = 8
"""How often a job is begun whose folder cannot be written; with back-off that is about a quarter of an hour."""
TASK: Final = "task.json"
NOTES: Final = "origin.json"
_JOBS: Final = {
    TuningStatus.SUCCEEDED: JobState.SUCCEEDED,
    TuningStatus.FAILED: JobState.FAILED,
    TuningStatus.CANCELLED: JobState.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class WorkParts:
    """What works on jobs.

    Args:
        store: where they lie.
        bases: what they start from.
        models: keeps what comes of them.
        changes: records how they end.
        caller: whoever made them.
        record: records artifacts.
        program: what trains.
        settings: threads, and how much there may be.
        folder: where each has its own.
    """

    store: TuningStore
    bases: Bases
    models: TunedModels
    changes: TuningChanges
    caller: Caller
    record: Record
    program: Program
    settings: FineTuningSettings
    folder: Path


@dataclass(frozen=True, slots=True)
class _Bench:
    """A job that is worked on: where, from which base, and how it is recorded."""

    hold: Hold
    tuning: Tuning
    folder: Path
    base: Base
    origin: Origin


class TuningWork:
    """Does the jobs of fine-tuning.

    Args:
        parts: what it works with.
        clock: seconds since the epoch.
    """

    def __init__(self, parts: WorkParts, *, clock: Callable[[], float] = time.time) -> None:
        self._parts = parts
        self._store = parts.store
        self._clock = clock

    async def __call__(self, hold: Hold) -> JobState:
        """Do all that there is left to do of a job, and say how it ended, or that it is paused.

        Raises:
            LeaseLost: somebody else has the job.
            FreeholdError: it cannot be done now.
        """
        tuning_id = hold.job.payload["tuning"]
        folder = self._parts.folder / tuning_id
        tuning = await self._store.load(tuning_id)
        if tuning is None or tuning.row.status in TUNING_ENDED:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            if tuning is not None and tuning.row.status == TuningStatus.CANCELLED:
                await self._parts.models.discard(tuning)  # a server that died between keeping it and this
            return JobState.CANCELLED if tuning is None else _JOBS[TuningStatus(tuning.row.status)]
        asked = tuning.header["base"]
        base = Base(asked["name"], DeploymentSettings.model_validate(asked["settings"]))
        bench = _Bench(hold, tuning, folder, base, Origin(self._parts.record, tuning))
        try:
            state = await self._worked(bench)
        except LeaseLost:
            if await self._store.load(tuning_id) is None:  # it was erased, or has expired
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        if state is not JobState.PAUSED:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return state

    async def _worked(self, bench: _Bench) -> JobState:
        """Train, unless it is to stop before, and keep what comes of it; a job that cannot be done fails."""
        if bench.hold.stopping.is_set():
            return await self._end(bench, TuningStatus.CANCELLED)
        if bench.hold.pausing.is_set():
            return await self._pause(bench)
        try:
            parent, ended = await self._trained(bench)
        except Problems as exc:
            return await self._fail(bench, exc.error, *exc.told)
        except OSError as exc:
            return await self._unwritable(bench, exc)
        except FreeholdError as exc:
            final = isinstance(exc, RequestError | CatalogError | FileGone) and not isinstance(exc, LeaseLost)
            if not final or exc.retry_after_s is not None:
                raise
            return await self._fail(bench, TuningError(exc.code or "invalid_value", exc.message, exc.param))
        return await self._after(bench, parent, ended)

    async def _trained(self, bench: _Bench) -> tuple[ModelEntry, Ended]:
        """Lay the job's files down, and run the process once; the model that it started from, and how it ended."""
        self._parts.caller.check(bench.tuning)
        parent = await self._parts.bases.entry(bench.base)
        if not (bench.folder / TASK).exists():
            await self._prepare(bench, parent)
        return parent, await self._run(bench, parent)

    async def _prepare(self, bench: _Bench, parent: ModelEntry) -> None:
        """Check the files of examples, and lay them and the task down; the task last, so that it says all is there."""
        row, folder = bench.tuning.row, bench.folder
        await asyncio.to_thread(partial(shutil.rmtree, folder, ignore_errors=True))
        await asyncio.to_thread(partial(folder.mkdir, mode=0o700, parents=True))
        digests = {"base": parent.sha256}
        for name, file_id in (("training", row.training_file), ("validation", row.validation_file)):
            if not file_id:
                continue
            if row.status == TuningStatus.VALIDATING:  # else it was looked at while it waited
                await self._say(bench, f"Validating {name} file: {file_id}")
            sha256, pieces = await self._store.input(row, file_id, f"{name}_file")
            report = await lay_down(
                pieces, folder / f"{name}.jsonl", name, row.method, most_examples=self._parts.settings.max_examples
            )
            digests[name] = await bench.origin.data(name, file_id, sha256, report.examples)
        method = bench.tuning.header["method"]
        part = method.get(row.method) or {}
        task = {
            "method": row.method,
            "base": {"name": parent.name, "path": str(self._parts.bases.path(parent)), "sha256": parent.sha256},
            "training": "training.jsonl",
            "validation": "validation.jsonl" if row.validation_file else None,
            "hyperparameters": part.get("hyperparameters") or {},
            "seed": row.seed,
            "export": row.export,
            "name": self._name(bench.tuning),
            "threads": threads_of(self._parts.settings),
            "max_steps": None,
            "checkpoint_steps": "auto",
            "export_checkpoints": self._parts.settings.export_checkpoints,
            "response_format": part.get("response_format"),
        }
        await asyncio.to_thread(_write, folder / NOTES, digests)
        await asyncio.to_thread(_write, folder / TASK, task)
        if row.status == TuningStatus.VALIDATING:
            said = await self._store.event(row, VALIDATED)
            await self._store.change(bench.hold.lease, bench.tuning, said, status=TuningStatus.QUEUED)

    async def _run(self, bench: _Bench, parent: ModelEntry) -> Ended:
        """Run the process once."""
        parts = self._parts
        hidden = parts.program.hidden
        run = Run(
            self._store,
            bench.hold,
            bench.tuning,
            bench.base,
            bench.folder,
            replace(parts.program, hidden=hidden and (*hidden, parts.bases.path(parent))),
            parts.caller,
            partial(self._keep_checkpoint, bench, parent),
        )
        try:
            return await run()
        except JobProcessFailed as exc:
            log.warning("training_failed", job=bench.tuning.id, reason=exc.message)
            return Ended("crashed", None, None, bench.tuning.row.tokens, 1, exc.message, {})

    async def _after(self, bench: _Bench, parent: ModelEntry, ended: Ended) -> JobState:
        """What becomes of the job after a run."""
        hold = bench.hold
        charged = {"charged_tokens": ended.tokens} if ended.how in {"finished", "stopped"} else {}
        await self._store.change(hold.lease, bench.tuning, tokens=ended.tokens, **charged)
        if hold.stopping.is_set():
            return await self._end(bench, TuningStatus.CANCELLED)
        if ended.how == "finished" and ended.result is not None:
            try:
                return await self._succeed(bench, parent, ended, ended.result)
            except CatalogError as exc:
                await self._say(bench, f"The model cannot be kept for now: {exc.message}", "warn")
                raise
        if ended.how == "failed":
            unknown = TuningError("training_failed", "The training process says that the job cannot be done.")
            return await self._fail(bench, ended.error or unknown)
        if ended.how == "crashed":
            return await self._crash(bench, ended)
        if hold.pausing.is_set():
            return await self._pause(bench)
        raise InternalError("The job goes on.")  # it was resumed before the process had stopped

    async def _succeed(self, bench: _Bench, parent: ModelEntry, ended: Ended, result: Result) -> JobState:
        """Keep the model, make the files, and write that the job has succeeded."""
        row, store = bench.tuning.row, self._store
        entry = await self._parts.models.keep(bench.tuning, bench.base, parent, result)
        await bench.origin.model(entry, await self._parents(bench, ended))
        files = await self._result_files(bench, entry.name)
        said = await store.event(row, f"New fine-tuned model created: {entry.name}")
        done = await store.event(row, "The job has successfully completed")
        await store.change(
            bench.hold.lease,
            bench.tuning,
            said,
            done,
            status=TuningStatus.SUCCEEDED,
            fine_tuned_model=entry.name,
            result_files=files,
            estimated_finish=None,
            ended_at=store.now_s(),
        )
        now = await store.load(row.id)
        if now is None or now.row.status != TuningStatus.SUCCEEDED:  # it was cancelled, or erased, while it was kept
            await self._parts.models.discard(bench.tuning)
            for file_id in files:
                await store.remove_file(row, file_id)
            return JobState.CANCELLED
        await self._parts.changes.job(row, "succeeded")
        return JobState.SUCCEEDED

    async def _parents(self, bench: _Bench, ended: Ended) -> tuple[str, ...]:
        """What a model was made from, by digest."""
        digests = orjson.loads(await asyncio.to_thread((bench.folder / NOTES).read_bytes))
        newest = await list_checkpoints(self._store.database, bench.tuning.id, after=None, limit=1)
        saved = (checkpoint.sha256 for checkpoint in newest)
        return (*digests.values(), *await bench.origin.recipe(ended.facts), *saved)

    async def _keep_checkpoint(
        self,
        bench: _Bench,
        parent: ModelEntry,
        message: Mapping[str, Any],
        facts: Mapping[str, Any],
        result: Result | None,
    ) -> None:
        digests = orjson.loads(await asyncio.to_thread((bench.folder / NOTES).read_bytes))
        sha256 = str(message["sha256"])
        made_of = (*digests.values(), *await bench.origin.recipe(facts))
        await bench.origin.checkpoint(int(message["step"]), sha256, made_of)
        if result is not None:
            entry = await self._parts.models.keep(bench.tuning, bench.base, parent, result)
            await bench.origin.model(entry, (sha256,))

    async def _result_files(self, bench: _Bench, title: str) -> list[str]:
        """The table and the chart of the job's metrics, as files of the project; their ids."""
        row = bench.tuning.row
        steps = [step async for step in self._store.metrics(row)]
        ids = []
        for name, data in (("step_metrics.csv", table_of(steps)), ("metrics.svg", chart_of(title, steps))):
            ids.append(new_id("file-"))
            await self._store.make_file(row, ids[-1], name, data)
        return ids

    async def _crash(self, bench: _Bench, ended: Ended) -> JobState:
        """Have a job tried again whose process broke off, unless it does so again and again."""
        why = cause_of(ended)
        log.warning("training_crashed", job=bench.tuning.id, status=ended.status, code=why.code)
        found = await self._store.load(bench.tuning.id)
        crashes = (found or bench.tuning).row.crashes + 1
        if crashes >= MOST_CRASHES:
            told = f"{why.message} That happened {crashes} times without a new checkpoint."
            return await self._fail(bench, TuningError(why.code, told))
        event = await self._store.event(bench.tuning.row, f"{why.message} The job is tried again.", "warn")
        await self._store.change(bench.hold.lease, bench.tuning, event, crashes=crashes)
        raise InternalError(why.message, code=why.code)

    async def _unwritable(self, bench: _Bench, error: OSError) -> JobState:
        """Have a job tried again whose folder cannot be written, for a while."""
        message = f"The disk of the server cannot be written: {error.strerror or 'input/output error'}."
        if bench.hold.lease.attempts >= MOST_FULL:
            return await self._fail(bench, TuningError("disk_full", message))
        await self._say(bench, f"{message} The job is tried again.", "warn")
        raise HomeError(message, code="disk_full")

    async def _pause(self, bench: _Bench) -> JobState:
        said = await self._store.event(bench.tuning.row, "The job is paused.")
        await self._store.change(
            bench.hold.lease, bench.tuning, said, status=TuningStatus.PAUSED, estimated_finish=None
        )
        return JobState.PAUSED

    async def _fail(self, bench: _Bench, error: TuningError, *told: str) -> JobState:
        """Write why a job has failed; `told` are further events."""
        row = bench.tuning.row
        events = [await self._store.event(row, each, "error") for each in (*told, error.message)]
        sealed = await self._store.sealed_error(bench.tuning, error)
        now = self._store.now_s()
        status = TuningStatus.FAILED
        await self._store.change(
            bench.hold.lease, bench.tuning, *events, status=status, error=sealed, ended_at=now, estimated_finish=None
        )
        await self._parts.changes.job(row, "failed")
        return JobState.FAILED

    async def _end(self, bench: _Bench, status: TuningStatus) -> JobState:
        await self._store.change(bench.hold.lease, bench.tuning, status=status, ended_at=self._store.now_s())
        return _JOBS[status]

    async def _say(self, bench: _Bench, message: str, level: Any = "info") -> None:
        event = await self._store.event(bench.tuning.row, message, level)
        await self._store.change(bench.hold.lease, bench.tuning, event)

    def _name(self, tuning: Tuning) -> str:
        row = tuning.row
        return model_name(row.model, row.project_id, tuning.header["suffix"], row.id)


def threads_of(settings: FineTuningSettings) -> int:
    """How many processor threads a job has."""
    if settings.threads != "auto":
        return settings.threads
    return max(1, (os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count() or 2) - 1)


def _write(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON so that it is there whole, or not at all, and for this user only."""
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(value))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


async def sweep(folder: Path, store: TuningStore) -> None:
    """Remove the folders of jobs that have ended, or are gone: their server died before it could."""
    if not await asyncio.to_thread(folder.is_dir):
        return
    running = await running_tunings(store.database, store.clock())
    for each in await asyncio.to_thread(lambda: list(folder.iterdir())):
        if each.name not in running:
            await asyncio.to_thread(shutil.rmtree, each, ignore_errors=True)
