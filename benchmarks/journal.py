"""What the journal costs: requests per second and the median of one at a time, with it and without it, in turn.

Both servers run side by side and idle while the other is asked. Targets: at most 10 % of requests per second, and
at most 1 ms of the median.

    python -m benchmarks.journal --rounds 9
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.asking import CONFIG, load_of, median_ms, requests_per_second
from benchmarks.serving import machine, server


def fdatasync_ms(folder: Path, rounds: int = 200) -> float:
    """The median time that this disk takes to make a small append durable, in milliseconds."""
    times = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(rounds):
            file.write(b"x" * 1500)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


async def main(rounds: int, total: int, concurrency: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="fh") as folder:
        async with AsyncExitStack() as stack:
            loads = {}
            for name in ("on", "off"):
                home = Path(folder) / name
                program = None if name == "on" else [sys.executable, "-m", "benchmarks.unrecorded"]
                url, key, _pid = await stack.enter_async_context(server(home, CONFIG, program=program))
                loads[name] = load_of(url, key)
            rates: dict[str, list[float]] = {"on": [], "off": []}
            medians: dict[str, list[float]] = {"on": [], "off": []}
            for load in loads.values():
                await requests_per_second(load, 500, concurrency)
            for turn in range(rounds):
                for name in ("on", "off") if turn % 2 else ("off", "on"):
                    rates[name].append(await requests_per_second(loads[name], total, concurrency))
                    medians[name].append(await median_ms(loads[name]))
        probe = fdatasync_ms(Path(folder))
    print(machine())
    print(f"this disk's fdatasync of a small append: {probe:.2f} ms")
    for name in ("on", "off"):
        print(
            f"journal {name:3}: {statistics.median(rates[name]):7.0f} requests/s at {concurrency} connections, "
            f"{statistics.median(medians[name]):.2f} ms one at a time"
        )
    ratios = [on / off for on, off in zip(rates["on"], rates["off"], strict=True)]
    added = [on - off for on, off in zip(medians["on"], medians["off"], strict=True)]
    print(
        f"ratio of requests/s, pair by pair: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )
    print(
        f"added to the median, pair by pair: {statistics.median(added):.2f} ms ({min(added):.2f} to {max(added):.2f})"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=32)
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.requests, given.concurrency))
