"""One stretch of a training's running: it is submitted to the cluster, followed, asked to stop, and put to account.

What a stretch had and did is recorded in the journal when it ends, and before anything else is written: so it counts
though the server dies in between. Of one that a dead server had begun, `settle_left` records what is known.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import orjson
import structlog

from freehold.cluster.base import Cluster, JobOrder, JobPhase, JobStatus
from freehold.cluster.desk import Had
from freehold.errors import FreeholdError, LeaseLost
from freehold.gateway.stretches import SECOND_US, SEEN_US, another_day, counted, stretch_of
from freehold.gateway.training_changes import TrainingChanges
from freehold.gateway.training_log import Reached, TrainingLog
from freehold.gateway.training_needs import Needs
from freehold.gateway.tuning_python import Trainer
from freehold.jobs.workers import Hold
from freehold.store.database import Database
from freehold.store.training import TrainingRow, change_training, load_training, stretch_ended
from freehold.training.language.task import Task
from freehold.training.process import PATIENT, QUICK_MEMORY
from freehold.types.jobs import JobState
from freehold.types.training import (
    Outcome,
    Rate,
    Stretch,
    TrainingSettings,
    TrainingStatus,
)

log = structlog.get_logger(__name__)

MODULE: Final = "freehold.training.language.member"
LOOK_S: Final = 1.0
"""How often a training's log is read."""


@dataclass(frozen=True, slots=True)
class StretchParts:
    """What stretches run with.

    Args:
        database: where trainings lie.
        changes: records them.
        cluster: runs them.
        trainer: the program that trains.
        settings: what an hour costs, and how long the end may take.
        clock: seconds since the epoch.
    """

    database: Database
    changes: TrainingChanges
    cluster: Cluster
    trainer: Trainer
    settings: TrainingSettings
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Ended:
    """How a stretch ended.

    Args:
        how: all steps are made; it was asked to stop; its room was taken; it broke off; or it cannot be done.
        reached: where the training is then.
        detail: why it broke off, or cannot be done, in words.
    """

    how: Literal["finished", "stopped", "preempted", "broken", "refused"]
    reached: Reached
    detail: str = ""


class TrainingStretch:
    """Runs one stretch.

    Args:
        parts: what it runs with.
        hold: the job in the queue.
        row: the training.
        needs: what it needs, settled.
        had: the room that it has.
    """

    def __init__(self, parts: StretchParts, hold: Hold, row: TrainingRow, needs: Needs, had: Had) -> None:
        self._parts = parts
        self._hold = hold
        self._row = row
        self._needs = needs
        self._had = had
        self._log = TrainingLog(Path(row.out))
        self._reached = Reached()
        self._room = needs.room()
        self._why: Literal["stopped", "preempted"] | None = None
        self._refused = ""

    async def __call__(self) -> Ended:
        """Run to the end, and put it to account.

        Raises:
            NoRoom: the cluster has not the room now.
            LeaseLost: somebody else has the job.
            HomeError, AuditUnavailable: what it did cannot be written.
        """
        order = self._order()
        self._reached = await self._log.look()
        await self._parts.cluster.submit(order)
        ending: asyncio.Task[None] | None = None
        try:
            await self._begin(order.id)
            hearing = asyncio.create_task(self._hear(order.id), name=f"hearing {order.id}")
            asked: list[asyncio.Future[Any]] = [
                asyncio.create_task(self._hold.asked(), name=f"asked {order.id}"),
                asyncio.shield(self._had.wanted_back),
            ]
            try:
                while not hearing.done():
                    waits = {hearing, *(asked if ending is None else ())}
                    await asyncio.wait(waits, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                    if ending is None and any(each.done() for each in asked) and not hearing.done():
                        ending = asyncio.create_task(self._stop(order.id), name=f"stopping {order.id}")
                    await self._look()
                await hearing
            finally:
                for task in (hearing, *asked):
                    task.cancel()
            if ending is not None:
                await ending
            return await self._ended(await self._parts.cluster.status(order.id))
        except BaseException:
            await asyncio.shield(self._break_off(order.id))
            raise

    def _order(self) -> JobOrder:
        needs, row = self._needs, self._row
        task = Task.model_validate({"recipe": row.recipe, "data": row.data, "out": row.out, "device": needs.device})
        environment = {**QUICK_MEMORY, **PATIENT, **self._parts.trainer.environment}
        environment["OMP_NUM_THREADS"] = str(needs.threads)
        if len(set(self._had.nodes)) <= 1:
            environment["GLOO_SOCKET_IFNAME"] = "lo"
        return JobOrder(
            id=f"{row.id}-{row.stretch}-{self._hold.lease.token}",
            module=self._parts.trainer.module,
            arguments=(task.model_dump_json(),),
            members=needs.members(),
            zones=frozenset(needs.zones) if needs.zones else None,
            folder=Path(row.out),
            python=self._parts.trainer.python,
            env=environment,
            nodes=self._had.nodes,
        )

    async def _begin(self, order_id: str) -> None:
        now_us, step = self._now_us(), self._reached.kept
        values: dict[str, Any] = {
            "status": TrainingStatus.RUNNING,
            "room": asdict(self._room),
            "stretch_began_us": now_us,
            "stretch_seen_us": now_us,
            "stretch_step": step,
            "step": step,
            "order_id": order_id,
        }
        detail = " ".join(self._had.nodes[:8]) if len(self._had.nodes) <= 8 else f"{len(self._had.nodes)} processes"
        await self._write(values, job={"stage": "", "done": step, "total": self._row.steps}, event=("placed", detail))

    async def _hear(self, order_id: str) -> None:
        """Take in what the first process says, until the job has ended."""
        async for line in self._parts.cluster.logs(order_id):
            said = _said(line)
            if said.get("type") == "started" and said.get("device") == "cuda" and not self._room.devices:
                self._room = replace(self._room, devices=self._room.processes)
                await self._write({"room": asdict(self._room)})
            elif said.get("type") == "refused":
                self._refused = str(said.get("message"))

    async def _stop(self, order_id: str) -> None:
        """Have the job end, within the time that it has."""
        grace_s = self._needs.checkpoint_s
        if self._had.wanted_back.done():
            self._why, grace_s = "preempted", self._had.wanted_back.result()
        else:
            self._why = "stopped"
        await self._parts.cluster.cancel(order_id, grace_s)

    async def _look(self) -> None:
        """Read how far it is, and write that down if it is further, or after a while; begin anew at midnight."""
        before, self._reached = self._reached, await self._log.look()
        now_us = self._now_us()
        if another_day(self._row.stretch_began_us, now_us):
            order_id = self._row.order_id
            await self._account("goes_on", now_us)
            began = {"room": asdict(self._room), "stretch_began_us": now_us, "stretch_seen_us": now_us}
            await self._write({**began, "stretch_step": self._reached.kept, "order_id": order_id})
        elif self._reached.step > before.step:
            values = {"step": self._reached.step, "metrics": dict(self._reached.metrics), "stretch_seen_us": now_us}
            await self._write(values, job={"done": self._reached.step, "attempts": 1})
        elif now_us - (self._row.stretch_seen_us or 0) > SEEN_US:
            await self._write({"stretch_seen_us": now_us})

    async def _ended(self, status: JobStatus) -> Ended:
        """How it ended, once that is put to account."""
        self._reached = await self._log.look()
        ended = self._outcome(status)
        outcome: Outcome = "failed" if ended.how in {"broken", "refused"} else ended.how  # type: ignore[assignment]
        await self._account(outcome, self._now_us())
        return ended

    def _outcome(self, status: JobStatus) -> Ended:
        if status.phase is not JobPhase.FAILED and self._reached.kept >= self._row.steps:
            return Ended("finished", self._reached)
        if self._why is not None:
            return Ended(self._why, self._reached)
        if self._refused:
            return Ended("refused", self._reached, self._refused)
        detail = status.detail or "it was stopped, but not from here"
        return Ended("broken", self._reached, detail)

    async def _break_off(self, order_id: str) -> None:
        """End the job because the server stops, or has lost it, and put to account what it did."""
        grace_s = min(self._needs.checkpoint_s, self._parts.settings.stop_s)
        with suppress(FreeholdError):
            await self._parts.cluster.cancel(order_id, grace_s)
        with suppress(FreeholdError):  # what is lost, and cannot be written, is settled by whoever has the job next
            if self._row.stretch_began_us is not None:
                self._reached = await self._log.look()
                await self._account("interrupted", self._now_us())

    async def _account(self, outcome: Outcome, now_us: int) -> None:
        """Record the stretch, add it to the training's sums, and write that it has ended."""
        self._row = replace(self._row, room=asdict(self._room))
        stretch = _stretch(self._row, outcome, now_us, self._reached.kept, self._parts.settings)
        await self._parts.changes.stretch(stretch)
        step = self._reached.step if outcome == "goes_on" else self._reached.kept
        await self._write({**settled(self._row, stretch, self._reached), "step": step}, job={"done": step})

    async def _write(
        self, values: dict[str, Any], *, job: dict[str, Any] | None = None, event: tuple[str, str] | None = None
    ) -> None:
        """Write columns of the training as the holder of its job.

        Raises:
            LeaseLost: somebody else has it.
        """
        now_ms = self._now_us() // 1000
        if not await change_training(
            self._parts.database, self._hold.lease, now_ms, self._row.id, values, job=job, event=event
        ):
            raise LeaseLost(f"The lease of the training '{self._row.id}' is lost; somebody else may have it.")
        self._row = replace(self._row, **values)

    def _now_us(self) -> int:
        return int(self._parts.clock() * SECOND_US)


async def settle_left(parts: StretchParts, hold: Hold, row: TrainingRow) -> TrainingRow:
    """Put to account a stretch whose end its server did not see, as far as it was seen; the training afterwards.

    Raises:
        LeaseLost: somebody else has the job.
        HomeError, AuditUnavailable: it cannot be written.
    """
    if row.stretch_began_us is None:
        return row
    with suppress(FreeholdError):  # jobs end with their server; where they did not, the cluster knows the order
        await parts.cluster.cancel(row.order_id, parts.settings.stop_s)
    reached = await TrainingLog(Path(row.out)).look()
    stretch = _stretch(row, "interrupted", row.stretch_seen_us or row.stretch_began_us, reached.kept, parts.settings)
    await parts.changes.stretch(stretch)
    now_ms = int(parts.clock() * 1000)
    if not await change_training(parts.database, hold.lease, now_ms, row.id, settled(row, stretch, reached)):
        raise LeaseLost(f"The lease of the training '{row.id}' is lost; somebody else may have it.")
    log.warning("training_interrupted", training=row.id, stretch=stretch.id, step=reached.kept)
    return await load_training(parts.database, row.id) or row


def _stretch(row: TrainingRow, outcome: Outcome, end_us: int, kept: int, settings: TrainingSettings) -> Stretch:
    """See `freehold.gateway.stretches.stretch_of`."""
    rate = Rate(settings.price_per_device_hour, settings.price_per_core_hour)
    tokens_of_step = int(row.recipe["training"]["batch"]) * int(row.recipe["sequence"])
    return stretch_of(row, row.name, outcome, end_us, kept, rate, tokens_of_step=tokens_of_step)


def settled(row: TrainingRow, stretch: Stretch, reached: Reached) -> dict[str, Any]:
    """The columns of a training once a stretch of it is put to account."""
    moved = stretch.step_to > stretch.step_from
    return {
        **stretch_ended(row),
        **counted(row, stretch),
        "step": reached.kept,
        "metrics": dict(reached.metrics) or dict(row.metrics),
        "tokens": row.tokens + stretch.tokens,
        "cost_micro": row.cost_micro + stretch.cost_micro,
        "crashes": 0 if moved else row.crashes,
    }


def _said(line: str) -> dict[str, Any]:
    """The JSON object that a process said; an empty one where it is none."""
    with suppress(ValueError):
        said = orjson.loads(line)
        if isinstance(said, dict):
            return said
    return {}


def waiting(row: TrainingRow) -> JobState:
    """How a training is shown that waits for room."""
    return JobState.PREEMPTED if row.preemptions else JobState.QUEUED
