"""One connection to one MCP server, by the official SDK: this module is loaded when the first server is called.

The SDK's client runs in a task of its own, since it ends the task that it runs in when the connection breaks; whoever
waits for an answer is told by an error instead. What comes from the server is bounded in time and bytes, is taken as it
is (no compression, which would undo the bound), and no redirect is followed: the address is the operator's.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

import httpx2
import structlog
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    PaginatedRequestParams,
    Tool,
)

from freehold import __version__
from freehold.errors import McpFailed
from freehold.types.mcp import Answer, Page, RemoteTool

CLOSE_S: Final = 3.0
"""How long a server may take to let go."""
MESSAGE_CHARS: Final = 500
TELLING: Final = frozenset({401, 403, 407, 429})
"""Statuses that speak for themselves, whatever the body says; so do those from 500 on."""

TLS: Final = ssl.create_default_context()
"""What servers' certificates are checked by: the authorities of the machine, as for all that Freehold calls."""

for _noisy in ("mcp", "httpx2", "httpcore2"):
    logging.getLogger(_noisy).setLevel(logging.CRITICAL)  # their warnings quote what servers send

log = structlog.get_logger(__name__)
ResultT = TypeVar("ResultT")


class _Broken(Exception):
    """What the server does over HTTP is not accepted, or HTTP fails; the guard knows what to say."""


class Connection:
    """A connection to one server: made with the first operation, and one operation at a time.

    Args:
        label: what the server is called in errors.
        url: its address.
        headers: sent with every request, credentials among them.
        timeout_s: how long one operation may take.
        most_bytes: how long one answer may be.
    """

    def __init__(self, label: str, url: str, headers: Mapping[str, str], *, timeout_s: float, most_bytes: int) -> None:
        self._label = label
        self._url = url
        self._headers = {"user-agent": f"freehold/{__version__}", **headers, "accept-encoding": "identity"}
        self._timeout_s = timeout_s
        self._most_bytes = most_bytes
        self._guard = _Guard(most_bytes)
        self._turn = asyncio.Lock()
        self._closing = asyncio.Event()
        self._ready: asyncio.Future[Client] | None = None
        self._task: asyncio.Task[None] | None = None

    async def tools(self, cursor: str | None) -> Page:
        """The tools of the server, from a page on; None for the first.

        Raises:
            McpFailed: the server cannot be reached, takes too long, refuses or answers nonsense.
        """

        async def work(client: Client) -> Page:
            found = await client.session.list_tools(params=PaginatedRequestParams(cursor=cursor))
            return Page(tuple(_tool(tool) for tool in found.tools), found.next_cursor)

        return await self._do(work)

    async def call(self, name: str, arguments: Mapping[str, object]) -> Answer:
        """What a tool answers. Raises: as `tools`."""

        async def work(client: Client) -> Answer:
            params = CallToolRequestParams(name=name, arguments=dict(arguments))
            result = await client.session.send_request(CallToolRequest(params=params), CallToolResult)
            blocks = tuple(block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content)
            return Answer(blocks, result.structured_content, bool(result.is_error))

        return await self._do(work)

    def close(self) -> "asyncio.Task[None] | None":
        """Let go, without waiting for it; the task is done when nothing is left, a few seconds later at most."""
        self._closing.set()
        task, ready = self._task, self._ready
        if task is None or ready is None or task.done():
            return None
        if not ready.done():
            task.cancel()  # nobody waits to be connected any more
        late = asyncio.get_running_loop().call_later(CLOSE_S, task.cancel)
        task.add_done_callback(lambda _: late.cancel())
        return task

    async def _do(self, work: Callable[[Client], Awaitable[ResultT]]) -> ResultT:
        async with self._turn:
            self._guard.begin()
            try:
                async with asyncio.timeout(self._timeout_s):
                    client = await self._connected()
                    return await self._raced(asyncio.ensure_future(work(client)))
            except TimeoutError as exc:
                raise McpFailed(
                    f"The MCP server '{self._label}' has not answered within {self._timeout_s:g} seconds.", number=504
                ) from exc
            except Exception as exc:  # whatever the SDK makes of what somebody else's server sends
                raise self._failure(exc) from exc

    async def _connected(self) -> Client:
        if self._task is None or self._ready is None or self._task.done():
            self._ready = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._run(self._ready))
            self._task.add_done_callback(_look)
        return await self._raced(self._ready)

    async def _run(self, ready: "asyncio.Future[Client]") -> None:
        """Be connected until it is closed or breaks."""
        timeout = httpx2.Timeout(self._timeout_s, read=None)
        async with httpx2.AsyncClient(
            transport=self._guard, headers=self._headers, timeout=timeout, trust_env=False
        ) as http:
            transport = streamable_http_client(self._url, http_client=http, max_sse_event_size=self._most_bytes)
            us = Implementation(name="freehold", version=__version__)
            async with Client(transport, client_info=us, cache=None) as client:
                if not ready.done():
                    ready.set_result(client)
                await self._closing.wait()

    async def _raced(self, answer: "asyncio.Future[ResultT]") -> ResultT:
        """The answer, unless the connection breaks first."""
        task = self._task
        assert task is not None, "connected before"
        first: set[asyncio.Future[Any]] = {answer, task}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return await answer
        finally:
            if isinstance(answer, asyncio.Task) and not answer.done():
                answer.cancel()
                await asyncio.wait({answer}, timeout=1)
        raise _leaf(None if task.cancelled() else task.exception())

    def _failure(self, exc: Exception) -> McpFailed:
        """What went wrong, in words for callers."""
        guard, name = self._guard, f"The MCP server '{self._label}'"
        connecting = self._ready is None or not self._ready.done()
        status = guard.status or 0
        if guard.problem is not None:
            return McpFailed(f"{name} {guard.problem}.", number=guard.number)
        if status >= 500 or status in TELLING or (connecting and status >= 400):
            why = " It does not accept the credentials." if status in {401, 403} else ""
            return McpFailed(f"{name} answered with the HTTP status {status}.{why}", number=status)
        if isinstance(exc, MCPError):
            said = exc.message[:MESSAGE_CHARS]
            return McpFailed(f"{name} answered with an error: {said}", kind="mcp_protocol_error", number=exc.code)
        log.warning("mcp_answer_not_understood", server=self._label, reason=type(exc).__name__)
        return McpFailed(
            f"{name} answered with what is not the Model Context Protocol.", kind="mcp_protocol_error", number=-32603
        )


def _tool(tool: Tool) -> RemoteTool:
    annotations = None
    if tool.annotations is not None:
        annotations = tool.annotations.model_dump(mode="json", by_alias=True, exclude_none=True)
    return RemoteTool(tool.name, tool.description, tool.input_schema, annotations)


def _leaf(exc: BaseException | None) -> Exception:
    """The first error of a group; a broken connection where there is none."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc if isinstance(exc, Exception) else _Broken()


def _look(task: "asyncio.Task[None]") -> None:
    """Take note of how a connection has ended: whoever waited has been told."""
    with suppress(asyncio.CancelledError):
        task.exception()


class _Guard(httpx2.AsyncBaseTransport):
    """Sends the requests, and lets only bounded, plain answers pass.

    Args:
        most_bytes: how long one answer may be.
    """

    def __init__(self, most_bytes: int) -> None:
        self._inner = httpx2.AsyncHTTPTransport(verify=TLS, trust_env=False)
        self._most_bytes = most_bytes
        self.begin()

    def begin(self) -> None:
        """Forget what was before: a new operation begins."""
        self.status: int | None = None
        """Of the last answer to a message."""
        self.problem: str | None = None
        """What HTTP has failed at, and `number` the status that says so."""
        self.number = 502

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Raises: what the transport raises, and `_Broken` for an answer that may not pass."""
        message = request.method == "POST"
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as exc:
            if message:
                self._note(f"cannot be reached ({_kind(exc)})", 502)
            raise
        if message:
            self.status = response.status_code
        refusal = None
        if 300 <= response.status_code < 400:
            refusal = f"redirects elsewhere (status {response.status_code}), which is not followed"
        elif response.headers.get("content-encoding", "identity").lower() != "identity":
            refusal = "compresses its answers although it was asked not to"
        if refusal is not None:
            await response.aclose()
            if message:
                self._note(refusal, response.status_code if response.status_code >= 300 else 502)
            raise _Broken
        assert isinstance(response.stream, httpx2.AsyncByteStream), "the transport is asynchronous"
        response.stream = _Bounded(response.stream, self._most_bytes, self._note if message else _ignore)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()

    def _note(self, problem: str, number: int) -> None:
        if self.problem is None:
            self.problem, self.number = problem, number


class _Bounded(httpx2.AsyncByteStream):
    """An answer's bytes, up to a bound."""

    def __init__(self, inner: httpx2.AsyncByteStream, most_bytes: int, note: Callable[[str, int], None]) -> None:
        self._inner = inner
        self._left = self._most = most_bytes
        self._note = note

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._inner:
            self._left -= len(piece)
            if self._left < 0:
                self._note(f"answered with more than {self._most} bytes", 502)
                raise _Broken
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


def _ignore(_problem: str, _number: int) -> None:
    """What fails beside the answers, such as the server's own stream of news, fails nobody."""


def _kind(exc: httpx2.TransportError) -> str:
    """Why a server cannot be reached; no address."""
    if isinstance(exc, httpx2.TimeoutException):
        return "no connection in time"
    return "no connection" if isinstance(exc, httpx2.ConnectError) else "the connection broke"
