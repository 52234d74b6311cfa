"""One process of a job, on the machine where it runs: started under guard, heard line by line, ended."""

import asyncio
import contextlib
import os
import signal
import socket
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, Final, Protocol

from freehold.cluster.guard import guard_argv
from freehold.config import engine_environment

COMPLAINTS: Final = "complaints.txt"
"""The file in a job's folder that has what its processes wrote to standard error."""
COMPLAINTS_BYTES: Final = 4 * 1024 * 1024
"""How much of that is kept of one process; what comes after is dropped, but for its last line."""
LONGEST_LINE_BYTES: Final = 1 << 24
"""A line of standard output may be so long; a longer one ends the process."""
REFUSED: Final = 2
"""The status of a process whose input is wrong; the last line that it wrote to standard error says what."""
_DRAIN_S: Final = 5.0


class Running(Protocol):
    """A process of a job, wherever it runs.

    Attributes:
        exited: done with the exit code (negative: the signal) when it is gone and all that it said has been heard.
        complaint: the last line of its standard error.
        unheard: whether its node, or the way there, was lost: nobody knows how it ended.
    """

    @property
    def exited(self) -> "asyncio.Future[int]":
        """See above."""

    @property
    def complaint(self) -> str:
        """See above."""

    @property
    def unheard(self) -> bool:
        """See above."""

    async def tell(self, line: str) -> None:
        """Write a line to its standard input, if it still runs."""

    async def ask(self) -> None:
        """Ask it to end, by SIGTERM."""

    async def kill(self) -> None:
        """Kill it, and all that it started."""


class Member:
    """See `Running`; the process leads a group of its own. Made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process, on_line: Callable[[str], None], complaints: Path) -> None:
        self.pid = process.pid
        self.complaint = ""
        self.unheard = False
        self._process = process
        self._on_line = on_line
        self._complaints = complaints
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(), name=f"job's process {process.pid}")

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        on_line: Callable[[str], None],
    ) -> "Member":
        """Start the process in a folder.

        Raises:
            OSError: the system cannot.
        """
        process = await asyncio.create_subprocess_exec(
            *guard_argv(tuple(argv)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=LONGEST_LINE_BYTES,
            cwd=folder,
            env=engine_environment({"PYTHONUNBUFFERED": "1", **env}),
            start_new_session=True,
        )
        return cls(process, on_line, folder / COMPLAINTS)

    async def tell(self, line: str) -> None:
        """See `Running.tell`. Where the guard is not Linux's it has that stream for itself, and nothing is heard."""
        stdin = self._process.stdin
        assert stdin is not None, "it is a pipe"
        if not self.exited.done() and not stdin.is_closing():
            with contextlib.suppress(ConnectionError):
                stdin.write(line.encode() + b"\n")
                await stdin.drain()

    async def ask(self) -> None:
        """See `Running.ask`."""
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    async def kill(self) -> None:
        """See `Running.kill`."""
        if not self.exited.done():
            _kill_group(self.pid)
        await asyncio.wait({self.exited})

    async def _live(self) -> None:
        """Hear the process until it is gone."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        reading = asyncio.gather(self._hear(self._process.stdout), self._note(self._process.stderr))
        try:
            code = await self._process.wait()
            _kill_group(self.pid)  # what it had started, if anything
            await asyncio.wait({asyncio.ensure_future(reading)}, timeout=_DRAIN_S)
            reading.cancel()
            self.exited.set_result(code)
        finally:
            _kill_group(self.pid)
            if not self.exited.done():
                self.exited.set_result(-signal.SIGKILL)

    async def _hear(self, stream: asyncio.StreamReader) -> None:
        try:
            async for raw in stream:
                self._on_line(raw.decode(errors="replace").rstrip("\r\n"))
        except ValueError:  # the line is too long
            self.complaint = f"a line of its output has more than {LONGEST_LINE_BYTES} bytes"
            _kill_group(self.pid)

    async def _note(self, stream: asyncio.StreamReader) -> None:
        """Keep what it complains of."""
        with contextlib.closing(FileIO(self._complaints, "a")) as file:
            written = 0
            while piece := await stream.read(1 << 16):
                if lines := [line for line in piece.decode(errors="replace").splitlines() if line.strip()]:
                    self.complaint = lines[-1].strip()[:2000]
                if written < COMPLAINTS_BYTES:
                    file.write(piece)
                    written += len(piece)


def which_of(rank: int, world: int, host: str, port: int, *, local: tuple[int, int]) -> dict[str, str]:
    """The environment that tells a process which of a job's it is, under torchrun's names.

    Args:
        rank: its number.
        world: how many there are.
        host: where the first listens for the others.
        port: likewise.
        local: its number on its machine, and how many there are on that.
    """
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(local[0]),
        "LOCAL_WORLD_SIZE": str(local[1]),
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
    }


def free_port(host: str) -> int:
    """A TCP port of that address on which nobody listens just now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: Any = probe.getsockname()[1]
        return int(port)


def _kill_group(pid: int) -> None:
    """Kill a process group; that it is gone is as good."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
