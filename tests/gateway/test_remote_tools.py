"""Tools of a real MCP server: what is listed and called, and the receipts of it."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.errors import Forbidden, McpCallRefused, Suspended
from freehold.gateway.remote_tools import RemoteTools
from freehold.store.suspensions import SuspensionRow
from freehold.types.identity import Action
from freehold.types.mcp import McpTool
from tests.gateway.remote import ANN, Trial, settings, with_tools
from tests.journal.journals import opened, records_of
from tests.mcp_server import ToolServer, tool_server

ALL = ["add", "fail", "speak", "hang", "count", "show", "files.delete"]


@pytest.fixture(scope="module")
def desk() -> Iterator[ToolServer]:
    with tool_server() as server:
        yield server


def test_tools_are_listed_as_the_server_has_them(tmp_path: Path, desk: ToolServer) -> None:
    """A listing has names, schemas and annotations, and a receipt that names the server and the response."""

    async def trial(its: Trial) -> None:
        tools = await its.tools.list(ANN, its.server(), parent=its.parent)
        assert [tool.name for tool in tools] == ALL
        add = tools[0].item()
        assert (add["description"], add["annotations"]) == ("Add two numbers.", {"readOnlyHint": True})
        assert add["input_schema"]["required"] == ["a", "b"]
        (receipt,) = its.receipts()
        assert (receipt["outcome"], receipt["status"], receipt["route"]) == ("finished", 200, "/v1/responses")
        assert receipt["parameters"] == {"mcp_server": "desk", "parent": "req_parent", "mcp_tools": len(ALL)}
        assert receipt["authorization"] == "allow: 'tools:call' is allowed by the roles 'user'"
        assert receipt["request_id"] not in {"req_parent", ""}
        assert (receipt["project_id"], receipt["principal"]) == ("proj_a", "ann")
        assert receipt["end_user"] == its.parent.end_user

    with_tools(tmp_path, trial, settings(desk.url))


@pytest.mark.parametrize("modern", [True, False], ids=["without a handshake", "with a handshake"])
def test_a_tool_is_called_and_receipted(tmp_path: Path, modern: bool) -> None:
    """A call returns the tool's text, from servers old and new, and its receipt has digests of both ends."""

    async def trial(its: Trial) -> None:
        server = its.server()
        async with its.tools.session(server) as session:
            await its.tools.list(ANN, server, parent=its.parent, session=session)
            result = await its.tools.call(ANN, server, "add", '{"a": 2, "b": 40}', parent=its.parent, session=session)
            assert (result.output, result.is_error, result.cut, result.error) == ("42", False, False, None)
        _, receipt = its.receipts()
        assert receipt["parameters"] == {
            "mcp_server": "desk",
            "mcp_tool": "add",
            "parent": "req_parent",
            "mcp_is_error": False,
            "mcp_cut": False,
        }
        digests = its.books.digests
        assert receipt["prompt_digest"] == digests.prompt(b'{"a": 2, "b": 40}')
        completion = digests.completion()
        completion.update(b"42")
        assert receipt["completion_digest"] == completion.hexdigest()
        assert (receipt["prompt_bytes"], receipt["completion_bytes"]) == (17, 2)

    with tool_server(modern=modern) as server:
        with_tools(tmp_path, trial, settings(server.url))
        assert server.calls == [("add", (2, 40))]
        ended = "DELETE" in server.methods
        assert ended is not modern, "only a session of the old protocol is to be ended"


def test_a_call_without_a_listing_looks_first(tmp_path: Path, desk: ToolServer) -> None:
    """A call that comes without a session lists the tools itself, and both have a receipt."""

    async def trial(its: Trial) -> None:
        result = await its.tools.call(ANN, its.server(), "add", '{"a": 1, "b": 1}', parent=its.parent)
        assert result.output == "2"
        assert [receipt["parameters"].get("mcp_tool") for receipt in its.receipts()] == [None, "add"]

    with_tools(tmp_path, trial, settings(desk.url))


def test_a_tool_that_fails_says_so(tmp_path: Path, desk: ToolServer) -> None:
    """What a tool says of its failure is a result for the model, in the words of the API, and stands on the receipt."""

    async def trial(its: Trial) -> None:
        result = await its.tools.call(ANN, its.server(), "fail", '{"reason": "no paper"}', parent=its.parent)
        assert result.is_error
        assert result.error is not None
        assert result.error["type"] == "mcp_tool_execution_error"
        assert "It does not work: no paper" in result.error["content"][0]["text"]
        receipt = its.receipts()[-1]
        assert (receipt["outcome"], receipt["parameters"]["mcp_is_error"]) == ("finished", True)

    with_tools(tmp_path, trial, settings(desk.url))


def test_long_output_is_cut(tmp_path: Path, desk: ToolServer) -> None:
    """Output beyond the bound is cut between letters, and says so to the model and on the receipt."""

    async def trial(its: Trial) -> None:
        result = await its.tools.call(ANN, its.server(), "speak", '{"letters": 501}', parent=its.parent)
        assert result.cut
        assert 990 < len(result.output.encode()) <= 1000
        said, _, mark = result.output.partition("\n")
        assert set(said) == {"ä"}
        assert "longer than 1000 bytes" in mark
        whole = await its.tools.call(ANN, its.server(), "speak", '{"letters": 500}', parent=its.parent)
        assert (whole.output, whole.cut) == ("ä" * 500, False)
        assert [receipt["parameters"].get("mcp_cut") for receipt in its.receipts()] == [None, True, None, False]

    with_tools(tmp_path, trial, settings(desk.url, max_output_bytes=1000))


def test_a_server_that_streams_is_heard_to_the_end(tmp_path: Path, desk: ToolServer) -> None:
    """A tool that tells of its progress before its answer is waited for; the answer is all that counts."""

    async def trial(its: Trial) -> None:
        assert (await its.tools.call(ANN, its.server(), "count", '{"to": 5}', parent=its.parent)).output == "5"

    with_tools(tmp_path, trial, settings(desk.url))


def test_a_picture_is_named_and_not_shown(tmp_path: Path, desk: ToolServer) -> None:
    """Content that is no text comes as a note of its type."""

    async def trial(its: Trial) -> None:
        result = await its.tools.call(ANN, its.server(), "show", "", parent=its.parent)
        assert result.output == "Here it is:\n[Content of the type image/png, which cannot be shown here.]"

    with_tools(tmp_path, trial, settings(desk.url))


@pytest.mark.parametrize(
    ("operator", "caller", "left"),
    [
        ({"tools": ["a*", "files.*"]}, {}, ["add", "files.delete"]),
        ({}, {"allowed_tools": ["show", "missing"]}, ["show"]),
        ({"tools": ["a*", "show"]}, {"allowed_tools": ["show", "fail"]}, ["show"]),
        ({}, {"allowed_tools": {"read_only": True}}, ["add"]),
        ({}, {"allowed_tools": {"read_only": False, "tool_names": ["add", "hang"]}}, ["hang"]),
    ],
)
def test_only_allowed_tools_are_there(
    tmp_path: Path, desk: ToolServer, operator: dict[str, object], caller: dict[str, object], left: list[str]
) -> None:
    """A tool is listed and called only if the operator and the caller both allow it; what was refused is not sent."""
    before = len(desk.calls)

    async def trial(its: Trial) -> None:
        server = its.server(**caller)
        assert [tool.name for tool in await its.tools.list(ANN, server, parent=its.parent)] == left
        others = set(ALL) - set(left)
        for name in (*others, "no such tool"):
            with pytest.raises(McpCallRefused, match="has no tool of this name"):
                await its.tools.call(ANN, server, name, "{}", parent=its.parent)
        refused = [each for each in its.receipts() if each["outcome"] == "refused"]
        assert {each["error_code"] for each in refused} == {"mcp_call_refused"}
        assert len(refused) == len(others) + 1
        assert "no such tool" not in str(its.receipts()), "what a model wrote does not stand in the journal"

    with_tools(tmp_path, trial, settings(desk.url, **operator))
    assert len(desk.calls) == before


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("[1]", "are not a JSON object"),
        ('{"a": 1', "are not JSON"),
        ('{"a": 1}', "'b' is a required property"),
        ('{"a": 1, "b": "two"}', "do not fit: b: 'two' is not of type 'integer'"),
    ],
)
def test_arguments_must_fit_the_schema(tmp_path: Path, desk: ToolServer, arguments: str, why: str) -> None:
    """Arguments that do not fit are refused with what is wrong, on the receipt too, and the tool does not run."""
    before = len(desk.calls)

    async def trial(its: Trial) -> None:
        with pytest.raises(McpCallRefused) as caught:
            await its.tools.call(ANN, its.server(), "add", arguments, parent=its.parent)
        assert why in caught.value.message
        item = caught.value.item()
        assert item == {"type": "mcp_protocol_error", "code": -32602, "message": caught.value.message}
        receipt = its.receipts()[-1]
        assert (receipt["outcome"], receipt["status"], receipt["error_code"]) == ("refused", 400, "mcp_call_refused")

    with_tools(tmp_path, trial, settings(desk.url))
    assert len(desk.calls) == before


def test_who_may_not_call_tools_reaches_no_server(tmp_path: Path) -> None:
    """Without the action `tools:call`, and while suspended, nothing is sent, and the receipt says why."""

    async def trial(its: Trial) -> None:
        server = its.server()
        nobody = replace(ANN, actions=frozenset({Action.INFER}))
        with pytest.raises(Forbidden, match="tools:call"):
            await its.tools.list(nobody, server, parent=its.parent)
        await its.suspensions.put(SuspensionRow("", "org", "", "principal", "ann", "tries", False, None, "bob", 0))
        with pytest.raises(Suspended):
            await its.tools.list(ANN, server, parent=its.parent)
        assert [receipt["status"] for receipt in its.receipts()] == [403, 403]
        assert its.receipts()[0]["authorization"].startswith("deny: 'tools:call' on 'mcp/desk'")

    with tool_server() as server:
        with_tools(tmp_path, trial, settings(server.url))
        assert server.headers == []


def test_a_response_that_is_given_up_leaves_its_receipts(tmp_path: Path) -> None:
    """When the response is cancelled during a call, the call is recorded as cancelled and the server hears of it."""
    with tool_server() as own:

        async def trial(its: Trial) -> None:
            call = asyncio.create_task(its.tools.call(ANN, its.server(), "hang", "{}", parent=its.parent))
            assert await asyncio.to_thread(own.hanging.wait, 10)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await its.tools.close()
            await its.journal.checkpoint()
            receipt = its.receipts()[-1]
            assert (receipt["outcome"], receipt["status"]) == ("cancelled", 499)
            assert await asyncio.to_thread(own.cancelled.wait, 10)

        with_tools(tmp_path, trial, settings(own.url))


def test_a_call_that_the_server_does_not_survive_is_known(tmp_path: Path) -> None:
    """The journal as it stands during a call, opened after a sudden death, has an `interrupted` receipt of it."""
    with tool_server() as own:

        async def trial(its: Trial) -> None:
            call = asyncio.create_task(its.tools.call(ANN, its.server(), "hang", "{}", parent=its.parent))
            assert await asyncio.to_thread(own.hanging.wait, 10)
            await its.journal.checkpoint()
            shutil.copytree(tmp_path, tmp_path / "after", ignore=shutil.ignore_patterns("after", "*.db*"))
            assert len(its.books.running()) == 1
            call.cancel()
            await asyncio.wait({call})
            assert its.books.running() == frozenset()

        with_tools(tmp_path, trial, settings(own.url))

    async def reopened() -> None:
        async with opened(tmp_path / "after"):
            pass

    asyncio.run(reopened())
    receipt = [record["body"] for record in records_of(tmp_path / "after") if record["kind"] == "receipt"][-1]
    assert (receipt["outcome"], receipt["error_code"], receipt["cost_micro"]) == ("interrupted", "interrupted", 0)
    assert receipt["parameters"] == {"mcp_server": "desk", "mcp_tool": "hang", "parent": "req_parent"}
    assert "deployment" not in receipt


def test_connections_leave_nothing_behind(tmp_path: Path, desk: ToolServer) -> None:
    """After sessions that were used, unused, or ended by an error no task and no thread of theirs is left."""

    async def trial(its: Trial) -> None:
        server = its.server()
        await its.tools.list(ANN, server, parent=its.parent)
        tasks, threads = asyncio.all_tasks(), threading.active_count()
        async with its.tools.session(server):
            pass
        with pytest.raises(McpCallRefused):
            async with its.tools.session(server) as session:
                await its.tools.call(ANN, server, "missing", "{}", parent=its.parent, session=session)
        await its.tools.close()
        assert asyncio.all_tasks() <= tasks
        assert threading.active_count() <= threads

    with_tools(tmp_path, trial, settings(desk.url))


def test_a_servers_credential_is_the_operators(tmp_path: Path) -> None:
    """The operator's token is sent with every request, and read from where it is kept."""
    (tmp_path / "token").write_text("sesame\n", encoding="utf-8")

    async def trial(its: Trial) -> None:
        assert (await its.tools.call(ANN, its.server(), "add", '{"a": 1, "b": 2}', parent=its.parent)).output == "3"
        assert "sesame" not in repr(its.server())

    with tool_server(token="sesame") as server:
        with_tools(tmp_path, trial, settings(server.url, authorization={"file": str(tmp_path / "token")}))
        assert {headers["accept-encoding"] for headers in server.headers} == {"identity"}


def test_a_callers_credential_goes_alone(tmp_path: Path) -> None:
    """Where callers may pass credentials, the operator's is not sent beside what they pass."""
    (tmp_path / "token").write_text("operator", encoding="utf-8")

    async def trial(its: Trial) -> None:
        own = its.server(authorization="sesame", headers={"X-Team": "blue"})
        assert len(await its.tools.list(ANN, own, parent=its.parent)) == len(ALL)
        assert {headers.get("x-team") for headers in server.headers} == {"blue"}
        assert "sesame" not in repr(own)
        only_headers = its.server(headers={"X-Team": "red"})
        assert dict(only_headers.headers) == {"x-team": "red"}

    with tool_server(token="sesame") as server:
        more = {"authorization": {"file": str(tmp_path / "token")}, "pass_authorization": True}
        with_tools(tmp_path, trial, settings(server.url, **more))


def test_approval_is_the_operators_before_it_is_the_callers(tmp_path: Path, desk: ToolServer) -> None:
    """The operator's word goes before the caller's; where the operator leaves it to callers, silence asks."""

    async def trial(its: Trial) -> None:
        tools = {tool.name: tool for tool in await its.tools.list(ANN, its.server(), parent=its.parent)}
        for operator, caller, asked in (
            ("always", "never", {"add", "hang"}),
            ("never", "always", set()),
            ("caller", None, {"add", "hang"}),
            ("caller", "never", set()),
            ("caller", {"never": {"read_only": True}}, {"hang"}),
            ("caller", {"never": {"tool_names": ["hang", "add"]}, "always": {"read_only": True}}, {"add"}),
        ):
            found = RemoteTools([settings(desk.url, require_approval=operator)], its.books, its.tools._permits)
            tool = McpTool.model_validate({"type": "mcp", "server_label": "desk", "require_approval": caller})
            server = found.resolve(ANN, tool)
            assert {name for name in ("add", "hang") if server.needs_approval(tools[name])} == asked, (operator, caller)

    with_tools(tmp_path, trial, settings(desk.url))
