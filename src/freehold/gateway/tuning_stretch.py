"""One stretch of a fine-tuning's running: what it had and for how long, on the account of its project.

Its tokens, and what they cost, stand in the receipts of its runs; a stretch tells of time and room alone. It is
recorded in the journal when it ends, and before anything else is written, as those of trainings are.
"""

import asyncio
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import structlog

from freehold.errors import FreeholdError
from freehold.gateway.stretches import SECOND_US, SEEN_US, another_day, counted, stretch_of
from freehold.gateway.training_changes import TrainingChanges
from freehold.gateway.training_needs import Needs
from freehold.gateway.tuning_store import Tuning, TuningStore
from freehold.jobs.workers import Hold
from freehold.store.fine_tuning import TuningRow, list_checkpoints
from freehold.types.training import Outcome, Rate

log = structlog.get_logger(__name__)

FREE = Rate(0, 0)
"""Fine-tuning is charged by its tokens."""
_ENDED: dict[str, Any] = {"room": None, "stretch_began_us": None, "stretch_seen_us": None}


class TuningStretch:
    """A stretch, from `begin` to `end`.

    Args:
        store: where jobs lie.
        changes: records it.
        hold: the job in the queue.
        tuning: the job.
        needs: what it has.
    """

    def __init__(self, store: TuningStore, changes: TrainingChanges, hold: Hold, tuning: Tuning, needs: Needs) -> None:
        self._store = store
        self._changes = changes
        self._hold = hold
        self._tuning = tuning
        self._row = tuning.row
        self._room = needs.room()
        self._kept = tuning.row.stretch_step
        self._watch: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Say that it has its room, and runs from now on.

        Raises:
            LeaseLost: somebody else has the job.
        """
        now_us = self._now_us()
        began = {"room": asdict(self._room), "stretch_began_us": now_us, "stretch_seen_us": now_us}
        await self._write({**began, "stretch_step": self._kept, "stage": ""})
        self._watch = asyncio.create_task(self._watched(), name=f"stretch of {self._row.id}")

    def on_device(self) -> None:
        """It turns out that it computes on an accelerator, though nobody has counted those."""
        if not self._room.devices:
            self._room = replace(self._room, devices=1)

    def kept(self, step: int) -> None:
        """There is a checkpoint of this step, or the result of the last."""
        self._kept = max(self._kept, step)

    async def end(self, outcome: Outcome) -> None:
        """Record it, and write that it has ended.

        Raises:
            LeaseLost: somebody else has the job; it is recorded all the same.
            AuditUnavailable: it cannot be recorded.
        """
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
        await self._account(outcome, {})

    async def _watched(self) -> None:
        """Write now and then that it still runs, and begin anew at midnight."""
        while True:
            await asyncio.sleep(SEEN_US / SECOND_US)
            with suppress(FreeholdError):  # what is lost, or cannot be written, whoever reads the messages meets too
                now_us = self._now_us()
                if another_day(self._row.stretch_began_us, now_us):
                    began = {"room": asdict(self._room), "stretch_began_us": now_us, "stretch_seen_us": now_us}
                    await self._account("goes_on", began)
                else:
                    await self._write({"stretch_seen_us": now_us})

    async def _account(self, outcome: Outcome, then: dict[str, Any]) -> None:
        self._row = replace(self._row, room=asdict(self._room))
        await self._write(await _recorded(self._changes, self._row, outcome, self._now_us(), self._kept) | then)

    async def _write(self, values: dict[str, Any]) -> None:
        await self._store.change(self._hold.lease, self._tuning, **values)
        self._row = replace(self._row, **values)

    def _now_us(self) -> int:
        return int(self._store.clock() * SECOND_US)


async def settle_left(store: TuningStore, changes: TrainingChanges, hold: Hold, tuning: Tuning) -> Tuning:
    """Put to account a stretch whose end its server did not see, as far as it was seen; the job afterwards.

    Raises:
        LeaseLost: somebody else has the job.
        AuditUnavailable: it cannot be recorded.
    """
    row = tuning.row
    if row.stretch_began_us is None or row.room is None:
        return tuning
    seen_us = row.stretch_seen_us or row.stretch_began_us
    newest = await list_checkpoints(store.database, row.id, after=None, limit=1)
    kept = max((each.step for each in newest), default=0)
    values = await _recorded(changes, row, "interrupted", seen_us, kept)
    await store.change(hold.lease, tuning, **values)
    log.warning("training_interrupted", training=row.id, stretch=row.stretch)
    return replace(tuning, row=replace(row, **values))


async def _recorded(
    changes: TrainingChanges, row: TuningRow, outcome: Outcome, end_us: int, kept: int
) -> dict[str, Any]:
    """The columns of a job whose stretch has ended, once that is recorded."""
    stretch = stretch_of(row, row.model, outcome, end_us, kept, FREE)
    await changes.stretch(stretch)
    return {**_ENDED, **counted(row, stretch), "stretch": row.stretch + 1, "stretch_step": stretch.step_to}
