"""Tools of MCP servers within a response: shown to the model as functions, called for it, or asked about first."""

from collections.abc import AsyncGenerator
from typing import Any, ClassVar, Final

from freehold.errors import InvalidRequest, McpCallRefused, McpFailed
from freehold.gateway.account import Account
from freehold.gateway.items import PREFIXES
from freehold.gateway.remote_session import RemoteSession
from freehold.gateway.remote_tools import RemoteServer, RemoteTools
from freehold.gateway.response_input import mcp_function
from freehold.gateway.response_tool import ServerTool
from freehold.gateway.response_toolbox import ServerTools
from freehold.gateway.response_writer import StreamEvent, ToolCall, Writer
from freehold.types.chat import FunctionDefinition, Tool
from freehold.types.identity import Principal
from freehold.types.ids import new_id
from freehold.types.mcp import McpTool, RemoteTool

_KIND: Final = "response.mcp_call"


class McpCall(ServerTool):
    """A tool of an MCP server that is called.

    Args:
        remote: calls it.
        principal: who asks.
        server: where the tool is.
        session: the connection to it.
        tool: the tool.
        function_name: what the model calls.
        parent: the account of the request.
        approval_request_id: of the question that was answered with yes, if there was one.
    """

    arguments_event: ClassVar[str | None] = "mcp_call_arguments"

    def __init__(
        self,
        remote: RemoteTools,
        principal: Principal,
        server: RemoteServer,
        session: RemoteSession,
        tool: RemoteTool,
        function_name: str,
        parent: Account,
        approval_request_id: str | None = None,
    ) -> None:
        self._remote = remote
        self._principal = principal
        self._server = server
        self._session = session
        self._tool = tool
        self._function_name = function_name
        self._parent = parent
        self._approval_request_id = approval_request_id

    def function(self) -> Tool:
        """See `ServerTool.function`."""
        return mcp_tool(self._function_name, self._tool)

    def item(self) -> dict[str, Any]:
        """See `ServerTool.item`."""
        return {
            "type": "mcp_call",
            "id": new_id(PREFIXES["mcp_call"]),
            "server_label": self._server.label,
            "name": self._tool.name,
            "arguments": "",
            "output": None,
            "error": None,
            "status": "in_progress",
            "approval_request_id": self._approval_request_id,
        }

    def opening(self) -> tuple[str, ...]:
        """See `ServerTool.opening`."""
        return (f"{_KIND}.in_progress",)

    async def run(self, call: ToolCall, writer: Writer) -> AsyncGenerator[StreamEvent]:
        """See `ServerTool.run`."""
        place = {"item_id": call.item["id"], "output_index": call.index}
        try:
            found = await self._remote.call(
                self._principal,
                self._server,
                self._tool.name,
                call.arguments,
                parent=self._parent,
                session=self._session,
            )
        except (McpCallRefused, McpFailed) as exc:
            call.item |= {"error": exc.item(), "status": "failed"}
            call.result = f"Error: {exc.message}"
        else:
            status = "failed" if found.is_error else "completed"
            call.item |= {"output": found.output, "error": found.error, "status": status}
            call.result = found.output or "(nothing)"
        yield writer.event(f"{_KIND}.{call.item['status']}", **place)


class McpQuestion(ServerTool):
    """A tool of an MCP server that is asked about: the response ends with the question.

    Args:
        server: where the tool is.
        tool: the tool.
        function_name: what the model calls.
    """

    counts: ClassVar[bool] = False

    def __init__(self, server: RemoteServer, tool: RemoteTool, function_name: str) -> None:
        self._server = server
        self._tool = tool
        self._function_name = function_name

    def function(self) -> Tool:
        """See `ServerTool.function`."""
        return mcp_tool(self._function_name, self._tool)

    def item(self) -> dict[str, Any]:
        """See `ServerTool.item`."""
        return {
            "type": "mcp_approval_request",
            "id": new_id(PREFIXES["mcp_approval_request"]),
            "server_label": self._server.label,
            "name": self._tool.name,
            "arguments": "",
        }

    async def run(self, call: ToolCall, writer: Writer) -> AsyncGenerator[StreamEvent]:  # noqa: ARG002  # see `ServerTool`
        """See `ServerTool.run`."""
        call.item["arguments"] = call.arguments
        return
        yield  # pragma: no cover  # makes it a generator


def mcp_tool(function_name: str, tool: RemoteTool) -> Tool:
    """A tool as the model sees it."""
    about, schema = tool.description, dict(tool.input_schema)
    return Tool(type="function", function=FunctionDefinition(name=function_name, description=about, parameters=schema))


async def add_server(
    found: ServerTools, remote: RemoteTools, principal: Principal, account: Account, options: McpTool, param: str
) -> None:
    """Let the model call the tools of a server.

    Args:
        found: what it may call so far; what is added is closed with it.
        remote: the servers that there are.
        principal: who asks.
        account: of the request.
        options: which server, and which of its tools.
        param: where in the request that stands.

    Raises:
        Forbidden, InvalidRequest, UnsupportedParameter: the server may not be used, or not so.
        McpFailed: it does not tell its tools.
    """
    server = remote.resolve(principal, options, param=param)
    if any(item["server_label"] == server.label for item in found.listings):
        raise InvalidRequest(f"The MCP server '{server.label}' is among the tools twice.", param=param)
    session = await found.open.enter_async_context(remote.session(server))
    tools = {tool.name: tool for tool in await remote.list(principal, server, parent=account, session=session)}

    def call_of(tool: RemoteTool, question: str | None) -> McpCall:
        name = mcp_function(server.label, tool.name)
        return McpCall(remote, principal, server, session, tool, name, account, question)

    for tool in tools.values():
        name = mcp_function(server.label, tool.name)
        if name in found.tools:
            raise InvalidRequest(
                f"Two tools of the MCP server '{server.label}' have the same beginning, '{name}'. Leave one out with "
                "'allowed_tools'.",
                param=param,
            )
        found.tools[name] = McpQuestion(server, tool, name) if server.needs_approval(tool) else call_of(tool, None)
    listing = {"type": "mcp_list_tools", "id": new_id(PREFIXES["mcp_list_tools"]), "server_label": server.label}
    found.listings.append({**listing, "tools": [tool.item() for tool in tools.values()], "error": None})
    others = found.approved

    def approved(label: str, name: str, question: str) -> ServerTool | None:
        if label != server.label:
            return others(label, name, question)
        return call_of(tools[name], question) if name in tools else None

    found.approved = approved
