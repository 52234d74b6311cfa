"""Gateways that share provisioned units by a real PostgreSQL: one bucket, its level kept, its rest usable anywhere."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from freehold.errors import CapacityExceeded
from freehold.gateway.capacity import Capacities
from freehold.gateway.capacity_bucket import Draught
from freehold.gateway.capacity_shared import SharedBuckets
from freehold.gateway.desk import LocalDesk
from freehold.gateway.leases_book import Holdings
from freehold.gateway.leases_sync import Lender, boot_clock_us
from freehold.gateway.ledger import Ledger
from freehold.gateway.refusal import Short
from freehold.governance.limits import UNLIMITED
from freehold.store import postgres
from freehold.store.database import PARAM
from freehold.store.leases import Holder, LeaseStore
from freehold.types.capacity import CapacitySettings, Weights, Work
from freehold.types.deployment import DeploymentSettings
from freehold.types.limits import Claim, Scope, Subject
from tests.gateway.test_response_watch import Records
from tests.postgres import PostgreSQL

pytestmark = pytest.mark.slow

SECOND = 1_000_000
BURST_S = 600
SETTINGS = DeploymentSettings(name="d", model="m", capacity=CapacitySettings(units=1, burst_s=BURST_S))
"""One unit, and a bucket that holds ten minutes of it: what runs out of it while a test runs is little beside that."""


@dataclass
class Gateway:
    """One gateway's units, and what borrows for it."""

    capacities: Capacities
    buckets: SharedBuckets
    lender: Lender
    store: LeaseStore
    desk: LocalDesk
    is_cut: bool = False

    async def take(self, seconds: int) -> Draught:
        """Take so many seconds of a unit's work, as a desk does."""
        found = partial(self.capacities.take, _claim(seconds))
        try:
            taken = found()
        except Short as short:
            taken = await self.desk.later(found, short)
        assert taken is not None
        return taken

    async def status(self, seconds: int) -> int:
        """What a caller is answered; what is let in goes on running."""
        try:
            await self.take(seconds)
        except CapacityExceeded as exc:
            return exc.status
        return 200

    async def all(self, seconds: int) -> int:
        """Ask for as much until there is no more; how often there was."""
        return (await self.refusal(seconds))[0]

    async def refusal(self, seconds: int) -> tuple[int, str]:
        """The same, and why there was no more."""
        count = 0
        while True:
            try:
                await self.take(seconds)
            except CapacityExceeded as exc:
                return count, exc.message
            count += 1

    async def cut(self) -> None:
        """Lose the database."""
        self.is_cut = True
        await self.store.close()

    async def kill(self) -> None:
        """End as a kill does: nothing is given back."""
        task = self.lender._task
        assert task is not None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await self.store.close()


def _claim(seconds: int) -> Claim:
    subjects = (Subject(Scope.DEPLOYMENT, "d"), Subject(Scope.PROJECT, "p"))
    return Claim(subjects, 1, 0, time.time(), Work(seconds * SECOND))


def _gateway(url: str, name: str) -> Gateway:
    holdings = Holdings(lambda _: UNLIMITED, boot_clock_us)
    ledger = Ledger(lambda _: UNLIMITED, leases=holdings)

    async def connect() -> Any:
        if found.is_cut:
            raise OSError("cut off")
        return await postgres.connect(url, PARAM)

    store = LeaseStore(connect, postgres.failures(PARAM), "units of a test")
    lender, buckets = Lender(ledger, holdings, store, Holder(name, name)), SharedBuckets(holdings, store)
    capacities = Capacities(lambda _: SETTINGS, lambda _: Weights(1, 1, 1, 1), buckets=buckets)
    found = Gateway(capacities, buckets, lender, store, LocalDesk(Records(), ledger, lender, capacities))
    return found


@asynccontextmanager
async def _gateways(url: str, names: str) -> AsyncIterator[list[Gateway]]:
    async with AsyncExitStack() as stack:
        found = [_gateway(url, name) for name in names]
        for each in found:
            await stack.enter_async_context(each.lender)
        yield found


@pytest.fixture
def url(postgres_server: PostgreSQL) -> str:
    """A new database with a home's tables."""
    return postgres_server.new_home()


def _seconds_since(began: float) -> float:
    return time.monotonic() - began


async def _sum(running: Sequence[Gateway], ask: Callable[[Gateway], Any]) -> int:
    return sum(await asyncio.gather(*map(ask, running)))


def test_three_gateways_give_out_what_there_is_once(url: str) -> None:
    """Of a bucket for 60 requests three gateways that are asked at once let in 60, and what runs out meanwhile."""

    async def call() -> tuple[int, float]:
        async with _gateways(url, "abc") as running:
            began = time.monotonic()
            return await _sum(running, lambda each: each.all(10)), _seconds_since(began)

    count, took_s = asyncio.run(call())
    assert BURST_S / 10 <= count <= BURST_S / 10 + took_s / 10 + 1


def test_the_level_survives_whoever_dies_or_ends(url: str) -> None:
    """What was taken is still in the bucket after all gateways were killed, and after all have ended in order."""

    async def call() -> list[int]:
        found = []
        async with AsyncExitStack() as stack:
            (first,) = await stack.enter_async_context(_gateways(url, "a"))
            found.append(await first.status(2 * BURST_S))
            await first.kill()
            async with _gateways(url, "ab") as running:
                found += [await each.status(1) for each in running]
        async with _gateways(url, "bc") as running:
            found += [await each.status(1) for each in running]
        return found

    assert asyncio.run(call()) == [200, 429, 429, 429, 429]


def test_what_one_gateway_gives_back_another_has(url: str) -> None:
    """A request that is larger than the bucket fills it for all; if it turns out to need nothing, others have room."""

    async def call() -> tuple[int, int]:
        async with _gateways(url, "ab") as (first, second):
            draught = await first.take(2 * BURST_S)
            refused = await second.status(1)
            first.capacities.settle(draught, {})
            async with asyncio.timeout(60):
                while await second.status(2 * BURST_S) != 200:  # noqa: ASYNC110  # what is waited for is in the database
                    await asyncio.sleep(0.05)
            return refused, await first.all(1)

    refused, rest = asyncio.run(call())
    assert refused == 429
    assert rest <= BURST_S, "of what it still held"


def test_what_one_gateway_holds_and_does_not_use_another_has(url: str) -> None:
    """A large request gets what others hold ahead of need: it is let in, though it lacked that here."""

    async def call() -> list[int]:
        async with _gateways(url, "abc") as running:
            found = [await each.status(1) for each in running for _ in range(20)]
            return [*found, await running[0].status(BURST_S - 70)]

    assert asyncio.run(call()) == [200] * 61


def test_without_the_database_a_gateway_uses_what_it_holds(url: str) -> None:
    """Cut off, it goes on within its slice, then refuses as it refuses what is beyond the units, so that it spills."""

    async def call() -> tuple[int, int, str]:
        async with _gateways(url, "ab") as (first, second):
            assert await first.status(1) == 200
            await first.cut()
            alone = await first.all(1)
            others = await second.all(1)
            with pytest.raises(CapacityExceeded, match="the database cannot be reached") as refused:
                await first.take(1)
            assert refused.value.retry_after_s
            first.is_cut = False
            return alone, others, (await first.refusal(1))[1]

    alone, others, after = asyncio.run(call())
    assert alone + others <= BURST_S + 60
    assert others > BURST_S / 2
    assert "database" not in after


def test_the_whole_and_each_gateways_part_are_told(url: str) -> None:
    """Each gateway knows the utilization of all, its own, and by their names what each takes."""

    async def call() -> None:
        async with _gateways(url, "abc") as running:
            for each, seconds in zip(running, (30, 60, 0), strict=True):
                if seconds:
                    await each.take(seconds)
            for each in running[:2]:
                async with asyncio.timeout(60):
                    while True:
                        await each.buckets.refresh()
                        use = each.capacities.use("d")
                        assert use is not None
                        told = [part.gateway for part in use.parts if part.utilization > 0]
                        if told == ["a", "b"] and use.utilization > use.own_utilization > 0 and use.filled > 10:
                            break
                        await asyncio.sleep(0.05)

    asyncio.run(call())
