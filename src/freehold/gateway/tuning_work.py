"""The work on a fine-tuning job: its files are checked and laid down, a process trains, what comes of it is kept.

Whatever is written is written with the lease of the job, and the job's folder holds its task and its checkpoints until
the job has ended. So whoever takes the job after a crash goes on from the newest checkpoint.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

import structlog

from freehold.cluster.desk import Had
from freehold.errors import (
    CatalogError,
    FreeholdError,
    HomeError,
    InternalError,
    JobProcessFailed,
    LeaseLost,
    RequestError,
)
from freehold.gateway.asked_room import room_for
from freehold.gateway.training_needs import Needs
from freehold.gateway.tuned_models import Result
from freehold.gateway.tuning_base import Base
from freehold.gateway.tuning_bench import Bench, WorkParts
from freehold.gateway.tuning_chart import chart_of
from freehold.gateway.tuning_data import Problems
from freehold.gateway.tuning_files import table_of
from freehold.gateway.tuning_folder import lay_out, needs_of, notes_of, removed
from freehold.gateway.tuning_messages import NODE_LOST, cause_of
from freehold.gateway.tuning_origin import Origin
from freehold.gateway.tuning_process import Beginning, process_of
from freehold.gateway.tuning_run import Ended, Run
from freehold.gateway.tuning_store import FileGone
from freehold.gateway.tuning_stretch import TuningStretch, settle_left
from freehold.jobs.workers import Hold
from freehold.store.fine_tuning import TuningRow, list_checkpoints
from freehold.types.cluster import WorkClass, Workload
from freehold.types.deployment import DeploymentSettings
from freehold.types.fine_tuning import TUNING_ENDED, FineTuningSettings, TuningError, TuningStatus
from freehold.types.ids import new_id
from freehold.types.jobs import JobState
from freehold.types.model import ModelEntry
from freehold.types.training import Outcome

log = structlog.get_logger(__name__)

MOST_CRASHES: Final = 3
"""After so many without a new checkpoint between them a job has failed."""
MOST_FULL: Final = 8
"""How often a job is begun whose folder cannot be written; with back-off that is about a quarter of an hour."""
_JOBS: Final = {
    TuningStatus.SUCCEEDED: JobState.SUCCEEDED,
    TuningStatus.FAILED: JobState.FAILED,
    TuningStatus.CANCELLED: JobState.CANCELLED,
}


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
            await removed(folder)
            if tuning is not None:
                await settle_left(self._store, self._parts.changes, hold, tuning)
            if tuning is not None and tuning.row.status == TuningStatus.CANCELLED:
                await self._parts.models.discard(tuning)  # a server that died between keeping it and this
            return JobState.CANCELLED if tuning is None else _JOBS[TuningStatus(tuning.row.status)]
        asked = tuning.header["base"]
        base = Base(asked["name"], DeploymentSettings.model_validate(asked["settings"]))
        bench = Bench(hold, tuning, folder, base, Origin(self._parts.record, tuning))
        try:
            state = await self._worked(bench)
        except LeaseLost:
            if await self._store.load(tuning_id) is None:  # it was erased, or has expired
                await removed(folder)
            raise
        except FreeholdError:
            if hold.stopping.is_set() or not hold.pausing.is_set():
                raise
            state = await self._pause(bench)  # what is to be tried again has been asked to wait meanwhile
        finally:
            self._parts.desk.release(tuning_id)
        if state is not JobState.PAUSED:
            await removed(folder)
        return state

    async def _worked(self, bench: Bench) -> JobState:
        """Train until that has ended, whoever takes its room meanwhile, and keep what comes of it."""
        tuning = await settle_left(self._store, self._parts.changes, bench.hold, bench.tuning)
        while True:
            bench = replace(bench, tuning=tuning)
            if (state := await self._once(bench)) is not None:
                return state
            found = await self._store.load(tuning.id)
            if found is None:
                raise LeaseLost(f"The fine-tuning job '{tuning.id}' is gone.")
            tuning = found

    async def _once(self, bench: Bench) -> JobState | None:
        """Train, unless it is to stop before; a job that cannot be done fails. None where it is to go on."""
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
        return None if ended is None else await self._after(bench, parent, ended)

    async def _trained(self, bench: Bench) -> tuple[ModelEntry, Ended | None]:
        """Lay the job's files down, wait for room, and run the process once.

        Returns:
            The model that it started from, and how the run ended; None if it was to stop before there was room.
        """
        parts = self._parts
        parts.caller.check(bench.tuning)
        parent = await parts.bases.entry(bench.base)
        await lay_out(parts, bench, parent)
        needs = await needs_of(bench, parts.settings)
        workload = workload_of(bench.tuning.row, needs, parts.settings)
        had = await room_for(parts.desk, workload, bench.hold, partial(self._wait, bench))
        if had is None:
            return parent, None
        parts.caller.check(bench.tuning)  # it may have waited for long
        stretch = TuningStretch(self._store, parts.changes, bench.hold, bench.tuning, needs)
        await stretch.begin()
        outcome: Outcome = "interrupted"
        try:
            ended = await self._run(bench, parent, had, stretch, needs)
            outcome = "failed" if ended.how == "crashed" else ended.how
        except BaseException:
            with suppress(FreeholdError):  # what is lost, and cannot be written, is settled by whoever has the job next
                await asyncio.shield(stretch.end(outcome))
            raise
        await stretch.end(outcome)
        return parent, ended

    async def _wait(self, bench: Bench) -> None:
        """Say that a job waits for room."""
        row = bench.tuning.row
        said = [] if row.preemptions else [await self._store.event(row, "The job waits for room on the cluster.")]
        stage = (JobState.PREEMPTED if row.preemptions else JobState.QUEUED).value
        values = {"status": TuningStatus.QUEUED, "stage": stage, "estimated_finish": None}
        await self._store.change(bench.hold.lease, bench.tuning, *said, **values)

    async def _run(self, bench: Bench, parent: ModelEntry, had: Had, stretch: TuningStretch, needs: Needs) -> Ended:
        """Run the process once."""
        parts, row = self._parts, bench.tuning.row
        name = f"{row.id}-{row.stretch}-{bench.hold.lease.token}"
        base = parts.bases.path(parent)
        begun = Beginning(name, bench.folder, base, parent.sha256, needs, had.nodes)
        run = Run(
            self._store,
            bench.hold,
            bench.tuning,
            bench.base,
            bench.folder,
            process_of(parts.program, begun),
            parts.caller,
            partial(self._keep_checkpoint, bench, parent),
            had,
            stretch,
        )
        try:
            return await run()
        except JobProcessFailed as exc:
            log.warning("training_failed", job=bench.tuning.id, reason=exc.message)
            return Ended("crashed", None, None, row.tokens, 1, exc.message, {}, exc.code)

    async def _after(self, bench: Bench, parent: ModelEntry, ended: Ended) -> JobState | None:
        """What becomes of the job after a run; None where it goes on."""
        hold = bench.hold
        charged = {"charged_tokens": ended.tokens} if ended.counts else {}
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
        if ended.how == "preempted":
            await self._give_back(bench, ended)
        elif hold.pausing.is_set():
            return await self._pause(bench)
        return None  # its room was taken, or it was resumed before the process had stopped

    async def _give_back(self, bench: Bench, ended: Ended) -> None:
        """Have a job wait whose room was taken; it keeps its turn."""
        found = await self._store.load(bench.tuning.id)
        row = (found or bench.tuning).row
        lost = ended.status == NODE_LOST
        why = "The node on which the job trained was lost" if lost else "The job made room for what goes first"
        told = f"{why}; it goes on from step {row.stretch_step} once there is room."
        values = {"status": TuningStatus.QUEUED, "stage": JobState.PREEMPTED.value, "estimated_finish": None}
        said = await self._store.event(row, told)
        await self._store.change(bench.hold.lease, bench.tuning, said, preemptions=row.preemptions + 1, **values)
        self._parts.desk.release(bench.tuning.id, again=True)
        log.info("training_preempted", training=row.id, step=row.stretch_step)

    async def _succeed(self, bench: Bench, parent: ModelEntry, ended: Ended, result: Result) -> JobState:
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

    async def _parents(self, bench: Bench, ended: Ended) -> tuple[str, ...]:
        """What a model was made from, by digest."""
        digests = await notes_of(bench)
        newest = await list_checkpoints(self._store.database, bench.tuning.id, after=None, limit=1)
        saved = (checkpoint.sha256 for checkpoint in newest)
        return (*digests.values(), *await bench.origin.recipe(ended.facts), *saved)

    async def _keep_checkpoint(
        self,
        bench: Bench,
        parent: ModelEntry,
        message: Mapping[str, Any],
        facts: Mapping[str, Any],
        result: Result | None,
    ) -> None:
        digests = await notes_of(bench)
        sha256 = str(message["sha256"])
        made_of = (*digests.values(), *await bench.origin.recipe(facts))
        await bench.origin.checkpoint(int(message["step"]), sha256, made_of)
        if result is not None:
            entry = await self._parts.models.keep(bench.tuning, bench.base, parent, result)
            await bench.origin.model(entry, (sha256,))

    async def _result_files(self, bench: Bench, title: str) -> list[str]:
        """The table and the chart of the job's metrics, as files of the project; their ids."""
        row = bench.tuning.row
        steps = [step async for step in self._store.metrics(row)]
        ids = []
        for name, data in (("step_metrics.csv", table_of(steps)), ("metrics.svg", chart_of(title, steps))):
            ids.append(new_id("file-"))
            await self._store.make_file(row, ids[-1], name, data)
        return ids

    async def _crash(self, bench: Bench, ended: Ended) -> JobState:
        """Have a job tried again whose process broke off, unless it does so again and again."""
        why = cause_of(ended.status, ended.complaint, ended.code)
        log.warning("training_crashed", job=bench.tuning.id, status=ended.status, code=why.code)
        found = await self._store.load(bench.tuning.id)
        crashes = (found or bench.tuning).row.crashes + 1
        if crashes >= MOST_CRASHES:
            told = f"{why.message} That happened {crashes} times without a new checkpoint."
            return await self._fail(bench, TuningError(why.code, told))
        event = await self._store.event(bench.tuning.row, f"{why.message} The job is tried again.", "warn")
        await self._store.change(bench.hold.lease, bench.tuning, event, crashes=crashes)
        raise InternalError(why.message, code=why.code)

    async def _unwritable(self, bench: Bench, error: OSError) -> JobState:
        """Have a job tried again whose folder cannot be written, for a while."""
        message = f"The disk of the server cannot be written: {error.strerror or 'input/output error'}."
        if bench.hold.lease.attempts >= MOST_FULL:
            return await self._fail(bench, TuningError("disk_full", message))
        await self._say(bench, f"{message} The job is tried again.", "warn")
        raise HomeError(message, code="disk_full")

    async def _pause(self, bench: Bench) -> JobState:
        said = await self._store.event(bench.tuning.row, "The job is paused.")
        await self._store.change(
            bench.hold.lease, bench.tuning, said, status=TuningStatus.PAUSED, stage="", estimated_finish=None
        )
        return JobState.PAUSED

    async def _fail(self, bench: Bench, error: TuningError, *told: str) -> JobState:
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

    async def _end(self, bench: Bench, status: TuningStatus) -> JobState:
        await self._store.change(bench.hold.lease, bench.tuning, status=status, ended_at=self._store.now_s())
        return _JOBS[status]

    async def _say(self, bench: Bench, message: str, level: Any = "info") -> None:
        event = await self._store.event(bench.tuning.row, message, level)
        await self._store.change(bench.hold.lease, bench.tuning, event)


def workload_of(row: TuningRow, needs: Needs, settings: FineTuningSettings) -> Workload:
    """A job as it asks for room."""
    return Workload(
        id=row.id,
        work_class=WorkClass[settings.work_class.upper()],
        organization_id=row.organization_id,
        project_id=row.project_id,
        members=needs.members(),
        zones=None,
        queued_at_s=float(row.created_at),
        checkpoint_s=needs.checkpoint_s,
    )
