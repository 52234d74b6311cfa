"""Stretches of trainings on their way from the journal into the usage database."""

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import delete, update

from freehold.journal.projection_reconcile import Reconciliation, reconcile
from freehold.journal.records import Kind, utc
from freehold.store.usage_tables import training_stretches
from freehold.store.usage_training import TrainingSum, sum_trainings
from freehold.types.training import HOUR_US, Rate, Room, Stretch
from tests.usage import NOON_S, Usage, open_usage

ROOM = Room(processes=2, devices=0, device_kind="", core_milli=3000, memory_bytes=0)
RATE = Rate(device_hour_micro=2_000_000, core_hour_micro=40_000)


def stretch(number: int, *, at_s: float = NOON_S, room: Room = ROOM, **changes: Any) -> Stretch:
    """Half an hour of a training on three cores, in which it learnt from 1,000 tokens."""
    values: dict[str, Any] = {
        "id": f"train_1:{number}",
        "training": "train_1",
        "organization_id": "org",
        "project_id": "proj",
        "principal": "user",
        "name": "small",
        "key_id": "",
        "started_at": utc(at_s),
        "ended_at": utc(at_s + 1800),
        "duration_us": HOUR_US // 2,
        "outcome": "preempted",
        "room": room,
        "step_from": 0,
        "step_to": 10,
        "tokens": 1000,
        "rate": RATE,
        "cost_micro": RATE.cost_micro(room, HOUR_US // 2),
        **changes,
    }
    return Stretch(**values)


async def record(usage: Usage, *stretches: Stretch) -> None:
    """Have stretches on the disk, and in the database."""
    for each in stretches:
        usage.journal.submit(Kind.TRAINING, each.body(), durable=False)
    await usage.journal.checkpoint()
    await usage.caught_up()


async def compared(usage: Usage) -> Reconciliation:
    """What reconciliation says."""
    return await reconcile(usage.reports, lambda _records, _of: None)


def test_sums_by_project(tmp_path: Path) -> None:
    """Stretches are summed up by project: accelerators and cores times time, tokens and money; by when they began."""
    device = Room(processes=1, devices=8, device_kind="NVIDIA H100", core_milli=500, memory_bytes=0)

    async def scenario() -> None:
        async with open_usage(tmp_path) as usage:
            other = stretch(3, training="train_2", project_id="other", room=device)
            later = stretch(4, at_s=NOON_S + 86_400)
            await record(usage, stretch(1), stretch(2, outcome="finished"), other, later)
            sums = await sum_trainings(usage.database, NOON_S, NOON_S + 86_400)
            half = HOUR_US // 2
            assert sums == [
                TrainingSum("org", "other", 1, 8 * half, half // 2, 1000, 8_000_000),
                TrainingSum("org", "proj", 1, 0, 6 * half, 2000, 120_000),
            ]

    asyncio.run(scenario())


def test_recorded_twice(tmp_path: Path) -> None:
    """A stretch that a server recorded again after it died counts once, and reconciliation finds nothing wrong."""

    async def scenario() -> None:
        async with open_usage(tmp_path) as usage:
            await record(usage, stretch(1), stretch(1, outcome="interrupted", tokens=7), stretch(2))
            (total,) = await sum_trainings(usage.database, NOON_S, NOON_S + 1)
            assert (total.tokens, total.cost_micro) == (2000, 120_000)
            found = await compared(usage)
            assert (found.stretches, found.gaps) == (2, [])
            await usage.projection.rebuild()
            await usage.caught_up()
            assert await sum_trainings(usage.database, NOON_S, NOON_S + 1) == [total]

    asyncio.run(scenario())


def test_what_differs_is_named(tmp_path: Path) -> None:
    """A row that is missing, changed or made up is a gap that reconciliation names."""
    table = training_stretches

    async def scenario() -> None:
        async with open_usage(tmp_path) as usage:
            await record(usage, stretch(1), stretch(2), stretch(3))
            async with usage.database.write() as connection:
                await connection.execute(delete(table).where(table.c.stretch_id == "train_1:1"))
                await connection.execute(update(table).where(table.c.stretch_id == "train_1:2").values(cost_micro=1))
                await connection.execute(
                    update(table).where(table.c.stretch_id == "train_1:3").values(stretch_id="train_9:1")
                )
            assert (await compared(usage)).gaps == [
                "the usage database lacks the training train_1:1",
                "the usage database lacks the training train_1:3",
                "the usage database has the training train_9:1, and the journal has none there",
                "the usage database has other figures of the training train_1:2",
            ]

    asyncio.run(scenario())
