"""How a crowd is driven: closed loop, as fast as it goes, or open loop, at a rate; and who kills engines meanwhile."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final

from benchmarks.soak.callers import Crowd
from benchmarks.soak.mixture import Mixture, slow_reader
from benchmarks.soak.subject import ENGINES, Subject

MOST_AT_ONCE: Final = 1000
"""Requests of the open loop that run at once; where more are due they are dropped and counted."""
HANGS: Final = 0.1
"""The share of engines that are stopped instead of killed: they answer nothing until the supervisor ends them."""


@dataclass(slots=True)
class Harm:
    """What was done to engines."""

    killed: int = 0
    hung: int = 0


async def closed_loop(
    crowd: Crowd, mixture: Mixture, callers: int, *, requests: int | None = None, seconds: float | None = None
) -> float:
    """So many callers, each with its next request as soon as the last is over; requests a second."""
    started = time.monotonic()
    until = None if seconds is None else started + seconds
    before = crowd.tally.asks
    left = requests

    async def one() -> None:
        nonlocal left
        while (until is None or time.monotonic() < until) and (left is None or left > 0):
            if left is not None:
                left -= 1
            await crowd.go(mixture.draw())

    await asyncio.gather(*(one() for _ in range(callers)))
    return (crowd.tally.asks - before) / (time.monotonic() - started)


async def open_loop(crowd: Crowd, mixture: Mixture, rate: float, *, seconds: float) -> int:
    """So many requests a second at random moments, whatever the server does; how many were dropped."""
    running: set[asyncio.Task[None]] = set()
    dropped = 0
    due = time.monotonic()
    until = due + seconds
    while True:
        due += mixture.random.expovariate(rate)
        if due >= until:
            break
        wait_s = due - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if len(running) >= MOST_AT_ONCE:
            dropped += 1
            await asyncio.sleep(0)
            continue
        task = asyncio.create_task(crowd.go(mixture.draw()))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return dropped


async def read_slowly(crowd: Crowd, mixture: Mixture, readers: int, stop: asyncio.Event) -> None:
    """Have so many slow readers all the time, until told to stop."""

    async def one() -> None:
        while not stop.is_set():
            await crowd.go(slow_reader(mixture))
            await asyncio.sleep(0.2)

    await asyncio.gather(*(one() for _ in range(readers)))


async def kill_engines(subject: Subject, random: Random, every_s: float, stop: asyncio.Event) -> Harm:
    """Kill an engine from time to time, until told to stop."""
    harm = Harm()
    while not await _stopped(stop, random.expovariate(1 / every_s)):
        name = random.choice(ENGINES)
        replicas = (await subject.get(f"/admin/deployments/{name}"))["replicas"]
        pids = [replica["pid"] for replica in replicas if replica["pid"] is not None]
        if not pids:
            continue
        hang = random.random() < HANGS
        with suppress(ProcessLookupError):
            os.kill(random.choice(pids), signal.SIGSTOP if hang else signal.SIGKILL)
            harm.hung += hang
            harm.killed += not hang
    return harm


async def repeatedly(what: Callable[[], Awaitable[None]], every_s: float, stop: asyncio.Event) -> None:
    """Do something from time to time, until told to stop."""
    while not await _stopped(stop, every_s):
        await what()


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Wait; whether it is time to stop."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
    return stop.is_set()
