"""What the content filter costs the gateway: requests per second with the default policy and with one that is off.

Two deployments of one server, asked in turn with the same prompt of 200 characters, which the engine says back: so
each request has a prompt and an answer of that length to examine. Target: at most 15 % of requests per second.

    python -m benchmarks.content_filter_gateway --rounds 9
"""

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.asking import load_of, requests_per_second
from benchmarks.serving import machine, server

CONFIG = """
[server]
starter = false

[[content_filter]]
name = "off"
hate = { prompt = { action = "off" }, completion = { action = "off" } }
sexual = { prompt = { action = "off" }, completion = { action = "off" } }
violence = { prompt = { action = "off" }, completion = { action = "off" } }
self_harm = { prompt = { action = "off" }, completion = { action = "off" } }
jailbreak = "off"

[[deployment]]
name = "on"
engine = "echo"
model = "echo"
parallel = 256

[[deployment]]
name = "off"
engine = "echo"
model = "echo"
parallel = 256
content_filter = "off"
"""
_LETTER = (
    "Please write a short letter to our neighbours: the builders come on Monday at eight, the water will be off until "
    "noon, and whoever needs some in the morning can knock at our door. Thank you for it."
)
PROMPT = _LETTER.ljust(200, ".")


def body(deployment: str) -> dict[str, Any]:
    """The request."""
    return {"model": deployment, "messages": [{"role": "user", "content": PROMPT}]}


async def main(rounds: int, total: int, concurrency: int) -> None:
    """Measure and print."""
    rates: dict[str, list[float]] = {"on": [], "off": []}
    with tempfile.TemporaryDirectory(prefix="fh") as folder:
        async with server(Path(folder), CONFIG) as (url, key, _pid):
            loads = {name: load_of(url, key, body(name)) for name in rates}
            for name in rates:
                await requests_per_second(loads[name], 500, concurrency)
            for turn in range(rounds):
                for name in ("on", "off") if turn % 2 else ("off", "on"):
                    rates[name].append(await requests_per_second(loads[name], total, concurrency))
    print(machine())
    for name, found in rates.items():
        print(f"filter {name:3}: {statistics.median(found):7.0f} requests/s at {concurrency} connections")
    ratios = [on / off for on, off in zip(rates["on"], rates["off"], strict=True)]
    print(
        f"ratio of requests/s, pair by pair: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), "
        f"so it costs {100 * (1 - statistics.median(ratios)):.1f} %"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=32)
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.requests, given.concurrency))
