"""Several sequences as one stream."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from freehold.errors import EngineFailed
from freehold.gateway.fanout import AHEAD, best, merge
from freehold.types.generation import Delta, Event, Usage
from tests.gateway.streams import saying, text_of


def test_one_stream_passes_unchanged() -> None:
    """A single sequence keeps its events and its usage."""
    texts, usage = asyncio.run(text_of(merge([saying("a", "b")], per_prompt=1)))
    assert texts == {0: "ab"}
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 2)


def test_streams_become_choices_and_each_prompt_counts_once() -> None:
    """Two prompts with two sequences each give four choices; the usage counts two prompts."""
    streams = [saying("a"), saying("b", "c"), saying("d", prompt_tokens=5), saying("e", prompt_tokens=5)]
    texts, usage = asyncio.run(text_of(merge(streams, per_prompt=2)))
    assert texts == {0: "a", 1: "bc", 2: "d", 3: "e"}
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (8, 5, 2)


def test_an_error_in_one_stream_ends_all() -> None:
    """When one sequence fails the merged stream raises its error and closes the others."""
    closed: list[str] = []

    async def endless() -> AsyncGenerator[Event]:
        try:
            while True:
                await asyncio.sleep(0)
                yield Delta(text="x")
        finally:
            closed.append("endless")

    async def failing() -> AsyncGenerator[Event]:
        yield Delta(text="y")
        await asyncio.sleep(0)
        raise EngineFailed("broke off")

    async def scenario() -> None:
        with pytest.raises(EngineFailed):
            await text_of(merge([endless(), failing()], per_prompt=2))

    asyncio.run(scenario())
    assert closed == ["endless"]


def test_closing_the_merged_stream_closes_every_stream() -> None:
    """A caller who goes away stops every sequence."""
    closed: list[int] = []

    async def endless(number: int) -> AsyncGenerator[Event]:
        try:
            while True:
                await asyncio.sleep(0)
                yield Delta(text="x")
        finally:
            closed.append(number)

    async def scenario() -> None:
        stream = merge([endless(1), endless(2)], per_prompt=2)
        await anext(stream)
        await stream.aclose()

    asyncio.run(scenario())
    assert sorted(closed) == [1, 2]


def test_the_likeliest_sequences_are_kept() -> None:
    """Of three sequences for each of two prompts, `best` keeps the two with the best mean log-probability."""
    streams = [
        saying("a", logprob=-3.0),
        saying("b", logprob=-1.0),
        saying("c", logprob=-2.0),
        saying("d", logprob=-0.1),
        saying("e", logprob=-0.3),
        saying("f", logprob=-0.2),
    ]
    stream = best(merge(streams, per_prompt=3), best_of=3, keep=2)
    texts, usage = asyncio.run(text_of(stream))
    assert texts == {0: "b", 1: "c", 2: "d", 3: "f"}
    assert usage is not None
    assert usage.completion_tokens == 6, "all that was generated is counted"


def test_no_stream_runs_far_ahead_of_a_slow_reader() -> None:
    """What nobody takes is not fetched from the engines: of each stream a few events wait, and all come in the end."""
    made = [0, 0]

    async def long(number: int) -> AsyncGenerator[Event]:
        for _ in range(10 * AHEAD):
            made[number] += 1
            yield Delta(text="x")
        yield Delta(finish_reason="stop")
        yield Usage(1, 10 * AHEAD)

    async def scenario() -> None:
        merged = merge([long(0), long(1)], per_prompt=2)
        await anext(merged)
        for _ in range(100):
            await asyncio.sleep(0)
        assert max(made) <= AHEAD + 2
        texts, _ = await text_of(merged)
        assert sum(map(len, texts.values())) == 2 * 10 * AHEAD - 1

    asyncio.run(scenario())
