"""The desk where requests are admitted and closed: what they may use is taken from the limits, and recorded.

There is one for a home. Where several processes take requests, theirs is reached by messages (`freehold.workers`), so
that the limits are those of one ledger and the records those of one journal.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from freehold.errors import AuditUnavailable, CapacityExceeded, FreeholdError, LimitsUnavailable
from freehold.gateway.capacity import Capacities
from freehold.gateway.capacity_bucket import Draught
from freehold.gateway.ledger import Charge, Grant, Ledger
from freehold.gateway.refusal import Short
from freehold.journal.recorder import Recorder
from freehold.journal.records import Kind
from freehold.journal.waiting import Position
from freehold.types.limits import Claim
from freehold.types.receipt import Admitted

Made = TypeVar("Made")


class Reservation(Protocol):
    """What is reserved for one request; see `freehold.gateway.ledger.Grant`."""

    def settle(self, tokens: int, cost_micro: int) -> Charge:
        """Count what was really used, and give back the rest; exactly once."""

    def rest(self, tokens: int, cost_micro: int) -> None:
        """Give back what is not needed any more, where the work is done long before it is settled."""

    def headers(self) -> dict[str, str]:
        """`x-ratelimit-*` as they stand for the request's subjects."""


class Desk(Recorder, Protocol):
    """Admits requests, and records what comes of them. A request is known by its id."""

    async def admit(self, claim: Claim, admitted: Admitted) -> Reservation:
        """Reserve what a request may use, and record that it is about to run.

        Raises:
            RateLimited: a limit is reached.
            AuditUnavailable: it cannot be recorded; nothing is reserved.
        """

    async def move(self, claim: Claim, admitted: Admitted) -> None:
        """Exchange a request's reservation for another.

        Raises:
            RateLimited: a limit has no room; the reservation is as it was.
            AuditUnavailable: it cannot be recorded.
        """

    async def announce(self, admitted: Admitted) -> None:
        """Record that a request is about to run that reserves nothing.

        Raises:
            AuditUnavailable: it cannot be recorded.
        """

    def running(self) -> frozenset[str]:
        """The ids of the requests that were admitted or announced, and have no receipt."""


class Elsewhere(Protocol):
    """Where more of the limits may be than this gateway holds; see `freehold.gateway.leases_sync.Lender`."""

    async def until(self, act: Callable[[], Made], short: Short) -> Made:
        """Do something as soon as this gateway holds enough for it."""


class LocalDesk:
    """The desk of the process that has the ledger and the journal.

    Args:
        journal: where everything is recorded.
        ledger: what is used of the limits.
        elsewhere: where several gateways share the limits, where more of them may be.
        capacities: the provisioned units of deployments; None where there are none.
    """

    def __init__(
        self,
        journal: Recorder,
        ledger: Ledger,
        elsewhere: Elsewhere | None = None,
        capacities: Capacities | None = None,
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._elsewhere = elsewhere
        self._capacities = capacities
        self._open: dict[str, Grant | None] = {}
        """The running requests, and what is reserved for them if anything is."""
        self._taken: dict[str, Draught] = {}
        """What running requests take of provisioned units."""

    def check(self) -> None:
        """See `Recorder.check`."""
        self._journal.check()

    def submit(self, kind: Kind, body: Mapping[str, Any], *, durable: bool) -> asyncio.Future[Position]:
        """See `Recorder.submit`. With its receipt a request does not run any more."""
        if kind is Kind.RECEIPT:
            request_id = body["request_id"]
            self._open.pop(request_id, None)
            if self._taken and (taken := self._taken.pop(request_id, None)) is not None:
                self._units.settle(taken, body)
        return self._journal.submit(kind, body, durable=durable)

    async def admit(self, claim: Claim, admitted: Admitted) -> Grant:
        """See `Desk.admit`."""
        body = admitted.body()
        try:
            grant, recorded = self.begin(claim, body)
        except Short as short:
            grant, recorded = await self.later(lambda: self.begin(claim, body), short)
        try:
            await recorded
        except BaseException:
            self.give_up(admitted.request_id)
            raise
        return grant

    def begin(self, claim: Claim, body: Mapping[str, Any]) -> tuple[Grant, asyncio.Future[Position]]:
        """Reserve, without waiting until that is recorded; if it comes not to be, `give_up` is to be called.

        Args:
            claim: what is asked for.
            body: of the record `admitted`.

        Raises:
            RateLimited, AuditUnavailable: as `admit`.
            Short: this gateway holds too little; `later` asks for more.
        """
        taken = None if claim.work is None else self._units.take(claim)
        try:
            grant = self._ledger.reserve(claim)
        except (FreeholdError, Short):
            self._put_back(taken)
            raise
        try:
            recorded = self._journal.submit(Kind.ADMITTED, body, durable=False)
        except AuditUnavailable:
            grant.cancel()
            self._put_back(taken)
            raise
        self._open[body["request_id"]] = grant
        if taken is not None:
            self._take(body["request_id"], grant, taken)
        return grant, recorded

    async def later(self, act: Callable[[], Made], short: Short) -> Made:
        """Do something that was short of what others may hold, as soon as enough is here.

        Raises:
            RateLimited: there is no more, or not in time; of units, also where they cannot be asked for: then what goes
                beyond those that are held here may spill over.
            LimitsUnavailable: it cannot be asked for.
        """
        if self._elsewhere is None:
            raise short.error
        try:
            return await self._elsewhere.until(act, short)
        except LimitsUnavailable as exc:
            if isinstance(short.error, CapacityExceeded):
                raise _units_unavailable(short.error, exc) from exc
            raise

    def give_up(self, request_id: str) -> None:
        """Give back what is reserved for a request which does not run after all."""
        grant = self._open.pop(request_id, None)
        if grant is not None:
            grant.cancel()
        self._put_back(self._taken.pop(request_id, None))

    def reserved(self, request_id: str) -> Grant | None:
        """What is reserved for a running request; None if nothing is."""
        return self._open.get(request_id)

    async def move(self, claim: Claim, admitted: Admitted) -> None:
        """See `Desk.move`."""
        body = admitted.body()
        try:
            recorded = self.begin_move(claim, body)
        except Short as short:
            recorded = await self.later(lambda: self.begin_move(claim, body), short)
        await recorded

    def begin_move(self, claim: Claim, body: Mapping[str, Any]) -> asyncio.Future[Position]:
        """Exchange a reservation, without waiting until that is recorded.

        Raises:
            RateLimited, Short: as `begin`; the reservation is as it was.
        """
        request_id = body["request_id"]
        grant = self._open[request_id]
        assert grant is not None, "only what was admitted can move"
        taken = None if claim.work is None else self._units.take(claim)
        try:
            grant.move(claim)
        except (FreeholdError, Short):
            self._put_back(taken)
            raise
        self._put_back(self._taken.pop(request_id, None))
        grant.told = {}
        if taken is not None:
            self._take(request_id, grant, taken)
        return self._journal.submit(Kind.ADMITTED, body, durable=False)

    async def announce(self, admitted: Admitted) -> None:
        """See `Desk.announce`."""
        try:
            await self.begin_announced(admitted.body())
        except AuditUnavailable:
            self._open.pop(admitted.request_id, None)
            raise

    def begin_announced(self, body: Mapping[str, Any]) -> asyncio.Future[Position]:
        """Record that a request is about to run, without waiting until that is written."""
        recorded = self._journal.submit(Kind.ADMITTED, body, durable=False)
        self._open[body["request_id"]] = None
        return recorded

    def running(self) -> frozenset[str]:
        """See `Desk.running`."""
        return frozenset(self._open)

    @property
    def _units(self) -> Capacities:
        assert self._capacities is not None, "a claim of work is made where there are units"
        return self._capacities

    def _take(self, request_id: str, grant: Grant, taken: Draught) -> None:
        """Take note of what a request takes of provisioned units."""
        self._taken[request_id] = taken
        grant.told = self._units.headers(taken)

    def _put_back(self, taken: Draught | None) -> None:
        """Give back what a request took that does not run there."""
        if taken is not None:
            self._units.cancel(taken)


def _units_unavailable(refused: CapacityExceeded, exc: LimitsUnavailable) -> CapacityExceeded:
    """What is told where this gateway has used up the units that it held, and cannot ask for more."""
    return CapacityExceeded(
        exc.message, retry_after_s=exc.retry_after_s, scope=refused.scope, limit=refused.limit, headers=refused.headers
    )
