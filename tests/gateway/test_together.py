"""Writing together: in few turns, in the order of coming, and each is told of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from freehold.errors import HomeError
from freehold.gateway.together import Together


class Disk:
    """Where numbers are written, when that is let; it has no room for the number 13."""

    def __init__(self) -> None:
        self.turns: list[list[int]] = []
        self.may_write = asyncio.Event()

    async def __call__(self, numbers: Sequence[int]) -> None:
        """Write numbers, all or none."""
        await self.may_write.wait()
        if 13 in numbers:
            raise HomeError("The disk is full.")
        self.turns.append(list(numbers))


def run(trial: Callable[[Disk, Together[int]], Awaitable[None]]) -> None:
    """Run a trial; one that waits for ever fails."""

    async def main() -> None:
        disk = Disk()
        async with asyncio.timeout(10):
            await trial(disk, Together(disk))

    asyncio.run(main())


async def begun(together: Together[int], *numbers: int) -> list["asyncio.Task[None]"]:
    """Writers of some numbers, all of which wait."""
    tasks = [asyncio.create_task(together.add(number)) for number in numbers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


def test_what_comes_meanwhile_is_written_at_once() -> None:
    """While the first turn is written the others wait, and are one turn then, in their order."""

    async def trial(disk: Disk, together: Together[int]) -> None:
        first = await begun(together, 0)
        others = await begun(together, *range(20, 120))
        assert not any(task.done() for task in [*first, *others]), "nobody is told before it is written"
        disk.may_write.set()
        await asyncio.gather(*first, *others)
        assert disk.turns == [[0], list(range(20, 120))]
        await together.add(120)
        assert disk.turns[-1] == [120], "it goes on after a rest"

    run(trial)


def test_what_cannot_be_written_is_told_to_those_whom_it_concerns() -> None:
    """Everybody of a turn that fails has its error; the next turn is written."""

    async def trial(disk: Disk, together: Together[int]) -> None:
        tasks = await begun(together, 0)
        tasks += await begun(together, 12, 13)
        disk.may_write.set()
        await tasks[0]
        for task in tasks[1:]:
            with pytest.raises(HomeError):
                await task
        await together.add(14)
        assert disk.turns == [[0], [14]]

    run(trial)


def test_who_goes_away_leaves_the_others() -> None:
    """A writer that is cancelled, be it the first or one of many, takes nothing from the others."""

    async def trial(disk: Disk, together: Together[int]) -> None:
        first, *others = [*await begun(together, 0), *await begun(together, 1, 2, 3)]
        for task in (first, others[1]):
            task.cancel()
        disk.may_write.set()
        await asyncio.gather(others[0], others[2])
        assert disk.turns == [[0], [1, 2, 3]]

    run(trial)
