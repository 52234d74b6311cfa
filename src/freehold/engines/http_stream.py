"""An HTTP client for one thing: to post a body to an engine and to read the answer as it comes.

It does what every text request needs, and no more: no cookies, redirects, proxies or compressed answers. Connections
are kept and used again. The parser is httptools', which uvicorn reads requests with. A general client takes three times
as long for an answer in many chunks, which is what streams are.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httptools

from freehold.engines.reaching import tls_context
from freehold.errors import EngineFailed, EngineTimeout, EngineUnavailable, FreeholdError
from freehold.types.address import Address, TlsAddress

HIGH_WATER: Final = 256 * 1024
"""So many bytes may wait to be read before the other side is not listened to any more."""
MAX_HEAD_BYTES: Final = 64 * 1024
_INFORMATIONAL: Final = range(100, 200)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is.

    Args:
        host, port: of TCP.
        tls: whether it is spoken to over TLS.
        socket: the Unix socket to go through instead.
        name: for whom its certificate must be, if not for `host`.
        credentials: the folder with the certificates of both sides (see `TlsAddress`), if not the system's are meant.
    """

    host: str
    port: int
    tls: bool
    socket: Path | None = None
    name: str | None = None
    credentials: Path | None = None

    @classmethod
    def of(cls, url: str, address: Address | None) -> "Place":
        """The place of a URL, or of an address where there is one."""
        if isinstance(address, TlsAddress):
            return cls(address.host, address.port, tls=True, name=address.name, credentials=address.credentials)
        parts = urlsplit(url)
        tls, socket = parts.scheme == "https", address
        return cls(parts.hostname or "localhost", parts.port or (443 if tls else 80), tls, socket)


def request_head(url: str, headers: Mapping[str, str]) -> bytes:
    """The head of a POST up to the length of its body.

    Raises:
        ValueError: a header would break out of its line.
    """
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2] or "localhost"
    lines = [f"POST {target} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header holds the end of a line")
    return "\r\n".join(lines).encode("latin-1") + b"\r\ncontent-length: "


class Wire(asyncio.Protocol):
    """One connection, and the answer that is read from it.

    Args:
        read_s: how long to wait for the next piece of an answer, in seconds.
    """

    def __init__(self, read_s: float) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        """Of the answer, by their names in small letters."""
        self.complete = False
        self.idle_since = 0.0
        self._read_s = read_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._pieces: deque[bytes] = deque()
        self._whole = 0
        """How many of them there were when the answer came to its end; whatever the parser finds then is none of it."""
        self.on_body: Callable[[bytes], None] = self._pieces.append
        """What the parser calls with each piece of a body."""
        self._held = self._head_bytes = 0
        self._paused = self._keep_alive = self._asked = False
        self._failure: FreeholdError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._waiting_since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # What the owner calls

    @property
    def usable(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing() and self._failure is None

    def ask(self, head: bytes, body: bytes) -> None:
        """Send a request.

        Raises:
            EngineUnavailable: the connection has ended, be it just after it was made.
        """
        if self._transport is None:
            raise EngineUnavailable("the engine could not be reached")
        self.status, self.headers, self.complete, self._asked = 0, {}, False, True
        self._head_bytes = 0
        if self._parser is None:  # it goes on with the next answer behind a whole one
            self._parser = httptools.HttpResponseParser(self)
        self._transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        if self._timer is None:  # one goes on over many answers, and is set anew when it has come to its time
            self._timer = self._loop.call_later(self._read_s, self._look_at_the_time)

    async def answered(self) -> None:
        """Wait for the head of the answer.

        Raises:
            EngineUnavailable: the connection ended before there was one.
            EngineTimeout, EngineFailed: it did not come in time, or is no HTTP.
        """
        while not self.status:
            await self._progress()

    async def read(self) -> bytes:
        """What has come of the body since the last time; empty at its end.

        Raises:
            EngineTimeout: nothing came in time.
            EngineFailed: the answer broke off, or is no HTTP.
        """
        while not self._pieces:
            if self.complete:
                return b""
            await self._progress()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def end(self) -> bool:
        """Be done with the answer; whether the connection can be used again. It is closed otherwise."""
        self._asked = False
        self._pieces.clear()
        self._held = 0
        if self.complete and self._keep_alive and self.usable and not self._paused:
            return True
        self._parser = None
        self.close()
        return False

    def close(self) -> None:
        """Close the connection; whoever waits is told that it has gone."""
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    # Inside

    async def _progress(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        self._waiting_since = self._loop.time()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, failure: FreeholdError) -> None:
        """Close the connection; whoever reads from it is told why."""
        if self._failure is None:
            self._failure = failure
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._failure)
        self.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at_the_time(self) -> None:
        """Give up if somebody has waited long enough."""
        left_s = self._read_s
        if self._waiter is not None:
            left_s -= self._loop.time() - self._waiting_since
            if left_s <= 0:
                self.fail(EngineTimeout("the engine did not answer in time"))
                return
        self._timer = self._loop.call_later(left_s, self._look_at_the_time)

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._parser is None or self.complete or not self._asked:
            self.close()  # nobody asked for this
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.fail(EngineFailed("the engine's answer is not HTTP"))
            return
        finally:
            while self.complete and len(self._pieces) > self._whole:
                self._pieces.pop()
        self._held += len(data)
        if not self.status:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.fail(EngineFailed("the head of the engine's answer is too large"))
                return
        if self._held > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`."""
        if self.status and not self.complete and self._ends_with_connection():
            self.complete = True
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the event loop's
        """See `asyncio.Protocol`."""
        self._stop_timer()
        self._transport = self._parser = None
        if self.complete or not self._asked:
            return
        if self.status:
            self.fail(EngineFailed("the engine broke off in the middle of its answer"))
        else:
            self.fail(EngineUnavailable("the engine could not be reached"))

    def _ends_with_connection(self) -> bool:
        return "content-length" not in self.headers and "transfer-encoding" not in self.headers

    # What the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header."""
        if self.complete:
            return
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note the status; an informational answer is none."""
        if self.complete:
            self._keep_alive = False  # nobody asked for another answer
            return
        status = self._parser.get_status_code()
        if status in _INFORMATIONAL:
            self.headers = {}
        else:
            self.status = status

    def on_message_complete(self) -> None:
        """Note the end."""
        if self.status and not self.complete:
            self.complete = True
            self._whole = len(self._pieces)
            self._keep_alive = self._parser.should_keep_alive()


class Wires:
    """The connections to one server.

    Args:
        place: where it is.
        connect_s: how long a connection may take to be made, in seconds.
        read_s: how long to wait for the next piece of an answer, in seconds.
        keepalive_s: how long an unused connection is kept, in seconds.
    """

    def __init__(self, place: Place, *, connect_s: float, read_s: float, keepalive_s: float) -> None:
        self._place = place
        self._connect_s = connect_s
        self._read_s = read_s
        self._keepalive_s = keepalive_s
        self._loop = asyncio.get_running_loop()
        self._idle: deque[Wire] = deque()
        self._busy: set[Wire] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._tls = tls_context(place.credentials) if place.tls else None
        self._closed = False

    async def post(self, head: bytes, body: bytes) -> Wire:
        """Send a request and wait for the head of its answer; whoever gets the wire gives it to `end`.

        Raises:
            EngineUnavailable: there is no connection, or it ended before an answer began.
            EngineTimeout, EngineFailed: as `Wire.answered`.
        """
        wire = self._free()
        if wire is None:
            wire = await self._connect()
        self._busy.add(wire)
        try:
            wire.ask(head, body)
            await wire.answered()
        except BaseException:
            self.end(wire)
            raise
        return wire

    def end(self, wire: Wire) -> None:
        """Be done with an answer. One that was not read to its end is broken off."""
        self._busy.discard(wire)
        if not wire.end():
            return
        if self._closed:
            wire.close()
            return
        wire.idle_since = self._loop.time()
        self._idle.append(wire)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._keepalive_s, self._sweep)

    def close(self) -> None:
        """Close every connection; calls in flight fail."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for wire in (*self._idle, *self._busy):
            wire.fail(EngineUnavailable("the connection to the engine is closed"))
        self._idle.clear()

    def _free(self) -> Wire | None:
        """The connection that was used last, if it is still good."""
        while self._idle:
            wire = self._idle.pop()
            if wire.usable and self._loop.time() - wire.idle_since < self._keepalive_s:
                return wire
            wire.close()
        return None

    def _sweep(self) -> None:
        """Close what was not used for long; the oldest stand first."""
        now = self._loop.time()
        while self._idle and now - self._idle[0].idle_since >= self._keepalive_s:
            self._idle.popleft().close()
        left_s = self._keepalive_s - (now - self._idle[0].idle_since) if self._idle else None
        self._sweeper = None if left_s is None else self._loop.call_later(left_s, self._sweep)

    async def _connect(self) -> Wire:
        if self._closed:
            raise EngineUnavailable("the connection to the engine is closed")
        place = self._place
        try:
            async with asyncio.timeout(self._connect_s):
                if place.socket is not None:
                    _, wire = await self._loop.create_unix_connection(self._wire, str(place.socket))
                else:
                    _, wire = await self._loop.create_connection(
                        self._wire, place.host, place.port, ssl=self._tls, server_hostname=place.name
                    )
        except TimeoutError as exc:
            raise EngineUnavailable("the engine could not be reached in time") from exc
        except OSError as exc:
            raise EngineUnavailable("the engine could not be reached") from exc
        if self._closed:
            wire.close()
            raise EngineUnavailable("the connection to the engine is closed")
        return wire

    def _wire(self) -> Wire:
        return Wire(self._read_s)
