"""What every process that takes requests does at its start."""

import asyncio
import gc
import sys
from collections.abc import AsyncGenerator

import pytest
import uvloop

from freehold.listening import held_collector, untracked_generators


def test_the_collector_is_held_only_while_the_program_starts() -> None:
    """Python searches for no dead cycles within the block, and does again behind it, however it ends."""
    with held_collector():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="a start that fails"), held_collector():
        raise RuntimeError("a start that fails")
    assert gc.isenabled()


def test_a_generator_that_is_forgotten_is_closed_although_no_list_is_kept() -> None:
    """The loop hears of no generator that begins, and closes one that nobody has any more."""
    closed: list[str] = []

    async def generator() -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            closed.append("to its end")

    async def scenario() -> None:
        untracked_generators()
        assert sys.get_asyncgen_hooks().firstiter is None
        forgotten = generator()
        assert await anext(forgotten) == 1
        del forgotten
        gc.collect()
        for _ in range(3):
            await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
    assert closed == ["to its end"]
