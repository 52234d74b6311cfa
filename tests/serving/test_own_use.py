"""What the service itself has engines do is told apart from what callers have."""

import asyncio
import time

import pytest

from freehold.serving.own_use import OwnUse
from freehold.types.engine import EngineCounters
from freehold.types.generation import Usage

COUNTED = EngineCounters(0.0, 9, 100, 50)


async def _counted(answered: asyncio.Event | None = None) -> EngineCounters | None:
    if answered is not None:
        await answered.wait()
    return COUNTED


def told(own: OwnUse) -> tuple[int, int, bool]:
    """What an engine is said to have done for callers."""
    found = asyncio.run(own.taken_off(_counted()))
    assert found is not None
    assert found.requests == 9
    return found.prompt_tokens, found.completion_tokens, found.exact


def test_own_calls_are_taken_off() -> None:
    """What own calls used is not in what is told, and nothing is taken off without them."""
    own = OwnUse()
    assert told(own) == (100, 50, True)
    with own.call() as call:
        call.usage = Usage(30, 5)
    with own.call() as call:
        call.usage = Usage(10, 0)
    assert told(own) == (60, 45, True)


@pytest.mark.parametrize("usage", [None, Usage(30, 5, estimated=True)])
def test_what_is_not_known_is_not_exact(usage: Usage | None) -> None:
    """After a call whose use is not known, or was estimated, the figures are not exact any more."""
    own = OwnUse()
    with own.call() as call:
        call.usage = usage
    assert told(own)[2] is False


def test_a_failed_call_is_counted_out() -> None:
    """An error goes through, and the call does not run on."""
    own = OwnUse()
    with pytest.raises(ConnectionError), own.call():
        raise ConnectionError
    assert told(own) == (100, 50, False)


def test_a_call_that_runs_meanwhile_makes_it_inexact() -> None:
    """A call that runs while the engine is asked, or that began and ended then, may or may not be counted."""

    async def scenario() -> None:
        own, answered = OwnUse(), asyncio.Event()
        asked = asyncio.create_task(own.taken_off(_counted(answered)))
        await asyncio.sleep(0)
        with own.call() as call:
            call.usage = Usage(30, 5)
        answered.set()
        found = await asked
        assert found is not None
        assert (found.prompt_tokens, found.exact) == (100, False)
        with own.call() as call:
            inside = await own.taken_off(_counted())
            call.usage = Usage(1, 1)
        assert inside is not None
        assert not inside.exact

    asyncio.run(scenario())


def test_an_engine_that_does_not_count_stays_so() -> None:
    """Where there are no counters there is nothing to take off."""

    async def nothing() -> None:
        return None

    assert asyncio.run(OwnUse().taken_off(nothing())) is None


def test_what_an_earlier_run_asked_for_does_not_count() -> None:
    """Of an engine that was found only what it does from then on is told, and it may be more than this run knows of."""
    began = time.time()
    own = OwnUse(EngineCounters(1.0, 3, 30, 20), alone=False)
    found = asyncio.run(own.taken_off(_counted()))
    assert found is not None
    assert found == EngineCounters(found.since, 6, 70, 30, exact=False)
    assert found.since >= began
