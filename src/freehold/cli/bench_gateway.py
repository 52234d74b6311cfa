"""What the gateway itself does on this machine: `freehold bench gateway`.

A private server on a temporary home with the echo engine, which answers at once, is asked over the loopback address,
with everything on that a new home has: keys, content filter, metering, journal. Client, server and engine share the
machine's cores.
"""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from freehold.cli.bench_load import Load, Place, Tally, closed_loop, percentile
from freehold.cli.bench_server import private_server, serve_argv
from freehold.cli.bench_streams import CHAT_PATH, Endpoint
from freehold.errors import EngineFailed

CONFIG: Final = """
[server]
starter = false
log_level = "warning"

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
parallel = 1024
price = { input = "0.15", output = "0.60" }
"""
PIECES: Final = 32
"""Words of the prompt, which the echo engine says back one by one."""
TEXT: Final = " ".join(["word"] * PIECES)
_WARM: Final = 200


@dataclass(frozen=True, slots=True)
class GatewaySpeed:
    """What was measured.

    Args:
        connections: of the figures below that are of many requests at a time.
        requests_per_s: whole answers a second.
        p50_ms: of a whole answer at that many connections.
        p99_ms: likewise.
        alone_ms: the median of one request at a time.
        added_ms: of that, what the gateway adds to the engine asked directly.
        streams_per_s: streams of `PIECES` pieces a second.
        first_piece_ms: the median time to the first piece of such a stream.
        memory_mb: resident memory of the server's process afterwards; None where the system does not tell.
    """

    connections: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    alone_ms: float
    added_ms: float
    streams_per_s: float
    first_piece_ms: float
    memory_mb: float | None


async def measure_gateway(connections: int, seconds: float) -> GatewaySpeed:
    """Start, measure, stop.

    Args:
        connections: how many requests at a time.
        seconds: how long each figure is measured.

    Raises:
        ServiceUnreachable: the server did not start.
        EngineFailed: an answer was not good.
    """
    with tempfile.TemporaryDirectory(prefix="fh") as folder:
        home = Path(folder)
        config = home / "bench.toml"
        await asyncio.to_thread(config.write_text, CONFIG, encoding="utf-8")
        async with private_server(home, serve_argv(home, config)) as server:
            gateway = Endpoint.of_url(server.url, server.key)
            engine = Endpoint(Place(socket=_engine(home)), CHAT_PATH)
            whole, streamed = _load(gateway, stream=False), _load(gateway, stream=True)
            for load in (whole, streamed):
                await closed_loop(load, connections, seconds=seconds, most=_WARM)
            direct = _good(await closed_loop(_load(engine, stream=False), 1, seconds=seconds))
            alone = _good(await closed_loop(whole, 1, seconds=seconds))
            many = _good(await closed_loop(whole, connections, seconds=seconds))
            streams = _good(await closed_loop(streamed, connections, seconds=seconds))
            memory = _resident_mb(server.pid)
    alone_ms = percentile(alone.durations, 0.5) * 1000
    return GatewaySpeed(
        connections,
        many.per_second,
        percentile(many.durations, 0.5) * 1000,
        percentile(many.durations, 0.99) * 1000,
        alone_ms,
        alone_ms - percentile(direct.durations, 0.5) * 1000,
        streams.per_second,
        percentile(streams.firsts, 0.5) * 1000,
        memory,
    )


def _engine(home: Path) -> Path:
    """The socket of the only engine."""
    return next((home / "run").glob("*.sock"))


def _load(endpoint: Endpoint, *, stream: bool) -> Load:
    body = {"model": "echo", "messages": [{"role": "user", "content": TEXT}], "stream": stream}
    request = endpoint.place.request(endpoint.path, body, dict(endpoint.headers))
    return Load(endpoint.place, request, stream, TEXT.encode() if stream else None)


def _good(tally: Tally) -> Tally:
    """Hold that nothing failed."""
    if tally.failed or not tally.good:
        told = next(iter(tally.errors.values()), "") or f"{tally.broken} streams without their whole text"
        counts = ", ".join(f"{count} of status {status}" for status, count in sorted(tally.statuses.items()))
        raise EngineFailed(f"not every answer was good ({counts}): {told}")
    return tally


def _resident_mb(pid: int) -> float | None:
    """Resident memory of a process in MB (10⁶ bytes), where /proc tells it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS:")), None)
