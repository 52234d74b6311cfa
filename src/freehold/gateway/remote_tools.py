"""Tools on remote MCP servers: which a caller may use, what there is, and calls of them.

Each listing and each call is authorized, bounded in time and bytes, and has an account, and so a receipt, of its own,
which is on the disk before anything that came of it is used; that it begins is in the journal before anything is sent,
so a server that dies meanwhile leaves a receipt too. A server is known by the operator's label and address, and
what it says about its tools decides nothing that the operator has decided.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import structlog

from freehold.config import read_secret
from freehold.errors import (
    ConfigError,
    Forbidden,
    FreeholdError,
    InternalError,
    InvalidRequest,
    McpCallRefused,
    UnsupportedParameter,
)
from freehold.gateway.account import Account
from freehold.gateway.books import Books
from freehold.gateway.flights import ClientGone
from freehold.gateway.mcp_output import listing, read_arguments, read_output
from freehold.gateway.permits import Permits
from freehold.gateway.remote_session import RemoteSession, SecretHeaders
from freehold.governance.authorization import decide
from freehold.types.generation import Delta
from freehold.types.identity import Action, Principal
from freehold.types.mcp import McpServerSettings, McpTool, RemoteResult, RemoteTool, same_address

OWN_HEADERS: Final = re.compile(
    r"(?:accept|accept-encoding|connection|content-.*|cookie|expect|forwarded|host|keep-alive|last-event-id|mcp-.*|origin"
    r"|proxy-.*|referer|te|trailer|transfer-encoding|upgrade|user-agent|via|x-forwarded-.*)"
)
"""Headers that are the protocol's or this server's, not callers'."""
HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
HEADER_VALUE: Final = re.compile(r"[\x20-\x7e\t]{0,16384}")

log = structlog.get_logger("freehold.request")


@dataclass(frozen=True, slots=True)
class RemoteServer:
    """A server that a request may use, as the operator and the caller have it.

    Args:
        settings: the operator's.
        tool: the caller's.
        headers: what is sent along, credentials among it.
    """

    settings: McpServerSettings
    tool: McpTool
    headers: SecretHeaders

    @property
    def label(self) -> str:
        """What everybody calls it."""
        return self.settings.label

    def allows(self, tool: RemoteTool) -> bool:
        """Whether both the operator and the caller let models call a tool."""
        return self.settings.offers(tool.name) and self.tool.wants(tool.name, tool.annotations)

    def needs_approval(self, tool: RemoteTool) -> bool:
        """Whether a call of the tool waits for the caller's approval; what the operator says goes first."""
        if self.settings.require_approval != "caller":
            return self.settings.require_approval == "always"
        return not self.tool.approves(tool.name, tool.annotations)


class RemoteTools:
    """The MCP servers that there are.

    Args:
        settings: the operator's list of them.
        books: where listings and calls are recorded.
        permits: knows who is suspended.
        again: the principal as it would be let in now, since a response may take long.

    Raises:
        ConfigError: the secret of a server cannot be read, or is no token.
    """

    def __init__(
        self,
        settings: Sequence[McpServerSettings],
        books: Books,
        permits: Permits,
        again: Callable[[Principal], Principal] = lambda principal: principal,
    ) -> None:
        self._servers = {server.label: server for server in settings}
        self._tokens = SecretHeaders((each.label, _token(each)) for each in settings if each.authorization is not None)
        self._books = books
        self._permits = permits
        self._again = again
        self._leaving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def resolve(self, principal: Principal, tool: McpTool, *, param: str = "tools") -> RemoteServer:
        """The server that a request's tool means.

        Args:
            principal: who asks.
            tool: of type `mcp`.
            param: where in the request it stands, for errors.

        Raises:
            Forbidden: the operator has no such server for the project, or does not let callers send credentials.
            InvalidRequest: a header cannot be sent.
            UnsupportedParameter: the tool asks for what there is not here.
        """
        for name, given in (
            ("connector_id", tool.connector_id),
            ("tunnel_id", tool.tunnel_id),
            ("defer_loading", tool.defer_loading),
            ("allowed_callers", tool.allowed_callers not in (None, ["direct"])),
        ):
            if given:
                raise UnsupportedParameter(
                    f"Unsupported parameter: '{param}.{name}'. Name a server that is allowed here by 'server_label'.",
                    param=f"{param}.{name}",
                )
        settings = self._servers.get(tool.server_label)
        if (
            settings is None
            or not settings.serves(principal.project_id)
            or (tool.server_url is not None and not same_address(tool.server_url, settings.url))
        ):
            raise Forbidden(
                "This MCP server is not allowed here. Use the 'server_label' of a server that the operator allows for "
                "this project, and leave out 'server_url' or give exactly the address that the operator gave.",
                param=f"{param}.server_label",
                code="mcp_server_not_allowed",
            )
        return RemoteServer(settings, tool, self._headers(settings, tool, param))

    @asynccontextmanager
    async def session(self, server: RemoteServer) -> AsyncIterator[RemoteSession]:
        """A connection to a server for one response: made with the first listing or call, gone in the end."""
        session = RemoteSession(server.settings, server.headers)
        try:
            yield session
        finally:
            leaving = session.close()
            if leaving is not None:
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Wait until all connections are closed, which takes a few seconds at most."""
        while self._leaving:
            await asyncio.wait(self._leaving)

    async def list(
        self, principal: Principal, server: RemoteServer, *, parent: Account, session: RemoteSession | None = None
    ) -> list[RemoteTool]:
        """The tools of a server that the operator and the caller let models call.

        Args:
            principal: who asks.
            server: from `resolve`.
            parent: the account of the response that this is for.
            session: a connection that is open already; without one, one is made for this.

        Raises:
            Forbidden: the principal may not call tools.
            McpFailed: the server cannot be reached, takes too long, refuses, answers nonsense or has too many tools.
            AuditUnavailable: the journal cannot be written.
        """
        if session is None:
            async with self.session(server) as own:
                return await self.list(principal, server, parent=parent, session=own)
        async with self._recorded(principal, server, parent, None) as account:
            await self._books.announce(account, principal)
            tools = await session.tools(server.allows)
            account.sent(Delta(text=listing(tools).decode()))
            account.parameters = {**(account.parameters or {}), "mcp_tools": len(tools)}
        return tools

    async def call(
        self,
        principal: Principal,
        server: RemoteServer,
        name: str,
        arguments: str,
        *,
        parent: Account,
        session: RemoteSession | None = None,
    ) -> RemoteResult:
        """Call a tool; one that is not known from the session yet is looked up first, by a listing.

        Args:
            principal: who asks.
            server: from `resolve`.
            name: of the tool.
            arguments: JSON text, as the model wrote it.
            parent: the account of the response that this is for.
            session: a connection that is open already; without one, one is made for this.

        Raises:
            McpCallRefused: there is no such tool that may be called, or the arguments do not fit it.
            Forbidden, McpFailed, AuditUnavailable: as `list`.
        """
        if session is None:
            async with self.session(server) as own:
                return await self.call(principal, server, name, arguments, parent=parent, session=own)
        if not session.listed:
            await self.list(principal, server, parent=parent, session=session)
        tool = session.tool(name)
        async with self._recorded(principal, server, parent, tool) as account:
            account.prompt(arguments.encode("utf-8", "surrogatepass"))
            if tool is None:
                raise McpCallRefused(
                    f"The MCP server '{server.label}' has no tool of this name that may be called here.", param="name"
                )
            given = read_arguments(server.label, tool, arguments)
            await self._books.announce(account, principal)
            result = read_output(await session.call(tool.name, given), server.settings.max_output_bytes)
            account.sent(Delta(text=result.output))
            account.parameters = {**(account.parameters or {}), "mcp_is_error": result.is_error, "mcp_cut": result.cut}
        return result

    @asynccontextmanager
    async def _recorded(
        self, principal: Principal, server: RemoteServer, parent: Account, tool: RemoteTool | None
    ) -> AsyncIterator[Account]:
        """An account for what is done in the block, closed once however that ends, and on the disk when it has.

        A tool's name stands on the receipt only if the server has it: another one is just something that a model wrote.
        """
        account = self._books.open(f"req_{secrets.token_hex(16)}", parent.route, parent.dialect)
        account.principal, account.end_user = principal, parent.end_user
        account.notes |= parent.notes
        names = {} if tool is None else {"mcp_tool": tool.name}
        account.parameters = {"mcp_server": server.label, **names, "parent": parent.request_id}
        resource = f"mcp/{server.label}" + ("" if tool is None else f"/{tool.name}")
        error: FreeholdError | None = InternalError("The server had an error while calling a tool.")
        try:
            self._permits.check_caller(principal, account)
            account.decided(decide(self._again(principal), Action.CALL_TOOLS, resource))
            yield account
            error = None
        except FreeholdError as exc:
            error = exc
            raise
        except asyncio.CancelledError:
            error = ClientGone("The response was given up.")
            raise
        finally:
            done = self._books.close(account, error, 200 if error is None else error.status)
            _note(account, server, tool, error)
            if done is not None and not isinstance(error, ClientGone):
                await done

    def _headers(self, settings: McpServerSettings, tool: McpTool, param: str) -> SecretHeaders:
        """What is sent along: the operator's credential, or only what the caller passes."""
        own: Mapping[str, str] = tool.headers or {}
        if not own and tool.authorization is None:
            token = self._tokens.get(settings.label)
            return SecretHeaders({} if token is None else {"authorization": f"Bearer {token}"})
        if not settings.pass_authorization:
            where = f"{param}.{'headers' if own else 'authorization'}"
            raise Forbidden(
                f"The MCP server '{settings.label}' is called with the operator's credentials only. Leave out "
                "'authorization' and 'headers'.",
                param=where,
                code="mcp_authorization_not_allowed",
            )
        headers = SecretHeaders()
        for name, value in own.items():
            if not HEADER_NAME.fullmatch(name) or OWN_HEADERS.fullmatch(name.lower()):
                raise InvalidRequest(f"The header '{name[:64]}' cannot be sent.", param=f"{param}.headers")
            if not HEADER_VALUE.fullmatch(value):
                raise InvalidRequest(f"The value of the header '{name}' cannot be sent.", param=f"{param}.headers")
            headers[name.lower()] = value
        if tool.authorization is not None:
            if not HEADER_VALUE.fullmatch(tool.authorization):
                raise InvalidRequest("This token cannot be sent.", param=f"{param}.authorization")
            headers["authorization"] = f"Bearer {tool.authorization}"
        return headers


def _token(settings: McpServerSettings) -> str:
    """The operator's token for a server.

    Raises:
        ConfigError: it cannot be read, or cannot be sent.
    """
    assert settings.authorization is not None, "called for servers that have one"
    token = read_secret(settings.authorization)
    if not token or not HEADER_VALUE.fullmatch(token):
        raise ConfigError(
            f"mcp_server: the authorization of '{settings.label}' must be one line of ASCII, and not empty",
            param="mcp_server.authorization",
        )
    return token


def _note(account: Account, server: RemoteServer, tool: RemoteTool | None, error: FreeholdError | None) -> None:
    """One log line."""
    log.info(
        "remote_tool",
        request_id=account.request_id,
        parent=(account.parameters or {}).get("parent"),
        server=server.label,
        tool=tool.name if tool else None,
        outcome=account.receipt.outcome.value if account.receipt else None,
        code=error.code if error else None,
        duration_ms=round(account.elapsed_s * 1000, 1),
    )
