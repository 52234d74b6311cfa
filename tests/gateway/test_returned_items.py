"""Items as clients send them back: whole objects of their own version, with nulls for what was not there."""

from typing import Any

import pytest
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseFunctionToolCallOutputItem,
    ResponseInputImage,
    ResponseOutputMessage,
    ResponseReasoningItem,
)
from openai.types.responses.response_output_item import ImageGenerationCall, McpCall, McpListTools
from pydantic import BaseModel, TypeAdapter, ValidationError

from freehold.gateway.items import kept
from freehold.types.items import InputItem
from freehold.types.responses import Tool

ITEM: TypeAdapter[Any] = TypeAdapter(InputItem)
TOOL: TypeAdapter[Any] = TypeAdapter(Tool)
TEXT = {"type": "output_text", "text": "a", "annotations": [], "logprobs": []}
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [TEXT]}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"}


@pytest.mark.parametrize(
    ("model", "item"),
    [
        (ResponseOutputMessage, MESSAGE),
        (ResponseFunctionToolCall, CALL),
        (
            ResponseFunctionToolCallOutputItem,
            {"type": "function_call_output", "id": "fco_1", "call_id": "c", "output": "x", "status": "completed"},
        ),
        (ResponseReasoningItem, {"type": "reasoning", "id": "rs_1", "summary": []}),
        (ImageGenerationCall, {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "QQ=="}),
        (
            McpListTools,
            {"type": "mcp_list_tools", "id": "l", "server_label": "s", "tools": [{"name": "t", "input_schema": {}}]},
        ),
        (McpCall, {"type": "mcp_call", "id": "m", "server_label": "s", "name": "t", "arguments": "{}"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
@pytest.mark.parametrize("by_alias", [False, True])
def test_an_object_of_the_official_client_is_an_item(
    model: type[BaseModel], item: dict[str, Any], *, by_alias: bool
) -> None:
    """What the client dumps of an item is the item: keys that are null say nothing, also those that are unknown."""
    dumped = BaseModel.model_dump(model.model_validate(item), by_alias=by_alias)
    anew = kept(ITEM.validate_python(dumped))
    assert anew | {"id": "x"} == kept(ITEM.validate_python(item)) | {"id": "x"}


def test_parts_with_nulls_are_parts_without() -> None:
    """A picture whose `detail` is null has none, and a text whose `annotations` are null has none."""
    picture = ResponseInputImage.model_validate({"type": "input_image", "image_url": "data:,x", "detail": "auto"})
    text = {"type": "input_text", "text": "a", "prompt_cache_breakpoint": None}
    parts = [picture.model_dump() | {"detail": None}, text]
    item = kept(ITEM.validate_python({"role": "user", "content": parts}))
    assert item["content"] == [
        {"type": "input_image", "detail": "auto", "image_url": "data:,x"},
        {"type": "input_text", "text": "a"},
    ]
    said = {**MESSAGE, "content": [{"type": "output_text", "text": "a", "annotations": None, "logprobs": None}]}
    assert kept(ITEM.validate_python(said))["content"] == [TEXT]


@pytest.mark.parametrize(
    "item",
    [
        {**CALL, "namespace": "n"},
        {**CALL, "colour": "red"},
        {**MESSAGE, "role": None},
        {**MESSAGE, "content": None},
        {**CALL, "arguments": None},
        {"role": "user", "content": [{"type": "input_file", "file_id": "f", "detail": "fine"}]},
    ],
)
def test_only_what_says_nothing_may_be_null(item: dict[str, Any]) -> None:
    """What an item needs is needed, and what says something that is unknown is refused."""
    with pytest.raises(ValidationError):
        ITEM.validate_python(item)


def test_a_function_may_say_that_it_is_not_deferred() -> None:
    """Further parameters of functions may say what is done anyway; else they are refused by name."""
    named = {"type": "function", "name": "f"}
    plain = {**named, "defer_loading": False, "allowed_callers": ["direct"]}
    assert TOOL.validate_python({**plain, "output_schema": None, "strict": None}) == TOOL.validate_python(plain)
    wrong: list[dict[str, Any]] = [
        {"defer_loading": True},
        {"output_schema": {}},
        {"allowed_callers": ["programmatic"]},
    ]
    for change in wrong:
        with pytest.raises(ValidationError):
            TOOL.validate_python({**named, **change})


def test_what_the_assistant_said_is_told_as_output() -> None:
    """A text that a client sends as an input of the assistant is kept as the output that it was."""
    item = ITEM.validate_python({"role": "assistant", "content": [{"type": "input_text", "text": "a"}]})
    assert kept(item)["content"] == [TEXT]
