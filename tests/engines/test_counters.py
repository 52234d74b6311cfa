"""What every engine of `conftest.FACTORIES` that has counters holds about them."""

import asyncio
import time

import pytest

from freehold.engines.base import Connection
from freehold.errors import EngineUnavailable
from freehold.types.engine import Feature, Traits
from tests.engines.subject import PATIENCE_S, Subject, chat_request, completion_request, hear


def test_counters_equal_the_usage(subject: Subject) -> None:
    """What an engine's own counters grow by is the sum of its requests' usage, prompts from a cache included."""

    async def trial(connection: Connection, traits: Traits) -> None:
        await _nothing_active(subject)  # llama.cpp counts what another test broke off when it stops
        before = await connection.counters()
        if before is None:
            pytest.skip(f"{subject.engine.name} has no counters")
        request = chat_request("Tell of the moon", max_tokens=6, temperature=0)
        usages = [(await hear(connection.chat(request))).usage for _ in range(2)]
        more = [chat_request(f"Say the number {number}", max_tokens=number) for number in (1, 5, 9)]
        usages += [heard.usage for heard in await asyncio.gather(*(hear(connection.chat(r)) for r in more))]
        usages.append((await hear(connection.complete(completion_request(max_tokens=4), "The moon is"))).usage)
        if Feature.EMBEDDINGS in traits.features:
            usages.append((await connection.embed(["a cat", "a stone"], None)).usage)
        after = await connection.counters()
        assert after is not None
        assert after.since == before.since <= time.time()
        assert after.prompt_tokens - before.prompt_tokens == sum(usage.prompt_tokens for usage in usages)
        assert after.completion_tokens - before.completion_tokens == sum(usage.completion_tokens for usage in usages)
        if after.requests is not None:
            assert after.requests - (before.requests or 0) == len(usages)

    subject.try_out(trial, Feature.CHAT)


def test_counters_have_what_was_broken_off(subject: Subject) -> None:
    """The tokens of a stream that was closed early are counted, all that the caller got among them."""

    async def trial(connection: Connection, _: Traits) -> None:
        before = await connection.counters()
        if before is None:
            pytest.skip(f"{subject.engine.name} has no counters")
        stream = connection.chat(chat_request(subject.long_prompt, max_tokens=400))
        got = [await anext(stream) for _ in range(5)]
        await stream.aclose()
        await _nothing_active(subject)
        after = await connection.counters()
        assert after is not None
        assert len(got) <= after.completion_tokens - before.completion_tokens < 400
        assert after.prompt_tokens > before.prompt_tokens
        assert after.requests == before.requests

    subject.try_out(trial, Feature.CHAT)


def test_counters_of_a_killed_engine_are_unavailable(doomed_subject: Subject) -> None:
    """An engine that is gone tells nothing, and says so."""

    async def trial(connection: Connection, _: Traits) -> None:
        if await connection.counters() is None:
            pytest.skip(f"{doomed_subject.engine.name} has no counters")
        doomed_subject.kill()
        with pytest.raises(EngineUnavailable):
            await connection.counters()

    doomed_subject.try_out(trial)


async def _nothing_active(subject: Subject) -> None:
    """Wait until the engine works on nothing."""
    deadline = time.monotonic() + PATIENCE_S
    while await asyncio.to_thread(subject.active):
        assert time.monotonic() < deadline, "the engine goes on"
        await asyncio.sleep(0.02)
