"""Gateways that share limits by a real PostgreSQL: they borrow, give back, lose the database and are replaced."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from freehold.errors import LimitsUnavailable, QuotaExceeded
from freehold.gateway.leases_view import SharedUses
from freehold.governance.limits import Limits
from freehold.store.database import Database
from freehold.store.leases import remove_holder
from freehold.types.limits import Claim, Scope, Subject
from tests.gateway.leases_bench import Gateway, gateway, gateways
from tests.postgres import PostgreSQL

pytestmark = pytest.mark.slow

PROJECT = Subject(Scope.PROJECT, "proj-shared")
BUDGET = {PROJECT: Limits(budget_per_day=4_000)}


@pytest.fixture
def url(postgres_server: PostgreSQL) -> str:
    """A new database with a home's tables."""
    return postgres_server.new_home()


def _claim(tokens: int = 0, micro: int = 0) -> Claim:
    return Claim((PROJECT,), tokens, micro, time.time())


async def _eventually(found: Callable[[], Awaitable[bool]]) -> bool:
    """Wait until something is so; one minute at most."""
    async with asyncio.timeout(60):
        while not await found():  # noqa: ASYNC110  # what is waited for is in the database
            await asyncio.sleep(0.05)
    return True


async def _died(died: Gateway) -> None:
    """End a gateway as a kill does: nothing is given back."""
    task = died.lender._task
    assert task is not None
    task.cancel()
    await died.store.close()


def test_a_budget_is_used_to_its_last_unit_by_whoever_is_asked(url: str) -> None:
    """Of a budget for 40 calls exactly 40 are admitted, by three gateways that are called in turn."""

    async def call() -> list[int]:
        async with gateways(url, BUDGET, ["a", "b", "c"]) as running:
            calls = [running[number % 3].status(_claim(micro=100)) for number in range(120)]
            return list(await asyncio.gather(*calls))

    found = asyncio.run(call())
    assert (found.count(200), found.count(429)) == (40, 80)


def test_the_refusal_tells_what_all_have_used(url: str) -> None:
    """Whoever is refused reads how much of the budget is gone at all gateways, and when it is renewed."""

    async def call() -> Gateway:
        async with gateways(url, BUDGET, ["a", "b"]) as (first, second):
            for _ in range(30):
                (await first.reserve(_claim(micro=100))).settle(0, 100)
            assert [await second.status(_claim(micro=100)) for _ in range(10)] == [200] * 10
            assert await second.status(_claim(micro=100)) == 429
            return second

    error = asyncio.run(call()).errors[0]
    assert isinstance(error, QuotaExceeded)
    assert "Limit 0.004, Used 0.003, Reserved 0.001, Requested 0.0001. It is renewed at" in error.message


def test_what_a_request_did_not_need_is_another_gateways(url: str) -> None:
    """A reservation that is settled for less is free for callers of other gateways."""

    async def call() -> list[int]:
        async with gateways(url, BUDGET, ["a", "b"]) as (first, second):
            grant = await first.reserve(_claim(micro=4_000))
            found = [await second.status(_claim(micro=100))]
            grant.settle(0, 100)
            assert await _eventually(lambda: _status_is(second, _claim(micro=3_900), 200))
            return [*found, await first.status(_claim(micro=1))]

    assert asyncio.run(call()) == [429, 429]


async def _status_is(running: Gateway, claim: Claim, status: int) -> bool:
    return await running.status(claim) == status


def test_a_gateway_that_died_holds_its_slice_until_it_has_started_again(url: str) -> None:
    """What a killed gateway held counts as spent; when it is back, what its journal does not know is free."""

    async def call() -> tuple[list[int], list[int]]:
        async with gateways(url, BUDGET, ["a"]) as (lives,):
            died = gateway(url, "b", BUDGET)
            await died.lender.__aenter__()
            (await died.reserve(_claim(micro=100))).settle(0, 100)
            await died.reserve(_claim(micro=1_900))
            await _died(died)
            before = [await lives.status(_claim(micro=micro)) for micro in (3_000, 1_000)]
            again = gateway(url, "b", BUDGET)
            again.ledger.restore({time.strftime("%Y-%m-%d", time.gmtime()): {str(PROJECT): 500}}, {})
            async with again.lender:
                after = [await lives.status(_claim(micro=2_500)), await again.status(_claim(micro=1))]
                return before, after

    assert asyncio.run(call()) == ([429, 200], [200, 429])


def test_a_removed_gateway_has_spent_all_that_it_held(url: str) -> None:
    """Of a gateway that will not come back the whole slice is spent, also when its home comes back after all."""

    async def call() -> tuple[int, int, int]:
        database = await Database.open(Path("nowhere"), url=url)
        async with gateways(url, BUDGET, ["a"]) as (lives,):
            died = gateway(url, "b", BUDGET)
            await died.lender.__aenter__()
            await died.reserve(_claim(micro=1_000))
            await _died(died)
            async with database.write() as connection:
                await remove_holder(connection, "b")
            (use,) = await SharedUses(lives.ledger, lives.store, "a").of([PROJECT])
            again = gateway(url, "b", BUDGET)
            async with again.lender:
                known = again.ledger.use(PROJECT).spent_day
        await database.close()
        return use.spent_day, use.reserved_day, known

    spent, reserved, known = asyncio.run(call())
    assert spent == known >= 1_000
    assert reserved == 0


def test_a_gateway_whose_place_was_taken_refuses(url: str) -> None:
    """A process that goes on beside another one of the same home gives out nothing any more, and says why."""

    async def call() -> Gateway:
        async with gateways(url, BUDGET, ["a"]) as (old,):
            assert await old.status(_claim(micro=100)) == 200
            new = gateway(url, "a", BUDGET)
            async with new.lender:
                assert await _eventually(lambda: _status_is(old, _claim(micro=100), 503))
            return old

    error = asyncio.run(call()).errors[-1]
    assert isinstance(error, LimitsUnavailable)
    assert "another process has started in this gateway's place" in error.message


def test_without_the_database_what_is_held_is_used_up_and_then_refused(postgres: PostgreSQL) -> None:
    """A gateway cut off goes on within its slices, then answers 503 with `retry-after`, until all is well again."""
    limits = {PROJECT: Limits(budget_per_day=4_000_000, requests_per_minute=60_000, concurrent_requests=500)}
    url = postgres.new_home()

    async def call() -> tuple[int, int, int]:
        async with gateways(url, limits, ["a"]) as (cut,):
            for _ in range(20):
                assert await cut.status(_claim(micro=100)) == 200
            for grant in cut.grants:
                grant.settle(0, 100)
            cut.grants.clear()
            await asyncio.to_thread(postgres.stop)
            within = await cut.status(_claim(micro=100))
            assert await _eventually(lambda: _status_is(cut, _claim(micro=100), 503))
            error = cut.errors[-1]
            for grant in cut.grants:
                grant.settle(0, 100)
            await asyncio.to_thread(postgres.start)
            assert await _eventually(lambda: _status_is(cut, _claim(micro=100), 200))
            return within, error.status, int(error.retry_after_s or 0)

    assert asyncio.run(call()) == (200, 503, 5)


def test_what_was_spent_before_there_was_a_budget_counts(url: str) -> None:
    """A budget that is set in the middle of a month counts what every gateway has spent before."""
    limits: dict[Subject, Limits] = {}

    async def call() -> list[int]:
        async with gateways(url, limits, ["a", "b"]) as (first, second):
            (await first.reserve(_claim(micro=3_000))).settle(0, 3_000)
            view = SharedUses(second.ledger, second.store, "b")

            async def told() -> bool:
                return (await view.of([PROJECT]))[0].spent_day == 3_000

            assert await _eventually(told)
            limits.update(BUDGET)
            for each in (first, second):
                each.ledger.refresh(Scope.PROJECT, "*")
            return [await second.status(_claim(micro=micro)) for micro in (1_500, 1_000, 1)]

    assert asyncio.run(call()) == [429, 200, 429]


def test_slots_are_shared_and_come_back(url: str) -> None:
    """Of five requests that may run at once, five run, at two gateways together; those that end make room anywhere."""
    limits = {PROJECT: Limits(concurrent_requests=5)}

    async def call() -> tuple[int, int]:
        async with gateways(url, limits, ["a", "b"]) as (first, second):
            calls = [each.status(_claim()) for each in (first, second) for _ in range(5)]
            running = list(await asyncio.gather(*calls)).count(200)
            one, other = (first, second) if first.grants else (second, first)
            one.grants.pop().settle(0, 0)
            assert await _eventually(lambda: _status_is(other, _claim(), 200))
            return running, await other.status(_claim())

    assert asyncio.run(call()) == (5, 429)
