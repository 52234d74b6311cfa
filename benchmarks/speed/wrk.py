"""wrk as the load generator of closed loops: written in C, it leaves more of the machine to what is measured."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from freehold.cli.bench_load import Place

_SCRIPT = """
wrk.method = "POST"
wrk.body = {body}
{headers}
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'RESULT {{"requests": %d, "us": %d, "p50": %f, "p99": %f, "failed": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to; durations are milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    failed: int


async def drive(
    program: str,
    place: Place,
    path: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    *,
    connections: int,
    seconds: float,
    folder: Path,
) -> Outcome:
    """Run wrk with one thread; raises SystemExit where it fails."""
    lines = [f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in headers.items()]
    lines.append('wrk.headers["content-type"] = "application/json"')
    script = folder / "wrk.lua"
    script.write_text(_SCRIPT.format(body=json.dumps(orjson.dumps(body).decode()), headers="\n".join(lines)))
    argv = [program, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(script)]
    process = await asyncio.create_subprocess_exec(
        *argv,
        f"http://{place.host}:{place.port}{path}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told = (await process.communicate())[0].decode("utf-8", "replace")
    line = next((line for line in told.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise SystemExit(f"wrk failed: {told[-500:]}")
    found = json.loads(line.removeprefix("RESULT "))
    good = found["requests"] - found["failed"]
    return Outcome(
        good / found["us"] * 1e6, found["p50"] / 1000, found["p99"] / 1000, found["requests"], found["failed"]
    )
