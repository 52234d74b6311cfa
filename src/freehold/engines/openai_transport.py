"""HTTP to an engine, on a Unix socket or over TCP: one pooled client, JSON bodies, server-sent events, our errors.

It does not know what the events mean; that is `openai_http`'s for text and `picture_http`'s for pictures.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from multidict import CIMultiDict

from freehold.engines.base import Connection
from freehold.engines.http_stream import Place, Wire, Wires, request_head
from freehold.engines.openai_errors import error_object, status_of, translate_error, translate_error_object
from freehold.engines.reaching import connector, own_url
from freehold.engines.sse import EventReader, OversizeEvent
from freehold.errors import EngineFailed, EngineTimeout, EngineUnavailable, FreeholdError
from freehold.types.address import Address, TlsAddress

LOCAL_URL = "http://localhost/v1"
"""The base of URLs on a Unix socket, where the host says nothing."""

DONE = b"[DONE]"
"""The data of the event that ends a stream."""

NONSENSE = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What reading an answer of the wrong form raises."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection bears before it gives up. Times are seconds.

    Args:
        connect_s: for a connection to be made.
        read_s: between two pieces of an answer, the wait for the first included.
        keepalive_s: how long an unused connection is kept; less than servers keep theirs, so that none is used
            just as the other side closes it.
        max_event_bytes: one event of a stream.
        max_body_bytes: an answer that is not streamed.
        max_error_bytes: how much of an error's text is read.
    """

    connect_s: float = 10.0
    read_s: float = 600.0
    keepalive_s: float = 4.0
    max_event_bytes: int = 4 * 1024 * 1024
    max_body_bytes: int = 256 * 1024 * 1024
    max_error_bytes: int = 64 * 1024


DEFAULT_LIMITS = ConnectionLimits()


class Incoming:
    """A stream that an engine sends.

    Args:
        wires: the connections to it.
        wire: the one that the stream comes on.
        reader: of its events.
    """

    __slots__ = ("_reader", "_wire", "_wires")

    def __init__(self, wires: Wires, wire: Wire, reader: EventReader) -> None:
        self._wires = wires
        self._wire = wire
        self._reader = reader

    async def burst(self) -> list[bytes]:
        """The data of the next events, as many as came together, `DONE` the last of all; empty at the end.

        Raises:
            EngineFailed, EngineTimeout, EngineUnavailable: it broke off.
        """
        while piece := await self._wire.read():
            burst = _events(self._reader, piece)
            if burst:
                if burst[-1] == DONE and not self._wire.complete:
                    await _reach_end(self._wire)
                return burst
        return []

    async def bursts(self) -> AsyncGenerator[list[bytes]]:
        """All of them, and then its end."""
        try:
            while burst := await self.burst():
                yield burst
        finally:
            self.end()

    def end(self) -> None:
        """Be done with it; what was not read to its end is broken off, which stops the engine."""
        self._wires.end(self._wire)


class HttpConnection(Connection):
    """A connection over HTTP. Makes its pool at the first call, inside the running loop.

    Args:
        model: what bodies name as the model.
        base_url: the URL up to and including `/v1`; an address over TLS has its own.
        socket: the Unix socket to go through, or where the engine is on another machine; without it, TCP.
        limits: what to bear.
    """

    def __init__(
        self,
        *,
        model: str,
        base_url: str = LOCAL_URL,
        socket: Address | None = None,
        limits: ConnectionLimits = DEFAULT_LIMITS,
    ) -> None:
        self._model = model
        self._base_url = own_url(socket) if isinstance(socket, TlsAddress) else base_url.rstrip("/")
        self._socket = socket
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None
        self._wires: Wires | None = None
        self._heads: dict[str, bytes] = {}
        self._closed = False

    @property
    def root(self) -> str:
        """The URL without `/v1`."""
        return self._base_url.removesuffix("/v1")

    # What subclasses override

    def url(self, operation: str) -> str:
        """The URL of an operation such as `chat/completions`."""
        return f"{self._base_url}/{operation}"

    def headers(self) -> Mapping[str, str]:
        """Headers of every request besides those of HTTP itself, such as a credential."""
        return {}

    def translate(self, status: int, body: bytes, headers: Mapping[str, str], *, param: str) -> FreeholdError:
        """The error that an answer with a status other than 200 stands for."""
        return translate_error(status, body, headers, param=param)

    def translate_object(self, error: Mapping[str, Any], *, param: str) -> FreeholdError:
        """The error that an error object within a stream stands for."""
        return translate_error_object(status_of(error), error, param=param)

    # The contract

    async def close(self) -> None:
        """See `Connection.close`."""
        self._closed = True
        if self._wires is not None:
            self._wires.close()
        if self._session is not None:
            await self._session.close()

    # What subclasses use

    async def fetch(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | aiohttp.FormData | None = None,
        *,
        timeout_s: float | None = None,
        param: str = "input",
    ) -> Any:
        """Ask for something that is not streamed, and decode it.

        Raises: as `Connection.embed`.
        """
        raw = await self.fetch_raw(method, url, body, timeout_s=timeout_s, param=param)
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as exc:
            raise EngineFailed("the engine's answer is not JSON") from exc

    async def fetch_raw(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | aiohttp.FormData | None,
        *,
        timeout_s: float | None,
        param: str = "input",
    ) -> bytes:
        """As `fetch`, for an answer that is not JSON."""
        async with self._send(method, url, body, timeout_s=timeout_s, param=param) as response:
            return await self._read(response, self._limits.max_body_bytes)

    async def events(
        self,
        operation: str,
        body: Mapping[str, Any] | aiohttp.FormData,
        *,
        param: str,
        max_event_bytes: int | None = None,
    ) -> AsyncGenerator[dict[str, Any] | None]:
        """Post a body and yield the decoded events of the answer, then None where `[DONE]` ended it.

        Closing it closes the HTTP answer, which stops the engine.

        Raises: as `Connection.chat`.
        """
        if isinstance(body, aiohttp.FormData):
            bursts = self._form_bursts(operation, body, param, max_event_bytes)
        else:
            bursts = (await self.post(operation, body, param=param, max_event_bytes=max_event_bytes)).bursts()
        async with aclosing(bursts):
            async for burst in bursts:
                for data in burst:
                    if data == DONE:
                        yield None
                        return
                    yield self.decode(data, param)

    async def post(
        self, operation: str, body: Mapping[str, Any], *, param: str, max_event_bytes: int | None = None
    ) -> "Incoming":
        """Post a body; the stream that it is answered with, which whoever gets it ends.

        Raises: as `Connection.chat`.
        """
        wires = self._wired()
        wire = await wires.post(self._head(operation), orjson.dumps(body))
        if wire.status == 200 and _is_stream(wire.headers):
            return Incoming(wires, wire, EventReader(max_event_bytes or self._limits.max_event_bytes))
        try:
            text = await self._read_error(wire)
        finally:
            wires.end(wire)
        if wire.status == 200:
            raise self._not_a_stream(text, param)
        raise self.translate(wire.status, text, CIMultiDict(wire.headers), param=param)

    def decode(self, data: bytes, param: str) -> dict[str, Any]:
        """One event of a stream; an error that stands in its place is raised."""
        try:
            event: dict[str, Any] = orjson.loads(data)
            error = event.get("error")
        except NONSENSE as exc:
            raise EngineFailed("the engine's answer cannot be read") from exc
        if error:
            raise self.translate_object(error_object(event), param=param)
        return event

    # Inside

    async def _form_bursts(
        self, operation: str, body: aiohttp.FormData, param: str, max_event_bytes: int | None
    ) -> AsyncGenerator[list[bytes]]:
        """As `Incoming.bursts`, of the answer to a form."""
        reader = EventReader(max_event_bytes or self._limits.max_event_bytes)
        async with self._send("POST", self.url(operation), body, param=param) as response:
            if response.content_type != "text/event-stream":
                raise self._not_a_stream(await self._read(response, self._limits.max_error_bytes), param)
            async for piece in response.content.iter_any():
                yield _events(reader, piece)

    def _wired(self) -> Wires:
        if self._closed:
            raise EngineUnavailable("the connection to the engine is closed")
        if self._wires is None:
            limits = self._limits
            self._wires = Wires(
                Place.of(self._base_url, self._socket),
                connect_s=limits.connect_s,
                read_s=limits.read_s,
                keepalive_s=limits.keepalive_s,
            )
        return self._wires

    def _head(self, operation: str) -> bytes:
        head = self._heads.get(operation)
        if head is None:
            headers = {"accept-encoding": "identity", "content-type": "application/json", **self.headers()}
            head = self._heads[operation] = request_head(self.url(operation), headers)
        return head

    async def _read_error(self, wire: Wire) -> bytes:
        """What an answer says that is no stream, as far as it is read."""
        text = b""
        while len(text) <= self._limits.max_error_bytes and (piece := await wire.read()):
            text += piece
        return text[: self._limits.max_error_bytes]

    def _not_a_stream(self, raw: bytes, param: str) -> FreeholdError:
        try:
            error = orjson.loads(raw).get("error")
        except NONSENSE:
            error = None
        if isinstance(error, dict):
            return self.translate_object(error, param=param)
        return EngineFailed("the engine answered with something other than a stream")

    @asynccontextmanager
    async def _send(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | aiohttp.FormData | None,
        *,
        timeout_s: float | None = None,
        param: str,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The one place where requests are sent, and where the HTTP client's errors become ours."""
        if self._closed:
            raise EngineUnavailable("the connection to the engine is closed")
        limits = self._limits
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=limits.connect_s, sock_read=limits.read_s)
        response: aiohttp.ClientResponse | None = None
        headers = {"accept-encoding": "identity", **self.headers()}
        if not isinstance(body, aiohttp.FormData):
            headers["content-type"] = "application/json"
            body = None if body is None else orjson.dumps(body)  # type: ignore[assignment]
        try:
            response = await self._pool().request(
                method,
                url,
                data=body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            )
            if response.status != 200:
                text = await self._read(response, limits.max_error_bytes, cut=True)
                raise self.translate(response.status, text, response.headers, param=param)
            yield response
        except aiohttp.ConnectionTimeoutError as exc:
            raise EngineUnavailable("the engine could not be reached in time") from exc
        except TimeoutError as exc:
            raise EngineTimeout("the engine did not answer in time") from exc
        except RuntimeError as exc:
            if not self._closed:
                raise
            raise EngineUnavailable("the connection to the engine is closed") from exc
        except aiohttp.ClientResponseError as exc:
            raise EngineFailed("the engine's answer is not HTTP") from exc
        except (aiohttp.ClientError, OSError) as exc:
            if response is None or self._closed:
                raise EngineUnavailable("the engine could not be reached") from exc
            raise EngineFailed("the engine broke off in the middle of its answer") from exc
        finally:
            if response is not None:
                response.close()  # a no-op once the answer has been read to its end

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            made = connector(self._socket, self._limits.keepalive_s)
            self._session = aiohttp.ClientSession(connector=made, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    @staticmethod
    async def _read(response: aiohttp.ClientResponse, most: int, *, cut: bool = False) -> bytes:
        """The body, up to a bound; what exceeds it is cut off or an error."""
        pieces: list[bytes] = []
        size = 0
        async for piece in response.content.iter_any():
            pieces.append(piece)
            size += len(piece)
            if size > most:
                if cut:
                    break
                raise EngineFailed("the engine's answer is too large")
        return b"".join(pieces)[:most]


def _events(reader: EventReader, piece: bytes) -> list[bytes]:
    try:
        return reader.feed(piece)
    except OversizeEvent as exc:
        raise EngineFailed("the engine's answer has an event that is too large") from exc


def _is_stream(headers: Mapping[str, str]) -> bool:
    """Whether an answer is one of server-sent events."""
    media_type = headers.get("content-type", "")
    return media_type.partition(";")[0].strip().lower() == "text/event-stream"


async def _reach_end(wire: Wire) -> None:
    """Wait a moment for the HTTP answer's end behind `[DONE]`, without which the connection cannot be used again."""
    try:
        async with asyncio.timeout(0.25):
            await wire.read()
    except (TimeoutError, FreeholdError):
        return  # the connection is closed instead
