"""Requests in flight: what is running, for whom, and how to stop it from outside.

A flight is aborted by cancelling its task with the reason noted on the flight, which costs nothing on the way
of a request. Whoever runs the flight turns the cancellation back into that reason (`Flight.reason`).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Self

from freehold.errors import Draining, EngineTimeout, FreeholdError, RequestError, Unauthenticated
from freehold.types.identity import Principal


class ClientGone(RequestError):
    """The caller closed the connection; nobody reads the answer."""

    status = 499
    default_code = "client_closed_request"


class Flight:
    """One running request and the task that runs it; a context, which it leaves when the request has ended."""

    __slots__ = ("_land", "_task", "due", "end_user", "principal", "reason", "timer")

    def __init__(
        self,
        principal: Principal,
        task: "asyncio.Task[object]",
        end_user: Callable[[], str | None],
        land: "Callable[[Flight], None]",
    ) -> None:
        self.principal = principal
        self.end_user = end_user
        self.reason: FreeholdError | None = None
        self.due = 0.0
        """When its time is up, by the loop's clock."""
        self.timer: asyncio.TimerHandle | None = None
        """Stops it when its caller's credential comes to its end, where that is before its time is up."""
        self._task = task
        self._land = land

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._land(self)

    def abort(self, reason: FreeholdError) -> None:
        """Stop the request; the first reason counts."""
        if self.reason is None:
            self.reason = reason
            self._task.cancel()

    def leave(self) -> None:
        """Stop the request because its caller has gone."""
        self.abort(ClientGone("The client closed the connection."))

    def landed(self) -> FreeholdError | None:
        """Take the cancellation back and return why the flight was aborted; None if it was not."""
        if self.reason is not None:
            self._task.uncancel()
        return self.reason


class Flights:
    """All running requests of this gateway."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._flying: dict[Flight, None] = {}
        """In the order in which their times are up."""
        self._clock: asyncio.TimerHandle | None = None
        """Looks for those whose time is up: one for all, as to set and to take back a timer for each is dear."""
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False

    def __len__(self) -> int:
        return len(self._flying)

    def open(self, principal: Principal, end_user: Callable[[], str | None] = lambda: None) -> Flight:
        """Count the current task as a running request, and bound its time.

        Args:
            principal: who asks.
            end_user: tells the digest of the end user whom it asks for, once that is known.

        Raises:
            Draining: the server is shutting down and takes no more.
        """
        task = asyncio.current_task()
        assert task is not None, "a request runs in a task"
        if self.draining:
            raise Draining("The server is shutting down. Please try again.")
        flight = Flight(principal, task, end_user, self._land)
        self._flying[flight] = None
        self._empty.clear()
        loop = task.get_loop()
        flight.due = loop.time() + self._timeout_s
        if self._clock is None:
            self._clock = loop.call_at(flight.due, self._look, loop)
        if principal.expires_at is not None and (left_s := principal.expires_at - time.time()) <= self._timeout_s:
            flight.timer = loop.call_later(max(0.0, left_s), self._expired, flight)
        return flight

    def _land(self, flight: Flight) -> None:
        """A request has ended."""
        if flight.timer is not None:
            flight.timer.cancel()
        self._flying.pop(flight, None)
        if not self._flying:
            self._empty.set()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop the requests whose time is up, and look again when that of the next one is."""
        self._clock, now = None, loop.time()
        for flight in tuple(self._flying):
            if flight.due > now:
                self._clock = loop.call_at(flight.due, self._look, loop)
                return
            flight.abort(
                EngineTimeout(f"The request took longer than {self._timeout_s:g} seconds.", code="request_timeout")
            )

    def _expired(self, flight: Flight) -> None:
        """Stop a request whose caller's credential has come to its end."""
        flight.abort(Unauthenticated("The credential expired while the request was running."))

    def review(self, objection: Callable[[Principal], FreeholdError | None]) -> None:
        """Stop every request whose caller may go on no more.

        Args:
            objection: why a caller may not; None if it may.
        """
        for flight in tuple(self._flying):
            reason = objection(flight.principal)
            if reason is not None:
                flight.abort(reason)

    def review_callers(self, objection: Callable[[Principal, str | None], FreeholdError | None]) -> None:
        """Stop every request whose caller, or the end user it acts for, may go on no more.

        Args:
            objection: why a caller may not on behalf of an end user, by its digest; None if it may.
        """
        for flight in tuple(self._flying):
            reason = objection(flight.principal, flight.end_user())
            if reason is not None:
                flight.abort(reason)

    async def drain(self, deadline_s: float) -> int:
        """Take no more requests, wait for the running ones, then stop the rest; how many had to be stopped."""
        self.draining = True
        try:
            await asyncio.wait_for(self._empty.wait(), deadline_s)
        except TimeoutError:
            late = self.abort_all()
            await self._empty.wait()
            return late
        return 0

    def abort_all(self) -> int:
        """End every running request because the server stops; how many there were."""
        late = tuple(self._flying)
        for flight in late:
            flight.abort(Draining("The server is shutting down; the answer is cut off here."))
        return len(late)
