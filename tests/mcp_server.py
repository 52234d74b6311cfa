"""A real MCP server on the loopback address, made with the official SDK, and answers that no good server gives.

with tool_server() as server:
    settings = McpServerSettings(label="desk", url=server.url)
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ListToolsResult, PaginatedRequestParams, Tool, ToolAnnotations
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

PATIENCE_S = 20.0
PIXEL = b"\x89PNG\r\n\x1a\n"


@dataclass
class ToolServer:
    """A running server.

    Args:
        origin: scheme, host and port.
        token: which requests must have, if any.
        modern: whether it speaks the protocol without a handshake.
        headers: of the requests that came, in their order.
        calls: of tools that came in, as (name, argument).
        hanging: set when a tool hangs.
        cancelled: set when it hangs no more.
    """

    origin: str = ""
    token: str | None = None
    modern: bool = True
    headers: list[dict[str, str]] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    hanging: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Where its tools are."""
        return f"{self.origin}/mcp"

    @property
    def methods(self) -> list[str]:
        """The HTTP methods of the requests that came."""
        return [headers[":method"] for headers in self.headers]


@contextmanager
def tool_server(
    *, token: str | None = None, modern: bool = True, pages: Sequence[Sequence[Tool]] | None = None
) -> Iterator[ToolServer]:
    """Run a server for a test; with `pages`, one that has these tools, and no end if the last page is empty."""
    found = ToolServer(token=token, modern=modern)
    tools = _tools(found).streamable_http_app() if pages is None else _listing(pages).streamable_http_app()
    config = uvicorn.Config(_application(found, tools), port=0, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    late = time.monotonic() + PATIENCE_S
    while not server.started:
        assert time.monotonic() < late, "the server does not start"
        time.sleep(0.01)
    found.origin = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the server does not stop"


def _tools(server: ToolServer) -> MCPServer:
    """What the server can do."""
    tools: MCPServer = MCPServer("desk")

    @tools.tool(annotations=ToolAnnotations(read_only_hint=True))
    def add(a: int, b: int) -> str:
        """Add two numbers."""
        server.calls.append(("add", (a, b)))
        return str(a + b)

    @tools.tool()
    def fail(reason: str) -> str:
        """Fail."""
        raise ToolError(f"It does not work: {reason}")

    @tools.tool()
    def speak(letters: int) -> str:
        """Say much."""
        return "ä" * letters

    @tools.tool()
    async def hang() -> str:
        """Never answer."""
        server.hanging.set()
        try:
            await asyncio.sleep(3600)
        finally:
            server.cancelled.set()
        return ""

    @tools.tool()
    async def count(to: int, context: Context) -> str:
        """Count, and tell of each step."""
        for step in range(to):
            await context.report_progress(step, to)
        return str(to)

    @tools.tool(structured_output=False)
    def show() -> list[Any]:
        """Show a picture."""
        return ["Here it is:", Image(data=PIXEL, format="png")]

    @tools.tool(name="files.delete")
    def delete(path: str) -> str:
        """Delete a file."""
        server.calls.append(("files.delete", path))
        return "gone"

    return tools


def _listing(pages: Sequence[Sequence[Tool]]) -> Server[Any]:
    """A server that lists these tools, and does nothing."""

    async def list_tools(_: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
        number = int(params.cursor) if params is not None and params.cursor is not None else 0
        last = number >= len(pages) - 1 and bool(pages[-1])
        page = list(pages[min(number, len(pages) - 1)])
        return ListToolsResult(tools=page, next_cursor=None if last else str(number + 1))

    return Server("lister", on_list_tools=list_tools)


def _application(server: ToolServer, tools: Starlette) -> Any:
    odd = _odd()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await tools(scope, receive, send)
            return
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        server.headers.append({":method": scope["method"], **headers})
        if server.token is not None and headers.get("authorization") != f"Bearer {server.token}":
            await Response('{"error": "invalid_token"}', 401, media_type="application/json")(scope, receive, send)
        elif not server.modern and headers.get("mcp-method") == "server/discover":
            await Response("No such method", 400)(scope, receive, send)
        else:
            await (tools if scope["path"] == "/mcp" else odd)(scope, receive, send)

    return application


def _odd() -> Starlette:
    """Answers that must not pass, or that are none."""

    async def redirect(_: Request) -> Response:
        return RedirectResponse("/mcp", 307)

    async def endless(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b'{"jsonrpc": "2.0", "id": 1, "result": {"text": "'
            while not await request.is_disconnected():
                yield b"x" * 65_536

        return StreamingResponse(pieces(), media_type="application/json")

    async def stream(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            while not await request.is_disconnected():
                yield b": " + b"x" * 65_536 + b"\n"

        return StreamingResponse(pieces(), media_type="text/event-stream")

    async def packed(_: Request) -> Response:
        return Response(b"\x1f\x8b", headers={"content-encoding": "gzip"}, media_type="application/json")

    async def page(_: Request) -> Response:
        return Response("<p>Hello</p>", media_type="text/html")

    async def broken(_: Request) -> Response:
        return Response(status_code=500)

    ends = {
        "redirect": redirect,
        "endless": endless,
        "stream": stream,
        "packed": packed,
        "page": page,
        "broken": broken,
    }
    return Starlette(routes=[Route(f"/{name}", end, methods=["POST", "GET"]) for name, end in ends.items()])
