"""Writing at once what several want written: what comes while something is being written waits for the next turn.

So many that write little cost the disk no more than one that writes often, and hold up nobody else who writes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Together(Generic[ItemT]):
    """Collects and writes.

    Args:
        write: writes some things, all or none.
    """

    def __init__(self, write: Callable[[Sequence[ItemT]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: list[tuple[ItemT, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, item: ItemT) -> None:
        """Write a thing, with all that others add meanwhile; it is written when this returns.

        One whose task is cancelled may be written all the same.

        Raises: what writing raises, for each of those that were to be written together.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                turn, self._waiting = self._waiting, []
                (error,) = await asyncio.gather(self._write([item for item, _ in turn]), return_exceptions=True)
                for _, done in turn:
                    if done.done():
                        continue  # nobody waits any more
                    if error is None:
                        done.set_result(None)
                    else:
                        done.set_exception(error)
        finally:
            self._task = None
