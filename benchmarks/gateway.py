"""What the gateway itself costs: requests per second and added time, against the echo engine asked directly.

Also how long malformed bodies take to be refused. The engine is a process of its own, the client another one.

    python -m benchmarks.gateway --requests 2000 --concurrency 32
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.serving import machine, resident_mb, server

CONFIG = """
[server]
starter = false
[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
parallel = 256
"""
BODY = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
MALFORMED = {
    "100,000 open brackets": b"[" * 100_000,
    "100,000 nested objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a doubled key": b'{"model":"echo","model":"echo"}',
    "a megabyte of nothing": b" " * 1_000_000,
}


async def requests_per_second(
    session: aiohttp.ClientSession, url: str, total: int, concurrency: int, body: Mapping[str, Any] = BODY
) -> float:
    """Whole answers per second."""
    left = iter(range(total))

    async def worker() -> None:
        for _ in left:
            async with session.post(url, json=body) as answer:
                answer.raise_for_status()
                await answer.read()

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return total / (time.perf_counter() - started)


async def median_ms(session: aiohttp.ClientSession, url: str, data: bytes | None = None, rounds: int = 300) -> float:
    """The median time of one request at a time, in milliseconds."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        async with session.post(url, json=BODY) if data is None else session.post(url, data=data) as answer:
            await answer.read()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


async def main(total: int, concurrency: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="fh") as folder:
        home = Path(folder)
        async with server(home, CONFIG) as (url, key, pid):
            engine = str(next((home / "run").glob("*.sock")))
            direct = aiohttp.ClientSession(connector=aiohttp.UnixConnector(engine, limit=0))
            through = aiohttp.ClientSession(
                headers={"authorization": f"Bearer {key}"}, connector=aiohttp.TCPConnector(limit=0)
            )
            async with direct, through:
                address = f"{url}/v1/chat/completions"
                await requests_per_second(through, address, 200, concurrency)
                alone = await median_ms(direct, "http://engine/v1/chat/completions")
                behind = await median_ms(through, address)
                rate = await requests_per_second(through, address, total, concurrency)
                refusals = {name: await median_ms(through, address, data, 20) for name, data in MALFORMED.items()}
                memory = resident_mb(pid)
    print(machine())
    print(f"requests per second at {concurrency} connections  {rate:8.0f}")
    print(f"one at a time: engine {alone:.2f} ms, through the gateway {behind:.2f} ms, added {behind - alone:.2f} ms")
    print(f"gateway memory after {total} requests  {memory:.0f} MB")
    for name, value in refusals.items():
        print(f"refused: {name:24} {value:7.2f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=32)
    given = parser.parse_args()
    asyncio.run(main(given.requests, given.concurrency))
