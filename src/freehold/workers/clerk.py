"""The core's half of a link: does for one worker what only the core can do.

It remembers what the worker holds, requests that are admitted and replicas that are lent, so that when the worker dies
each of its requests gets the receipt `interrupted` and is settled, once, and its replicas are free again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import structlog

from freehold.catalog.deployments import DeploymentRegistry
from freehold.engines.base import Connection
from freehold.errors import AuditUnavailable, DeploymentNotFound, EngineUnavailable, FreeholdError, InternalError
from freehold.gateway.canary import Canaries
from freehold.gateway.content import Content
from freehold.gateway.desk import LocalDesk
from freehold.gateway.ledger import Grant
from freehold.gateway.refusal import Short
from freehold.gateway.versions import Versions
from freehold.governance.keys import KeyRing
from freehold.journal.journal import Position
from freehold.journal.records import Kind, utc
from freehold.journal.recovery import interrupted_receipt
from freehold.serving.own_use import OwnCall
from freehold.serving.status import Lease
from freehold.serving.supervisor import Supervisor
from freehold.store.database import Database
from freehold.types.chat import ChatRequest
from freehold.types.content import Tenant
from freehold.types.engine import Feature, Tier
from freehold.workers.link import Link
from freehold.workers.loan import Loan
from freehold.workers.wire import affinity_of, claim_of, error_of, usage_of, wire_of_engine, wire_of_traits

log = structlog.get_logger(__name__)

Act: TypeAlias = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Core:
    """What the core does for workers, and what they have copies of.

    Args:
        database: where what they have copies of is written.
        desk: where requests are admitted.
        supervisor: lends replicas.
        deployments: which there are.
        canaries: which candidates get requests.
        versions: which models are retired.
        keys: told when keys were used.
        content: keeps what is to be kept.
    """

    database: Database
    desk: LocalDesk
    supervisor: Supervisor
    deployments: DeploymentRegistry
    canaries: Canaries
    versions: Versions
    keys: KeyRing
    content: Content


class Clerk:
    """Serves one worker, from its start to its end.

    Args:
        core: with what.
        name: of the worker, for the log.
    """

    def __init__(self, core: Core, name: str) -> None:
        self._core = core
        self._name = name
        self._desk = core.desk
        self._admitted: dict[str, Mapping[str, Any]] = {}
        self._loans: dict[int, Loan] = {}
        self._connections: dict[str, tuple[int, Connection]] = {}
        """Of each replica the last connection that was lent, and its number."""
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._acts: Final[Mapping[str, Act]] = {
            "admit": self._admit,
            "move": self._move,
            "close": self._close,
            "rest": self._rest,
            "record": self._record,
            "announce": self._announce,
            "acquire": self._acquire,
            "engine": self._engine,
            "release": self._release,
            "report": self._report,
            "first": self._first,
            "ended": self._ended,
            "own_begins": self._own_begins,
            "own_ends": self._own_ends,
            "traits": self._traits,
            "canary": self._canary,
            "used": self._used,
            "keep_flagged": self._keep_flagged,
            "keep_completion": self._keep_completion,
        }
        self.link: Link | None = None

    def heard(self, number: int, kind: str, values: Sequence[Any]) -> None:
        """Do what the worker asks for."""
        try:
            self._acts[kind](number, *values)
        except FreeholdError as exc:
            self._to_worker.fail(number, exc)

    @property
    def running(self) -> int:
        """How many of the worker's requests are admitted."""
        return len(self._admitted)

    def lost(self) -> None:
        """The worker is gone: settle what it had admitted, and take back what it was lent."""
        admitted, self._admitted = self._admitted, {}
        at = utc(time.time())
        for request_id, body in admitted.items():
            receipt = interrupted_receipt(dict(body), at)
            grant = self._desk.reserved(request_id)
            if grant is not None:
                charge = grant.settle(receipt.get("prompt_tokens", 0), receipt["cost_micro"])
                receipt["cost_micro"] = charge.cost_micro
            self._submit_anyway(receipt)
        loans, self._loans = self._loans, {}
        for loan in loans.values():
            if loan.lease is not None:
                loan.lease.own.forgotten()
            loan.end()
        for task in self._tasks:
            task.cancel()
        if admitted or loans:
            log.warning("worker_settled", worker=self._name, interrupted=len(admitted), leases=len(loans))

    # --- limits and journal ---

    def _admit(self, number: int, claim: Sequence[Any], body: Mapping[str, Any]) -> None:
        self._desk.check()
        asked = claim_of(claim)

        def begin() -> None:
            self._begun(number, body, *self._desk.begin(asked, body))

        self._now_or_later(number, begin)

    def _now_or_later(self, number: int, act: Callable[[], None]) -> None:
        """Do something, or have it done as soon as this gateway holds enough of the limits for it."""
        try:
            act()
        except Short as short:
            self._begin(self._told(number, self._desk.later(act, short)), number)

    def _begun(self, number: int, body: Mapping[str, Any], grant: Grant, recorded: asyncio.Future[Position]) -> None:
        request_id = body["request_id"]
        self._admitted[request_id] = body

        def told(done: asyncio.Future[Position]) -> None:
            if (error := _error(done)) is None:
                self._to_worker.answer(number, grant.headers())
            elif self._admitted.pop(request_id, None) is not None:
                self._desk.give_up(request_id)
                self._to_worker.fail(number, error)

        recorded.add_done_callback(told)

    def _move(self, number: int, claim: Sequence[Any], body: Mapping[str, Any]) -> None:
        asked = claim_of(claim)
        self._now_or_later(number, lambda: self._moved(number, body, self._desk.begin_move(asked, body)))

    def _moved(self, number: int, body: Mapping[str, Any], recorded: asyncio.Future[Position]) -> None:
        self._admitted[body["request_id"]] = body
        grant = self._desk.reserved(body["request_id"])
        assert grant is not None, "what moved is reserved"

        def told(done: asyncio.Future[Position]) -> None:
            error = _error(done)
            if error is None:
                self._to_worker.answer(number, grant.headers())
            else:
                self._to_worker.fail(number, error)

        recorded.add_done_callback(told)

    def _close(self, number: int, body: Mapping[str, Any], tokens: int, cost_micro: int) -> None:
        """Settle and record the end of a request, whether or not anything was reserved for it."""
        request_id = body["request_id"]
        self._admitted.pop(request_id, None)
        grant = self._desk.reserved(request_id)
        if grant is not None:
            grant.settle(tokens, cost_micro)
        self._placed(number, self._desk.submit(Kind.RECEIPT, body, durable=True))

    def _rest(self, number: int, request_id: str, tokens: int, cost_micro: int) -> None:
        grant = self._desk.reserved(request_id)
        if grant is not None:
            grant.rest(tokens, cost_micro)
        self._to_worker.answer(number)

    def _record(self, number: int, kind: str, body: Mapping[str, Any], durable: bool) -> None:
        self._placed(number, self._desk.submit(Kind(kind), body, durable=durable))

    def _announce(self, number: int, body: Mapping[str, Any]) -> None:
        self._desk.check()
        recorded = self._desk.begin_announced(body)
        self._admitted[body["request_id"]] = body
        self._placed(number, recorded)

    def _placed(self, number: int, recorded: asyncio.Future[Position]) -> None:
        """Answer with the place of a record as soon as it has one."""

        def told(done: asyncio.Future[Position]) -> None:
            error = _error(done)
            if error is not None:
                self._to_worker.fail(number, error)
            else:
                place = done.result()
                self._to_worker.answer(number, (place.seq, place.segment, place.offset))

        recorded.add_done_callback(told)

    def _submit_anyway(self, receipt: Mapping[str, Any]) -> None:
        """Record the end of what was interrupted; where that cannot be now, the journal does it as soon as it can."""

        def told(done: asyncio.Future[Position]) -> None:
            if (error := _error(done)) is not None:
                log.warning("worker_receipt_delayed", worker=self._name, reason=error.message)

        self._desk.submit(Kind.RECEIPT, receipt, durable=True).add_done_callback(told)

    # --- replicas ---

    def _acquire(
        self,
        number: int,
        lease: int,
        name: str,
        needs: Sequence[str],
        avoid: Sequence[str],
        affinity: Sequence[Any] | None,
        patience_s: float,
        tier: str,
    ) -> None:
        acquisition = self._core.supervisor.acquire(
            name,
            frozenset(map(Feature, needs)),
            avoid=frozenset(avoid),
            affinity=affinity_of(affinity),
            patience_s=patience_s,
            tier=Tier(tier),
        )
        loan = self._loans[lease] = Loan(acquisition)
        try:
            loan.lease = acquisition.at_once()
        except FreeholdError:
            del self._loans[lease]
            raise
        if loan.lease is not None:
            self._lent(number, loan.lease)
        else:
            loan.waiting = self._begin(self._told(number, self._wait(number, lease, loan)), number)

    async def _wait(self, number: int, lease: int, loan: Loan) -> None:
        try:
            loan.lease = await loan.acquisition.__aenter__()
        except FreeholdError:
            self._loans.pop(lease, None)
            raise
        self._lent(number, loan.lease)

    def _lent(self, number: int, lease: Lease) -> None:
        """Tell the worker what it has got; how to reach it, the worker asks where it does not know that yet."""
        known = self._connections.get(lease.replica_id)
        if known is None or known[1] is not lease.connection:
            self._number += 1
            known = self._connections[lease.replica_id] = self._number, lease.connection
        self._to_worker.answer(number, (lease.replica_id, known[0], lease.choice, lease.watch is not None))

    def _engine(self, number: int, lease: int) -> None:
        loan = self._loans.get(lease)
        if loan is None or loan.lease is None:
            raise EngineUnavailable("The replica was given back.")
        self._to_worker.answer(number, wire_of_engine(loan.lease))

    def _release(self, _number: int, lease: int) -> None:
        loan = self._loans.pop(lease, None)
        if loan is not None:
            loan.end()

    def _report(self, _number: int, lease: int, error: Sequence[Any]) -> None:
        loan = self._loans.get(lease)
        if loan is not None and loan.lease is not None:
            loan.lease.report(error_of(error))

    def _first(self, _number: int, lease: int) -> None:
        loan = self._loans.get(lease)
        if loan is not None and loan.lease is not None and loan.lease.watch is not None:
            loan.lease.watch.first()

    def _ended(self, _number: int, lease: int, usage: Sequence[Any] | None) -> None:
        loan = self._loans.get(lease)
        if loan is not None and loan.lease is not None and loan.lease.watch is not None:
            loan.lease.watch.ended(usage_of(usage))

    def _own_begins(self, _number: int, lease: int) -> None:
        loan = self._loans.get(lease)
        if loan is not None and loan.lease is not None:
            loan.own = ExitStack()
            begun: AbstractContextManager[OwnCall] = loan.lease.own.call()
            loan.call = loan.own.enter_context(begun)

    def _own_ends(self, _number: int, lease: int, usage: Sequence[Any] | None) -> None:
        loan = self._loans.get(lease)
        if loan is not None and loan.own is not None and loan.call is not None:
            loan.call.usage = usage_of(usage)
            loan.own.close()
            loan.own = None

    def _traits(self, number: int, name: str) -> None:
        async def find() -> None:
            self._to_worker.answer(number, wire_of_traits(await self._core.supervisor.traits(name)))

        self._begin(self._told(number, find()), number)

    # --- what is noted and kept ---

    def _canary(self, _number: int, deployment: str, candidate: bool, failed: bool, took_s: float) -> None:
        try:
            found = self._core.deployments.get(deployment)
        except DeploymentNotFound:
            return
        self._core.canaries.ended(found, candidate=candidate, failed=failed, took_s=took_s)

    def _used(self, _number: int, keys: Mapping[str, int]) -> None:
        self._core.keys.note_used(keys)

    def _keep_flagged(self, number: int, tenant: Sequence[str], texts: Mapping[str, Any]) -> None:
        async def keep() -> None:
            self._to_worker.answer(number, await self._core.content.flagged.keep(Tenant(*tenant), **texts))

        self._begin(self._told(number, keep()), number)

    def _keep_completion(
        self, number: int, key_id: str, request: Mapping[str, Any], completion: Mapping[str, Any]
    ) -> None:
        async def keep() -> None:
            principal = self._core.keys.principal(key_id)
            await self._core.content.completions.keep(principal, ChatRequest.model_validate(request), completion)
            self._to_worker.answer(number)

        self._begin(self._told(number, keep()), number)

    async def _told(self, number: int, work: Awaitable[None]) -> None:
        """Do something, and tell the worker what goes wrong with it."""
        try:
            await work
        except FreeholdError as exc:
            self._to_worker.fail(number, exc)

    def _begin(self, work: Coroutine[Any, Any, None], number: int) -> "asyncio.Task[None]":
        """Have something done that takes a while; a defect in it is logged, and told like any other failure."""
        task = asyncio.create_task(work)
        self._tasks.add(task)

        def done(task: "asyncio.Task[None]") -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (defect := task.exception()) is not None:
                log.error("defect", worker=self._name, exc_info=defect)
                self._to_worker.fail(number, InternalError("The server had an error while processing your request."))

        task.add_done_callback(done)
        return task

    @property
    def _to_worker(self) -> Link:
        assert self.link is not None, "linked before anything is heard"
        return self.link


def _error(done: asyncio.Future[Any]) -> FreeholdError | None:
    """What went wrong with something, in terms of ours."""
    if done.cancelled():
        return AuditUnavailable("The record was given up.")
    error = done.exception()
    if error is None or isinstance(error, FreeholdError):
        return error
    return InternalError("The server had an error while processing your request.")
