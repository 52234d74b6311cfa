"""The pieces of an answer that is wanted whole, put together before anybody looks at them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from freehold.types.generation import Delta, Event


async def joined(events: AsyncGenerator[Event], most: int) -> AsyncGenerator[Event]:
    """The events, with deltas of a choice that follow one another as one, where they have nothing but text.

    Args:
        events: of any number of choices.
        most: code points after which what was put together goes on.
    """
    texts: dict[int, list[str]] = {}
    size = 0
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Delta):
                choice = event.choice
                if not (event.finish_reason or event.reasoning or event.tool_calls or event.logprobs):
                    held = texts.get(choice)
                    if held is None:
                        held = texts[choice] = []
                    held.append(event.text)
                    size += len(event.text)
                    if size >= most:
                        for each in list(texts):
                            yield Delta(each, text="".join(texts.pop(each)))
                        size = 0
                    continue
                if choice in texts:
                    yield Delta(choice, text="".join(texts.pop(choice)))
            yield event
    for choice, pieces in texts.items():
        yield Delta(choice, text="".join(pieces))
