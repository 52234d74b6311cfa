"""Items as they are kept and told: JSON objects with an id, valid as `ItemResource` and as `ConversationItem`."""

from typing import Any, Final

from freehold.types.ids import new_id
from freehold.types.items import (
    FunctionCallOutputItem,
    InputFile,
    InputImage,
    InputText,
    KeptItem,
    McpApprovalRequestItem,
    MessageItem,
    MessagePart,
    OutputText,
)

PREFIXES: Final = {
    "message": "msg_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "reasoning": "rs_",
    "image_generation_call": "ig_",
    "mcp_list_tools": "mcpl_",
    "mcp_call": "mcp_",
    "mcp_approval_request": "mcpr_",
    "mcp_approval_response": "mcpa_",
}
"""What the ids of items of each type begin with."""


def kept(item: KeptItem) -> dict[str, Any]:
    """An item of a request as it is kept, under a new id; a question for approval keeps its own, which answers name."""
    item_id = item.id if isinstance(item, McpApprovalRequestItem) else new_id(PREFIXES[item.type])
    if isinstance(item, MessageItem):
        return {
            "id": item_id,
            "type": "message",
            "status": item.status or "completed",
            "role": item.role,
            "content": _content(item),
        } | ({} if item.phase is None else {"phase": item.phase})
    found = item.model_dump(mode="json", exclude_none=True, exclude={"id", "created_by"}) | {"id": item_id}
    if isinstance(item, FunctionCallOutputItem) and isinstance(item.output, list):
        found["output"] = [_part(part) for part in item.output]
    if item.type in {"function_call", "function_call_output"}:
        found.setdefault("status", "completed")
    if item.type == "image_generation_call":
        found.setdefault("result", None)
    if item.type == "mcp_approval_response":
        found["request_id"] = item.approval_request_id  # which the specification demands under both names
    return found


def named_anew(item: dict[str, Any]) -> dict[str, Any]:
    """A kept item under a new id, to stand in a second place; a question for approval keeps its own."""
    return item if item["type"] == "mcp_approval_request" else {**item, "id": new_id(PREFIXES[item["type"]])}


def message(text: str, role: str = "user") -> dict[str, Any]:
    """A message of one text."""
    return kept(MessageItem.model_validate({"role": role, "content": text}))


def output_text(text: str) -> dict[str, Any]:
    """A text that the assistant says."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _content(item: MessageItem) -> list[dict[str, Any]]:
    if isinstance(item.content, list):
        return [_said(part) if item.role == "assistant" else _part(part) for part in item.content]
    if item.role == "assistant":
        return [output_text(item.content)]
    return [{"type": "input_text", "text": item.content}]


def _said(part: MessagePart) -> dict[str, Any]:
    """A part of what the assistant said: clients give its texts as inputs, too, but it has none (`OutputMessage`)."""
    return output_text(part.text) if isinstance(part, InputText) else _part(part)


def _part(part: MessagePart) -> dict[str, Any]:
    match part:
        case InputText():
            return {"type": "input_text", "text": part.text}
        case InputImage():
            source = {"image_url": part.image_url} if part.file_id is None else {"file_id": part.file_id}
            return {"type": "input_image", "detail": part.detail, **source}
        case InputFile():
            return part.model_dump(mode="json", exclude_none=True)
        case OutputText():
            return output_text(part.text) | {"annotations": part.annotations}
    return {"type": "refusal", "refusal": part.refusal}
