"""A Freehold server for a measurement: started on a home, waited for, stopped at the end."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import aiohttp

from freehold.cli.output import ServiceUnreachable
from freehold.store.home import Home

START_S: Final = 120.0
_LOG: Final = "bench.log"
_TOLD_BYTES: Final = 1000


@dataclass(frozen=True, slots=True)
class PrivateServer:
    """A server that runs: its base URL, the owner's key, its process."""

    url: str
    key: str = field(repr=False)
    pid: int


def serve_argv(home: Path, config: Path | None = None) -> list[str]:
    """`freehold serve` on a home and a free port."""
    argv = [sys.executable, "-m", "freehold", "serve", "--home", str(home), "--host", "127.0.0.1", "--port", "0"]
    return argv if config is None else [*argv, "--config", str(config)]


@asynccontextmanager
async def private_server(home: Path, argv: Sequence[str]) -> AsyncIterator[PrivateServer]:
    """Run a server while the block runs, from when it is ready; its log is a file of the home.

    Raises:
        ServiceUnreachable: it ended, or was not ready in time; with the end of its log.
    """
    with _log_of(home) as log:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=log
        )
    try:
        url = await _ready(home, process)
        yield PrivateServer(url, Home(home).admin_key.read_text(encoding="utf-8").strip(), process.pid)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


def _log_of(home: Path) -> BinaryIO:
    home.mkdir(parents=True, exist_ok=True)
    return (home / _LOG).open("wb")


async def _ready(home: Path, process: asyncio.subprocess.Process) -> str:
    """Wait until the server of a home is ready; its URL."""
    deadline = time.monotonic() + START_S
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline and process.returncode is None:
            record = Home(home).server()
            if record is not None and await _answers(session, f"{record.url}/health/ready"):
                return record.url
            await asyncio.sleep(0.02)
    raise ServiceUnreachable(f"the server for the measurement did not become ready; its log ends: {_told(home)}")


def _told(home: Path) -> str:
    return (home / _LOG).read_text(encoding="utf-8", errors="replace")[-_TOLD_BYTES:].strip() or "(it is empty)"


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
