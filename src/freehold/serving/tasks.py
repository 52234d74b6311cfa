"""Ending tasks in good order."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Finish `work` even when cancelled meanwhile; the cancellation goes on afterwards."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def cancel(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and wait until it is over; its error, if any, was dealt with."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


class Tasks:
    """Tasks that end together; what goes wrong in one is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Have something done."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Cancel all, and wait until they are over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (defect := task.exception()) is not None:
            structlog.get_logger(__name__).error("defect", task=task.get_name(), exc_info=defect)
