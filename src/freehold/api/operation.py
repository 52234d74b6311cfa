"""One data-plane operation as an ASGI application: account → credential → body → answer → receipt → last byte.

The answer is sent in the task that the request runs in, so that a client's going away, a revoked key, a
deadline or a shutdown stops everything by cancelling one task (`freehold.gateway.flights`). However it ends, the
account is closed once, and the caller's last byte waits until the receipt is on the disk.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

import orjson
import structlog
from starlette.types import Message, Receive, Scope, Send

from freehold.api.body import NO_BODY, Body, JsonText, origin_of, read_limited
from freehold.api.connection import DEPARTURES, Departures
from freehold.api.dialect import Dialect, answer_headers
from freehold.api.door import Door
from freehold.api.form import is_form, read_form
from freehold.api.replay import Replay, idempotency_key
from freehold.api.reply import Call, Created, Download, EventStream, Handler
from freehold.api.sse import (
    DONE,
    EVENT_STREAM,
    JSON,
    event_bytes,
    named_event_bytes,
    send_error,
    send_error_event,
    start,
)
from freehold.errors import (
    AuditUnavailable,
    ContentUnreadable,
    FreeholdError,
    HomeError,
    InternalError,
    ProjectKeyRevoked,
    Unavailable,
)
from freehold.gateway.account import Account
from freehold.gateway.flights import ClientGone, Flight
from freehold.gateway.idempotency import KeptAnswer, KeptAnswers, Slot
from freehold.gateway.metrics import Metrics
from freehold.gateway.pipeline import Gateway
from freehold.log_lines import REQUEST_LINES
from freehold.types.content import tenant_of
from freehold.types.identity import Principal

log = structlog.get_logger("freehold.request")

TOLD_S: Final = 5.0
"""How long it may take to tell a caller of an error, in seconds."""


@dataclass(frozen=True, slots=True)
class Plane:
    """What all operations share.

    Args:
        gateway: serves requests.
        door: knows who is asking.
        metrics: counts them.
        kept: answers that an `Idempotency-Key` brings back.
        max_body_bytes: the limit of a request's body that is no form.
        public_url: where callers reach the server, if that is set.
    """

    gateway: Gateway
    door: Door
    metrics: Metrics
    kept: KeptAnswers
    max_body_bytes: int
    public_url: str | None


PlainBody: TypeAlias = Callable[[bytes], Body]
"""What the bytes of a body that is no form are taken for."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A route's end. Where `forms` is a number of bytes, a body may also be multipart/form-data of that size.

    A body that is no form is a JSON object, unless `plain` takes it for something else.
    """

    route: str
    handler: Handler
    plane: Plane
    dialect: Dialect
    has_body: bool = True
    forms: int = 0
    plain: PlainBody = JsonText

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        wire = _Wire(send)
        books = self.plane.gateway.books
        try:
            account = books.open(scope["state"]["request_id"], self.route, self.dialect.value)
        except AuditUnavailable as exc:
            await send_error(send, exc, self.dialect, {})
            return
        error: FreeholdError | None = None
        try:
            await self._serve(scope, receive, wire, account)
        except FreeholdError as exc:
            error = exc
        except Exception as exc:  # the edge of the process: logged in full, told as a 500
            log.exception("defect", request_id=account.request_id, route=self.route)
            error = InternalError("The server had an error while processing your request.")
            error.__cause__ = exc
        finally:
            if not account.closed and error is None:  # the task itself was cancelled: nobody waits
                books.close(account, ClientGone("The request was given up."), 499)
        if error is not None:
            error = await self._fail(wire, account, error)
        self._note(account, wire, error)

    async def _serve(self, scope: Scope, receive: Receive, wire: "_Wire", account: Account) -> None:
        """Let the caller in, and serve until the last byte."""
        gateway = self.plane.gateway
        account.principal = principal = await self.plane.door.authenticate(scope)
        if self.has_body:
            self.plane.door.check_served(principal)
            gateway.check_caller(principal, account)
        with gateway.flights.open(principal, lambda: account.end_user) as flight:
            forget: Callable[[], object] | None = None
            body: Body = NO_BODY
            try:
                body = await self._read(scope, receive)
                forget = _watched(scope, receive, flight)
                await self._answer(scope, wire, account, principal, body)
            except asyncio.CancelledError:
                reason = flight.landed()
                if reason is None:
                    raise
                if not wire.ended:  # who goes once the answer is whole has it
                    raise reason from None
            finally:
                if forget is not None:
                    forget()
                if body.files is not None:
                    await body.aclose()

    async def _read(self, scope: Scope, receive: Receive) -> Body:
        """The request's body, in whichever form it may come."""
        if not self.has_body:
            return NO_BODY
        if self.forms and is_form(scope):
            return await read_form(scope, receive, self.forms)
        return self.plain(await read_limited(scope, receive, self.plane.max_body_bytes))

    async def _answer(self, scope: Scope, wire: "_Wire", account: Account, principal: Principal, body: Body) -> None:
        """Answer anew, or once more what was answered before under the same `Idempotency-Key`."""
        if self.has_body:
            account.prompt(body.identity, body.size)
        key = idempotency_key(scope["headers"]) if self.has_body else None
        if key is None:
            await self._handle(scope, wire, account, principal, body, None)
            return
        fingerprint = self.plane.gateway.books.digests.fingerprint(self.route + scope["path"], body.identity)
        found = await self.plane.kept.begin(tenant_of(principal), key, fingerprint)
        if isinstance(found, KeptAnswer):
            account.called_by(end_user_of(body.fields()))
            self.plane.gateway.check_caller(principal, account)
            account.replay_of = found.request_id
            await self._commit(account, found.status)
            await Replay(found).send(wire.send)
            return
        try:
            await self._handle(scope, wire, account, principal, body, found)
        finally:
            freed = found.release()
            if freed is not None:  # who is told of an error may come again at once, to any gateway
                await asyncio.wait([freed], timeout=TOLD_S)

    async def _handle(
        self, scope: Scope, wire: "_Wire", account: Account, principal: Principal, body: Body, slot: Slot | None
    ) -> None:
        """Have the request done, and send what comes of it."""
        fields = body.fields()
        query_string: bytes = scope["query_string"]
        query = tuple(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)) if query_string else ()
        if self.dialect is Dialect.AZURE:
            account.spill_to = _header(scope, b"x-ms-spillover-deployment")
        origin = self.plane.public_url or origin_of(scope)
        gateway, path = self.plane.gateway, scope["path_params"]
        call = Call(gateway, principal, fields, path, query, self.dialect, account, body.files, origin)
        reply = await self.handler(call)
        headers = answer_headers(account, self.dialect, self.plane.gateway.books.headers(account))
        if isinstance(reply, dict):
            data, status = orjson.dumps(reply), 201 if isinstance(reply, Created) else 200
            if slot is not None:
                await self._keep(slot, account, JSON, data, status)
            await self._commit(account, status)
            await start(wire.send, status, JSON, headers, length=len(data))
            await wire.send({"type": "http.response.body", "body": data})
            return
        if isinstance(reply, Download):
            await self._download(wire, account, reply, headers)
            return
        headers["cache-control"] = "no-cache"
        if isinstance(reply, EventStream):
            await self._follow(wire, account, reply, headers, slot)
            return
        await start(wire.send, 200, EVENT_STREAM, headers)
        sent: list[bytes] = []
        async with aclosing(reply):
            async for event in reply:
                data = event_bytes(event)
                if slot is not None:
                    sent.append(data)
                await wire.send({"type": "http.response.body", "body": data, "more_body": True})
        if slot is not None:
            await self._keep(slot, account, EVENT_STREAM, b"".join([*sent, DONE]))
        await self._commit(account, 200)
        await wire.send({"type": "http.response.body", "body": DONE})

    async def _follow(
        self, wire: "_Wire", account: Account, reply: EventStream, headers: dict[str, str], slot: Slot | None
    ) -> None:
        """Send a stream of events that name themselves."""
        wire.failure = reply.failure
        sent: list[bytes] = []
        last = b""
        try:
            await start(wire.send, 200, EVENT_STREAM, headers)
            async with aclosing(reply.events) as events:
                async for event in events:
                    data = named_event_bytes(event)
                    if slot is not None:
                        sent.append(data)
                    if reply.last(event):
                        last = data
                    else:
                        await wire.send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            await reply.close()
        # One that just ended, as of a response that was cancelled, is not what the same key is to bring back.
        if last and slot is not None:
            await self._keep(slot, account, EVENT_STREAM, b"".join(sent))
        await self._commit(account, 200)
        await wire.send({"type": "http.response.body", "body": last})

    async def _download(self, wire: "_Wire", account: Account, file: Download, headers: Mapping[str, str]) -> None:
        """Send a file; its last piece waits for the receipt, as every last byte does."""
        async with aclosing(file.pieces) as pieces:
            last = await anext(pieces)
            wire.is_file = True
            await start(wire.send, 200, file.media_type.encode(), {**headers, **file.headers()}, length=file.size)
            async for piece in pieces:
                await wire.send({"type": "http.response.body", "body": last, "more_body": True})
                last = piece
        await self._commit(account, 200)
        await wire.send({"type": "http.response.body", "body": last})

    async def _commit(self, account: Account, status: int) -> None:
        """Close the account of an answered request, and wait until that is on the disk.

        Raises:
            AuditUnavailable: it cannot be; the answer must not be ended as if it were.
        """
        done = self.plane.gateway.books.close(account, None, status)
        if done is not None:
            await done

    async def _keep(self, slot: Slot, account: Account, media_type: bytes, body: bytes, status: int = 200) -> None:
        """Keep an answer for the next request with the same `Idempotency-Key`."""
        headers = (("content-type", media_type.decode()),)
        try:
            await slot.keep(KeptAnswer(account.request_id, status, headers, body))
        except (HomeError, ContentUnreadable, ProjectKeyRevoked, Unavailable) as exc:
            log.warning("answer_not_kept", request_id=account.request_id, reason=exc.message)

    async def _fail(self, wire: "_Wire", account: Account, error: FreeholdError) -> FreeholdError:
        """Record that a request failed, and tell the caller in whichever way is still open.

        Returns:
            The error that the caller was told.
        """
        books = self.plane.gateway.books
        if not account.closed:
            try:
                done = books.close(account, error, error.status)
                if done is not None:
                    await done
            except AuditUnavailable as exc:
                error = exc
        if not isinstance(error, ClientGone) and not wire.ended:
            with suppress(TimeoutError):  # who reads nothing is not told; the server closes the connection then
                async with asyncio.timeout(TOLD_S):
                    await self._tell(wire, account, error)
        return error

    async def _tell(self, wire: "_Wire", account: Account, error: FreeholdError) -> None:
        """Send an error to the caller."""
        if wire.status is None:
            headers = answer_headers(account, self.dialect, self.plane.gateway.books.headers(account), error)
            await send_error(wire.send, error, self.dialect, headers)
        elif wire.failure is not None:
            await wire.send({"type": "http.response.body", "body": named_event_bytes(wire.failure(error))})
        elif not wire.is_file:  # a file that breaks off ends before its length, which is all that can be told
            await send_error_event(wire.send, error, self.dialect)

    def _note(self, account: Account, wire: "_Wire", error: FreeholdError | None) -> None:
        """One log line and the counters."""
        metrics, receipt, principal = self.plane.metrics, account.receipt, account.principal
        status = error.status if error is not None else wire.status
        deployment = account.deployment.name if account.deployment else ""
        metrics.answered(self.route, deployment, str(status), account.elapsed_s)
        if not REQUEST_LINES.wanted:
            return
        held_s = account.filter.held_s if account.filter else None
        REQUEST_LINES.add(
            request_id=account.request_id,
            route=self.route,
            dialect=self.dialect.value,
            status=status,
            outcome=receipt.outcome.value if receipt else None,
            code=error.code if error else None,
            key_id=principal.key_id if principal else None,
            project_id=principal.project_id if principal else None,
            end_user=account.end_user,
            metadata_keys=sorted(account.metadata) if account.metadata else None,
            deployment=deployment or None,
            prompt_tokens=receipt.prompt_tokens if receipt else 0,
            completion_tokens=receipt.completion_tokens if receipt else 0,
            cached_tokens=receipt.cached_tokens if receipt else 0,
            images=receipt.images if receipt else 0,
            cost_micro=receipt.cost_micro if receipt else 0,
            duration_ms=round(account.elapsed_s * 1000, 1),
            first_piece_ms=None if account.first_piece_s is None else round(account.first_piece_s * 1000, 1),
            held_ms=None if held_s is None else round(held_s * 1000, 1),
        )


class _Wire:
    """The way back to the caller; remembers what has gone over it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None
        self.ended = False
        self.is_file = False
        self.failure: Callable[[FreeholdError], dict[str, Any]] | None = None

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body", False):
            self.ended = True
        return self._send(message)


def _watched(scope: Scope, receive: Receive, flight: Flight) -> Callable[[], object]:
    """Abort the flight when the caller closes the connection; what is returned ends the watch.

    A server that tells of it (`freehold.api.connection`) is listened to; of another one it is asked in a task.
    """
    departures: Departures | None = scope["state"].get(DEPARTURES)
    if departures is None:
        return asyncio.create_task(_watch(receive, flight)).cancel
    departures.add(flight.leave)
    return partial(departures.discard, flight.leave)


async def _watch(receive: Receive, flight: Flight) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    flight.leave()


def end_user_of(fields: Mapping[str, Any]) -> str | None:
    """The name that a body gives the caller's end user, in whichever of the fields that there are for it."""
    names = (fields.get(name) for name in ("safety_identifier", "user"))
    return next((name for name in names if isinstance(name, str) and name), None)


def _header(scope: Scope, wanted: bytes) -> str | None:
    """The value of a header; None if it is not there."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)
