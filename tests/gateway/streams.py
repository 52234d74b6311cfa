"""Streams of events for tests of what the gateway does with them."""

import asyncio
from collections.abc import AsyncGenerator

from freehold.types.generation import Delta, Event, TokenLogprob, Usage


async def saying(*words: str, prompt_tokens: int = 3, logprob: float = -1.0) -> AsyncGenerator[Event]:
    """One choice that says these words."""
    for word in words:
        await asyncio.sleep(0)
        yield Delta(text=word, logprobs=(TokenLogprob(word, logprob),))
    yield Delta(finish_reason="stop")
    yield Usage(prompt_tokens=prompt_tokens, completion_tokens=len(words), cached_tokens=1)


async def text_of(stream: AsyncGenerator[Event]) -> tuple[dict[int, str], Usage | None]:
    """The text of each choice and the usage, checking the grammar on the way."""
    texts: dict[int, str] = {}
    finished: set[int] = set()
    usage: Usage | None = None
    async for event in stream:
        assert usage is None, "nothing comes after the usage"
        if isinstance(event, Usage):
            usage = event
            continue
        assert event.choice not in finished, "nothing comes after a finish reason"
        texts[event.choice] = texts.get(event.choice, "") + event.text
        if event.finish_reason:
            finished.add(event.choice)
    assert finished == set(texts)
    return texts, usage
