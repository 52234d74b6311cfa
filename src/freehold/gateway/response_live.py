"""Responses that are made in the background, while they are made.

An event is written before anybody is told of it. So whoever has seen event n finds n and all before it again,
whatever happens to the server, and what follows has higher numbers.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from freehold.errors import FreeholdError
from freehold.gateway.flights import ClientGone, Flight
from freehold.gateway.response_draft import Draft
from freehold.gateway.response_writer import StreamEvent


class ResponseCancelled(ClientGone):
    """The caller cancelled a response."""

    default_code = "response_cancelled"


class Live:
    """One response in the making.

    Args:
        draft: the response.
        write: keeps events; None where the response has no stream.
    """

    def __init__(self, draft: Draft, write: Callable[[Sequence[StreamEvent]], Awaitable[None]] | None) -> None:
        self.draft = draft
        self.done = asyncio.Event()
        """Set when everything about it is written."""
        self._error: FreeholdError | None = None
        self.streams = write is not None
        self._write = write
        self._flight: Flight | None = None
        self._cancelled = False
        self._told: list[StreamEvent] = []
        self._pending: list[StreamEvent] = []
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._ended = False

    def flies(self, flight: Flight) -> None:
        """It is being worked on."""
        self._flight = flight
        if self._cancelled:
            self.cancel()
        elif self._error is not None:
            flight.abort(self._error)

    def lands(self) -> None:
        """It is worked on no more: there is nothing to stop."""
        self._flight = None

    def cancel(self) -> None:
        """Stop the work on it."""
        self._cancelled = True
        if self._flight is not None:
            self._flight.abort(ResponseCancelled("The response was cancelled."))

    @property
    def is_broken(self) -> bool:
        """Whether what comes of it is not to be written."""
        return self._error is not None

    def broken(self, error: FreeholdError) -> None:
        """Its events cannot be written."""
        self._error = error
        self._write, self._pending = None, []
        if self._flight is not None:
            self._flight.abort(error)

    def put(self, event: StreamEvent) -> None:
        """Take an event; it is told once it is written."""
        if self._write is not None:
            self._pending.append(event)
            self._wake.set()

    async def pump(self) -> None:
        """Write events and tell of them, all that there are at a time, until there are no more to come.

        Raises: what writing raises; then nothing more is told.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            events, self._pending = self._pending, []
            if events and self._write is not None:
                await self._write(events)
                await self._tell(events)
            if self._ended and not self._pending:
                return

    def close(self) -> None:
        """No more events come."""
        self._ended = True
        self._wake.set()

    async def end(self, last: StreamEvent | None) -> None:
        """Everything is written, the last event too; tell of that."""
        self.done.set()
        await self._tell([] if last is None else [last])

    async def follow(self, after: int) -> AsyncGenerator[StreamEvent]:
        """The events whose numbers are higher, those that are there and those that come."""
        place = after + 1
        while place < len(self._told) or not self.done.is_set():
            async with self._changed:
                while place >= len(self._told) and not self.done.is_set():
                    await self._changed.wait()
            for event in self._told[place:]:
                yield event
                place += 1

    async def _tell(self, events: Sequence[StreamEvent]) -> None:
        async with self._changed:
            self._told += events
            self._changed.notify_all()
