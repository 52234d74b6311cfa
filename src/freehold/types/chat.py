"""The body of `POST /chat/completions`, as in OpenAI's specification (`CreateChatCompletionRequest`).

Every parameter of the specification is named here, so that one which a deployment cannot do is refused by
its name and only one that nobody knows is "unknown". Which are refused is the gateway's business.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from freehold.types.base import RequestModel, ReturnedModel

Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+$", max_length=64)]
Metadata: TypeAlias = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]
LogitBias: TypeAlias = dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]]
Stop: TypeAlias = (
    Annotated[str, Field(min_length=1)]
    | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=4)]
)
ServiceTier: TypeAlias = Literal["auto", "default", "flex", "scale", "priority", "fast"]


class TextPart(RequestModel):
    """A piece of text in a message."""

    type: Literal["text"]
    text: str


class ImageURL(RequestModel):
    """Where a picture is: an `https:` or a `data:` URL."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class ImagePart(RequestModel):
    """A picture in a message."""

    type: Literal["image_url"]
    image_url: ImageURL


class AudioPart(RequestModel):
    """Sound in a message."""

    type: Literal["input_audio"]
    input_audio: dict[str, Any]


class FilePart(RequestModel):
    """A file in a message."""

    type: Literal["file"]
    file: dict[str, Any]


class RefusalPart(RequestModel):
    """An earlier refusal of the assistant."""

    type: Literal["refusal"]
    refusal: str


TextContent: TypeAlias = str | Annotated[list[TextPart], Field(min_length=1)]
UserPart: TypeAlias = Annotated[TextPart | ImagePart | AudioPart | FilePart, Field(discriminator="type")]
AssistantPart: TypeAlias = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class SystemMessage(RequestModel):
    """Instructions from the developer; `developer` is OpenAI's newer word for the same role."""

    role: Literal["system", "developer"]
    content: TextContent
    name: str | None = None


class UserMessage(RequestModel):
    """What the person said."""

    role: Literal["user"]
    content: str | Annotated[list[UserPart], Field(min_length=1)]
    name: str | None = None


class FunctionCall(ReturnedModel):
    """A function's name and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(ReturnedModel):
    """A call that the assistant made earlier."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class AssistantMessage(ReturnedModel):
    """What the assistant said or called earlier."""

    role: Literal["assistant"]
    content: str | Annotated[list[AssistantPart], Field(min_length=1)] | None = None
    refusal: str | None = None
    name: str | None = None
    audio: dict[str, Any] | None = None
    tool_calls: Annotated[list[ToolCall], Field(min_length=1)] | None = None
    function_call: FunctionCall | None = None


class ToolMessage(RequestModel):
    """A tool's answer to the call named by `tool_call_id`."""

    role: Literal["tool"]
    content: TextContent
    tool_call_id: str


class FunctionMessage(RequestModel):
    """The older form of a tool's answer."""

    role: Literal["function"]
    content: str | None
    name: str


Message: TypeAlias = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage,
    Field(discriminator="role"),
]


class FunctionDefinition(RequestModel):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(RequestModel):
    """A tool of type `function`, the only type there is here."""

    type: Literal["function"]
    function: FunctionDefinition


class NamedFunction(RequestModel):
    """The function that must be called."""

    name: str


class NamedToolChoice(RequestModel):
    """Demands a call of one function."""

    type: Literal["function"]
    function: NamedFunction


class JsonSchema(RequestModel):
    """A schema that the answer must meet; `strict` as in OpenAI's structured outputs."""

    name: Name
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class TextFormat(RequestModel):
    """Free text."""

    type: Literal["text"]


class JsonObjectFormat(RequestModel):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(RequestModel):
    """JSON that meets a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat: TypeAlias = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class StreamOptions(RequestModel):
    """What a stream carries besides the text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(RequestModel):
    """One chat completion to make. Token counts are tokens, penalties and temperature are plain numbers."""

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    stop: Stop | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    logit_bias: LogitBias | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(min_length=1, max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[FunctionDefinition], Field(min_length=1, max_length=128)] | None = None
    function_call: Literal["none", "auto"] | NamedFunction | None = None
    user: str | None = None
    safety_identifier: Annotated[str, Field(max_length=64)] | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    service_tier: ServiceTier | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Any = None
    prompt_cache_options: Any = None
    modalities: list[str] | None = None
    audio: Any = None
    prediction: Any = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    web_search_options: Any = None
    moderation: Any = None

    @model_validator(mode="after")
    def _consistent(self) -> "ChatRequest":
        """Hold what the specification says about parameters that depend on each other."""
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs: needs 'logprobs' to be true")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: is only allowed when 'stream' is true")
        if self.tools is not None and self.functions is not None:
            raise ValueError("functions: cannot be combined with 'tools'")
        if self.tools is None:
            for name in ("tool_choice", "parallel_tool_calls"):
                if getattr(self, name) not in {None, "none"}:
                    raise ValueError(f"{name}: is only allowed when 'tools' are given")
        if self.functions is None and self.function_call not in {None, "none"}:
            raise ValueError("function_call: is only allowed when 'functions' are given")
        return self

    @property
    def completion_limit(self) -> int | None:
        """The most tokens to produce, under whichever name it was given; None if not given."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens
