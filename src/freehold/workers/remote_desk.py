"""The desk as a worker has it: what it is asked goes to the core, where ledger and journal are.

An admission is one message and its answer; the end of a request is one message, and its answer, when the receipt is on
the disk, is what the caller's last byte waits for.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from freehold.errors import FreeholdError
from freehold.gateway.ledger import Charge
from freehold.journal.records import Kind, plain
from freehold.journal.waiting import Position
from freehold.types.limits import Claim
from freehold.types.receipt import Admitted
from freehold.workers.link import Link, gone
from freehold.workers.wire import wire_of_claim


class RemoteReservation:
    """What the core has reserved for a request. See `freehold.gateway.desk.Reservation`.

    Args:
        desk: where it was reserved.
        request_id: for which request.
        claim: what was asked for.
        headers: `x-ratelimit-*` as they stood then.
    """

    __slots__ = ("_desk", "_headers", "_open", "_request_id", "claim")

    def __init__(self, desk: "RemoteDesk", request_id: str, claim: Claim, headers: dict[str, str]) -> None:
        self._desk = desk
        self._request_id = request_id
        self._headers = headers
        self._open = True
        self.claim = claim

    def moved(self, claim: Claim, headers: dict[str, str]) -> None:
        """Take note that it was exchanged for another."""
        self.claim, self._headers = claim, headers

    def settle(self, tokens: int, cost_micro: int) -> Charge:
        """See `Reservation.settle`. The core hears of it with the receipt."""
        if not self._open:
            raise AssertionError("a grant is settled exactly once")
        self._open = False
        self._desk.settled(self._request_id, tokens, cost_micro)
        charged = min(cost_micro, self.claim.cost_micro)
        return Charge(charged, cost_micro - charged)

    def rest(self, tokens: int, cost_micro: int) -> None:
        """See `Reservation.rest`."""
        self.claim = replace(self.claim, tokens=tokens, cost_micro=min(cost_micro, self.claim.cost_micro))
        self._desk.rested(self._request_id, tokens, cost_micro)

    def headers(self) -> dict[str, str]:
        """See `Reservation.headers`; as they stood when it was reserved."""
        return dict(self._headers)


class RemoteDesk:
    """Asks the core. See `freehold.gateway.desk.Desk`."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._reserved: dict[str, RemoteReservation] = {}
        self._settled: dict[str, tuple[int, int]] = {}
        self._running: set[str] = set()
        self.objection: FreeholdError | None = gone()
        """Why nothing may be begun, as the core last said; None if something may."""

    def attach(self, link: Link) -> None:
        """Take the link to the core; to be called before anything is asked."""
        self._link = link

    def check(self) -> None:
        """See `Recorder.check`."""
        if self.objection is not None:
            raise self.objection
        if self._link is None or self._link.closed:
            raise gone()

    def submit(self, kind: Kind, body: Mapping[str, Any], *, durable: bool) -> asyncio.Future[Position]:
        """See `Recorder.submit`."""
        content = plain(body)
        if kind is not Kind.RECEIPT:
            self.check()
            return _placed(self._to_core.ask("record", kind, content, durable))
        request_id = content["request_id"]
        self._running.discard(request_id)
        self._reserved.pop(request_id, None)
        tokens, cost_micro = self._settled.pop(request_id, (0, 0))
        return _placed(self._to_core.ask("close", content, tokens, cost_micro))

    async def admit(self, claim: Claim, admitted: Admitted) -> RemoteReservation:
        """See `Desk.admit`."""
        request_id = admitted.request_id
        self._running.add(request_id)
        try:
            headers = await self._to_core.ask("admit", wire_of_claim(claim), plain(admitted.body()))
        except FreeholdError:
            self._running.discard(request_id)
            raise
        reserved = self._reserved[request_id] = RemoteReservation(self, request_id, claim, headers)
        return reserved

    async def move(self, claim: Claim, admitted: Admitted) -> None:
        """See `Desk.move`."""
        headers = await self._to_core.ask("move", wire_of_claim(claim), plain(admitted.body()))
        self._reserved[admitted.request_id].moved(claim, headers)

    async def announce(self, admitted: Admitted) -> None:
        """See `Desk.announce`."""
        await self._to_core.ask("announce", plain(admitted.body()))
        self._running.add(admitted.request_id)

    def running(self) -> frozenset[str]:
        """See `Desk.running`; those of this worker."""
        return frozenset(self._running)

    def settled(self, request_id: str, tokens: int, cost_micro: int) -> None:
        """Remember what was used until the receipt is handed in."""
        self._settled[request_id] = (tokens, cost_micro)

    def rested(self, request_id: str, tokens: int, cost_micro: int) -> None:
        """Have the core give back what a request does not need any more."""
        self._to_core.post("rest", request_id, tokens, cost_micro)

    @property
    def _to_core(self) -> Link:
        assert self._link is not None, "attached before anything is asked"
        return self._link


def _placed(asked: asyncio.Future[Any]) -> asyncio.Future[Position]:
    """The place of a record, out of the core's answer."""
    place: asyncio.Future[Position] = asked.get_loop().create_future()

    def told(done: asyncio.Future[Any]) -> None:
        if place.done():
            return
        error = None if done.cancelled() else done.exception()
        if error is not None:
            place.set_exception(error)
            place.exception()  # nobody need wait for it
        elif not done.cancelled():
            place.set_result(Position(*done.result()))

    asked.add_done_callback(told)
    return place
