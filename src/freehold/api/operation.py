"""One data-plane operation as an ASGI application: credential → body → answer → log line.

The answer is sent in the task that the request runs in, so that a client's going away, a revoked key, a
deadline or a shutdown stops everything by cancelling one task (`freehold.gateway.flights`).
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import structlog
from starlette.types import Message, Receive, Scope, Send

from freehold.api.body import read_json
from freehold.api.dialect import Dialect
from freehold.api.sse import send_error, send_error_event, send_events, send_json
from freehold.errors import FreeholdError, InternalError
from freehold.gateway.flights import ClientGone, Flight
from freehold.gateway.metrics import Metrics
from freehold.gateway.pipeline import Gateway
from freehold.governance.credentials import credential_from
from freehold.types.generation import Usage
from freehold.types.identity import Principal

log = structlog.get_logger("freehold.request")


@dataclass(slots=True)
class Tally:
    """What a renderer notes while an answer goes by, for the log and the metrics. Times are seconds."""

    started: float = field(default_factory=time.perf_counter)
    deployment: str = ""
    first_piece_s: float | None = None
    usage: Usage | None = None
    end_user: str | None = None
    metadata: Mapping[str, str] | None = None

    def piece(self) -> None:
        """Note the arrival of a piece of the answer."""
        if self.first_piece_s is None:
            self.first_piece_s = time.perf_counter() - self.started


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has passed the door: who asks, and what."""

    gateway: Gateway
    principal: Principal
    body: Mapping[str, Any]
    path: Mapping[str, str]
    query: Mapping[str, str]
    dialect: Dialect
    tally: Tally


Reply: TypeAlias = dict[str, Any] | AsyncGenerator[dict[str, Any]]
"""A whole answer, or the events of a stream."""

Handler: TypeAlias = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Operation:
    """A route's end: authenticates, reads, calls the handler, sends what it gives, and logs one line."""

    route: str
    handler: Handler
    gateway: Gateway
    metrics: Metrics
    dialect: Dialect
    max_body_bytes: int
    has_body: bool = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        tally = Tally()
        request_id = scope["state"]["request_id"]
        wire = _Wire(send)
        principal: Principal | None = None
        error: FreeholdError | None = None
        try:
            principal = self.gateway.authenticate(credential_from(scope["headers"]))
            with self.gateway.flights.open(principal) as flight:
                await self._fly(scope, receive, wire, principal, flight, tally)
        except FreeholdError as exc:
            error = exc
            await self._send_failure(wire, exc)
        except Exception as exc:  # the edge of the process: logged in full, told as a 500
            log.exception("defect", request_id=request_id, route=self.route)
            error = InternalError("The server had an error while processing your request.")
            error.__cause__ = exc
            await self._send_failure(wire, error)
        self._record(request_id, principal, tally, wire, error)

    async def _fly(
        self, scope: Scope, receive: Receive, wire: "_Wire", principal: Principal, flight: Flight, tally: Tally
    ) -> None:
        """Read, handle and send, while watching for the caller's going away."""
        watcher: asyncio.Task[None] | None = None
        try:
            body = await read_json(scope, receive, self.max_body_bytes) if self.has_body else {}
            watcher = asyncio.create_task(_watch(receive, flight))
            query = dict(_query(scope))
            call = Call(self.gateway, principal, body, scope["path_params"], query, self.dialect, tally)
            reply = await self.handler(call)
            if isinstance(reply, dict):
                await send_json(wire.send, 200, reply, _timing(tally))
            else:
                await send_events(wire.send, reply, _timing(tally))
        except asyncio.CancelledError:
            reason = flight.landed()
            if reason is None:
                raise
            raise reason from None
        finally:
            if watcher is not None:
                watcher.cancel()

    async def _send_failure(self, wire: "_Wire", error: FreeholdError) -> None:
        """Tell the caller, in whichever way is still open."""
        if isinstance(error, ClientGone) or wire.ended:
            return
        if wire.status is None:
            await send_error(wire.send, error, self.dialect, {})
        else:
            await send_error_event(wire.send, error, self.dialect)

    def _record(
        self, request_id: str, principal: Principal | None, tally: Tally, wire: "_Wire", error: FreeholdError | None
    ) -> None:
        """One log line and the counters."""
        duration_s = time.perf_counter() - tally.started
        status = error.status if error is not None else wire.status
        usage = tally.usage or Usage()
        self.metrics.requests.labels(self.route, tally.deployment, str(status)).inc()
        self.metrics.duration.labels(self.route).observe(duration_s)
        if tally.deployment:
            self.metrics.tokens.labels(tally.deployment, "prompt").inc(usage.prompt_tokens)
            self.metrics.tokens.labels(tally.deployment, "completion").inc(usage.completion_tokens)
            if tally.first_piece_s is not None:
                self.metrics.first_token.labels(tally.deployment).observe(tally.first_piece_s)
        log.info(
            "request",
            request_id=request_id,
            route=self.route,
            dialect=self.dialect.value,
            status=status,
            code=error.code if error else None,
            key_id=principal.key_id if principal else None,
            project_id=principal.project_id if principal else None,
            end_user=_digest(tally.end_user),
            metadata_keys=sorted(tally.metadata) if tally.metadata else None,
            deployment=tally.deployment or None,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            duration_ms=round(duration_s * 1000, 1),
            first_piece_ms=None if tally.first_piece_s is None else round(tally.first_piece_s * 1000, 1),
        )


class _Wire:
    """The way back to the caller; remembers what has gone over it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        self.ended = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body", False):
            self.ended = True
        await self._send(message)


async def _watch(receive: Receive, flight: Flight) -> None:
    """Abort the flight when the caller closes the connection."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            flight.abort(ClientGone("The client closed the connection."))
            return


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _timing(tally: Tally) -> dict[str, str]:
    """OpenAI's header of the time until the answer began."""
    return {"openai-processing-ms": str(round((time.perf_counter() - tally.started) * 1000))}


_DIGEST_KEY = secrets.token_bytes(32)


def _digest(value: str | None) -> str | None:
    """A name for an end user in the log: the same within one run of the server, and not the user's."""
    if value is None:
        return None
    return hashlib.blake2b(value.encode("utf-8"), key=_DIGEST_KEY, digest_size=8).hexdigest()
