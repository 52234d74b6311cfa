"""The work on a training: it asks for room, runs a stretch, gives the room back when it is wanted, and asks again.

Whatever is written is written with the lease of the job, and the training's folder holds its checkpoints. So whoever
takes the job after a crash, a restart or a preemption goes on from the newest checkpoint, bit for bit.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from freehold.cluster.base import Cluster
from freehold.cluster.desk import Had, RoomDesk
from freehold.errors import ConfigError, InternalError, LeaseLost, RequestError
from freehold.gateway.asked_room import room_for
from freehold.gateway.training_changes import TrainingChanges
from freehold.gateway.training_needs import Needs
from freehold.gateway.training_stretch import Ended, StretchParts, TrainingStretch, settle_left, waiting
from freehold.gateway.tuning_python import Trainer
from freehold.jobs.workers import Hold
from freehold.store.database import Database
from freehold.store.training import TrainingRow, change_training, load_training
from freehold.types.cluster import WorkClass, Workload
from freehold.types.jobs import JobState
from freehold.types.training import TRAINING_ENDED, TrainingSettings, TrainingStatus

log = structlog.get_logger(__name__)

MOST_CRASHES: Final = 3
"""After so many in a row without a new checkpoint a training has failed."""
MOST_TOLD: Final = 2000
"""Characters of why one has failed."""
_JOBS: Final = {
    TrainingStatus.SUCCEEDED: JobState.SUCCEEDED,
    TrainingStatus.FAILED: JobState.FAILED,
    TrainingStatus.CANCELLED: JobState.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class TrainingWorkParts:
    """What works on trainings.

    Args:
        database: where they lie.
        changes: records what becomes of them.
        cluster: runs them.
        desk: where they ask for room.
        trainer: the program that trains.
        settings: prices and times.
        check: returns if whoever submitted one may still have it done, in its folders; raises RequestError.
        clock: seconds since the epoch.
    """

    database: Database
    changes: TrainingChanges
    cluster: Cluster
    desk: RoomDesk
    trainer: Trainer
    settings: TrainingSettings
    check: Callable[[TrainingRow], Awaitable[None]]
    clock: Callable[[], float] = time.time

    @property
    def stretch(self) -> StretchParts:
        """What a stretch runs with."""
        return StretchParts(self.database, self.changes, self.cluster, self.trainer, self.settings, self.clock)


class TrainingWork:
    """Does the jobs of trainings.

    Args:
        parts: what it works with.
    """

    def __init__(self, parts: TrainingWorkParts) -> None:
        self._parts = parts

    async def __call__(self, hold: Hold) -> JobState:
        """Do all that there is left to do of a training, and say how it ended, or that it is paused.

        Raises:
            LeaseLost: somebody else has the job.
            FreeholdError: it cannot be done now.
        """
        row = await load_training(self._parts.database, hold.job.payload["training"])
        if row is None:
            return JobState.CANCELLED
        if row.status in TRAINING_ENDED:
            return _JOBS[TrainingStatus(row.status)]
        row = await settle_left(self._parts.stretch, hold, row)
        try:
            while True:
                row = await load_training(self._parts.database, row.id) or row
                if (state := await self._asked(hold, row)) is not None:
                    return state
                await self._parts.check(row)
                ended = await self._one(hold, row)
                found = await load_training(self._parts.database, row.id)
                if found is None:
                    return JobState.CANCELLED
                row = found
                if ended is not None and (state := await self._after(hold, row, ended)) is not None:
                    return state
        except (RequestError, ConfigError) as exc:
            if isinstance(exc, LeaseLost) or exc.retry_after_s is not None:
                raise
            return await self._fail(hold, row, exc.code or "invalid_value", exc.message)
        finally:
            self._parts.desk.release(row.id)

    async def _one(self, hold: Hold, row: TrainingRow) -> Ended | None:
        """Run one stretch, once there is room; None where the job was asked to stop before there was any."""
        needs = await self._settled(hold, row)
        workload = Workload(
            id=row.id,
            work_class=WorkClass.RESEARCH,
            organization_id=row.organization_id,
            project_id=row.project_id,
            members=needs.members(),
            zones=frozenset(needs.zones) if needs.zones else None,
            queued_at_s=float(row.created_at),
            checkpoint_s=needs.checkpoint_s,
        )
        had = await self._room(hold, row, workload)
        if had is None:
            return None
        ended = await TrainingStretch(self._parts.stretch, hold, row, needs, had)()
        if ended.how == "preempted":
            self._parts.desk.release(row.id, again=True)
        return ended

    async def _settled(self, hold: Hold, row: TrainingRow) -> Needs:
        """What the training needs, with what was left open decided at its first stretch."""
        asked = Needs.from_wire(row.needs)
        needs = asked.settled(await self._parts.cluster.nodes())
        if needs != asked:
            await self._write(hold, row, {"needs": needs.wire()})
        return needs

    async def _room(self, hold: Hold, row: TrainingRow, workload: Workload) -> Had | None:
        """Wait for room, or until the job is asked to stop."""

        async def told() -> None:
            stage = waiting(row)
            status = TrainingStatus(stage.value)
            await self._write(hold, row, {"status": status}, job={"stage": stage.value}, event=("waiting", ""))

        return await room_for(self._parts.desk, workload, hold, told)

    async def _asked(self, hold: Hold, row: TrainingRow) -> JobState | None:
        """What becomes of a job that is asked to end or to be paused; None of one that is not."""
        if hold.stopping.is_set():
            await self._end(hold, row, TrainingStatus.CANCELLED)
            return JobState.CANCELLED
        if hold.pausing.is_set():
            await self._write(hold, row, {"status": TrainingStatus.PAUSED})
            return JobState.PAUSED
        return None

    async def _after(self, hold: Hold, row: TrainingRow, ended: Ended) -> JobState | None:
        """What becomes of a training after a stretch; None if it goes on."""
        match ended.how:
            case "finished":
                await self._end(hold, row, TrainingStatus.SUCCEEDED)
                await self._parts.changes.job(row, "succeeded")
                return JobState.SUCCEEDED
            case "preempted":
                values = {"status": TrainingStatus.PREEMPTED, "preemptions": row.preemptions + 1}
                event = ("preempted", f"step {ended.reached.kept}")
                await self._write(hold, row, values, job={"stage": JobState.PREEMPTED.value}, event=event)
                log.info("training_preempted", training=row.id, step=ended.reached.kept)
            case "broken":
                return await self._crash(hold, row, ended)
            case "refused":
                return await self._fail(hold, row, "training_refused", ended.detail)
            case "stopped":
                pass  # the loop looks what was asked
        return None

    async def _crash(self, hold: Hold, row: TrainingRow, ended: Ended) -> JobState:
        """Have a training tried again that broke off, unless it does so again and again."""
        log.warning("training_broke_off", training=row.id, reason=ended.detail)
        crashes = row.crashes + 1
        if crashes >= MOST_CRASHES:
            return await self._fail(hold, row, "training_failed", ended.detail)
        told = {"crashes": crashes, "status": TrainingStatus.QUEUED, "error": ended.detail[:MOST_TOLD]}
        await self._write(hold, row, told)
        raise InternalError(f"The training broke off: {ended.detail}", code="training_crashed")

    async def _fail(self, hold: Hold, row: TrainingRow, code: str, message: str) -> JobState:
        await self._end(hold, row, TrainingStatus.FAILED, error_code=code[:64], error=message[:MOST_TOLD])
        await self._parts.changes.job(row, "failed")
        return JobState.FAILED

    async def _end(self, hold: Hold, row: TrainingRow, status: TrainingStatus, **more: Any) -> None:
        await self._write(hold, row, {"status": status, "ended_at": int(self._parts.clock()), **more})

    async def _write(
        self,
        hold: Hold,
        row: TrainingRow,
        values: dict[str, Any],
        *,
        job: dict[str, Any] | None = None,
        event: tuple[str, str] | None = None,
    ) -> None:
        """Write columns of a training as the holder of its job. Raises LeaseLost."""
        now_ms = int(self._parts.clock() * 1000)
        if not await change_training(self._parts.database, hold.lease, now_ms, row.id, values, job=job, event=event):
            raise LeaseLost(f"The lease of the training '{row.id}' is lost; somebody else may have it.")
