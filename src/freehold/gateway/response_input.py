"""What a response is asked, as a conversation for an engine: items become messages, parameters those of chat."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from freehold.errors import RequestError, UnsupportedParameter
from freehold.types.chat import (
    AssistantMessage,
    ChatRequest,
    FunctionCall,
    FunctionDefinition,
    ImagePart,
    ImageURL,
    JsonObjectFormat,
    JsonSchema,
    Message,
    NamedToolChoice,
    ResponseFormat,
    SystemMessage,
    TextPart,
    Tool,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from freehold.types.chat import JsonSchemaFormat as ChatJsonSchemaFormat
from freehold.types.chat import NamedFunction as ChatNamedFunction
from freehold.types.responses import FunctionTool, JsonSchemaFormat, ResponseRequest

Item: TypeAlias = Mapping[str, Any]

NAMES: Final = {
    "messages": "input",
    "response_format": "text.format",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "logprobs": "include",
}
"""What parameters of chat completions are called here."""

NOT_OFFERED: Final = {
    "prompt": "prompt templates are not available; send 'instructions' and 'input'",
    "context_management": "contexts are not compacted; set 'truncation' to 'auto' to leave out the oldest items",
}


def check_offered(request: ResponseRequest) -> None:
    """Refuse what no deployment does.

    Raises:
        UnsupportedParameter: names it.
    """
    for name, why in NOT_OFFERED.items():
        if getattr(request, name) is not None:
            raise UnsupportedParameter(f"Unsupported parameter: '{name}': {why}.", param=name)
    reasoning = request.reasoning
    if reasoning is None:
        return
    for name in ("summary", "generate_summary"):
        if getattr(reasoning, name) not in {None, "auto"}:
            raise UnsupportedParameter(
                f"Unsupported value: 'reasoning.{name}' can only be 'auto': what the model thinks is told as it is.",
                param=f"reasoning.{name}",
            )
    for name in ("mode", "context"):
        if getattr(reasoning, name) not in {None, "auto"}:
            raise UnsupportedParameter(
                f"Unsupported parameter: 'reasoning.{name}' is not available.", param=f"reasoning.{name}"
            )


def renamed(error: RequestError) -> RequestError:
    """An error about a parameter of chat completions, with the name that the parameter has here."""
    name = NAMES.get(error.param or "")
    if name is not None:
        error.message = error.message.replace(f"'{error.param}'", f"'{name}'")
        if error.message.startswith(f"{error.param} "):
            error.message = name + error.message.removeprefix(error.param or "")
        error.args = (error.message,)
        error.param = name
    return error


def functions(request: ResponseRequest) -> list[Tool]:
    """The caller's functions, as chat completions have them."""
    return [
        Tool(
            type="function",
            function=FunctionDefinition(
                name=tool.name, description=tool.description, parameters=tool.parameters, strict=tool.strict
            ),
        )
        for tool in request.tools or ()
        if isinstance(tool, FunctionTool)
    ]


def chat_request(
    request: ResponseRequest,
    items: Iterable[Item],
    tools: Sequence[Tool],
    choice: str | None,
    *,
    stream: bool,
    told: Mapping[str, str] | None = None,
) -> ChatRequest:
    """The conversation for the engine.

    Args:
        request: what is asked.
        items: all that came before, and the input.
        tools: what the model may call.
        choice: `auto`, `none`, `required`, or the name of the function that it must call.
        stream: whether the answer is sent as it comes.
        told: what the model is told of calls that were carried out for this response, by the ids of their items.
    """
    names = {tool.function.name for tool in tools}
    before: list[Message] = []
    if request.instructions:
        before.append(SystemMessage(role="system", content=request.instructions))
    return ChatRequest.model_validate(
        {
            "model": request.model,
            "messages": [*before, *messages(items, names, told or {})] or [UserMessage(role="user", content="")],
            "stream": stream,
            "max_completion_tokens": request.max_output_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "logprobs": True if request.logprobs else None,
            "top_logprobs": request.top_logprobs if request.logprobs else None,
            "response_format": _format(request),
            "tools": list(tools) or None,
            "tool_choice": _choice(choice) if tools else None,
            "parallel_tool_calls": request.parallel_tool_calls if tools else None,
            "user": request.user,
            "safety_identifier": request.safety_identifier,
            "service_tier": _tier(request),
            "prompt_cache_key": request.prompt_cache_key,
            "prompt_cache_retention": request.prompt_cache_retention,
            "prompt_cache_options": request.prompt_cache_options,
            "reasoning_effort": request.reasoning.effort if request.reasoning else None,
            "verbosity": request.text.verbosity if request.text else None,
            "moderation": request.moderation,
        }
    )


def messages(items: Iterable[Item], names: set[str], told: Mapping[str, str]) -> list[Message]:
    """Items as messages. Calls that follow what the assistant said are one message with it.

    Args:
        items: in their order.
        names: of the functions that the model may call now: calls of others are told in words.
        told: what is told of calls, by the ids of their items, where it is not in the item.
    """
    found: list[Message] = []
    asked: dict[str, Item] = {}
    for item in items:
        if item["type"] == "mcp_approval_request":
            asked[item["id"]] = item
        for message in _messages(item, names, told) + _denied(item, asked):
            last = found[-1] if found else None
            if isinstance(message, AssistantMessage) and message.tool_calls and isinstance(last, AssistantMessage):
                calls = [*(last.tool_calls or ()), *message.tool_calls]
                found[-1] = last.model_copy(update={"tool_calls": calls})
            else:
                found.append(message)
    return found


def _messages(item: Item, names: set[str], told: Mapping[str, str]) -> list[Message]:
    match item["type"]:
        case "message":
            return [_said(item)]
        case "function_call":
            return [_called(item["call_id"], item["name"], item["arguments"])]
        case "function_call_output":
            return [_answered(item["call_id"], _text(item["output"]))]
        case "mcp_call":
            name = mcp_function(item["server_label"], item["name"])
            said = told.get(item["id"]) or item.get("output") or _error_text(item.get("error"))
            return _carried_out(item["id"], name, item["arguments"], said, names)
        case "image_generation_call":
            said = told.get(item["id"]) or ("A picture was shown." if item.get("result") else "No picture was painted.")
            return _carried_out(item["id"], IMAGE_FUNCTION, "{}", said, names)
    return []  # what was thought, lists of tools, and questions whether to call one


def _denied(item: Item, asked: Mapping[str, Item]) -> list[Message]:
    """A call that was asked about, and not allowed."""
    if item["type"] != "mcp_approval_response" or item["approve"] or item["approval_request_id"] not in asked:
        return []
    call = asked[item["approval_request_id"]]
    name = mcp_function(call["server_label"], call["name"])
    reason = f" The reason: {item['reason']}" if item.get("reason") else ""
    said = f"The user did not allow this call.{reason}"
    return [_called(call["id"], name, call["arguments"]), _answered(call["id"], said)]


IMAGE_FUNCTION: Final = "image_generation"
"""What the model calls to have a picture painted."""


def mcp_function(server_label: str, name: str) -> str:
    """What the model calls for a tool of an MCP server: of the characters that names of functions have."""
    plain = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "_" for sign in name)
    return f"{server_label}__{plain}"[:64]


def _carried_out(call_id: str, name: str, arguments: str, said: str, names: set[str]) -> list[Message]:
    """A call that was carried out here."""
    if name in names:
        return [_called(call_id, name, arguments), _answered(call_id, said)]
    return [AssistantMessage(role="assistant", content=f"({name}: {said})")]


def _called(call_id: str, name: str, arguments: str) -> AssistantMessage:
    call = ToolCall(id=call_id, type="function", function=FunctionCall(name=name, arguments=arguments))
    return AssistantMessage(role="assistant", tool_calls=[call])


def _answered(call_id: str, text: str) -> ToolMessage:
    return ToolMessage(role="tool", content=text, tool_call_id=call_id)


def _said(item: Item) -> Message:
    role, content = item["role"], item["content"]
    if role == "assistant":
        return AssistantMessage(role="assistant", content=_text(content))
    if role in {"system", "developer"}:
        return SystemMessage(role=role, content=_text(content))
    if len(content) == 1 and content[0]["type"] == "input_text":
        return UserMessage(role="user", content=content[0]["text"])
    return UserMessage(role="user", content=[_part(part) for part in content])


def _part(part: Mapping[str, Any]) -> TextPart | ImagePart:
    if part["type"] == "input_image":
        url = ImageURL(url=part["image_url"], detail=part.get("detail", "auto"))
        return ImagePart(type="image_url", image_url=url)
    return TextPart(type="text", text=part["text"])


def _text(content: str | Sequence[Mapping[str, Any]]) -> str:
    """The words of a content.

    Raises:
        UnsupportedParameter: it has more than words.
    """
    if isinstance(content, str):
        return content
    for part in content:
        if part["type"] == "input_image":
            raise UnsupportedParameter("Unsupported value: what a function gave can be text only.", param="input")
    return "\n".join(part["refusal"] if part["type"] == "refusal" else part["text"] for part in content)


def _error_text(error: Mapping[str, Any] | None) -> str:
    return "" if error is None else f"Error: {error.get('message') or error.get('content') or error.get('type')}"


def _format(request: ResponseRequest) -> ResponseFormat | None:
    wanted = request.text.format if request.text else None
    if isinstance(wanted, JsonSchemaFormat):
        schema = JsonSchema.model_validate(
            {
                "name": wanted.name,
                "description": wanted.description,
                "schema": wanted.schema_,
                "strict": wanted.strict,
            }
        )
        return ChatJsonSchemaFormat(type="json_schema", json_schema=schema)
    return JsonObjectFormat(type="json_object") if isinstance(wanted, JsonObjectFormat) else None


def _choice(choice: str | None) -> str | NamedToolChoice | None:
    if choice is None or choice in {"auto", "none", "required"}:
        return choice
    return NamedToolChoice(type="function", function=ChatNamedFunction(name=choice))


def _tier(request: ResponseRequest) -> str | None:
    if request.service_tier == "ultrafast":
        raise UnsupportedParameter(
            "Unsupported value: 'service_tier' can be 'auto', 'default', 'flex' or 'priority'.", param="service_tier"
        )
    return request.service_tier
