"""The items of conversations and responses, as in OpenAI's specification (`InputItem`).

What comes in is checked here. As it is kept and told, an item is a JSON object with an `id` of its own, made by
`freehold.gateway.items`.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from freehold.types.base import ReturnedModel

ItemId: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]
OwnId: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
"""An id that an item keeps, so that it stands in paths."""
CallId: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]
ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]
Phase: TypeAlias = Literal["commentary", "final_answer"]
MAX_OUTPUT_CHARACTERS = 10_485_760
"""Of what a tool gave, as in the specification."""
MAX_DEPTH = 100
"""Of objects in each other where an item may hold any: what is deeper could be read, and not be written again."""


def _not_too_deep(value: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
        ]
        if not level:
            return value
    raise PydanticCustomError("too_deep", "it is nested deeper than {limit} levels", {"limit": MAX_DEPTH})


FreeObject: TypeAlias = Annotated[dict[str, Any], AfterValidator(_not_too_deep)]
"""An object of any keys."""


class InputText(ReturnedModel):
    """A text that the model is given."""

    type: Literal["input_text"]
    text: str


class InputImage(ReturnedModel):
    """A picture that the model is given: an `https:` or `data:` URL, or an uploaded file."""

    type: Literal["input_image"]
    image_url: str | None = None
    file_id: ItemId | None = None
    detail: Literal["auto", "low", "high"] = "auto"

    @model_validator(mode="after")
    def _one_source(self) -> "InputImage":
        if (self.image_url is None) == (self.file_id is None):
            raise ValueError("needs either 'image_url' or 'file_id'")
        return self


class InputFile(ReturnedModel):
    """A file that the model is given: uploaded before, or as base64 in a `data:` URL."""

    type: Literal["input_file"]
    file_id: ItemId | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: Annotated[str, Field(max_length=255)] | None = None
    detail: Literal["auto", "low", "high"] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "InputFile":
        if sum(source is not None for source in (self.file_id, self.file_data, self.file_url)) != 1:
            raise ValueError("needs one of 'file_id', 'file_data' and 'file_url'")
        return self


class OutputText(ReturnedModel):
    """A text that the assistant said."""

    type: Literal["output_text"]
    text: str
    annotations: list[FreeObject] = Field(default_factory=list)
    logprobs: list[FreeObject] | None = None


class Refusal(ReturnedModel):
    """What the assistant said instead of an answer."""

    type: Literal["refusal"]
    refusal: str


InputPart: TypeAlias = Annotated[InputText | InputImage | InputFile, Field(discriminator="type")]
MessagePart: TypeAlias = Annotated[
    InputText | InputImage | InputFile | OutputText | Refusal, Field(discriminator="type")
]


class MessageItem(ReturnedModel):
    """Something that was said."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | Annotated[list[MessagePart], Field(min_length=1)]
    id: ItemId | None = None
    status: ItemStatus | None = None
    phase: Phase | None = None

    @model_validator(mode="after")
    def _parts_of_its_role(self) -> "MessageItem":
        """The assistant gives texts and refusals; everybody else gives inputs, the system texts only."""
        for part in self.content if isinstance(self.content, list) else ():
            said = isinstance(part, OutputText | Refusal)
            if self.role == "assistant" and not said and not isinstance(part, InputText):
                raise ValueError(f"content: cannot hold '{part.type}' in the assistant's message")
            if self.role != "assistant" and said:
                raise ValueError(f"content: can hold '{part.type}' only in the assistant's message")
            if self.role in {"system", "developer"} and not isinstance(part, InputText):
                raise ValueError(f"content: cannot hold '{part.type}' in a message of '{self.role}'")
        return self


class FunctionCallItem(ReturnedModel):
    """A call of a function that the model asked for; `arguments` is JSON text."""

    type: Literal["function_call"]
    call_id: CallId
    name: Annotated[str, Field(min_length=1, max_length=128)]
    arguments: str
    id: ItemId | None = None
    status: ItemStatus | None = None
    created_by: str | None = None


class FunctionCallOutputItem(ReturnedModel):
    """What the function gave."""

    type: Literal["function_call_output"]
    call_id: CallId
    output: Annotated[str, Field(max_length=MAX_OUTPUT_CHARACTERS)] | list[InputPart]
    id: ItemId | None = None
    status: ItemStatus | None = None
    name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    created_by: str | None = None


class SummaryText(ReturnedModel):
    """A piece of a summary of what a model thought."""

    type: Literal["summary_text"]
    text: str


class ReasoningText(ReturnedModel):
    """What a model thought."""

    type: Literal["reasoning_text"]
    text: str


class ReasoningItem(ReturnedModel):
    """What a model thought before it answered."""

    type: Literal["reasoning"]
    summary: list[SummaryText]
    content: list[ReasoningText] | None = None
    encrypted_content: str | None = None
    id: ItemId | None = None
    status: ItemStatus | None = None


class ImageCallItem(ReturnedModel):
    """A picture that the model had painted; `result` is the file in base64."""

    type: Literal["image_generation_call"]
    id: ItemId
    status: Literal["in_progress", "completed", "generating", "failed"]
    result: str | None


class McpTools(ReturnedModel):
    """A tool of an MCP server."""

    name: str
    input_schema: FreeObject
    description: str | None = None
    annotations: FreeObject | None = None


class McpListItem(ReturnedModel):
    """The tools of an MCP server."""

    type: Literal["mcp_list_tools"]
    id: ItemId
    server_label: str
    tools: list[McpTools]
    error: str | None = None


class McpFault(ReturnedModel):
    """What went wrong with the way to an MCP server, or with its protocol; the number is HTTP's or JSON-RPC's."""

    type: Literal["http_error", "mcp_protocol_error"]
    code: int
    message: str


class McpToolFault(ReturnedModel):
    """What a tool said of its failure."""

    type: Literal["mcp_tool_execution_error"]
    content: Any


class McpCallItem(ReturnedModel):
    """A call of a tool of an MCP server, and what it gave."""

    type: Literal["mcp_call"]
    id: ItemId
    server_label: str
    name: str
    arguments: str
    output: str | None = None
    error: Annotated[McpFault | McpToolFault, Field(discriminator="type")] | None = None
    status: Literal["in_progress", "completed", "incomplete", "calling", "failed"] | None = None
    approval_request_id: str | None = None


class McpApprovalRequestItem(ReturnedModel):
    """The question whether a tool of an MCP server may be called. It keeps its id, so that is one as we make them."""

    type: Literal["mcp_approval_request"]
    id: OwnId
    server_label: str
    name: str
    arguments: str


class McpApprovalResponseItem(ReturnedModel):
    """The answer to it."""

    type: Literal["mcp_approval_response"]
    approval_request_id: ItemId
    approve: bool
    request_id: ItemId | None = None
    """The same once more, as it is told; the specification demands both."""
    id: ItemId | None = None
    reason: str | None = None

    @model_validator(mode="after")
    def _one_request(self) -> "McpApprovalResponseItem":
        if self.request_id not in {None, self.approval_request_id}:
            raise ValueError("request_id: must be the same as 'approval_request_id', or be left out")
        return self


class ItemReference(ReturnedModel):
    """An item that is kept, by its id; of a picture that was painted also its type may stand there."""

    type: Literal["item_reference", "image_generation_call"] | None = None
    id: ItemId


KeptItem: TypeAlias = (
    MessageItem
    | FunctionCallItem
    | FunctionCallOutputItem
    | ReasoningItem
    | ImageCallItem
    | McpListItem
    | McpCallItem
    | McpApprovalRequestItem
    | McpApprovalResponseItem
)


def _type_of(value: Any) -> str:
    """What an item says it is, or what it can only be."""
    fields = value if isinstance(value, dict) else vars(value) if hasattr(value, "__dict__") else {}
    found = fields.get("type")
    if found is None:
        return "message" if "role" in fields else "item_reference"
    if found == "image_generation_call" and fields.get("status") is None and fields.get("result") is None:
        return "item_reference"
    return str(found)


InputItem: TypeAlias = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionCallOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[ImageCallItem, Tag("image_generation_call")]
    | Annotated[McpListItem, Tag("mcp_list_tools")]
    | Annotated[McpCallItem, Tag("mcp_call")]
    | Annotated[McpApprovalRequestItem, Tag("mcp_approval_request")]
    | Annotated[McpApprovalResponseItem, Tag("mcp_approval_response")]
    | Annotated[ItemReference, Tag("item_reference")],
    Discriminator(
        _type_of,
        custom_error_type="item_type",
        custom_error_message="there are no such items here; 'type' can be 'message', 'function_call', "
        "'function_call_output', 'reasoning', 'image_generation_call', 'mcp_list_tools', 'mcp_call', "
        "'mcp_approval_request', 'mcp_approval_response' or 'item_reference'",
    ),
]
"""An item in a request. The other types of the specification belong to tools that there are not here."""
