"""A caller's connection: uvicorn's, with bounds on the head of a request, which uvicorn has none for.

It also tells requests that its caller has gone, without a task for each that waits for it: whoever is in the set that
lies in the scope's state under `DEPARTURES` is called.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias, cast

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from freehold.api.dialect import Dialect, error_body
from freehold.api.transport import LingeringTransport, Patience
from freehold.errors import MalformedBody

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

MAX_HEAD_BYTES = 64 * 1024
"""How much of a head is taken without its end; one that arrives whole in a single read may be a little longer."""
HEAD_S = 60.0
"""How long a caller may take to send a head, in seconds."""
KEPT_BYTES: Final = 64 * 1024
"""A body that is no longer is read to its end behind an answer that came before, so that its connection can be kept."""
STOPPING_S: Final = 1.0
"""How long a server that ends lingers for a caller, in seconds."""

DEPARTURES: Final = "departures"
Departures: TypeAlias = set[Callable[[], None]]


class BoundedConnection(HttpToolsProtocol):
    """One connection. A head that is too long, too slow or no HTTP ends it, with an error in the envelope.

    An answer that comes before the request's body is whole ends it as well, unless little of the body is left: it says
    `connection: close`, and the caller is given `patience` to send on and read it (`freehold.api.transport`). So does
    an answer to a request that waits for `100 Continue`: whether its body still comes is the caller's choice.
    """

    patience: ClassVar[Patience] = Patience()
    _head_bytes = 0
    _in_head = False
    _in_body = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Give the caller a while for the first head."""
        self._wire = LingeringTransport(transport, self.loop, lambda: self._in_body, self.patience)
        super().connection_made(cast("asyncio.Transport", self._wire))
        self._departures: Departures = set()
        self._deadline = self.loop.call_later(HEAD_S, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._in_time()
        super().connection_lost(exc)
        for leave in tuple(self._departures):
            leave()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()
        self.scope["state"][DEPARTURES] = self._departures

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head, self._in_body = False, True
        self._in_time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is whole."""
        self._in_body = False
        self._in_time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is whole; what is left of its request's body has its time."""
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.patience.time_s, self._late)

    def data_received(self, data: bytes) -> None:
        """Read on; whatever leaves a head unfinished counts against its bounds."""
        if self._wire.lingering:
            self._wire.throw_away(data)
            return
        super().data_received(data)
        if self._in_head:
            self._bound_head(len(data))
        elif self.cycle is not None and self.cycle.response_complete and not self.transport.is_closing():
            # The rest of an answered request's body. Uvicorn has taken it for a new request, which ends the waiting.
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def shutdown(self) -> None:
        """Close the connection when what is being answered is; a caller who still sends has a moment."""
        self._wire.hurry(STOPPING_S)
        if not self._wire.lingering:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Tell a caller who does not speak HTTP."""
        self._refuse(400, msg)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        super()._start_asgi_task(cycle, cast("ASGI3Application", partial(_answer, cycle, cast("ASGIApp", app))))

    def _bound_head(self, size: int) -> None:
        """Count what came of a head that is not whole."""
        if self.transport.is_closing():
            return
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, f"The head of the request is larger than the limit of {MAX_HEAD_BYTES} bytes.")
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self._late)

    def _refuse(self, status: int, message: str) -> None:
        body = orjson.dumps(error_body(MalformedBody(message, code="invalid_request"), Dialect.OPENAI))
        reason = b"Bad Request" if status == 400 else b"Request Header Fields Too Large"
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"x-request-id: req_%b\r\nconnection: close\r\n\r\n%b"
            % (status, reason, len(body), secrets.token_hex(16).encode(), body)
        )
        if self.cycle is None or self.cycle.response_complete:
            self._wire.linger()
        else:  # a request is being answered: it is to be told at once that its caller cannot be
            self._wire.drop()

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._wire.drop()


def _answer(cycle: RequestResponseCycle, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Have a request answered; only one whose body is not there yet can be answered before it is."""
    return app(scope, receive, partial(_send_early, cycle, send) if cycle.more_body else send)


async def _send_early(cycle: RequestResponseCycle, send: Send, message: Message) -> None:
    """Send an answer; say that the connection ends with it if too much of the body is left, or nobody knows how much.

    Of a caller who waits for `100 Continue` nobody knows (RFC 9110, 10.1.1).
    """
    if message["type"] == "http.response.start" and cycle.more_body and _may_send_much(cycle):
        message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
    await send(message)


def _may_send_much(cycle: RequestResponseCycle) -> bool:
    declared = next((value for name, value in cycle.scope["headers"] if name == b"content-length"), b"")
    return cycle.waiting_for_100_continue or not declared.isdigit() or int(declared) > KEPT_BYTES
