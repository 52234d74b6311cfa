"""Journals under load, on the loop that servers run on and on Python's own: nobody is left waiting, nothing is lost."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import uvloop

from freehold.config import JournalSettings
from freehold.journal.journal import Journal
from freehold.journal.records import Kind
from tests.journal.journals import admitted, ids_of, opened, receipt, records_of

CALLERS = 12
PATIENCE_S = 240
"""A caller is answered within milliseconds; only one that is forgotten waits so long."""


async def _request(journal: Journal, number: int, chance: Random) -> None:
    await journal.submit(Kind.ADMITTED, admitted(number), durable=False)
    await asyncio.sleep(chance.choice((0, 0, 0, chance.random() * 0.003)))
    await journal.submit(Kind.RECEIPT, receipt(number), durable=True)


async def _caller(journal: Journal, numbers: range, chance: Random) -> None:
    """Requests one after the other, some at once, with pauses and checkpoints between them."""
    left = list(numbers)
    while left:
        some, left = left[:1], left[1:]
        if chance.random() < 0.02:
            more = chance.randrange(20)
            some, left = some + left[:more], left[more:]
        await asyncio.gather(*(_request(journal, number, chance) for number in some))
        if chance.random() < 0.01:
            await asyncio.sleep(chance.random() * 0.03)
        if chance.random() < 0.01:
            await journal.checkpoint()


async def _load(home: Path, seed: int) -> None:
    chance = Random(seed)
    settings = JournalSettings(
        segment_bytes=64 * 1024, checkpoint_records=chance.choice((37, 1000)), checkpoint_s=chance.choice((0.02, 10.0))
    )
    async with opened(home, settings) as journal, asyncio.timeout(PATIENCE_S):
        numbers = [range(caller * 1000, caller * 1000 + 60) for caller in range(CALLERS)]
        await asyncio.gather(*(_caller(journal, each, Random(seed + each.start)) for each in numbers))


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("seed", [1, 2])
def test_nobody_is_left_waiting(tmp_path: Path, run: Callable[..., object], seed: int) -> None:
    """Whatever comes together, over checkpoints and segments of two journals in one loop, each receipt is answered."""
    homes = [tmp_path / "one", tmp_path / "two"]

    async def scenario() -> None:
        await asyncio.gather(*(_load(home, seed * 10 + place) for place, home in enumerate(homes)))

    run(scenario())
    expected = {f"req_{caller * 1000 + number}" for caller in range(CALLERS) for number in range(60)}
    for home in homes:
        assert ids_of(records_of(home), "receipt") == expected
