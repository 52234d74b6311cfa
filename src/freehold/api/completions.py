"""`POST /completions`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from freehold.api.annotating import Annotator, annotator
from freehold.api.body import parse
from freehold.api.rendering import collect, completion_logprobs, head, obfuscation, usage_object, wants_usage
from freehold.api.reply import Call, Reply
from freehold.gateway.answers import Answer
from freehold.gateway.permits import as_served
from freehold.types.completions import CompletionRequest
from freehold.types.generation import Delta, Usage


async def create_completion(call: Call) -> Reply:
    """Continue one prompt or several, whole or as a stream."""
    request = parse(CompletionRequest, call.body)
    call.account.called_by(request.user)
    answer = await call.gateway.complete(call.principal, request, call.account)
    request = as_served(request, call.account)
    notes = annotator(call.dialect, call.account)
    if request.stream:
        return _stream(request, answer, notes)
    return await _whole(request, answer, notes)


async def _whole(request: CompletionRequest, answer: Answer, notes: Annotator) -> dict[str, Any]:
    choices, usage = await collect(answer.events)
    return {
        **head(answer, "text_completion"),
        "choices": [
            _choice(request, index, choices[index]) | notes.choice(choices[index][-1].verdict)
            for index in sorted(choices)
        ],
        "usage": usage_object(usage),
        **notes.prompts(),
    }


def _choice(request: CompletionRequest, index: int, deltas: list[Delta]) -> dict[str, Any]:
    finish = next((delta.finish_reason for delta in reversed(deltas) if delta.finish_reason), "stop")
    tokens = [token for delta in deltas for token in delta.logprobs]
    return {
        "index": index,
        "text": _echoed(request, index) + "".join(delta.text for delta in deltas),
        "logprobs": None if request.logprobs is None else completion_logprobs(tokens, 0),
        "finish_reason": finish,
    }


def _echoed(request: CompletionRequest, index: int) -> str:
    """The prompt that a choice repeats, if the caller asked for that."""
    if not request.echo:
        return ""
    prompt = request.prompts[index // (request.n or 1)]
    assert isinstance(prompt, str), "validation refuses to echo tokens"
    return prompt


async def _stream(request: CompletionRequest, answer: Answer, notes: Annotator) -> AsyncGenerator[dict[str, Any]]:
    base = head(answer, "text_completion")
    if wants_usage(request.stream_options):
        base["usage"] = None
    prompts = notes.prompts()
    if prompts:
        yield {**base, "choices": [], **prompts}
    offsets: dict[int, int] = {}
    async with aclosing(answer.events) as events:
        async for event in events:
            if isinstance(event, Usage):
                if wants_usage(request.stream_options):
                    yield {**base, "choices": [], "usage": usage_object(event)}
                continue
            index = event.choice
            text = event.text
            if index not in offsets:
                offsets[index] = 0
                text = _echoed(request, index) + text
            logprobs = None
            if request.logprobs is not None and event.logprobs:
                logprobs = completion_logprobs(event.logprobs, offsets[index])
            offsets[index] += len(text)
            choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": event.finish_reason}
            choice |= notes.choice(event.verdict)
            yield {**base, "choices": [choice], **obfuscation(request.stream_options)}
