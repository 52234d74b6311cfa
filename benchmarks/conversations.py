"""What a conversation's length costs: adding an item to a long one and to an empty one, and opening each, in turn.

Through the HTTP API of a served home, one request at a time. Target: the 95th percentile of adding to a conversation
of 10,000 items is at most twice that of adding to an empty one.

    python -m benchmarks.conversations --items 10000 --rounds 300
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.asking import CONFIG
from benchmarks.journal import fdatasync_ms
from benchmarks.serving import machine, server

AT_ONCE = 20
"""How many items one request may add."""
WORDS = "A sentence of the length that people write when they ask a model for something. " * 4


def item(number: int) -> dict[str, Any]:
    """A message of some 300 characters."""
    return {"role": "user" if number % 2 else "assistant", "content": f"{number}: {WORDS}"}


class Talks:
    """The conversations of a server.

    Args:
        session: sends requests with a key.
        url: of the server.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._address = f"{url}/v1/conversations"

    async def begin(self, length: int) -> str:
        """A conversation of so many items; its id."""
        made = await self._send("POST", "", {})
        for first in range(0, length, AT_ONCE):
            await self.add(made["id"], range(first, min(first + AT_ONCE, length)))
        return str(made["id"])

    async def add(self, conversation_id: str, numbers: range = range(1)) -> None:
        """Add items."""
        await self._send("POST", f"/{conversation_id}/items", {"items": [item(number) for number in numbers]})

    async def open(self, conversation_id: str) -> None:
        """What a program does that shows a conversation: look at it, and fetch the newest items."""
        await self._send("GET", f"/{conversation_id}")
        await self._send("GET", f"/{conversation_id}/items")

    async def end(self, conversation_id: str) -> None:
        """Delete it."""
        await self._send("DELETE", f"/{conversation_id}")

    async def _send(self, method: str, path: str, body: Any = None) -> Any:
        async with self._session.request(method, self._address + path, json=body) as answer:
            answer.raise_for_status()
            return await answer.json()


async def timed_ms(work: Any) -> float:
    """How long something takes, in milliseconds."""
    started = time.perf_counter()
    await work
    return (time.perf_counter() - started) * 1000


def p95(times: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(times, n=20)[-1]


async def measure(talks: Talks, length: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Times by what was done and to which of the two; the short one is a new one in every round, so it is empty."""
    times: dict[str, dict[str, list[float]]] = {
        name: {"long": [], "empty": []} for name in ("adding an item", "opening")
    }
    long = await talks.begin(length)
    for number in range(rounds):
        empty = await talks.begin(0)
        both = (("long", long), ("empty", empty))
        for name, conversation_id in both if number % 2 else both[::-1]:
            times["adding an item"][name].append(await timed_ms(talks.add(conversation_id)))
        for name, conversation_id in both if number % 2 else both[::-1]:
            times["opening"][name].append(await timed_ms(talks.open(conversation_id)))
        await talks.end(empty)
    return times


async def main(length: int, rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="fh") as folder:
        home = Path(folder)
        async with server(home, CONFIG) as (url, key, _pid):
            headers = {"authorization": f"Bearer {key}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                talks = Talks(session, url)
                await measure(talks, 2 * AT_ONCE, 20)
                times = await measure(talks, length, rounds)
        probe = fdatasync_ms(home)
    print(machine())
    print(f"this disk's fdatasync of a small append: {probe:.2f} ms")
    print(f"{rounds} rounds, a conversation of {length} items beside an empty one:")
    for what, found in times.items():
        for name in ("long", "empty"):
            median, high = statistics.median(found[name]), p95(found[name])
            print(f"{what:14} {name:5}: median {median:6.2f} ms, p95 {high:6.2f} ms")
        middle = statistics.median(found["long"]) / statistics.median(found["empty"])
        print(f"{what:14} ratio of the medians {middle:.2f}, of the p95 {p95(found['long']) / p95(found['empty']):.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=300)
    given = parser.parse_args()
    asyncio.run(main(given.items, given.rounds))
