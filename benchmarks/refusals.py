"""How long it takes to refuse bodies that are made to be expensive: deep, doubled, or large and empty.

python -m benchmarks.refusals --rounds 50
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp

from benchmarks.asking import CONFIG
from benchmarks.serving import machine, server

MALFORMED = {
    "100,000 open brackets": b"[" * 100_000,
    "100,000 nested objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a doubled key": b'{"model":"echo","model":"echo"}',
    "a megabyte of nothing": b" " * 1_000_000,
}


async def refused_ms(session: aiohttp.ClientSession, url: str, data: bytes, rounds: int) -> float:
    """The median time of a refusal, in milliseconds."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        async with session.post(url, data=data) as answer:
            await answer.read()
            if answer.status != 400:
                raise SystemExit(f"a malformed body was answered with {answer.status}, not 400")
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


async def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="fh") as folder:
        async with server(Path(folder), CONFIG) as (url, key, _pid), aiohttp.ClientSession() as session:
            session.headers["authorization"] = f"Bearer {key}"
            found = {
                name: await refused_ms(session, f"{url}/v1/chat/completions", data, rounds)
                for name, data in MALFORMED.items()
            }
    print(machine())
    for name, value in found.items():
        print(f"refused: {name:24} {value:7.2f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    asyncio.run(main(parser.parse_args().rounds))
