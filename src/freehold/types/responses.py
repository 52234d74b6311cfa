"""The body of `POST /responses`, as in OpenAI's specification (`CreateResponse`).

As with chat completions every parameter of the specification is named, so that one that is not done is refused by its
name.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, model_validator

from freehold.types.base import RequestModel, ReturnedModel
from freehold.types.chat import JsonObjectFormat, Metadata, Name, ServiceTier, TextFormat
from freehold.types.items import InputItem, ItemId
from freehold.types.mcp import McpTool

MAX_ITEMS: Final = 10_000
"""Of one request's input."""
MIN_OUTPUT_TOKENS: Final = 16


class FunctionTool(ReturnedModel):
    """A function of the caller's that the model may call; `parameters` is a JSON schema."""

    type: Literal["function"]
    name: Name
    parameters: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None
    defer_loading: Literal[False] | None = None
    """The model is shown every function from the beginning."""
    allowed_callers: list[Literal["direct"]] | None = None
    """Functions are called by the model, and not by programs that it writes."""


class ImageTool(ReturnedModel):
    """Lets the model have pictures painted, by the deployment that `model` names."""

    type: Literal["image_generation"]
    model: str | None = None
    size: str | None = None
    quality: Literal["low", "medium", "high", "auto"] | None = None
    background: Literal["transparent", "opaque", "auto"] | None = None
    output_format: Literal["png", "webp", "jpeg"] | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    moderation: Literal["auto", "low"] | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    action: Literal["generate", "edit", "auto"] | None = None
    input_fidelity: Literal["high", "low"] | None = None
    input_image_mask: dict[str, Any] | None = None


Tool: TypeAlias = Annotated[FunctionTool | ImageTool | McpTool, Field(discriminator="type")]
"""A tool. The specification's others are not here."""


class NamedFunction(RequestModel):
    """Demands a call of one function."""

    type: Literal["function"]
    name: str


class NamedTool(RequestModel):
    """Demands that a picture is painted."""

    type: Literal["image_generation"]


class NamedMcp(RequestModel):
    """Demands a call of a tool of an MCP server: of any, or of the named one."""

    type: Literal["mcp"]
    server_label: str
    name: str | None = None


class AllowedTools(RequestModel):
    """Lets the model call some of the tools only: it may, or (`required`) must."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[
        list[Annotated[NamedFunction | NamedTool | NamedMcp, Field(discriminator="type")]],
        Field(min_length=1, max_length=128),
    ]


ToolChoice: TypeAlias = (
    Literal["none", "auto", "required"]
    | Annotated[NamedFunction | NamedTool | NamedMcp | AllowedTools, Field(discriminator="type")]
)


class JsonSchemaFormat(RequestModel):
    """JSON that meets a schema."""

    type: Literal["json_schema"]
    name: Name
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    description: str | None = None
    strict: bool | None = None


class TextOptions(RequestModel):
    """How a text is to be."""

    format: Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")] | None = None
    verbosity: str | None = None


class ReasoningOptions(RequestModel):
    """How a model that thinks is to think, and what is told of it."""

    effort: str | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    mode: str | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None


class ConversationReference(RequestModel):
    """A conversation, by its id."""

    id: ItemId


class ResponseStreamOptions(RequestModel):
    """What a stream carries besides its events."""

    include_obfuscation: bool | None = None


Include: TypeAlias = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]
LOGPROBS: Final = "message.output_text.logprobs"


class ResponseRequest(RequestModel):
    """One response to make. Token counts are tokens, temperature and top_p plain numbers."""

    model: Annotated[str, Field(min_length=1)]
    input: str | Annotated[list[InputItem], Field(max_length=MAX_ITEMS)] | None = None
    instructions: str | None = None
    previous_response_id: ItemId | None = None
    conversation: ItemId | ConversationReference | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    include: list[Include] | None = None
    max_output_tokens: Annotated[int, Field(ge=MIN_OUTPUT_TOKENS)] | None = None
    max_tool_calls: Annotated[int, Field(ge=1)] | None = None
    metadata: Metadata | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningOptions | None = None
    safety_identifier: Annotated[str, Field(max_length=64)] | None = None
    service_tier: ServiceTier | Literal["ultrafast"] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    text: TextOptions | None = None
    tool_choice: ToolChoice | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Any = None
    prompt_cache_options: Any = None
    prompt: Any = None
    moderation: Any = None
    context_management: Any = None

    @model_validator(mode="after")
    def _consistent(self) -> "ResponseRequest":
        """Hold what the specification says about parameters that depend on each other."""
        if self.previous_response_id is not None and self.conversation is not None:
            raise ValueError("previous_response_id: cannot be combined with 'conversation'")
        if self.background and self.store is False:
            raise ValueError("background: needs 'store' to be true")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: is only allowed when 'stream' is true")
        if self.tool_choice not in (None, "none", "auto") and not self.tools:
            raise ValueError("tool_choice: is only allowed when 'tools' are given")
        if not self.input and self.previous_response_id is None and self.conversation is None:
            raise ValueError("input: is needed where neither 'previous_response_id' nor 'conversation' is given")
        return self

    @property
    def conversation_id(self) -> str | None:
        """The conversation's id, however it was given."""
        found = self.conversation
        return found.id if isinstance(found, ConversationReference) else found

    @property
    def logprobs(self) -> bool:
        """Whether log probabilities are told."""
        return LOGPROBS in (self.include or ()) or bool(self.top_logprobs)


class TokenCountRequest(RequestModel):
    """The body of `POST /responses/input_tokens` (`TokenCountsBody`)."""

    model: Annotated[str, Field(min_length=1)]
    input: str | Annotated[list[InputItem], Field(max_length=MAX_ITEMS)] | None = None
    instructions: str | None = None
    previous_response_id: ItemId | None = None
    conversation: ItemId | ConversationReference | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    tool_choice: ToolChoice | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    personality: Any = None
