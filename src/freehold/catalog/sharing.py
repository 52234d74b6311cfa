"""Work that is done once for all who ask for it at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeAlias

from freehold.types.model import ModelEntry, Progress

Listener: TypeAlias = Callable[[Progress], None]
Work: TypeAlias = Callable[[Listener], Awaitable[ModelEntry]]


class _Shared:
    """One piece of work and who listens to its progress."""

    def __init__(self, work: Work) -> None:
        self._loop = asyncio.get_running_loop()
        self.listeners: list[Listener] = []
        self.task = asyncio.ensure_future(self._run(work))

    async def _run(self, work: Work) -> ModelEntry:
        entry = await work(self._tell)
        self._deliver(Progress("done", entry.size_bytes, entry.size_bytes))
        return entry

    def _tell(self, progress: Progress) -> None:
        """Pass progress on, from whichever thread does the work."""
        self._loop.call_soon_threadsafe(self._deliver, progress)

    def _deliver(self, progress: Progress) -> None:
        for listener in self.listeners:
            listener(progress)


class Sharing:
    """All work that is under way, by what it is for."""

    def __init__(self) -> None:
        self._running: dict[Hashable, _Shared] = {}

    async def run(self, key: Hashable, work: Work, progress: Listener | None) -> ModelEntry:
        """Do the work, or wait for it if it is under way; it is given up when nobody waits for it any more."""
        shared = self._running.get(key)
        if shared is None:
            shared = self._running[key] = _Shared(work)
        listener = progress or _ignore
        shared.listeners.append(listener)
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.listeners.remove(listener)
            if self._running.get(key) is shared and (shared.task.done() or not shared.listeners):
                del self._running[key]
                shared.task.cancel()
                await asyncio.wait({shared.task})
                if not shared.task.cancelled():
                    shared.task.exception()  # those who waited have it


def _ignore(_progress: Progress) -> None:
    """For those who do not listen."""
