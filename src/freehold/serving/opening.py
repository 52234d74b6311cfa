"""Waiting until an engine is ready."""

import asyncio
from collections.abc import Callable

from freehold.config import SupervisorSettings
from freehold.engines.base import Connection
from freehold.errors import EngineFailed, EngineUnavailable
from freehold.types.engine import Traits

_FIRST_POLL_S = 0.02
_SLOWEST_POLL_S = 0.25


async def opened(
    connection: Connection, limits: SupervisorSettings, *, local: bool, tell: Callable[[str], None]
) -> Traits:
    """Ask an engine what it is until it knows. One that runs elsewhere has nothing to load: it gets less time.

    Args:
        connection: to the engine.
        limits: times and intervals.
        local: whether it was started for this.
        tell: is told why it does not answer yet.

    Raises:
        EngineFailed: it is not ready in time, or failed.
    """
    limit_s = limits.start_timeout_s if local else limits.probe_timeout_s
    pause_s, last = _FIRST_POLL_S, "no answer"
    try:
        async with asyncio.timeout(limit_s):
            while True:
                try:
                    return await connection.open()
                except EngineUnavailable as exc:
                    last = exc.message
                    tell(last)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.5, _SLOWEST_POLL_S if local else limits.probe_interval_s)
    except TimeoutError as exc:
        raise EngineFailed(f"the engine was not ready after {limit_s:g} s: {last}") from exc
