"""A conversation as chat templates take it, and what an answer to it must look like."""

import json
from collections.abc import Sequence
from typing import Any

from freehold.engines.grammar_rules import Bounds, Piece, Rules, fit
from freehold.engines.tool_calls import allowed_tools, answer_rule
from freehold.types.chat import (
    AssistantMessage,
    ChatRequest,
    FunctionCall,
    FunctionMessage,
    ImagePart,
    Message,
    SystemMessage,
    ToolMessage,
)

CONTEXT_RESERVE = 16


def response_grammar(request: ChatRequest, tokens: int) -> str | None:
    """The grammar for `response_format`; None where it is text.

    Args:
        request: what the caller wants.
        tokens: how many there are for the answer.

    Raises: as `freehold.engines.grammar_schema.schema_grammar`.
    """
    if request.response_format is None or request.response_format.type == "text":
        return None

    def build(rules: Rules, bounds: Bounds) -> Piece:
        piece = answer_rule(request, rules, bounds)
        assert piece is not None
        return piece

    return fit(build, tokens)


def messages(request: ChatRequest) -> list[dict[str, Any]]:
    """The conversation as templates take it: text as one string, one system message first, no older forms.

    Pictures stay parts of their message, which llama.cpp itself puts into the prompt.
    """
    converted = [_message(message) for message in request.messages]
    leading = 0
    while leading < len(converted) and converted[leading]["role"] == "system":
        leading += 1
    if leading > 1:
        text = "\n\n".join(message["content"] for message in converted[:leading])
        converted[:leading] = [{"role": "system", "content": text}]
    return converted


def _message(message: Message) -> dict[str, Any]:
    match message:
        case SystemMessage():
            return {"role": "system", "content": _text(message.content)}
        case ToolMessage():
            return {"role": "tool", "content": _text(message.content), "tool_call_id": message.tool_call_id}
        case FunctionMessage():
            return {"role": "tool", "content": message.content or "", "tool_call_id": message.name}
        case AssistantMessage():
            return _assistant(message)
        case _:
            if isinstance(message.content, str) or not any(isinstance(part, ImagePart) for part in message.content):
                return {"role": "user", "content": _text(message.content)}
            parts = [part.model_dump(exclude_none=True) for part in message.content]
            return {"role": "user", "content": parts}


def _assistant(message: AssistantMessage) -> dict[str, Any]:
    converted: dict[str, Any] = {"role": "assistant", "content": _text(message.content) or message.refusal or ""}
    calls = [(call.id, call.function) for call in message.tool_calls or ()]
    if message.function_call is not None:
        calls.append((message.function_call.name, message.function_call))
    if calls:
        converted["tool_calls"] = [
            {"id": name, "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}
            for name, call in calls
        ]
    return converted


def _arguments(call: FunctionCall) -> str:
    """The arguments as the text of a JSON object, for templates that read them; what is not one is put into one."""
    try:
        value = json.loads(call.arguments or "{}")
    except ValueError:
        value = call.arguments
    return json.dumps(value if isinstance(value, dict) else {"value": value})


def _text(content: str | Sequence[Any] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(getattr(part, "text", "") or getattr(part, "refusal", "") for part in content)


def has_pictures(request: ChatRequest) -> bool:
    """Whether a message has a picture."""
    return any(
        isinstance(part, ImagePart)
        for message in request.messages
        if isinstance(message.content, list)
        for part in message.content
    )


def answer_tokens(request: ChatRequest, context_length: int) -> int:
    """How many tokens there are for the answer: those asked for, and no more than the prompt leaves, roughly."""
    size = len(json.dumps(messages(request), ensure_ascii=False))
    size += sum(len(tool.model_dump_json(exclude_none=True)) for tool in request.tools or ())
    left = max(context_length - size // 3 - CONTEXT_RESERVE, 64)
    return left if request.completion_limit is None else min(left, request.completion_limit)


def demands_call(request: ChatRequest) -> bool:
    """Whether there must be a tool call, and nothing else."""
    return bool(allowed_tools(request)) and request.tool_choice not in {None, "auto"}


def tools(request: ChatRequest) -> list[dict[str, Any]]:
    """The tools as templates show them to the model."""
    functions = [tool.function for tool in request.tools or ()]
    return [
        {"type": "function", "function": function.model_dump(exclude_none=True, exclude={"strict"})}
        for function in functions
    ]
