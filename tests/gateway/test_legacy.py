"""The older `functions` in terms of `tools`."""

from freehold.gateway.legacy import functions_as_tools, uses_functions
from freehold.types.chat import AssistantMessage, ChatRequest, NamedToolChoice, ToolMessage

FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {}}}


def request(**change: object) -> ChatRequest:
    """A chat request with these parameters."""
    return ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": "hi"}], **change})


def test_functions_become_tools() -> None:
    """Definitions and a named choice are translated; the older names are gone."""
    old = request(functions=[FUNCTION], function_call={"name": "weather"})
    new = functions_as_tools(old)
    assert uses_functions(old)
    assert new.functions is None
    assert new.function_call is None
    assert new.tools is not None
    assert [tool.function.name for tool in new.tools] == ["weather"]
    assert isinstance(new.tool_choice, NamedToolChoice)
    assert new.parallel_tool_calls is False


def test_the_choice_is_kept() -> None:
    """`none` and `auto` mean the same for tools."""
    assert functions_as_tools(request(functions=[FUNCTION], function_call="none")).tool_choice == "none"
    assert functions_as_tools(request(functions=[FUNCTION])).tool_choice is None


def test_history_is_paired_by_ids() -> None:
    """A function's answer in the history belongs to the call right before it."""
    old = request(
        messages=[
            {"role": "user", "content": "weather?"},
            {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
            {"role": "function", "name": "weather", "content": "rain"},
        ]
    )
    _, call, answer = functions_as_tools(old).messages
    assert isinstance(call, AssistantMessage)
    assert isinstance(answer, ToolMessage)
    assert call.tool_calls is not None
    assert call.tool_calls[0].id == answer.tool_call_id
    assert answer.content == "rain"


def test_requests_without_functions_stay_as_they_are() -> None:
    """Nothing changes for callers of the newer form."""
    plain = request()
    assert functions_as_tools(plain) == plain
