"""Gateways on one PostgreSQL that are killed and started again, and callers who come to all of them."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.cluster.gateways import gateway
from tests.service import Service

PRESS_S = 0.1
"""After a refusal a caller comes again so soon."""


class Gateways:
    """Gateways on one database, that can be killed and started again. Use as a context manager.

    Args:
        folder: for their homes.
        url: of the database.
        more: what all of them are told besides that there is a deployment `echo`.
        count: how many there are.
    """

    def __init__(self, folder: Path, url: str, more: str, count: int = 3) -> None:
        self._folder, self._url, self._more = folder, url, more
        self.homes = [folder / f"g{number}" for number in range(count)]
        self.running: list[Service] = []

    def __enter__(self) -> Self:
        self.running.append(self._start(0))  # the first makes what is common
        with ThreadPoolExecutor() as pool:
            self.running += pool.map(self._start, range(1, len(self.homes)))
        return self

    def __exit__(self, *exc: object) -> None:
        for service in self.running:
            service.stop()

    def _start(self, number: int) -> Service:
        master = self.homes[0] if number else None
        service = gateway(self._folder, f"g{number}", self._url, master=master, more=self._more)
        try:
            service.wait_listening()
            service.wait_ready()
        except BaseException:
            service.stop()
            raise
        return service

    def kill(self, number: int) -> None:
        """End a gateway at once, as when its machine fails."""
        self.running[number].process.send_signal(signal.SIGKILL)
        self.running[number].stop()

    def restart(self, number: int) -> None:
        """Start a gateway that was killed, or stop and start it."""
        self.running[number].stop()
        self.running[number] = self._start(number)


@dataclass
class Seen:
    """What callers saw.

    Args:
        statuses: how often each status came.
        refused: of each gateway, how often it has refused without an answer of another kind in between.
        broken: how many answers broke off or never came.
        other: errors that are neither an answer nor a limit.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    other: list[str] = field(default_factory=list)


@dataclass
class Callers:
    """Callers who go on until they are told to stop; each goes from gateway to gateway.

    Args:
        gateways: whom they call.
        count: how many they are.
        seen: what they saw.
        body: what they ask for.
    """

    gateways: Gateways
    count: int
    body: dict[str, Any]
    seen: Seen = field(default_factory=Seen)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _wanted: int = 0

    async def run(self, until: Callable[[Seen], bool]) -> None:
        """Call until a condition holds of what was seen, or `stop` is set."""
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            await asyncio.gather(*(self._call_on(session, number, until) for number in range(self.count)))

    async def more(self, answers: int) -> None:
        """Wait until so many more answers have come."""
        self._wanted = self.seen.statuses.total() + answers
        self._came.clear()
        await self._came.wait()

    async def _call_on(self, session: aiohttp.ClientSession, number: int, until: Callable[[Seen], bool]) -> None:
        while not (self.stop.is_set() or until(self.seen)):
            number = (number + 1) % len(self.gateways.running)
            try:
                status = await self._call(session, number)
            except (aiohttp.ClientError, ConnectionError, TimeoutError, AssertionError):
                self.seen.broken += 1
                await asyncio.sleep(PRESS_S)
                continue
            self.seen.refused[number] = self.seen.refused[number] + 1 if status == 429 else 0
            if status != 200:
                await asyncio.sleep(PRESS_S)

    async def _call(self, session: aiohttp.ClientSession, number: int) -> int:
        service = self.gateways.running[number]
        headers = {"authorization": f"Bearer {service.key}"}
        url = f"{service.url}/v1/chat/completions"
        async with session.post(url, json=self.body, headers=headers) as answer:
            data = await answer.read()
        self.seen.statuses[answer.status] += 1
        if self.seen.statuses.total() >= self._wanted:
            self._came.set()
        if (
            answer.status not in {200, 429} and b"limits_unavailable" not in data
        ):  # a busy machine's database may be slow
            self.seen.other.append(data.decode(errors="replace"))
        return answer.status


def all_refuse(count: int, times: int) -> Callable[[Seen], bool]:
    """Whether every gateway has refused so many times in a row."""
    return lambda seen: all(seen.refused[number] >= times for number in range(count))


def receipts(homes: Sequence[Path]) -> list[dict[str, Any]]:
    """The bodies of all receipts in the journals of some homes."""
    found: list[dict[str, Any]] = []
    for home in homes:
        for segment in sorted((home / "journal").glob("*/*.jsonl")):
            lines = [json.loads(line) for line in segment.read_bytes().split(b"\n")[:-1]]
            found += [record["body"] for record in lines if record["kind"] == "receipt"]
    return found
