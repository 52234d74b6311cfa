"""A caller's connection: uvicorn's, with bounds on the head of a request, which uvicorn has none for.

It also tells requests that its caller has gone, without a task for each that waits for it: whoever is in the set that
lies in the scope's state under `DEPARTURES` is called.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast
from urllib.parse import unquote

import httptools
import orjson
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from freehold.api.dialect import Dialect, error_body
from freehold.api.exchange import Exchange, Way
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
        self._due = False
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def hold(self, data: bytes) -> None:
        """Send data with what follows it, which is sure to come."""
        self._held.append(data)
        self._held_bytes += len(data)

    def write(self, data: bytes) -> None:
        """Send data at the end of this turn; at once where there is much of it."""
        self.hold(data)
        if self._held_bytes > GATHERED_BYTES:
            self._flush()
        elif not self._due:
            self._due = True
            self._loop.call_soon(self._turn_ends)

    def finish(self, data: bytes) -> None:
        """Send data at once, with what was written before: nothing belongs to it any more."""
        self._held.append(data)
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

    def _turn_ends(self) -> None:
        self._due = False
        self._flush()

    def _flush(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self._transport.is_closing():
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))


DEPARTURES: Final = "departures"
Departures: TypeAlias = set[Callable[[], None]]


class BoundedConnection(HttpToolsProtocol):
    """One connection. A head that is too long, too slow or no HTTP ends it, with an error in the envelope.

    Nothing else than HTTP is spoken on it, under no root path and without a limit of how many are served at once.
    """

    cycle: Exchange
    """The last one; None before the first request, as uvicorn has it."""

    _head_bytes = 0
    _in_head = False
    _deadline: asyncio.TimerHandle | None = None
    _idle_since: float | None = None
    """Since when the caller may send another request, on the event loop's clock; None while one is served."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Give the caller a while for the first head."""
        super().connection_made(cast("asyncio.Transport", Gathering(transport, self.loop)))
        self._departures: Departures = set()
        self._deadline = self.loop.call_later(HEAD_S, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._in_time()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        super().connection_lost(exc)
        for leave in tuple(self._departures):
            leave()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        self._head_bytes = 0
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """The head is whole: serve the request, or have it wait until those before it were answered."""
        self._in_head = False
        if self._deadline is not None:
            self._in_time()
        parser, url = self.parser, httptools.parse_url(self.url)
        version, raw_path = parser.get_http_version(), url.path
        path = raw_path.decode("ascii")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": url.query or b"",
            "headers": self.headers,
            "state": {**self.app_state, DEPARTURES: self._departures},
        }
        before = self.cycle
        self.cycle = Exchange(
            scope,
            cast("Way", self.transport),
            self.flow,
            self.server_state.default_headers,
            wants_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_end=self.on_response_complete,
            tasks=self.tasks,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """A piece of a body; what comes after the answer is not wanted any more."""
        if not self.cycle.response_complete:
            self.cycle.take(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Have a request served in a task of its own, which takes itself from those that run."""
        exchange = cast("Exchange", cycle)
        exchange.task = self.loop.create_task(exchange.run_asgi(app))
        self.tasks.add(exchange.task)

    def on_response_complete(self) -> None:
        """An answer was sent: serve what waits, or give the caller a while for the next request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:  # one goes on over many requests; see `timeout_keep_alive_handler`
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been idle for long enough; else look again when it may have been."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None or self.transport.is_closing():
            return
        left_s = self.timeout_keep_alive - (self.loop.time() - self._idle_since)
        if left_s <= 0:
            self.transport.close()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        """Something has come: the connection is not idle."""
        self._idle_since = None

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
