"""Remote MCP servers: those that an operator allows, and what a request says of them in OpenAI's words."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator

from freehold.types.base import RequestModel, SettingsModel
from freehold.types.deployment import SecretRef
from freehold.types.policy import Names
from freehold.types.signin import LOOPBACK

PORTS: Final = {"http": 80, "https": 443}

Label = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
"""What callers name a server by."""


class McpServerSettings(SettingsModel):
    """`[[mcp_server]]`: a server whose tools models may call. Times are seconds, sizes bytes."""

    label: Label
    url: Annotated[str, Field(max_length=2048)]
    plain_http: bool = False
    """Whether `url` may begin with `http://` on another machine than this one."""
    projects: Names | None = None
    tools: Names | None = None
    authorization: SecretRef | None = None
    """Sent as a bearer token."""
    pass_authorization: bool = False
    """Whether callers may send credentials and headers of their own; then nothing else of ours goes with them."""
    require_approval: Literal["always", "never", "caller"] = "caller"
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    """How long one listing or one call may take, connecting included."""
    max_output_bytes: Annotated[int, Field(ge=256, le=16 * 1024 * 1024)] = 65_536
    """What a model is shown of one call's output; the rest is cut off."""
    max_tools: Annotated[int, Field(ge=1, le=1024)] = 64

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        address = _split(value)
        if address is None or address.scheme not in PORTS or not address.hostname:
            raise ValueError(f"'{value}' must be an address such as 'https://tools.example.org/mcp'")
        if address.username is not None or address.password is not None:
            raise ValueError("must hold no credentials; give them as 'authorization'")
        if address.fragment:
            raise ValueError("must have no fragment (what follows '#')")
        return value

    @model_validator(mode="after")
    def _over_tls(self) -> Self:
        address = urlsplit(self.url)
        if address.scheme == "http" and address.hostname not in LOOPBACK and not self.plain_http:
            raise ValueError(
                f"url: '{self.url}' must begin with https:// "
                "(http:// only on this machine, or with 'plain_http = true')"
            )
        return self

    def serves(self, project_id: str) -> bool:
        """Whether a project may use the server."""
        return self.projects is None or any(fnmatchcase(project_id, pattern) for pattern in self.projects)

    def offers(self, tool: str) -> bool:
        """Whether the operator allows a tool of this name."""
        return self.tools is None or any(fnmatchcase(tool, pattern) for pattern in self.tools)


def _split(url: str) -> SplitResult | None:
    """The parts of an address; None if it is none."""
    try:
        address = urlsplit(url)
        _ = address.port
    except ValueError:
        return None
    return None if any(sign.isspace() or not sign.isprintable() for sign in url) else address


def same_address(one: str, other: str) -> bool:
    """Whether two addresses lead to the same place: host in any case, default port and last slash are left out."""
    return _place(one) == _place(other) is not None


def _place(url: str) -> tuple[Any, ...] | None:
    address = _split(url)
    if address is None:
        return None
    port = address.port or PORTS.get(address.scheme)
    credentials = address.username, address.password
    path = address.path.rstrip("/")
    return address.scheme, address.hostname, port, credentials, path, address.query, address.fragment


ToolName = Annotated[str, Field(min_length=1, max_length=256)]


class McpToolFilter(RequestModel):
    """Some tools of a server: those of these names, those that only read (or do not), or those that are both."""

    tool_names: Annotated[list[ToolName], Field(max_length=1024)] | None = None
    read_only: bool | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.tool_names is None and self.read_only is None:
            raise ValueError("give 'tool_names', 'read_only' or both")
        return self

    def fits(self, name: str, annotations: Mapping[str, Any] | None) -> bool:
        """Whether a tool is meant; one that does not say that it only reads counts as one that does more."""
        reads = (annotations or {}).get("readOnlyHint") is True
        named = self.tool_names is None or name in self.tool_names
        return named and (self.read_only is None or self.read_only is reads)


class McpApprovalFilter(RequestModel):
    """Which tools are called only after an approval, and which without."""

    always: McpToolFilter | None = None
    never: McpToolFilter | None = None


class McpTool(RequestModel):
    """A tool of type `mcp`, as a request has it."""

    type: Literal["mcp"]
    server_label: Annotated[str, Field(min_length=1, max_length=256)]
    server_url: Annotated[str, Field(max_length=2048)] | None = None
    server_description: Annotated[str, Field(max_length=16_384)] | None = None
    connector_id: str | None = None
    tunnel_id: str | None = None
    authorization: Annotated[str | None, Field(min_length=1, max_length=16_384, repr=False)] = None
    headers: Annotated[dict[str, str] | None, Field(max_length=32, repr=False)] = None
    allowed_tools: Annotated[list[ToolName], Field(max_length=1024)] | McpToolFilter | None = None
    allowed_callers: list[str] | None = None
    require_approval: Literal["always", "never"] | McpApprovalFilter | None = None
    defer_loading: bool | None = None

    def wants(self, name: str, annotations: Mapping[str, Any] | None) -> bool:
        """Whether the caller lets the model see and call a tool."""
        match self.allowed_tools:
            case None:
                return True
            case McpToolFilter() as chosen:
                return chosen.fits(name, annotations)
            case names:
                return name in names

    def approves(self, name: str, annotations: Mapping[str, Any] | None) -> bool:
        """Whether the caller has a tool called without asking; who says nothing is asked."""
        match self.require_approval:
            case McpApprovalFilter(always=always, never=never):
                if always is not None and always.fits(name, annotations):
                    return False
                return never is not None and never.fits(name, annotations)
            case choice:
                return choice == "never"


@dataclass(frozen=True, slots=True)
class RemoteTool:
    """A tool that a model may call.

    Args:
        name: names it on its server.
        description: what it does, as the server says.
        input_schema: JSON schema of its arguments, an object.
        annotations: what the server says about its behaviour, such as `readOnlyHint`; nothing vouches for it.
    """

    name: str
    description: str | None
    input_schema: Mapping[str, Any]
    annotations: Mapping[str, Any] | None = None

    def item(self) -> dict[str, Any]:
        """The tool as a `mcp_list_tools` item has it."""
        return {
            "name": self.name,
            "description": self.description,
            "input_schema": dict(self.input_schema),
            "annotations": None if self.annotations is None else dict(self.annotations),
        }


@dataclass(frozen=True, slots=True)
class RemoteResult:
    """What a tool has answered.

    Args:
        output: its text.
        is_error: whether the tool says that it has failed; `output` then says how.
        cut: whether there was more output than may be.
    """

    output: str
    is_error: bool = False
    cut: bool = False

    @property
    def error(self) -> dict[str, Any] | None:
        """The `error` of a `mcp_call` item."""
        if not self.is_error:
            return None
        return {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": self.output}]}


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a server's tools, as they come, and where the next page begins, if there is one."""

    tools: tuple[RemoteTool, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says of a call, as it comes.

    Args:
        content: blocks, in the words of the protocol.
        structured: the same as JSON, where the server gives that.
        is_error: whether the tool says that it has failed.
    """

    content: tuple[Mapping[str, Any], ...]
    structured: Any = None
    is_error: bool = False
