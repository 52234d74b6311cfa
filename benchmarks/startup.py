"""How long until the service is ready and the first token comes, and how much memory the idle gateway takes.

The models must be on disk. Each round starts the command, waits for `/health/ready`, asks for one streamed token,
and stops.

    python -m benchmarks.startup --home ~/.freehold --rounds 5
"""

import argparse
import asyncio
import statistics
import time
from pathlib import Path

import aiohttp

from benchmarks.processes import resident_mb
from benchmarks.serving import machine, server


async def one_round(home: Path) -> tuple[float, float, float]:
    """Seconds until ready, seconds until the first token, both from the command; and MB of the idle gateway."""
    started = time.perf_counter()
    async with server(home) as (url, key, pid):
        ready_s = time.perf_counter() - started
        body = {"model": "chat", "messages": [{"role": "user", "content": "Say hello."}], "stream": True}
        headers = {"authorization": f"Bearer {key}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{url}/v1/chat/completions", json=body) as answer,
        ):
            answer.raise_for_status()
            async for line in answer.content:
                if b'"content":"' in line and b'"content":""' not in line:
                    break
        first_token_s = time.perf_counter() - started
        await asyncio.sleep(2)
        return ready_s, first_token_s, resident_mb(pid)


async def main(home: Path, rounds: int) -> None:
    """Print medians."""
    found = [await one_round(home) for _ in range(rounds)]
    print(machine())
    for name, values, unit in zip(
        ("ready", "first token", "gateway memory"), zip(*found, strict=True), ("s", "s", "MB"), strict=True
    ):
        low, high = min(values), max(values)
        print(f"{name:16} {statistics.median(values):7.2f} {unit} (median; {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("~/.freehold").expanduser())
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.home, given.rounds))
