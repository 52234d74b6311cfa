"""OpenAI's requests in the words of llama.cpp's server, whose defaults and names differ."""

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from freehold.engines.llamacpp_rules import Bounds, Piece, Rules, fit
from freehold.engines.llamacpp_tools import answer_rule
from freehold.errors import InvalidRequest
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
from freehold.types.completions import CompletionRequest

CONTEXT_RESERVE = 16
ANY_SEED = 2**32 - 1
"""What llama.cpp takes for "no seed"."""
BANNED = -100.0


PENALTY_WINDOW = 65_536
"""Tokens that the penalties look back on: more than a context has here, for llama.cpp knows no "all"."""


def sampling(request: ChatRequest | CompletionRequest, vocabulary: int) -> dict[str, Any]:
    """The sampling parameters, each said outright: llama.cpp's own defaults are not OpenAI's.

    Args:
        request: what the caller wants.
        vocabulary: how many tokens the model knows.

    Raises:
        InvalidRequest: `logit_bias` names a token that does not exist.
    """
    frequency, presence = request.frequency_penalty or 0.0, request.presence_penalty or 0.0
    body: dict[str, Any] = {
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "top_k": 0,
        "min_p": 0.0,
        "typical_p": 1.0,
        "repeat_penalty": 1.0,
        "frequency_penalty": frequency,
        "presence_penalty": presence,
        "repeat_last_n": PENALTY_WINDOW if frequency or presence else 0,
        "seed": _seed(request.seed),
        "cache_prompt": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.stop is not None:
        body["stop"] = [request.stop] if isinstance(request.stop, str) else list(request.stop)
    if request.logit_bias:
        body["logit_bias"] = _logit_bias(request.logit_bias, vocabulary)
    return body


def _seed(seed: int | None) -> int:
    """The seed in llama.cpp's 32 bits. Without one a random number, for otherwise parallel requests would share one."""
    if seed is None:
        return random.getrandbits(31)  # not for secrets
    folded = (seed ^ (seed >> 32)) & 0xFFFFFFFF if not 0 <= seed < ANY_SEED else seed
    return folded if folded != ANY_SEED else 0


def _logit_bias(bias: Mapping[str, float], vocabulary: int) -> list[list[float | bool]]:
    for token in bias:
        if int(token) >= vocabulary:
            raise InvalidRequest(
                f"Invalid key in 'logit_bias': {token}. This model's token ids go from 0 to {vocabulary - 1}.",
                param="logit_bias",
            )
    return [[int(token), False if value <= BANNED else value] for token, value in bias.items()]


def response_grammar(request: ChatRequest, tokens: int) -> str | None:
    """The grammar for `response_format`; None where it is text.

    Args:
        request: what the caller wants.
        tokens: how many there are for the answer.

    Raises: as `freehold.engines.llamacpp_schema.schema_grammar`.
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
