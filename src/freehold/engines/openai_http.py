"""A connection to any server that speaks the OpenAI API over HTTP, on a Unix socket or over TCP.

One client for every engine: pooled, kept alive, always streaming, so that a caller who goes stops the engine. It
does not know which server it talks to: what differs is in small methods that a subclass overrides. A subclass adds
`open` and `check`.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import orjson

from freehold.engines.base import Connection
from freehold.engines.openai_errors import error_object, status_of, translate_error, translate_error_object
from freehold.engines.openai_stream import StreamGrammar, chat_deltas, completion_deltas, usage_from
from freehold.engines.sse import EventReader, OversizeEvent
from freehold.errors import EngineFailed, EngineTimeout, EngineUnavailable, FreeholdError
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest, Prompt
from freehold.types.generation import Delta, Embeddings, Event, Usage

LOCAL_URL = "http://localhost/v1"
"""The base of URLs on a Unix socket, where the host says nothing."""

GATEWAY_FIELDS = {
    "stream",
    "stream_options",
    "functions",
    "function_call",
    "max_tokens",
    "max_completion_tokens",
    "user",
    "safety_identifier",
    "metadata",
    "store",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "moderation",
    "prompt",
    "best_of",
    "echo",
}
"""What the gateway deals with itself, or what is set anew for the engine, which need not know who is asking."""

NONSENSE = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What reading an answer of the wrong form raises."""

Deltas = Callable[[Mapping[str, Any]], list[Delta]]


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


class OpenAIConnection(Connection):
    """Talks the OpenAI API. Makes its pool at the first call, inside the running loop.

    Args:
        model: what bodies name as the model.
        base_url: the URL up to and including `/v1`.
        socket: the Unix socket to go through; without it, TCP.
        limits: what to bear.
    """

    limit_field: ClassVar[str | None] = "max_tokens"
    """The name under which the engine takes the most tokens to produce; None sends the caller's own name."""

    def __init__(
        self,
        *,
        model: str,
        base_url: str = LOCAL_URL,
        socket: Path | None = None,
        limits: ConnectionLimits = DEFAULT_LIMITS,
    ) -> None:
        self._model = model
        self._base_url = base_url.rstrip("/")
        self._socket = socket
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    # What subclasses override

    def url(self, operation: str) -> str:
        """The URL of an operation such as `chat/completions`."""
        return f"{self._base_url}/{operation}"

    def headers(self) -> Mapping[str, str]:
        """Headers of every request besides those of HTTP itself, such as a credential."""
        return {}

    def chat_body(self, request: ChatRequest) -> dict[str, Any]:
        """The body of a chat request; what is None is left out."""
        body = request.model_dump(exclude_none=True, by_alias=True, exclude=GATEWAY_FIELDS)
        body["model"] = self._model
        name = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
        return self._finish_body(body, self.limit_field or name, request.completion_limit)

    def completion_body(self, request: CompletionRequest, prompt: Prompt) -> dict[str, Any]:
        """The body of a completion request for one prompt."""
        body = request.model_dump(exclude_none=True, by_alias=True, exclude=GATEWAY_FIELDS)
        body["model"] = self._model
        body["prompt"] = prompt
        return self._finish_body(body, "max_tokens", request.max_tokens)

    def embedding_body(self, inputs: Sequence[Prompt], dimensions: int | None) -> dict[str, Any]:
        """The body of an embedding request."""
        body: dict[str, Any] = {"model": self._model, "input": list(inputs), "encoding_format": "float"}
        if dimensions is not None:
            body["dimensions"] = dimensions
        return body

    def chat_deltas(self, chunk: Mapping[str, Any]) -> list[Delta]:
        """The deltas of one chunk of a chat stream; what reading nonsense raises is translated."""
        return chat_deltas(chunk)

    def completion_deltas(self, chunk: Mapping[str, Any]) -> list[Delta]:
        """The deltas of one chunk of a completion stream; what reading nonsense raises is translated."""
        return completion_deltas(chunk)

    def translate(self, status: int, body: bytes, headers: Mapping[str, str], *, param: str) -> FreeholdError:
        """The error that an answer with a status other than 200 stands for."""
        return translate_error(status, body, headers, param=param)

    def translate_object(self, error: Mapping[str, Any], *, param: str) -> FreeholdError:
        """The error that an error object within a stream stands for."""
        return translate_error_object(status_of(error), error, param=param)

    # The contract

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Event]:
        """See `Connection.chat`."""
        grammar = StreamGrammar(request.n or 1, _message_tokens(request))
        stream = self._stream("chat/completions", self.chat_body(request), self.chat_deltas, grammar, "messages")
        try:
            async for event in stream:
                yield event
        finally:
            await stream.aclose()

    async def complete(self, request: CompletionRequest, prompt: Prompt) -> AsyncGenerator[Event]:
        """See `Connection.complete`."""
        grammar = StreamGrammar(request.n or 1, _prompt_tokens(prompt))
        body = self.completion_body(request, prompt)
        stream = self._stream("completions", body, self.completion_deltas, grammar, "prompt")
        try:
            async for event in stream:
                yield event
        finally:
            await stream.aclose()

    async def embed(self, inputs: Sequence[Prompt], dimensions: int | None) -> Embeddings:
        """See `Connection.embed`."""
        body = self.embedding_body(inputs, dimensions)
        answer = await self.fetch("POST", self.url("embeddings"), body, param="input")
        try:
            data = sorted(answer["data"], key=lambda entry: entry["index"])
            vectors = tuple(_unit(entry["embedding"]) for entry in data)
            usage = answer.get("usage")
        except NONSENSE as exc:
            raise EngineFailed("the engine answered with vectors that cannot be read") from exc
        if len(vectors) != len(inputs):
            raise EngineFailed("the engine answered with a wrong number of vectors")
        estimate = Usage(sum(_prompt_tokens(prompt) for prompt in inputs), estimated=True)
        return Embeddings(vectors, usage_from(usage, estimate=estimate))

    async def close(self) -> None:
        """See `Connection.close`."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    # What subclasses use

    async def fetch(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None = None,
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
        self, method: str, url: str, body: Mapping[str, Any] | None, *, timeout_s: float | None, param: str = "input"
    ) -> bytes:
        """As `fetch`, for an answer that is not JSON."""
        async with self._send(method, url, body, timeout_s=timeout_s, param=param) as response:
            return await self._read(response, self._limits.max_body_bytes)

    # Inside

    def _finish_body(self, body: dict[str, Any], limit_field: str, limit: int | None) -> dict[str, Any]:
        if limit is not None:
            body[limit_field] = limit
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
        return body

    async def _stream(
        self, operation: str, body: Mapping[str, Any], deltas: Deltas, grammar: StreamGrammar, param: str
    ) -> AsyncGenerator[Event]:
        """Post a body and yield the events of the answer. Closing it closes the HTTP answer, which stops the engine."""
        reader = EventReader(self._limits.max_event_bytes)
        clean = False
        async with self._send("POST", self.url(operation), body, param=param) as response:
            if response.content_type != "text/event-stream":
                raise self._not_a_stream(await self._read(response, self._limits.max_error_bytes), param)
            async for piece in response.content.iter_any():
                for data in _events(reader, piece):
                    if data == b"[DONE]":
                        clean = True
                        break
                    for delta in self._decode(data, deltas, grammar, param):
                        if grammar.admit(delta):
                            yield delta
                if clean:
                    await _reach_end(response)
                    break
        for event in grammar.close(clean=clean):
            yield event

    def _decode(self, data: bytes, deltas: Deltas, grammar: StreamGrammar, param: str) -> list[Delta]:
        """The deltas of one event of a stream."""
        try:
            chunk = orjson.loads(data)
            error = chunk.get("error")
            if not error:
                grammar.note_usage(chunk.get("usage"))
                return deltas(chunk)
        except NONSENSE as exc:
            raise EngineFailed("the engine's answer cannot be read") from exc
        raise self.translate_object(error_object(chunk), param=param)

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
        self, method: str, url: str, body: Mapping[str, Any] | None, *, timeout_s: float | None = None, param: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The one place where requests are sent, and where the HTTP client's errors become ours."""
        if self._closed:
            raise EngineUnavailable("the connection to the engine is closed")
        limits = self._limits
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=limits.connect_s, sock_read=limits.read_s)
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._pool().request(
                method,
                url,
                data=None if body is None else orjson.dumps(body),
                headers={"content-type": "application/json", "accept-encoding": "identity", **self.headers()},
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
            keep = self._limits.keepalive_s
            connector: aiohttp.BaseConnector = (
                aiohttp.TCPConnector(limit=0, keepalive_timeout=keep)
                if self._socket is None
                else aiohttp.UnixConnector(path=str(self._socket), limit=0, keepalive_timeout=keep)
            )
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
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


async def _reach_end(response: aiohttp.ClientResponse) -> None:
    """Wait a moment for the HTTP answer's end behind `[DONE]`, without which the connection cannot be used again."""
    if response.content.at_eof():
        return
    try:
        async with asyncio.timeout(0.25):
            await response.content.readany()
    except (TimeoutError, aiohttp.ClientError):
        return  # the connection is closed instead


def _unit(values: Sequence[float]) -> tuple[float, ...]:
    """The vector at unit length.

    Raises:
        ValueError: it has no direction.
    """
    length = math.hypot(*values)
    if not math.isfinite(length) or length == 0:
        raise ValueError("a vector without a direction")
    return tuple(values) if abs(length - 1) < 1e-6 else tuple(value / length for value in values)


def _prompt_tokens(prompt: Prompt) -> int:
    """The tokens of a prompt; of a text, roughly."""
    return math.ceil(len(prompt) / 4) if isinstance(prompt, str) else len(prompt)


def _message_tokens(request: ChatRequest) -> int:
    """The tokens of a conversation, roughly."""
    characters = 0
    for message in request.messages:
        if isinstance(message.content, str):
            characters += len(message.content)
        elif message.content is not None:
            characters += sum(len(getattr(part, "text", "")) for part in message.content)
    return math.ceil(characters / 4)
