"""A Freehold server for a benchmark: started on a home, asked over HTTP, stopped at the end."""

import asyncio
import os
import platform
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import aiohttp

from freehold.store.home import Home

START_S = 120.0


@asynccontextmanager
async def server(
    home: Path, config: str | None = None, *, program: Sequence[str] | None = None
) -> AsyncIterator[tuple[str, str, int]]:
    """Run `freehold serve`, or a `program` on home and configuration, on a free port.

    Gives its URL, the owner's key and its process id.
    """
    argv = [sys.executable, "-m", "freehold", "serve", "--home", str(home), "--port", "0"]
    if program is not None:
        argv = [*program, str(home), str(_config_file(home, config or ""))]
    elif config is not None:
        argv += ["--config", str(_config_file(home, config))]
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        url = await wait_ready(Home(home))
        yield url, Home(home).admin_key.read_text(encoding="utf-8").strip(), process.pid
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


def _config_file(home: Path, config: str) -> Path:
    """A configuration file in the home."""
    home.mkdir(parents=True, exist_ok=True)
    file = home / "benchmark.toml"
    file.write_text(config, encoding="utf-8")
    return file


async def wait_ready(home: Home) -> str:
    """Wait until the server of a home is ready; its URL."""
    deadline = time.monotonic() + START_S
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline:
            record = home.server()
            if record is not None:
                try:
                    async with session.get(f"{record.url}/health/ready") as answer:
                        if answer.status == 200:
                            return record.url
                except aiohttp.ClientError:
                    pass
            await asyncio.sleep(0.02)
    raise SystemExit("the server did not become ready; run 'freehold doctor'")


def machine() -> str:
    """One line about where this was measured."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [f"freehold {version('freehold')}", f"xllamacpp {version('xllamacpp')}"]
    return f"{model}, {cores} cores, Python {platform.python_version()}, {', '.join(parts)}"
