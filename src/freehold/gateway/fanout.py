"""Several sequences as one stream: `n`, `best_of` and many prompts, for engines that make one at a time."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final

from freehold.types.generation import Delta, Event, Usage

AHEAD: Final = 16
"""So many events of a stream may wait to be taken; whoever reads slowly does not fill the memory."""


def merge(
    streams: Sequence[AsyncGenerator[Event]], *, per_prompt: int, choices_per_stream: int = 1
) -> AsyncGenerator[Event]:
    """Run the streams at once and interleave them; stream i's choices begin at `i * choices_per_stream`.

    The usage counts a prompt once, however many sequences were made from it: of every `per_prompt` streams in
    a row, which share a prompt, the first one's prompt tokens count.

    Closing the merged stream, or an error in one, closes all. None runs far ahead of whoever takes the events.
    """
    return streams[0] if len(streams) == 1 else _merged(streams, per_prompt, choices_per_stream)


async def _merged(
    streams: Sequence[AsyncGenerator[Event]], per_prompt: int, choices_per_stream: int
) -> AsyncGenerator[Event]:
    queue: asyncio.Queue[tuple[int, Event | None]] = asyncio.Queue()
    room = [asyncio.Semaphore(AHEAD) for _ in streams]

    async def pump(position: int, stream: AsyncGenerator[Event]) -> None:
        async with aclosing(stream):
            async for event in stream:
                await room[position].acquire()
                queue.put_nowait((position, event))

    tasks = [asyncio.create_task(pump(i, stream)) for i, stream in enumerate(streams)]

    def ended(position: int, _task: "asyncio.Task[None]") -> None:
        queue.put_nowait((position, None))

    for i, task in enumerate(tasks):
        task.add_done_callback(partial(ended, i))
    usages: dict[int, Usage] = {}
    running = len(tasks)
    try:
        while running:
            position, item = await queue.get()
            if item is None:
                running -= 1
                await tasks[position]
                continue
            room[position].release()
            if isinstance(item, Usage):
                usages[position] = item
            else:
                yield replace(item, choice=position * choices_per_stream + item.choice)
        yield _total([usages[i] for i in range(len(streams))], per_prompt)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _total(usages: Sequence[Usage], per_prompt: int) -> Usage:
    """The usage of all streams together, each prompt counted once."""
    firsts = usages[::per_prompt]
    return Usage(
        prompt_tokens=sum(u.prompt_tokens for u in firsts),
        completion_tokens=sum(u.completion_tokens for u in usages),
        cached_tokens=sum(u.cached_tokens for u in firsts),
        reasoning_tokens=sum(u.reasoning_tokens for u in usages),
        estimated=any(u.estimated for u in usages),
    )


async def best(stream: AsyncGenerator[Event], *, best_of: int, keep: int) -> AsyncGenerator[Event]:
    """Of every `best_of` choices in a row keep the `keep` likeliest by mean log-probability of their tokens.

    The stream's choices are grouped by prompt: `best_of` for the first one, then for the second, and so on.
    """
    deltas: dict[int, list[Delta]] = {}
    usage = Usage()
    async with aclosing(stream):
        async for event in stream:
            if isinstance(event, Usage):
                usage = event
            else:
                deltas.setdefault(event.choice, []).append(event)

    def score(choice: int) -> float:
        logprobs = [token.logprob for delta in deltas[choice] for token in delta.logprobs]
        return sum(logprobs) / len(logprobs) if logprobs else float("-inf")

    for first in range(0, len(deltas), best_of):
        ranked = sorted(range(first, first + best_of), key=score, reverse=True)[:keep]
        for place, choice in enumerate(ranked):
            for delta in deltas[choice]:
                yield replace(delta, choice=first // best_of * keep + place)
    yield usage
