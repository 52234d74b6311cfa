"""A queue as tests have it, on a file, with a time that goes when it is told to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from freehold.jobs.queue import JobQueue
from freehold.store.database import Database
from freehold.types.jobs import Job

KINDS = ("work",)


class Clock:
    """A time that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def opened(path: Path, clock: Callable[[], float], per_project: int = 2) -> AsyncIterator[JobQueue]:
    """A queue on a file."""
    database = await Database.open(path / "freehold.db")
    try:
        yield JobQueue(database, per_project=per_project, pausable=KINDS, lease_s=30, clock=clock)
    finally:
        await database.close()


def job(queue: JobQueue, project: str = "p", priority: int = 0) -> Job:
    """A new job."""
    return queue.new("work", {}, organization_id="o", project_id=project, owner_id="u", priority=priority)


def run(path: Path, scenario: Callable[[JobQueue, Clock], Awaitable[None]], per_project: int = 2) -> None:
    """Run a scenario on a new queue."""

    async def main() -> None:
        clock = Clock()
        async with opened(path, clock, per_project) as queue:
            await scenario(queue, clock)

    asyncio.run(main())


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it holds, for half a minute at most."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110  # what changes is in the database
            await asyncio.sleep(0.02)
