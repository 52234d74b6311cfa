"""How the work on a job waits for room: until there is some, or the job is asked to end or to be paused."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from freehold.cluster.desk import Had, RoomDesk
from freehold.jobs.workers import Hold
from freehold.types.cluster import Workload

_AT_ONCE_S: Final = 0.05
"""Whoever has room within this time is not said to have waited for it."""


async def room_for(
    desk: RoomDesk, workload: Workload, hold: Hold, on_wait: Callable[[], Awaitable[None]]
) -> Had | None:
    """The room that a job has; None where it was asked to stop before there was any.

    Args:
        desk: where it asks.
        workload: what it needs.
        hold: the job in the queue.
        on_wait: says that it waits, if it does.

    Raises:
        InvalidRequest: it will never have any.
        Unavailable: the cluster cannot be reached.
    """
    room = asyncio.ensure_future(desk.room(workload))
    asked = asyncio.create_task(hold.asked(), name=f"asked {workload.id}")
    try:
        await asyncio.wait({room, asked}, timeout=_AT_ONCE_S, return_when=asyncio.FIRST_COMPLETED)
        if not room.done() and not asked.done():
            await on_wait()
            await asyncio.wait({room, asked}, return_when=asyncio.FIRST_COMPLETED)
        return room.result() if room.done() and not asked.done() else None
    finally:
        asked.cancel()
        if not room.done():
            room.cancel()
            await asyncio.wait({room})
