"""The tools of one response: the caller's functions, and what is carried out here."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from freehold.errors import InvalidRequest
from freehold.gateway.response_input import IMAGE_FUNCTION, functions, mcp_function
from freehold.gateway.response_tool import ServerTool
from freehold.types.chat import Tool
from freehold.types.responses import AllowedTools, NamedFunction, NamedMcp, NamedTool, ResponseRequest

MAX_TURNS: Final = 32
"""How often a model is asked for one response; the last time it has to answer."""
MAX_CALLS: Final = 128
"""Of tools that are carried out here, in one response, whatever limit its request names."""
MAX_TOOLS: Final = 128
"""That a model is shown, of the caller's and of those that are carried out here, as in chat completions."""


@dataclass(slots=True)
class ServerTools:
    """What is carried out here for one response.

    Args:
        tools: by the names of the functions that the model calls.
        listings: items that say which tools of MCP servers there are.
        approved: finds what carries out a call about which was asked: of which tool of which server, after which
            question.
        open: connections; closed with this.
    """

    tools: dict[str, ServerTool] = field(default_factory=dict)
    listings: list[dict[str, Any]] = field(default_factory=list)
    approved: Callable[[str, str, str], ServerTool | None] = lambda _label, _name, _question: None
    open: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def close(self) -> None:
        """Close the connections."""
        await self.open.aclose()


class Toolbox:
    """What the model may call.

    Args:
        request: with the caller's functions, and what it demands.
        server: what is carried out here.

    Raises:
        InvalidRequest: two tools have one name, there are too many, or one is allowed that there is not.
    """

    def __init__(self, request: ResponseRequest, server: ServerTools) -> None:
        self.server = server
        self._server = server.tools
        own = functions(request)
        twice = next((tool.function.name for tool in own if tool.function.name in self._server), None)
        if twice is not None:
            raise InvalidRequest(f"The function '{twice}' has the name of another tool.", param="tools")
        self.tools: Sequence[Tool] = [*own, *(tool.function() for tool in self._server.values())]
        if len(self.tools) > MAX_TOOLS:
            raise InvalidRequest(
                f"A model can be shown {MAX_TOOLS} functions; with those of the MCP servers there are "
                f"{len(self.tools)}. Leave some out with 'allowed_tools'.",
                param="tools",
            )
        self._demanded = request.tool_choice
        if isinstance(self._demanded, AllowedTools):
            allowed = {name for choice in self._demanded.tools for name in self._meant(choice)}
            self.tools = [tool for tool in self.tools if tool.function.name in allowed]
            self._server = {name: tool for name, tool in self._server.items() if name in allowed}
        self._left = min(request.max_tool_calls or MAX_CALLS, MAX_CALLS)

    def find(self, name: str) -> ServerTool | None:
        """What carries a function out here; None if the caller does."""
        return self._server.get(name)

    def take(self) -> bool:
        """Whether one more call may be carried out here; counts it."""
        self._left -= 1
        return self._left >= 0

    def choice(self, turn: int) -> str | None:
        """What the model must call in its `turn`-th turn, from 0: what is demanded is demanded once.

        Raises:
            InvalidRequest: there is no such tool.
        """
        if self._left <= 0 or turn >= MAX_TURNS - 1:
            return "none"
        if turn and self._demanded != "none":
            return "auto"
        match self._demanded:
            case AllowedTools(mode=mode):
                return mode
            case NamedFunction(name="auto" | "none" | "required" as name):
                raise InvalidRequest(f"A function that is called '{name}' cannot be demanded.", param="tool_choice")
            case NamedFunction(name=name):
                return name  # whether there is such a function is looked at with the other parameters
            case NamedMcp() | NamedTool() as named:
                found = self._meant(named)
                return "required" if isinstance(named, NamedMcp) and named.name is None else found[0]
        return self._demanded

    def _meant(self, choice: NamedFunction | NamedTool | NamedMcp) -> Sequence[str]:
        """The functions that a choice of the request means; the model calls any of several.

        Raises:
            InvalidRequest: there is none.
        """
        match choice:
            case NamedFunction(name=said):
                own = (tool.function.name for tool in self.tools if tool.function.name not in self._server)
                found = [name for name in own if name == said]
            case NamedTool(type=said):
                found = [name for name in self._server if name == IMAGE_FUNCTION]
            case NamedMcp(server_label=said, name=tool_name):
                wanted = None if tool_name is None else mcp_function(said, tool_name)
                found = [name for name in self._server if name.startswith(f"{said}__") and wanted in {None, name}]
        if not found:
            raise InvalidRequest(f"Tool choice '{said}' not found in 'tools' parameter.", param="tool_choice")
        return found
