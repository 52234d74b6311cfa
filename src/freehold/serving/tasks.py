"""Ending tasks in good order."""

import asyncio
from collections.abc import Coroutine
from typing import Any


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
