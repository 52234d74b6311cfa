"""What several benchmarks ask a Freehold server for: chats of its echo engine, many at once and one at a time."""

import json
from collections.abc import Mapping
from typing import Any, Final

from freehold.cli.bench_load import Load, Tally, closed_loop, percentile
from freehold.cli.bench_streams import Endpoint

CONFIG: Final = """
[server]
starter = false
[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
parallel = 256
"""
BODY: Final[Mapping[str, Any]] = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
_PATIENCE_S: Final = 600.0


def load_of(url: str, key: str, body: Mapping[str, Any] = BODY) -> Load:
    """A chat of a server, by its base URL and a key."""
    endpoint = Endpoint.of_url(url, key)
    return Load(endpoint.place, endpoint.place.request(endpoint.path, body, dict(endpoint.headers)))


async def requests_per_second(load: Load, total: int, connections: int) -> float:
    """Whole answers per second; raises SystemExit if one is not good."""
    return (await _good(load, total, connections)).per_second


async def median_ms(load: Load, rounds: int = 300) -> float:
    """The median time of one request at a time, in milliseconds; raises SystemExit if an answer is not good."""
    return percentile((await _good(load, rounds, 1)).durations, 0.5) * 1000


async def _good(load: Load, total: int, connections: int) -> Tally:
    tally = await closed_loop(load, connections, seconds=_PATIENCE_S, most=total)
    if tally.failed:
        raise SystemExit(f"not every answer was good: {json.dumps(tally.errors)}, statuses {dict(tally.statuses)}")
    return tally
