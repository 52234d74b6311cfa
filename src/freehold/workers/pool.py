"""All workers of a core: started and stopped together, and told together of what has changed."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import structlog

from freehold.config import SupervisorSettings
from freehold.errors import FreeholdError
from freehold.workers.clerk import Core
from freehold.workers.copies import TABLES
from freehold.workers.order import Order
from freehold.workers.seat import Seat, SeatState, StandIn
from freehold.workers.summed import summed
from freehold.workers.wire import wire_of_error, wire_of_traits

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.25
"""How often to look whether something has changed that nobody tells of."""
FORCE_S: Final = 5.0
"""How long a change may take to be in force in a worker. One that takes longer is killed."""


class Pool:
    """The workers, while the block runs.

    Args:
        core: what the core does for them.
        orders: one for each, without its sockets.
        listeners: one for each.
        limits: how long to wait before another start, and for an answer.
        stand_in: takes requests in the core where a worker is missing.
    """

    def __init__(
        self,
        core: Core,
        orders: Sequence[Order],
        listeners: Sequence[socket.socket],
        limits: SupervisorSettings,
        stand_in: StandIn,
    ) -> None:
        self._core = core
        self._orders = orders
        self._listeners = listeners
        self._limits = limits
        self._stand_in = stand_in
        self._seats: list[Seat] = []
        self._written: set[str] = set()
        self._dirty = True
        self._due = False
        self._last: dict[str, Any] = {}
        self._unsettled: set[asyncio.Future[Any]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._gone = b""
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> Self:
        self._last = self._state()
        self._core.database.on_write(self._wrote)
        self._core.supervisor.on_state(lambda _name, _status: self._touch())
        self._seats = [
            Seat(self._core, order, listener, self._limits, self._greeting, self._touch, self._stand_in)
            for order, listener in zip(self._orders, self._listeners, strict=True)
        ]
        self._looking = asyncio.create_task(self._look(), name="workers' state")
        try:
            await asyncio.gather(*(seat.begun() for seat in self._seats))
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        await asyncio.gather(*(seat.stop() for seat in self._seats))

    async def drain(self, deadline_s: float) -> int:
        """Have all of them let their requests finish; how many had to be cut off."""
        found = await asyncio.gather(*(seat.drain(deadline_s) for seat in self._seats), return_exceptions=True)
        return sum(each for each in found if isinstance(each, int))

    def abort(self) -> None:
        """Have all of them cut off what still runs."""
        for seat in self._seats:
            seat.abort()

    async def settled(self) -> None:
        """See `Crew.settled`. Of workers that are just starting nothing is waited for: they begin with what holds."""
        if self._dirty or self._written:
            self._tell()
        while self._unsettled:
            await asyncio.wait(self._unsettled)

    async def expositions(self) -> Sequence[bytes]:
        """See `Crew.expositions`."""
        found = await asyncio.gather(*(seat.exposition() for seat in self._seats))
        for seat in self._seats:
            if seat.gone:
                self._gone, seat.gone = summed([self._gone, seat.gone]), b""
        return [text for text in (*found, self._gone) if text]

    def report(self) -> list[dict[str, Any]]:
        """See `Crew.report`."""
        return [seat.report() for seat in self._seats]

    def _greeting(self) -> dict[str, Any]:
        """What a worker must know before it begins."""
        return self._numbered(self._state())

    def _numbered(self, state: dict[str, Any]) -> dict[str, Any]:
        """With a number: of what a worker is told, the largest holds."""
        return {**state, "number": next(self._numbers)}

    def _state(self) -> dict[str, Any]:
        """What workers know besides what stands in the database."""
        core = self._core
        statuses: dict[str, Any] = {}
        for name in core.supervisor.names():
            status = core.supervisor.status(name)
            traits = None if status.traits is None else wire_of_traits(status.traits)
            statuses[name] = [status.state, traits, [replica.id for replica in status.replicas]]
        objection = None
        try:
            core.desk.check()
        except FreeholdError as exc:
            objection = wire_of_error(exc)
        return {
            "statuses": statuses,
            "over": sorted(core.canaries.over),
            "stays": sorted(core.versions.stays),
            "objection": objection,
        }

    def _wrote(self, tables: Iterable[str]) -> None:
        """Hear what was written in the database."""
        self._written |= TABLES & frozenset(tables)
        if self._written:
            self._touch()

    def _touch(self) -> None:
        """Tell the workers soon of what has changed, all that comes in one turn of the event loop together."""
        self._dirty = True
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        """Tell the workers of what has changed, if anything has."""
        self._due = self._dirty = False
        state, tables = self._state(), sorted(self._written)
        if not tables and state == self._last:
            return
        self._written.clear()
        self._last = state
        told = self._numbered(state)
        for seat in self._seats:
            if seat.attached:
                self._await(seat, seat.notice(tables, told), wait=seat.state is SeatState.READY)

    def _await(self, seat: Seat, told: asyncio.Future[Any], *, wait: bool) -> None:
        """Wait until a worker has taken a change in, and no longer than it may take."""

        def late() -> None:
            log.error("worker_too_slow", worker=seat.name, seconds=FORCE_S)
            seat.kill()

        def done(told: asyncio.Future[Any]) -> None:
            self._unsettled.discard(told)
            if timer is not None:
                timer.cancel()
            told.exception()  # of one that is gone nothing is waited for

        timer = asyncio.get_running_loop().call_later(FORCE_S, late) if wait else None
        if wait:
            self._unsettled.add(told)
        told.add_done_callback(done)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self._tell()
            for seat in self._seats:
                seat.look()
