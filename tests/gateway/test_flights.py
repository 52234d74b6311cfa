"""Requests in flight and how they are stopped."""

import asyncio

import pytest

from freehold.errors import Draining, EngineTimeout, FreeholdError, Unauthenticated
from freehold.gateway.flights import Flights
from freehold.types.identity import Principal

ANN = Principal("org", "proj", "user-ann", key_id="key_ann")
BOB = Principal("org", "proj", "user-bob", key_id="key_bob")


async def fly(flights: Flights, principal: Principal, *, seconds: float) -> FreeholdError | None:
    """A request that takes this long; why it was stopped, if it was."""
    with flights.open(principal) as flight:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            return flight.landed()
    return None


def test_revoking_a_key_stops_its_requests_only() -> None:
    """Requests of a revoked key end with a 401, those of other keys go on."""

    async def scenario() -> None:
        flights = Flights(timeout_s=60)
        ann = asyncio.create_task(fly(flights, ANN, seconds=60))
        bob = asyncio.create_task(fly(flights, BOB, seconds=0.05))
        await asyncio.sleep(0)
        assert len(flights) == 2
        flights.review(lambda who: Unauthenticated("revoked") if who.key_id == "key_ann" else None)
        assert isinstance(await ann, Unauthenticated)
        assert await bob is None
        assert len(flights) == 0

    asyncio.run(scenario())


def test_a_request_that_takes_too_long_is_stopped() -> None:
    """The time limit of a request ends it with a timeout error."""
    reason = asyncio.run(fly(Flights(timeout_s=0.01), ANN, seconds=60))
    assert isinstance(reason, EngineTimeout)
    assert reason.code == "request_timeout"


def test_each_request_has_its_own_time_although_one_timer_looks() -> None:
    """One that began later ends later, one that has ended is not stopped, and a first one after a pause is."""

    async def scenario() -> None:
        loop, took = asyncio.get_running_loop(), dict[str, float]()
        flights = Flights(timeout_s=0.2)

        async def timed(name: str, wait_s: float, seconds: float) -> FreeholdError | None:
            await asyncio.sleep(wait_s)
            began = loop.time()
            reason = await fly(flights, ANN, seconds=seconds)
            took[name] = loop.time() - began
            return reason

        short, first, second = await asyncio.gather(
            timed("short", 0, 0.05), timed("first", 0.01, 60), timed("second", 0.1, 60)
        )
        assert short is None
        assert isinstance(first, EngineTimeout)
        assert isinstance(second, EngineTimeout)
        await asyncio.sleep(0.25)
        assert isinstance(await timed("after", 0, 60), EngineTimeout)
        assert all(took[name] >= 0.19 for name in ("first", "second", "after"))

    asyncio.run(scenario())


def test_draining_lets_short_requests_finish_and_stops_long_ones() -> None:
    """After the deadline the rest is ended with an error; from the first moment nothing new is taken."""

    async def scenario() -> None:
        flights = Flights(timeout_s=60)
        short = asyncio.create_task(fly(flights, ANN, seconds=0.01))
        long = asyncio.create_task(fly(flights, BOB, seconds=60))
        await asyncio.sleep(0)
        drain = asyncio.create_task(flights.drain(0.2))
        await asyncio.sleep(0)
        with pytest.raises(Draining):
            await fly(flights, ANN, seconds=0)
        assert await drain == 1
        assert await short is None
        assert isinstance(await long, Draining)

    asyncio.run(scenario())


def test_a_foreign_cancellation_stays_one() -> None:
    """A task that is cancelled for another reason is not mistaken for an aborted flight."""

    async def scenario() -> None:
        flights = Flights(timeout_s=60)
        task = asyncio.create_task(fly(flights, ANN, seconds=60))
        await asyncio.sleep(0)
        task.cancel()
        assert await task is None

    asyncio.run(scenario())
