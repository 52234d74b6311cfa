"""Writing rows and adding them up, in SQLite and in PostgreSQL."""

import asyncio
import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from freehold.store.usage_checks import day_sums
from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_queries import DAY_S, HOUR_S, MINUTE_S, UsageQuery, UsageSum, sum_usage
from freehold.store.usage_tables import KEYS, SUMS
from freehold.store.usage_writing import ROW, Progress, Row, clear, load_progress, write_batch

DAY_0_S = 1_795_478_400
"""2026-11-24, 00:00 UTC."""
CHOICES = {
    "organization_id": ("org", "other"),
    "project_id": ("", "p1", "p2"),
    "key_id": ("k1", "k2"),
    "principal": ("ann", "bob"),
    "deployment": ("", "chat", "embed"),
    "model": ("m",),
    "route_kind": ("completions", "embeddings"),
    "service_tier": ("", "default"),
    "outcome": ("finished", "refused"),
    "image_source": ("",),
    "image_size": ("",),
    "end_user": ("", "eu_1", "eu_2"),
}
Fact = dict[str, object]


def facts(dice: random.Random, count: int) -> list[Fact]:
    """Requests of three days, at random."""
    found: list[Fact] = []
    for seq in range(1, count + 1):
        fact: Fact = {name: dice.choice(values) for name, values in CHOICES.items()}
        at_us = (DAY_0_S * 1_000_000) + dice.randrange(3 * DAY_S * 1_000_000)
        fact |= {"writer": "main", "seq": seq, "segment": 1, "offset": 100 * seq, "request_id": f"req_{seq}"}
        fact |= {"started_at": at_us, "ended_at": at_us + 5, "requests": 1, "model_requests": dice.randrange(2)}
        fact |= {name: dice.randrange(10**6) for name in SUMS[2:]}
        fact |= {"route": "/v1/chat/completions", "dialect": "openai", "status": 200, "attempt": 1}
        found.append(fact | {"estimated": False, "excess_micro": 0})
    return found


def rows_of(found: Iterable[Fact]) -> list[Row]:
    """The same as rows."""
    return [tuple(fact.get(name) for name in ROW) for fact in found]


def at(seq: int) -> Progress:
    """A place in a journal."""
    return Progress(1, 100 * seq + 100, seq, 1, 100 * seq, f"{seq:064x}")


async def written(database: UsageDatabase, found: list[Fact]) -> None:
    """Have the database be what these requests make of it, in two batches."""
    half = len(found) // 2
    await load_progress(database, "main")
    assert await write_batch(database, "main", Progress(), at(half), rows_of(found[:half]))
    assert await write_batch(database, "main", at(half), at(len(found)), rows_of(found[half:]))


def folded(found: list[Fact], query: UsageQuery) -> list[UsageSum]:
    """What a query should give."""
    groups: dict[tuple[int, tuple[str, ...]], list[int]] = {}
    for fact in found:
        second = int(str(fact["started_at"])) // 1_000_000
        if (
            not query.start_s <= second < query.end_s
            or any(fact[name] not in values for name, values in query.where.items())
            or any(fact[name] in values for name, values in query.where_not.items())
        ):
            continue
        bucket = second // query.width_s * query.width_s if query.width_s else query.start_s
        sums = groups.setdefault((bucket, tuple(str(fact[name]) for name in query.group_by)), [0] * len(SUMS))
        for i, name in enumerate(SUMS):
            sums[i] += int(str(fact[name]))
    return [UsageSum(*key, *sums) for key, sums in sorted(groups.items())]


def questions(dice: random.Random) -> UsageQuery:
    """A question at random; half of the ranges are whole days or hours."""
    unit = dice.choice((1, HOUR_S, DAY_S))
    start, end = sorted(DAY_0_S + dice.randrange(4 * DAY_S) // unit * unit for _ in range(2))
    columns = dice.sample(sorted(CHOICES), 3)
    where = {columns[0]: tuple(dice.sample(CHOICES[columns[0]], 1))} if dice.random() < 0.5 else {}
    where_not = {columns[1]: (CHOICES[columns[1]][0],)} if dice.random() < 0.3 else {}
    group_by = tuple(dice.sample(sorted(CHOICES if dice.random() < 0.5 else KEYS), dice.randrange(3)))
    return UsageQuery(start, end, dice.choice((None, MINUTE_S, HOUR_S, DAY_S)), where, where_not, group_by)


@pytest.mark.slow
def test_sums_are_those_of_the_requests(usage_url: str | None, tmp_path: Path) -> None:
    """Whatever range, width, filter and grouping is asked for, the sums are those of a plain count."""
    dice = random.Random(11)
    found = facts(dice, 400)

    async def scenario() -> None:
        database = UsageDatabase.at(tmp_path / "usage.db", usage_url)
        await written(database, found)
        for _ in range(200):
            query = questions(dice)
            assert await sum_usage(database, query) == folded(found, query), query
        await database.close()

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_receipt_counts_once(usage_url: str | None, tmp_path: Path) -> None:
    """Rows that come again, by their place or by their request, change neither the table nor the sums."""
    found = facts(random.Random(12), 20)

    async def scenario() -> tuple[list[UsageSum], list[UsageSum], bool]:
        database = UsageDatabase.at(tmp_path / "usage.db", usage_url)
        await written(database, found)
        everything = UsageQuery(0, DAY_0_S + 9 * DAY_S, DAY_S)
        before = await sum_usage(database, everything)
        twice = {**found[0], "seq": 21}
        assert await write_batch(database, "main", at(20), at(21), rows_of([*found, twice]))
        after = await sum_usage(database, everything)
        sums = await day_sums(database)
        await database.close()
        return before, after, sorted(sums["requests"], key=repr) == sorted(sums["usage_daily"], key=repr)

    before, after, agree = asyncio.run(scenario())
    assert before == after
    assert agree


@pytest.mark.slow
def test_a_batch_that_does_not_follow_changes_nothing(usage_url: str | None, tmp_path: Path) -> None:
    """A batch is written only at the place where the last one ended, so two writers cannot both go on."""
    found = facts(random.Random(13), 4)

    async def scenario() -> tuple[list[bool], Progress]:
        database = UsageDatabase.at(tmp_path / "usage.db", usage_url)
        await load_progress(database, "main")
        done = list(
            await asyncio.gather(
                *(write_batch(database, "main", Progress(), at(4), rows_of(found)) for _ in range(2)),
                write_batch(database, "main", at(2), at(4), rows_of(found)),
            )
        )
        progress = await load_progress(database, "main")
        await database.close()
        return done, progress

    done, progress = asyncio.run(scenario())
    assert sorted(done) == [False, False, True]
    assert progress == at(4)


@pytest.mark.slow
def test_beginning_anew_keeps_what_the_journal_no_longer_has(usage_url: str | None, tmp_path: Path) -> None:
    """Clearing from a record on keeps the older rows and makes the sums from them; clearing all keeps nothing."""
    found = facts(random.Random(14), 40)
    everything = UsageQuery(0, DAY_0_S + 9 * DAY_S, HOUR_S, group_by=("project_id",))

    async def scenario() -> tuple[list[UsageSum], list[UsageSum], Progress]:
        database = UsageDatabase.at(tmp_path / "usage.db", usage_url)
        await written(database, found)
        await clear(database, "main", 31)
        kept = await sum_usage(database, everything)
        progress = await load_progress(database, "main")
        await clear(database, "main", 0)
        nothing = await sum_usage(database, everything)
        await database.close()
        return kept, nothing, progress

    kept, nothing, progress = asyncio.run(scenario())
    assert kept == folded(found[:30], everything)
    assert nothing == []
    assert progress == Progress()
