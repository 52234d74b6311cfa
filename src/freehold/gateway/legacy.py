"""OpenAI's older `functions` in terms of `tools`, so that engines know only one of them.

The way back, `function_call` in the answer, is the renderer's; it asks `uses_functions`.
"""

from typing import Any

from freehold.types.chat import (
    AssistantMessage,
    ChatRequest,
    FunctionMessage,
    Message,
    NamedFunction,
    NamedToolChoice,
    Tool,
    ToolCall,
    ToolMessage,
)


def uses_functions(request: ChatRequest) -> bool:
    """Whether the caller speaks the older form."""
    return request.functions is not None


def _is_older(message: Message) -> bool:
    """Whether a message calls a function in the older form, or answers such a call."""
    return message.role == "function" or (message.role == "assistant" and message.function_call is not None)


def functions_as_tools(request: ChatRequest) -> ChatRequest:
    """The same request with tools: definitions, the choice and the history translated."""
    if request.functions is None and not any(map(_is_older, request.messages)):
        return request
    update: dict[str, Any] = {"messages": _translate_history(request)}
    if request.functions is not None:
        update["tools"] = [Tool(type="function", function=function) for function in request.functions]
        update["functions"] = None
        update["parallel_tool_calls"] = False
        update["function_call"] = None
        match request.function_call:
            case NamedFunction() as named:
                update["tool_choice"] = NamedToolChoice(type="function", function=named)
            case choice:
                update["tool_choice"] = choice
    return request.model_copy(update=update)


def _translate_history(request: ChatRequest) -> list[Any]:
    """Earlier function calls and their answers as tool calls; ids pair each answer with the call before it."""
    messages: list[Any] = []
    for position, message in enumerate(request.messages):
        match message:
            case AssistantMessage(function_call=call) if call is not None:
                tool_call = ToolCall(id=f"call_{position}", type="function", function=call)
                messages.append(message.model_copy(update={"function_call": None, "tool_calls": [tool_call]}))
            case FunctionMessage():
                content = message.content or ""
                messages.append(ToolMessage(role="tool", content=content, tool_call_id=f"call_{position - 1}"))
            case _:
                messages.append(message)
    return messages
