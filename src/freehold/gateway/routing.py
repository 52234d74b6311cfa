"""From a deployment to an answer: choose a replica, try once more elsewhere, then fall back.

Once a piece of the answer has gone to the caller nothing is tried again. A request reaches engines at most
twice in all, so that one which kills its engine cannot take down every replica of every fallback.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeAlias

import structlog

from freehold.catalog.deployments import Deployment
from freehold.engines.base import Connection
from freehold.errors import EngineFailed, EngineTimeout, EngineUnavailable, ServiceError
from freehold.serving.supervisor import PATIENCE_S, Supervisor
from freehold.types.engine import Feature
from freehold.types.generation import Event

log = structlog.get_logger(__name__)

MAX_TRIES = 2
"""How often a deployment is tried for one request; and how often engines may fail on it in all."""
RETRYABLE = (EngineFailed, EngineTimeout, EngineUnavailable)

Call: TypeAlias = Callable[[Connection, Deployment], AsyncGenerator[Event]]


class Router:
    """Carries calls to replicas."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def stream(
        self, candidates: Sequence[Deployment], needs: frozenset[Feature], call: Call, *, affinity: str | None
    ) -> AsyncGenerator[Event]:
        """The events of one call on the first candidate that can take it.

        Args:
            candidates: the deployment, then its fallbacks.
            needs: features that the request uses.
            call: makes the engine call on a connection.
            affinity: requests with the same text prefer the same replica, for its prompt cache.

        Raises (while iterating):
            EngineFailed, EngineTimeout, EngineUnavailable: what the last try ended with.
        """
        tries = 0
        last: ServiceError | None = None
        for deployment in candidates:
            avoid: frozenset[str] = frozenset()
            # With a fallback at hand there is something better to do than to wait for a replica.
            patience_s = 0 if deployment is not candidates[-1] else PATIENCE_S
            for _attempt in range(MAX_TRIES):
                started = reached = False
                try:
                    async with self._supervisor.acquire(
                        deployment.name, needs, avoid=avoid, affinity=affinity, patience_s=patience_s
                    ) as lease:
                        reached = True
                        if deployment.settings.replicas > 1:
                            avoid |= {lease.replica_id}
                        try:
                            async with aclosing(call(lease.connection, deployment)) as events:
                                async for event in events:
                                    started = True
                                    yield event
                        except RETRYABLE as exc:
                            lease.report(exc)
                            raise
                    return
                except RETRYABLE as exc:
                    tries += isinstance(exc, EngineFailed | EngineTimeout)
                    log.warning("engine_call_failed", deployment=deployment.name, code=exc.code, tries=tries)
                    if started or tries >= MAX_TRIES:
                        raise
                    last = exc
                    if not reached:
                        break
        assert last is not None, "a loop that ends without an answer ends with an error"
        raise last
