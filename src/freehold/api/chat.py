"""`POST /chat/completions`.

An answer that is to be stored is kept before its last byte is sent: a caller who has it whole can count on finding it
again, and one who asked for that is told where it cannot be, by an error in place of the end. One who goes away before
that has nothing stored.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from freehold.api.annotating import REFUSAL, Annotator, annotator
from freehold.api.body import parse
from freehold.api.rendering import Gathered, chat_logprobs, collect, head, obfuscation, usage_object, wants_usage
from freehold.api.reply import Call, Reply
from freehold.gateway.answers import Answer
from freehold.gateway.legacy import uses_functions
from freehold.gateway.validation import tier_of
from freehold.types.chat import ChatRequest, JsonSchemaFormat
from freehold.types.generation import Delta, TokenLogprob, ToolCallDelta, Usage


async def create_chat_completion(call: Call) -> Reply:
    """Answer a conversation, whole or as a stream."""
    request = parse(ChatRequest, call.body)
    call.account.called_by(request.safety_identifier or request.user)
    call.account.metadata = request.metadata
    answer = await call.gateway.chat(call.principal, request, call.account)
    notes = annotator(call.dialect, call.account)
    if request.stream:
        return _stream(call, request, answer, notes)
    return await _whole(call, request, answer, notes)


async def _whole(call: Call, request: ChatRequest, answer: Answer, notes: Annotator) -> dict[str, Any]:
    choices, usage = await collect(answer.events)
    body = _completion(request, answer, choices, usage)
    await _keep(call, request, body)
    noted = [choice | notes.choice(choices[choice["index"]][-1].verdict) for choice in body["choices"]]
    return {**body, "choices": noted, **notes.prompts()}


async def _keep(call: Call, request: ChatRequest, body: dict[str, Any]) -> None:
    """Store the completion if it is to be stored; its receipt tells that it was.

    Raises:
        Forbidden, ZeroRetention, ContentUnreadable, ProjectKeyRevoked, KeyServiceUnavailable, HomeError: it cannot be.
    """
    completions, account = call.gateway.completions, call.account
    if completions.wanted(call.principal, request):
        await completions.keep(call.principal, request, body)
        account.parameters = {**(account.parameters or {}), "store": True}


def _completion(request: ChatRequest, answer: Answer, choices: dict[int, list[Delta]], usage: Usage) -> dict[str, Any]:
    """The whole answer, without what a dialect adds to it."""
    return {
        **head(answer, "chat.completion"),
        "choices": [_choice(request, index, choices[index]) for index in sorted(choices)],
        "usage": usage_object(usage),
        **_tier(request),
    }


def _choice(request: ChatRequest, index: int, deltas: list[Delta]) -> dict[str, Any]:
    text = reasoning = ""
    finish = "stop"
    tokens: list[TokenLogprob] = []
    pieces: list[ToolCallDelta] = []
    for delta in deltas:
        text += delta.text
        reasoning += delta.reasoning
        tokens += delta.logprobs
        pieces += delta.tool_calls
        finish = delta.finish_reason or finish
    calls = _joined_calls(pieces)
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else ""), "refusal": None}
    if finish == "content_filter" and not text and not calls:
        message |= {"content": None, "refusal": REFUSAL if _wants_schema(request) else None}
    if calls and uses_functions(request):
        message["function_call"] = calls[0]["function"]
        finish = "function_call" if finish == "tool_calls" else finish
    elif calls:
        message["tool_calls"] = calls
    if reasoning:
        message["reasoning_content"] = reasoning
    return {
        "index": index,
        "message": message,
        "logprobs": chat_logprobs(tokens) if request.logprobs else None,
        "finish_reason": finish,
    }


def _wants_schema(request: ChatRequest) -> bool:
    """Whether the caller's client reads data, and looks into `refusal` where there is none."""
    return isinstance(request.response_format, JsonSchemaFormat)


def _joined_calls(pieces: list[ToolCallDelta]) -> list[dict[str, Any]]:
    """The tool calls that the pieces add up to."""
    calls: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        call = calls.setdefault(
            piece.index, {"id": piece.id, "type": "function", "function": {"name": piece.name or "", "arguments": ""}}
        )
        call["function"]["arguments"] += piece.arguments
    return [calls[index] for index in sorted(calls)]


async def _stream(call: Call, request: ChatRequest, answer: Answer, notes: Annotator) -> AsyncGenerator[dict[str, Any]]:
    gathered = Gathered() if call.gateway.completions.wanted(call.principal, request) else None
    base = head(answer, "chat.completion.chunk") | _tier(request)
    if wants_usage(request.stream_options):
        base["usage"] = None
    prompts = notes.prompts()
    if prompts:
        yield {**base, "choices": [], **prompts}
    begun: set[int] = set()
    async with aclosing(answer.events) as events:
        async for event in events:
            if gathered is not None:
                gathered.add(event)
            if isinstance(event, Usage):
                if wants_usage(request.stream_options):
                    yield {**base, "choices": [], "usage": usage_object(event)}
                continue
            if event.choice not in begun:
                begun.add(event.choice)
                opening = {"role": "assistant", "content": None if event.tool_calls else "", "refusal": None}
                yield {**base, "choices": [_chunk(event.choice, opening)]}
            for choice in _chunks(request, event, notes):
                yield {**base, "choices": [choice], **obfuscation(request.stream_options)}
    if gathered is not None:
        await _keep(call, request, _completion(request, answer, gathered.choices, gathered.usage))


def _chunks(request: ChatRequest, event: Delta, notes: Annotator) -> list[dict[str, Any]]:
    """The choices, each for a chunk of its own, that one delta becomes: content first, then the finish."""
    chunks: list[dict[str, Any]] = []
    delta: dict[str, Any] = {}
    if event.text:
        delta["content"] = event.text
    if event.reasoning:
        delta["reasoning_content"] = event.reasoning
    if event.tool_calls and uses_functions(request):
        delta["function_call"] = _function_piece(event.tool_calls[0])
    elif event.tool_calls:
        delta["tool_calls"] = [_tool_piece(piece) for piece in event.tool_calls]
    if delta or event.logprobs:
        logprobs = chat_logprobs(event.logprobs) if request.logprobs and event.logprobs else None
        chunks.append(_chunk(event.choice, delta, logprobs=logprobs) | notes.choice(event.verdict))
    if event.finish_reason is not None:
        legacy = event.finish_reason == "tool_calls" and uses_functions(request)
        finish = "function_call" if legacy else event.finish_reason
        chunks.append(_chunk(event.choice, {}, finish=finish) | notes.choice(None if chunks else event.verdict))
    elif not chunks and event.verdict is not None and (said := notes.choice(event.verdict)):
        chunks.append(_chunk(event.choice, {}) | said)
    return chunks


def _chunk(
    index: int, delta: dict[str, Any], *, logprobs: dict[str, Any] | None = None, finish: str | None = None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}


def _tool_piece(piece: ToolCallDelta) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": piece.arguments}
    if piece.id is None:
        return {"index": piece.index, "function": function}
    return {
        "index": piece.index,
        "id": piece.id,
        "type": "function",
        "function": {"name": piece.name or "", **function},
    }


def _function_piece(piece: ToolCallDelta) -> dict[str, Any]:
    return {"arguments": piece.arguments} if piece.name is None else {"name": piece.name, "arguments": piece.arguments}


def _tier(request: ChatRequest) -> dict[str, Any]:
    """The tier that served the request, told only to callers who asked for one."""
    return {} if request.service_tier is None else {"service_tier": tier_of(request).value}
