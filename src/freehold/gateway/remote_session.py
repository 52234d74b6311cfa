"""What one response has to do with one MCP server: the tools that may be called there, over one connection."""

import asyncio
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

import structlog

from freehold.errors import McpFailed
from freehold.gateway.mcp_output import listing
from freehold.types.mcp import Answer, McpServerSettings, RemoteTool

if TYPE_CHECKING:
    from freehold.gateway.mcp_wire import Connection

WIRE: Final = "freehold.gateway.mcp_wire"
"""Loaded with the first call of a server: the SDK takes most of a second, and whoever has no servers never needs it."""
MAX_PAGES: Final = 64
MAX_LISTING_BYTES: Final = 512 * 1024
MEBIBYTE: Final = 1024 * 1024
TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_./-]{1,128}")
"""What the protocol lets tools be called."""

log = structlog.get_logger(__name__)


class SecretHeaders(dict[str, str]):
    """Headers that do not show themselves in logs."""

    def __repr__(self) -> str:
        return f"<{len(self)} headers>"


class RemoteSession:
    """A connection to a server, made when it is first needed, and the tools that were found over it.

    Args:
        settings: of the server.
        headers: sent with every request.
    """

    def __init__(self, settings: McpServerSettings, headers: SecretHeaders) -> None:
        self._settings = settings
        self._headers = headers
        self._connection: Connection | None = None
        self._tools: dict[str, RemoteTool] | None = None

    @property
    def listed(self) -> bool:
        """Whether the server has said what tools there are."""
        return self._tools is not None

    def tool(self, name: str) -> RemoteTool | None:
        """The tool of a name that may be called; None where there is none."""
        return (self._tools or {}).get(name)

    async def tools(self, allows: Callable[[RemoteTool], bool]) -> list[RemoteTool]:
        """The tools that may be called, in the server's order.

        Args:
            allows: whether a tool may be.

        Raises:
            McpFailed: the server cannot be reached, takes too long, refuses, answers nonsense or has too many tools.
        """
        found: dict[str, RemoteTool] = {}
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await (await self._connected()).tools(cursor)
            for tool in page.tools:
                if not TOOL_NAME.fullmatch(tool.name):
                    log.warning("mcp_tool_name_refused", server=self._settings.label)
                elif allows(tool):
                    found.setdefault(tool.name, tool)
            self._check(found)
            cursor = page.next_cursor
            if cursor is None:
                self._tools = found
                return list(found.values())
        raise self._too_much(f"lists its tools in more than {MAX_PAGES} pages")

    async def call(self, name: str, arguments: Mapping[str, object]) -> Answer:
        """What a tool answers. Raises: as `tools`."""
        return await (await self._connected()).call(name, arguments)

    def close(self) -> "asyncio.Task[None] | None":
        """Let the connection go without waiting; the task is done when nothing is left of it."""
        return None if self._connection is None else self._connection.close()

    async def _connected(self) -> "Connection":
        if self._connection is None:
            module = await asyncio.to_thread(import_module, WIRE)
            most = max(4 * MEBIBYTE, 8 * self._settings.max_output_bytes)
            self._connection = module.Connection(
                self._settings.label,
                self._settings.url,
                self._headers,
                timeout_s=self._settings.timeout_s,
                most_bytes=most,
            )
        return self._connection

    def _check(self, found: Mapping[str, RemoteTool]) -> None:
        """Return if these are not more tools than a model should be shown."""
        most = self._settings.max_tools
        if len(found) > most:
            raise self._too_much(f"has more than {most} tools that may be called; name fewer in 'allowed_tools'")
        try:
            size = len(listing(list(found.values())))
        except TypeError as exc:
            raise self._too_much("describes a tool in a way that cannot be passed on") from exc
        if size > MAX_LISTING_BYTES:
            raise self._too_much(f"describes its tools in more than {MAX_LISTING_BYTES} bytes")

    def _too_much(self, why: str) -> McpFailed:
        label = self._settings.label
        return McpFailed(f"The MCP server '{label}' {why}.", kind="mcp_protocol_error", number=-32603)
