"""From a deployment to an answer: choose a replica, try once more elsewhere, then spill over to a fallback.

Once a piece of the answer has gone to the caller nothing is tried again. A sequence reaches engines at most
twice in all, so that one which kills its engine cannot take down every replica of every fallback.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Literal, TypeAlias, TypeVar

import structlog

from freehold.catalog.deployments import Deployment
from freehold.engines.base import Connection
from freehold.errors import (
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    FreeholdError,
    Overloaded,
    RateLimited,
)
from freehold.gateway.account import Account
from freehold.gateway.answers import begun
from freehold.gateway.canary import FAILED, NOTE, Canaries
from freehold.serving.lender import PATIENCE_S, Affinity, Lender
from freehold.serving.status import Lease
from freehold.types.engine import Feature
from freehold.types.generation import Delta

log = structlog.get_logger(__name__)

MAX_TRIES = 2
"""How often a deployment is tried for one sequence; and how often engines may fail on it in all."""
RETRYABLE = (EngineFailed, EngineTimeout, EngineUnavailable)
SPILLS = (*RETRYABLE, Overloaded)

EventT = TypeVar("EventT")
Call: TypeAlias = Callable[[Connection, Deployment], AsyncGenerator[EventT]]
"""Makes the engine call on a connection."""


class Tries:
    """How often engines have failed on one sequence, over all deployments."""

    def __init__(self) -> None:
        self.failed = 0
        self.calls = 0

    @property
    def spent(self) -> bool:
        """Whether the sequence must not be tried again."""
        return self.failed >= MAX_TRIES


def may_try_again(attempt: int, most: int, tries: Tries, *, started: bool, reached: bool, elsewhere: bool) -> bool:
    """Whether a call that has failed is made once more on the same deployment.

    Args:
        attempt: which one it was; the first is 1.
        most: how many there may be.
        tries: of the sequence, the failure counted.
        started: whether a piece of the answer has gone to the caller.
        reached: whether there was a replica to call.
        elsewhere: whether a fallback is likelier to answer.
    """
    return reached and not (started or tries.spent or attempt == most or elsewhere)


def patience_of(position: int, candidates: int) -> float:
    """How long a request waits for a replica of a candidate, by its place among them; the last one has nobody else."""
    return PATIENCE_S if position == candidates - 1 else 0.0


Begin: TypeAlias = Callable[[Deployment, float], Awaitable[AsyncGenerator[EventT]]]
"""Makes ready to answer on a deployment, with the seconds that it may wait for a replica; nothing runs before the
answer is iterated."""
Begun: TypeAlias = tuple[EventT, AsyncGenerator[EventT]]
"""The first event of an answer, and the others."""
Move: TypeAlias = Callable[[Deployment], Awaitable[None]]
"""Exchanges the reservation for one on another deployment."""


def _begun(lease: Lease) -> Literal[True]:
    """Tell whoever watches that the answer's first piece has come."""
    if lease.watch is not None:
        lease.watch.first()
    return True


class Router:
    """Carries calls to replicas.

    Args:
        supervisor: lends them.
        canaries: gives some calls to candidates.
    """

    def __init__(self, supervisor: Lender, canaries: Canaries) -> None:
        self._supervisor = supervisor
        self._canaries = canaries

    async def spill(
        self, candidates: Sequence[Deployment], begin: Begin[EventT], move: Move, tries: Sequence[Tries]
    ) -> Begun[EventT]:
        """The answer of the first candidate that can serve, which has begun: what comes after belongs to the answer.

        Args:
            candidates: the deployment that the request was admitted to, then its fallbacks.
            begin: begins the answer on one of them.
            move: called before another than the first one is begun.
            tries: of the sequences that the answer consists of.

        Raises:
            EngineFailed, EngineTimeout, EngineUnavailable, Overloaded: what the last try ended with.
        """
        failure: FreeholdError | None = None
        for position, deployment in enumerate(candidates):
            last = position == len(candidates) - 1
            try:
                if failure is not None:
                    await move(deployment)
                events = await begin(deployment, patience_of(position, len(candidates)))
                return await begun(events), events
            except SPILLS as exc:
                if any(sequence.spent for sequence in tries):
                    raise
                failure = exc
            except RateLimited as exc:
                # No room on that fallback either: what went wrong first is what the caller is told.
                failure = failure or exc
            log.warning("spillover", deployment=deployment.name, code=failure.code, last=last)
        assert failure is not None, "a loop that ends without an answer ends with an error"
        raise failure

    def stream(
        self,
        deployment: Deployment,
        needs: frozenset[Feature],
        call: Call[EventT],
        *,
        affinity: Affinity | None,
        patience_s: float,
        tries: Tries,
        account: Account,
    ) -> AsyncGenerator[EventT]:
        """The events of one sequence on a replica of the deployment.

        Args:
            deployment: whose replicas may serve.
            needs: features that the request uses.
            call: makes the engine call on a connection.
            affinity: what tells the replica that has the request's prompt in its cache.
            patience_s: how long to wait for a replica; 0 where there is something better to do.
            tries: of this sequence.
            account: told of each lease.

        Raises (while iterating):
            EngineFailed, EngineTimeout, EngineUnavailable, Overloaded: what the last try ended with.
        """
        candidate = self._canaries.choose(deployment, account)
        if candidate is deployment:
            return self._calls(deployment, deployment, needs, call, affinity, patience_s, tries, account)
        return self._canary(deployment, candidate, needs, call, affinity, patience_s, tries, account)

    async def _canary(
        self,
        deployment: Deployment,
        candidate: Deployment,
        needs: frozenset[Feature],
        call: Call[EventT],
        affinity: Affinity | None,
        patience_s: float,
        tries: Tries,
        account: Account,
    ) -> AsyncGenerator[EventT]:
        """The events of one sequence on a deployment's candidate, or where that fails, on the deployment itself."""
        started = False
        try:
            async with aclosing(self._calls(deployment, candidate, needs, call, affinity, 0, tries, account)) as events:
                async for event in events:
                    started = True
                    yield event
            return
        except SPILLS as exc:
            if started or tries.spent:
                raise
            account.notes[NOTE] = FAILED
            log.warning("canary_call_failed", deployment=deployment.name, code=exc.code, tries=tries.failed)
        async with aclosing(
            self._calls(deployment, deployment, needs, call, affinity, patience_s, tries, account)
        ) as events:
            async for event in events:
                yield event

    async def _calls(
        self,
        deployment: Deployment,
        served: Deployment,
        needs: frozenset[Feature],
        call: Call[EventT],
        affinity: Affinity | None,
        patience_s: float,
        tries: Tries,
        account: Account,
    ) -> AsyncGenerator[EventT]:
        """The events of one sequence on a replica of the deployment, or on one of its candidate: that is tried once."""
        avoid: frozenset[str] = frozenset()
        most = MAX_TRIES if served is deployment else 1
        for attempt in range(1, most + 1):
            started = reached = False
            begun = time.perf_counter()
            try:
                async with self._supervisor.acquire(
                    served.name, needs, avoid=avoid, affinity=affinity, patience_s=patience_s, tier=account.tier
                ) as lease:
                    reached = True
                    if served.settings.replicas > 1 or lease.choice is not None:
                        avoid |= {lease.replica_id}
                    tries.calls += 1
                    account.leased(lease, tries.calls, served)
                    events = call(lease.connection, served)
                    try:
                        try:
                            async for event in events:
                                if not started:
                                    started = _begun(lease)
                                if isinstance(event, Delta):
                                    account.produced(event)
                                yield event
                        finally:
                            await events.aclose()
                        if lease.watch is not None and started:
                            lease.watch.ended(event)
                    except RETRYABLE as exc:
                        lease.report(exc)
                        if started and isinstance(exc, EngineUnavailable):
                            # The supervisor saw the engine's end before its answer broke off; it is the same failure.
                            raise EngineFailed("the engine broke off in the middle of its answer") from exc
                        raise
                self._ended(deployment, served, begun, failed=False)
                return
            except RETRYABLE as exc:
                if reached:
                    self._ended(deployment, served, begun, failed=True)
                tries.failed += isinstance(exc, EngineFailed | EngineTimeout)
                log.warning("engine_call_failed", deployment=served.name, code=exc.code, tries=tries.failed)
                elsewhere = patience_s == 0 and served.settings.replicas == 1
                if not may_try_again(attempt, most, tries, started=started, reached=reached, elsewhere=elsewhere):
                    raise

    def _ended(self, deployment: Deployment, served: Deployment, begun: float, *, failed: bool) -> None:
        """Tell what became of a call."""
        took_s = time.perf_counter() - begun
        self._canaries.ended(deployment, candidate=served is not deployment, failed=failed, took_s=took_s)
