"""MCP servers that fail: whatever they do, a call ends in time, within bounds, with an error and a receipt."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mcp_types import Tool

from freehold.errors import McpFailed
from tests.gateway.remote import ANN, Trial, settings, with_tools
from tests.mcp_server import ToolServer, tool_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def desk() -> Iterator[ToolServer]:
    with tool_server() as server:
        yield server


async def failure(its: Trial) -> McpFailed:
    """How a listing fails, and that its receipt says so."""
    with pytest.raises(McpFailed) as caught:
        await its.tools.list(ANN, its.server(), parent=its.parent)
    receipt = its.receipts()[-1]
    assert (receipt["outcome"], receipt["status"], receipt["error_code"]) == ("failed", 502, "mcp_failed")
    assert caught.value.message.startswith("The MCP server 'desk' ")
    return caught.value


def test_a_tool_that_hangs_is_given_up(tmp_path: Path, desk: ToolServer) -> None:
    """A call that is not answered in time fails with the time, and the next one over the connection works."""

    async def trial(its: Trial) -> None:
        server = its.server()
        async with its.tools.session(server) as session:
            await its.tools.list(ANN, server, parent=its.parent, session=session)
            with pytest.raises(McpFailed, match=r"has not answered within 0\.5 seconds") as caught:
                await its.tools.call(ANN, server, "hang", "{}", parent=its.parent, session=session)
            assert caught.value.item()["type"] == "http_error"
            assert caught.value.item()["code"] == 504
            result = await its.tools.call(ANN, server, "add", '{"a": 1, "b": 2}', parent=its.parent, session=session)
            assert result.output == "3"
        assert [receipt["outcome"] for receipt in its.receipts()] == ["finished", "failed", "finished"]

    with_tools(tmp_path, trial, settings(desk.url, timeout_s=0.5))
    assert desk.cancelled.wait(10), "the server is told"


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """A port where nobody listens is told as such, without the address."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        async def trial(its: Trial) -> None:
            error = await failure(its)
            assert error.message == "The MCP server 'desk' cannot be reached (no connection)."
            assert error.item() == {"type": "http_error", "code": 502, "message": error.message}

        with_tools(tmp_path, trial, settings(f"http://127.0.0.1:{port}/mcp"))


def test_a_server_that_only_listens(tmp_path: Path) -> None:
    """A server that takes connections and never answers is given up in time, and no task waits for it any more."""
    with socket.create_server(("127.0.0.1", 0)) as silent:

        async def trial(its: Trial) -> None:
            assert (await failure(its)).number == 504
            await its.tools.close()
            assert {task for task in asyncio.all_tasks() if "mcp_wire" in repr(task)} == set()

        with_tools(tmp_path, trial, settings(f"http://127.0.0.1:{silent.getsockname()[1]}/mcp", timeout_s=0.5))


@pytest.mark.slow
@pytest.mark.parametrize("modern", [True, False], ids=["without a handshake", "with a handshake"])
def test_a_server_that_goes_away_between_two_calls(tmp_path: Path, modern: bool) -> None:
    """A connection that breaks fails each call that needs it with an error, and nothing else of the response."""
    running = ExitStack()
    desk = running.enter_context(tool_server(modern=modern))

    async def trial(its: Trial) -> None:
        server = its.server()
        async with its.tools.session(server) as session:
            await its.tools.list(ANN, server, parent=its.parent, session=session)
            await asyncio.to_thread(running.close)
            for _ in range(2):
                with pytest.raises(McpFailed, match="cannot be reached"):
                    await its.tools.call(ANN, server, "add", '{"a": 1, "b": 2}', parent=its.parent, session=session)

    with running:
        with_tools(tmp_path, trial, settings(desk.url))


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_wrong_token_is_told_as_such(tmp_path: Path, token: str | None) -> None:
    """A server that wants another credential, or one at all, is an HTTP error of its status; no credential is told."""
    (tmp_path / "token").write_text(token or "-", encoding="utf-8")
    more = {} if token is None else {"authorization": {"file": str(tmp_path / "token")}}

    async def trial(its: Trial) -> None:
        error = await failure(its)
        assert "answered with the HTTP status 401. It does not accept the credentials." in error.message
        assert error.item()["type"] == "http_error"
        assert error.item()["code"] == 401

    with tool_server(token="right") as server:
        with_tools(tmp_path, trial, settings(server.url, **more))


@pytest.mark.parametrize(
    ("place", "message", "kind", "number"),
    [
        ("redirect", "redirects elsewhere (status 307), which is not followed", "http_error", 307),
        ("endless", "answered with more than 4194304 bytes", "http_error", 502),
        ("stream", "answered with more than 4194304 bytes", "http_error", 502),
        ("packed", "compresses its answers although it was asked not to", "http_error", 502),
        ("broken", "answered with the HTTP status 500", "http_error", 500),
        ("missing", "answered with the HTTP status 404", "http_error", 404),
        ("page", "answered with an error: Unexpected content type", "mcp_protocol_error", -32600),
    ],
)
def test_an_answer_that_may_not_pass(
    tmp_path: Path, desk: ToolServer, place: str, message: str, kind: str, number: int
) -> None:
    """Redirects, endless or packed answers, errors and what is no MCP are refused, each with what is wrong."""

    async def trial(its: Trial) -> None:
        error = await failure(its)
        assert message in error.message
        assert (error.kind, error.number) == (kind, number)

    with_tools(tmp_path, trial, settings(f"{desk.origin}/{place}"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"max_tools": 6}, "has more than 6 tools that may be called"),
        ({"max_tools": 6, "tools": ["*d*"]}, None),
    ],
)
def test_only_so_many_tools(tmp_path: Path, desk: ToolServer, more: dict[str, Any], message: str | None) -> None:
    """More tools than a model should be shown are an error that says what to do; only those that are allowed count."""

    async def trial(its: Trial) -> None:
        if message is None:
            assert len(await its.tools.list(ANN, its.server(), parent=its.parent)) == 2
        else:
            assert message in (await failure(its)).message

    with_tools(tmp_path, trial, settings(desk.url, **more))


def tool(name: str, **more: Any) -> Tool:
    """A tool without arguments."""
    return Tool.model_validate({"name": name, "inputSchema": {"type": "object"}, **more})


def deep(levels: int) -> dict[str, Any]:
    """A schema of so many levels."""
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


def test_all_pages_are_read(tmp_path: Path) -> None:
    """A listing of several pages is read to its end, without names that no tool may have or that came before."""

    async def trial(its: Trial) -> None:
        tools = await its.tools.list(ANN, its.server(), parent=its.parent)
        assert [each.name for each in tools] == ["a", "b", "c"]
        assert tools[0].description == "first"

    pages = [
        [tool("a", description="first"), tool("b")],
        [tool("say hello"), tool("a", description="second"), tool("c")],
    ]
    with tool_server(pages=pages) as server:
        with_tools(tmp_path, trial, settings(server.url))


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        ([[tool("a")], []], "lists its tools in more than 64 pages"),
        ([[tool("a", description="x" * 600_000)]], "describes its tools in more than 524288 bytes"),
        ([[tool("a", inputSchema={"type": "object", "not": {"maximum": 2**70}})]], "describes a tool in a way"),
        ([[tool("a", inputSchema={"type": "object", "not": deep(70)})]], "describes a tool in a way"),
    ],
    ids=["endless", "long", "large number", "deep"],
)
def test_a_listing_that_is_too_much(tmp_path: Path, pages: list[list[Tool]], message: str) -> None:
    """Pages without an end, descriptions beyond the bound and schemas that cannot be passed on are refused."""

    async def trial(its: Trial) -> None:
        error = await failure(its)
        assert message in error.message
        assert error.kind == "mcp_protocol_error"

    with tool_server(pages=pages) as server:
        with_tools(tmp_path, trial, settings(server.url))
