"""A caller's connection: uvicorn's, with bounds on the head of a request, which uvicorn has none for.

It also tells requests that its caller has gone, without a task for each that waits for it: whoever is in the set that
lies in the scope's state under `DEPARTURES` is called.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from freehold.api.dialect import Dialect, error_body
from freehold.errors import MalformedBody

MAX_HEAD_BYTES = 64 * 1024
"""How much of a head is taken without its end; one that arrives whole in a single read may be a little longer."""
HEAD_S = 60.0
"""How long a caller may take to send a head, in seconds."""
GATHERED_BYTES: Final = 64 * 1024
"""More than this is sent at once."""
LINGER_S: Final = 30.0
"""A connection that is to be closed and takes nothing of what is left to send for this long is cut off, in seconds."""


class Gathering:
    """A transport that sends what is written in one turn of the event loop at once, as one packet where it fits.

    A head and a short body are written apart, which would cost the caller and the server a system call each, and both a
    wake-up. Everything else is the transport's own.

    Args:
        transport: the connection's.
        loop: the event loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send data at the end of this turn; at once where there is much of it."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > GATHERED_BYTES:
            self._flush()

    def close(self) -> None:
        """Close the connection after what was written, or once its caller reads no more of that."""
        self._flush()
        self._transport.close()
        self._linger(None)

    def _linger(self, before: int | None) -> None:
        """Look from time to time whether the caller still reads what is left."""
        left = self._transport.get_write_buffer_size()
        if left and left == before:
            self._transport.abort()
        elif left:
            self._loop.call_later(LINGER_S, self._linger, left)

    def _flush(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self._transport.is_closing():
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))


DEPARTURES: Final = "departures"
Departures: TypeAlias = set[Callable[[], None]]


class BoundedConnection(HttpToolsProtocol):
    """One connection. A head that is too long, too slow or no HTTP ends it, with an error in the envelope."""

    _head_bytes = 0
    _in_head = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Give the caller a while for the first head."""
        super().connection_made(cast("asyncio.Transport", Gathering(transport, self.loop)))
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
        self._in_head = False
        self._in_time()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Read on; whatever leaves a head unfinished counts against its bounds."""
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, f"The head of the request is larger than the limit of {MAX_HEAD_BYTES} bytes.")
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self._late)

    def send_400_response(self, msg: str) -> None:
        """Tell a caller who does not speak HTTP."""
        self._refuse(400, msg)

    def _refuse(self, status: int, message: str) -> None:
        body = orjson.dumps(error_body(MalformedBody(message, code="invalid_request"), Dialect.OPENAI))
        reason = b"Bad Request" if status == 400 else b"Request Header Fields Too Large"
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"x-request-id: req_%b\r\nconnection: close\r\n\r\n%b"
            % (status, reason, len(body), secrets.token_hex(16).encode(), body)
        )
        self.transport.close()

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self.transport.close()
