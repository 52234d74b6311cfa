"""Following a response in the making: from anywhere, slowly, and where its events cannot be written."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from freehold.errors import HomeError
from freehold.gateway.flights import Flights
from freehold.gateway.response_draft import Draft
from freehold.gateway.response_live import Live, ResponseCancelled
from freehold.gateway.response_writer import StreamEvent
from freehold.types.identity import DATA_PLANE, Principal
from freehold.types.responses import ResponseRequest

DRAFT = Draft(ResponseRequest.model_validate({"model": "m", "input": "x", "background": True}), "resp_1", "m")
PRINCIPAL = Principal("org", "proj", "app", actions=DATA_PLANE)


def event(number: int) -> StreamEvent:
    """An event."""
    return {"type": "response.output_text.delta", "sequence_number": number}


class Disk:
    """Where events are written; it is full from some event on."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.written: list[StreamEvent] = []

    async def __call__(self, events: Sequence[StreamEvent]) -> None:
        """Write events."""
        await asyncio.sleep(0)
        if len(self.written) + len(events) > self.room:
            raise HomeError("The disk is full.")
        self.written += events


async def pumped(live: Live) -> None:
    """Write what comes, as the work in the background does."""
    try:
        await live.pump()
    except HomeError as exc:
        live.broken(exc)


async def numbers(live: Live, after: int, *, pause: int = 0) -> list[int]:
    """The numbers that a follower is told, who does something else between events."""
    found = []
    async for each in live.follow(after):
        found.append(each["sequence_number"])
        for _ in range(pause):
            await asyncio.sleep(0)
    return found


def run(trial: Callable[[], Awaitable[Any]]) -> Any:
    """Run a trial; one that waits for ever fails."""

    async def main() -> Any:
        async with asyncio.timeout(10):
            return await trial()

    return asyncio.run(main())


@pytest.mark.parametrize("pause", [0, 1, 7])
def test_every_follower_has_what_comes_behind_his_place(pause: int) -> None:
    """From before the first to behind the last, joined early or late, quick or slow: each event once, in order."""

    async def trial() -> None:
        disk = Disk()
        live = Live(DRAFT, disk)
        pump = asyncio.create_task(pumped(live))
        early = [asyncio.create_task(numbers(live, after, pause=pause)) for after in range(-1, 13)]
        late = []
        for number in range(10):
            live.put(event(number))
            await asyncio.sleep(0)
            late.append(asyncio.create_task(numbers(live, max(-1, number - 3), pause=pause)))
        live.close()
        await pump
        await disk([event(10)])
        await live.end(event(10))
        assert [each["sequence_number"] for each in disk.written] == list(range(11))
        for after, task in zip(range(-1, 13), early, strict=True):
            assert await task == list(range(after + 1, 11))
        for number, task in enumerate(late):
            assert await task == list(range(max(0, number - 2), 11))
        assert await numbers(live, -1) == list(range(11)), "who comes when all is done has everything too"

    run(trial)


def test_nothing_is_told_that_is_not_written() -> None:
    """At each moment whoever has an event finds it on the disk."""

    async def trial() -> None:
        disk = Disk()
        live = Live(DRAFT, disk)
        pump = asyncio.create_task(pumped(live))

        async def look() -> None:
            async for each in live.follow(-1):
                assert each in disk.written

        look_on = asyncio.create_task(look())
        for number in range(20):
            live.put(event(number))
            await asyncio.sleep(0)
        live.close()
        await pump
        await live.end(None)
        await look_on

    run(trial)


def test_the_last_event_reaches_followers_who_have_just_been_told() -> None:
    """Many who are being told of one event when the last comes are told of that as well."""

    async def trial() -> None:
        live = Live(DRAFT, Disk())
        pump = asyncio.create_task(pumped(live))
        followers = [asyncio.create_task(numbers(live, -1)) for _ in range(100)]
        await asyncio.sleep(0)
        live.put(event(0))
        live.close()
        await pump
        await live.end(event(1))
        assert await asyncio.gather(*followers) == [[0, 1]] * 100

    run(trial)


def test_what_is_broken_before_it_begins_is_stopped_when_it_does() -> None:
    """Where another gateway has let a response fail before the work on it began, that is not done for nothing."""

    async def trial() -> None:
        live, gone = Live(DRAFT, Disk()), HomeError("It has failed.")
        live.broken(gone)
        with Flights(60).open(PRINCIPAL, lambda: None) as flight:
            live.flies(flight)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(9)
            assert flight.landed() is gone

    run(trial)


def test_where_events_cannot_be_written_the_stream_ends() -> None:
    """What was written was told, no more; the work is stopped with the reason, and what comes later is dropped."""

    async def trial() -> None:
        disk = Disk(room=3)
        live = Live(DRAFT, disk)
        with Flights(60).open(PRINCIPAL, lambda: None) as flight:
            live.flies(flight)
            pump = asyncio.create_task(pumped(live))
            follower = asyncio.create_task(numbers(live, -1))
            try:
                for number in range(50):
                    live.put(event(number))
                    await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                reason = flight.landed()
            else:
                reason = None
            assert isinstance(reason, HomeError)
            assert live.is_broken
            live.put(event(99))
            live.close()
            await pump
            await live.end(None)
            assert await follower == [each["sequence_number"] for each in disk.written]
            assert len(disk.written) <= 3

    run(trial)


@pytest.mark.parametrize("before", [True, False])
def test_a_cancelled_response_is_stopped(*, before: bool) -> None:
    """Be it cancelled before the work on it began, or during it."""

    async def trial() -> None:
        live = Live(DRAFT, None)
        if before:
            live.cancel()
        stopped = None
        with Flights(60).open(PRINCIPAL, lambda: None) as flight:
            live.flies(flight)
            try:
                if not before:
                    live.cancel()
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                stopped = flight.landed()
        assert isinstance(stopped, ResponseCancelled)

    run(trial)


def test_without_a_stream_nothing_is_kept_back() -> None:
    """A response that has no stream takes events, and ends."""

    async def trial() -> None:
        live = Live(DRAFT, None)
        pump = asyncio.create_task(pumped(live))
        live.put(event(0))
        live.close()
        await pump
        await live.end(None)
        assert live.done.is_set()
        assert not live.streams
        assert await numbers(live, -1) == []

    run(trial)
