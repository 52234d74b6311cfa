"""Requests per second through one, two and three gateways that share limits by a PostgreSQL, and one that shares none.

All run side by side on this machine and idle while others are asked. A machine with fewer cores than gateways cannot
show what more of them bring: so the processor time of a request is told as well, of gateways (with their echo engines)
and of PostgreSQL. As long as that of the gateways stays what it is for one, each brings its own core's worth. The
budget and the limit per minute are never reached, so that every request is checked against slices.

    python -m benchmarks.gateways_together --database postgresql://user@host/an_empty_database --postgres-pid 1234
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile
from typing import Final

from benchmarks.asking import BODY, CONFIG, load_of, requests_per_second
from benchmarks.processes import processor_s
from benchmarks.serving import machine, server
from freehold.cli.bench_load import Load

_LIMITS: Final = """
price = { input = "0.01", output = "0.01" }
[[limit]]
scope = "organization"
id = "*"
requests_per_minute = 100000000
tokens_per_minute = 100000000000
concurrent_requests = 100000
budget_per_day = "1000000"
budget_per_month = "1000000"
"""
_SHARED: Final = '[database]\nurl = {{ env = "FREEHOLD_BENCH_DATABASE" }}\n[gateway]\nname = "{name}"\n'
_NAMES: Final = ("g0", "g1", "g2")


@dataclass
class Figures:
    """What was measured of one number of gateways; times are of one request, in microseconds."""

    rates: list[float] = field(default_factory=list)
    gateway_us: list[float] = field(default_factory=list)
    postgres_us: list[float] = field(default_factory=list)


async def _ask(loads: list[Load], pids: list[int], postgres: int | None, total: int, connections: int) -> list[float]:
    """Ask some gateways at once; requests per second, and processor time of gateways and of PostgreSQL."""
    before = [sum(map(processor_s, pids)), processor_s(postgres) if postgres else 0.0]
    begun = time.perf_counter()
    share = total // len(loads)
    await asyncio.gather(*(requests_per_second(load, share, connections) for load in loads))
    took_s, asked = time.perf_counter() - begun, share * len(loads)
    spent = [sum(map(processor_s, pids)) - before[0], (processor_s(postgres) if postgres else 0.0) - before[1]]
    return [asked / took_s, *(1e6 * each / asked for each in spent)]


async def main(postgres: int | None, rounds: int, total: int, connections: int) -> None:
    """Measure and print."""
    figures = {name: Figures() for name in ("alone", "1", "2", "3")}
    with tempfile.TemporaryDirectory(prefix="fh") as folder:
        async with AsyncExitStack() as stack:
            loads: dict[str, Load] = {}
            pids: dict[str, int] = {}
            for name in ("alone", *_NAMES):
                home = Path(folder) / name
                if name in _NAMES[1:]:  # the master key is the first one's
                    (home / "secrets").mkdir(parents=True, mode=0o700)
                    copyfile(Path(folder) / _NAMES[0] / "secrets" / "content", home / "secrets" / "content")
                shared = "" if name == "alone" else _SHARED.format(name=name)
                url, key, pids[name] = await stack.enter_async_context(server(home, shared + CONFIG + _LIMITS))
                loads[name] = load_of(url, key, BODY)
            arms = {"alone": ("alone",), **{str(count): _NAMES[:count] for count in (1, 2, 3)}}
            for load in loads.values():
                await requests_per_second(load, 500, connections)
            for turn in range(rounds):
                for arm in arms if turn % 2 else reversed(arms):
                    asked = [loads[name] for name in arms[arm]]
                    found = await _ask(asked, [pids[name] for name in arms[arm]], postgres, total, connections)
                    for values, value in zip(
                        (figures[arm].rates, figures[arm].gateway_us, figures[arm].postgres_us), found, strict=True
                    ):
                        values.append(value)
    _print(figures, rounds, connections)


def _print(figures: dict[str, Figures], rounds: int, connections: int) -> None:
    print(machine())
    print(f"medians of {rounds} rounds, {connections} connections to each, {os.cpu_count()} cores for all processes")
    print("gateways | requests/s | gateways, µs a request | PostgreSQL, µs a request | with a core for each: times one")
    one = statistics.median(figures["1"].gateway_us)
    for name, each in figures.items():
        cost = statistics.median(each.gateway_us)
        times = "" if name == "alone" else f"{int(name) * one / cost:.2f}"
        rate, postgres = statistics.median(each.rates), statistics.median(each.postgres_us)
        label = "1, sharing nothing (SQLite)" if name == "alone" else name
        print(f"{label} | {rate:.0f} | {cost:.0f} | {postgres:.1f} | {times}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", required=True, help="URL of an empty database")
    parser.add_argument("--postgres-pid", type=int, help="the server's main process, where it runs here")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--connections", type=int, default=48)
    given = parser.parse_args()
    os.environ["FREEHOLD_BENCH_DATABASE"] = given.database
    asyncio.run(main(given.postgres_pid, given.rounds, given.requests, given.connections))
