"""What an overview is made of, against a plain count, in SQLite and in PostgreSQL."""

import asyncio
import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.store.overview_queries import (
    Durations,
    OverviewQuery,
    OverviewSum,
    overview_durations,
    overview_sums,
    percentiles,
    recent_tokens,
)
from freehold.store.usage_database import UsageDatabase
from tests.store.test_usage_queries import CHOICES, DAY_0_S, Fact, facts, written

FIGURES = OverviewSum.__slots__[3:]


def sought(found: list[Fact], query: OverviewQuery) -> list[Fact]:
    """The requests that a query is about."""
    return [
        fact
        for fact in found
        if query.start_s <= number(fact, "started_at") // 1_000_000 < query.end_s
        and fact["route_kind"] != "other"
        and all(fact[name] in values for name, values in query.where.items())
    ]


def number(fact: Fact, name: str) -> int:
    """A number of a request."""
    return int(str(fact[name]))


def bucket(fact: Fact, query: OverviewQuery) -> int:
    """The beginning of a request's bucket."""
    second = number(fact, "started_at") // 1_000_000
    return query.start_s + (second - query.start_s) // query.width_s * query.width_s


@pytest.mark.slow
def test_sums_and_counts_are_those_of_the_requests(usage_url: str | None, tmp_path: Path) -> None:
    """Whatever range, width and filter is asked for; durations are counted by bucket and by deployment."""
    dice = random.Random(21)
    found = facts(dice, 300)
    for fact in found:
        fact["route_kind"] = dice.choice(("completions", "images", "other"))
        fact["duration_us"] = int(10 ** dice.uniform(0, 9.5))
        fact["first_token_us"] = int(10 ** dice.uniform(0, 9.5)) if dice.random() < 0.5 else None

    async def scenario() -> None:
        database = UsageDatabase.at(tmp_path / "usage.db", usage_url)
        await written(database, found)
        for _ in range(40):
            width = dice.choice((10, 60, 3600, 86_400))
            start = (DAY_0_S + dice.randrange(86_400)) // width * width
            where = {"project_id": ("p1",)} if dice.random() < 0.5 else {}
            query = OverviewQuery(start, start + dice.randrange(1, 3 * 86_400), width, where)
            asked = sought(found, query)
            sums: dict[tuple[int, str, str], list[int]] = {}
            for fact in asked:
                key = (bucket(fact, query), str(fact["deployment"]), str(fact["outcome"]))
                line = sums.setdefault(key, [0] * len(FIGURES))
                for place, name in enumerate(FIGURES):
                    line[place] += number(fact, name)
            rows = await overview_sums(database, query)
            assert {(row.start_s, row.deployment, row.outcome): row for row in rows} == {
                key: OverviewSum(*key, *line) for key, line in sums.items()
            }
            for first_token in (False, True):
                name = "first_token_us" if first_token else "duration_us"
                done = [fact for fact in asked if fact["outcome"] == "finished" and fact[name] is not None]
                for by_deployment in (False, True):
                    told = await overview_durations(
                        database, query, first_token=first_token, by_deployment=by_deployment
                    )
                    keys = [fact["deployment"] if by_deployment else bucket(fact, query) for fact in done]
                    assert {each.key: sum(count for _, count in each.counts) for each in told} == {
                        key: keys.count(key) for key in set(keys)
                    }
                    check_percentiles(told, [number(fact, name) for fact in done])
        await database.close()

    asyncio.run(scenario())


def check_percentiles(told: list[Durations], durations_us: list[int]) -> None:
    """Compare percentiles with those of the sorted durations: within a tenth, or ten microseconds."""
    shares = (0.0, 0.5, 0.9, 0.99, 1.0)
    for share, found in zip(shares, percentiles(told, *shares), strict=True):
        if not durations_us:
            assert found is None
            continue
        wanted = sorted(durations_us)[max(0, math.ceil(share * len(durations_us)) - 1)] / 1e6
        assert found is not None
        assert abs(found - min(wanted, 1000)) <= max(0.1 * wanted, 0.000_01), (share, found, wanted)


CLASSES = [number for number in range(700) if number < 100 or number % 100 >= 10]
"""In each decade but the first, the classes below a tenth are those of the decade before."""


@given(counts=st.lists(st.tuples(st.sampled_from(CLASSES), st.integers(1, 100)), min_size=1, unique_by=lambda x: x[0]))
def test_percentiles_never_fall(counts: list[tuple[int, int]]) -> None:
    """The more requests are to be within it, the larger a percentile is, and it does not matter how they are split."""
    whole = [Durations("a", tuple(counts))]
    split = [Durations(number, ((number, count),)) for number, count in reversed(counts)]
    shares = [place / 20 for place in range(21)]
    found = percentiles(whole, *shares)
    assert found == percentiles(split, *shares)
    assert found == sorted(each for each in found if each is not None)


@pytest.mark.slow
def test_recent_tokens_are_those_of_requests_that_ended(usage_url: str | None, tmp_path: Path) -> None:
    """Each deployment's completed tokens count from the moment on at which the request ended."""
    found = facts(random.Random(22), 60)

    async def scenario() -> None:
        database = UsageDatabase.at(tmp_path / "usage.db", usage_url)
        await written(database, found)
        query = OverviewQuery(DAY_0_S, DAY_0_S + 3 * 86_400, 60)
        since = DAY_0_S + 86_400.5
        wanted = dict.fromkeys(CHOICES["deployment"], 0)
        for fact in found:
            if number(fact, "ended_at") >= since * 1_000_000:
                wanted[str(fact["deployment"])] += number(fact, "completion_tokens")
        assert await recent_tokens(database, query, since) == wanted
        await database.close()

    asyncio.run(scenario())
