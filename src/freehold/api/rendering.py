"""Pieces of answers that several operations share, in OpenAI's shapes."""

import secrets
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from freehold.gateway.answers import Answer
from freehold.types.chat import StreamOptions
from freehold.types.generation import Delta, Event, TokenLogprob, Usage


def usage_object(usage: Usage) -> dict[str, Any]:
    """`CompletionUsage`."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    """The `logprobs` of a chat choice."""
    return {
        "content": [
            {
                "token": token.token,
                "logprob": token.logprob,
                "bytes": None if token.bytes is None else list(token.bytes),
                "top_logprobs": [
                    {
                        "token": top.token,
                        "logprob": top.logprob,
                        "bytes": None if top.bytes is None else list(top.bytes),
                    }
                    for top in token.top
                ],
            }
            for token in tokens
        ],
        "refusal": None,
    }


def completion_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> dict[str, Any]:
    """The `logprobs` of a text choice; `offset` is where in the text the first token begins, in characters."""
    offsets: list[int] = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.token)
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{top.token: top.logprob for top in token.top} for token in tokens],
        "text_offset": offsets,
    }


class Gathered:
    """What a stream has brought so far: the deltas of each choice, by its index, and the usage."""

    def __init__(self) -> None:
        self.choices: dict[int, list[Delta]] = {}
        self.usage = Usage()

    def add(self, event: Event) -> None:
        """Take one more event."""
        if isinstance(event, Usage):
            self.usage = event
        else:
            self.choices.setdefault(event.choice, []).append(event)


async def collect(events: AsyncGenerator[Event]) -> tuple[dict[int, list[Delta]], Usage]:
    """The deltas of each choice, by its index, and the usage."""
    gathered = Gathered()
    try:
        async for event in events:
            gathered.add(event)
    except BaseException:
        await events.aclose()
        raise
    return gathered.choices, gathered.usage


def head(answer: Answer, kind: str) -> dict[str, Any]:
    """What every object and every chunk of one answer begins with."""
    return {
        "id": answer.id,
        "object": kind,
        "created": answer.created,
        "model": answer.deployment,
        "system_fingerprint": answer.fingerprint,
    }


def wants_usage(options: StreamOptions | None) -> bool:
    """Whether a stream ends with its usage."""
    return options is not None and bool(options.include_usage)


def obfuscation(options: StreamOptions | None) -> dict[str, str]:
    """Random padding of a chunk, where the caller asked for it, so that its length tells little."""
    if options is None or not options.include_obfuscation:
        return {}
    return padding()


def padding() -> dict[str, str]:
    """Random padding of an event."""
    return {"obfuscation": secrets.token_urlsafe(24)[: 8 + secrets.randbelow(24)]}
