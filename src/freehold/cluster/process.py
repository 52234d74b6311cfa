"""One engine process of this machine: start it under guard, read what it writes, end it.

Knows nothing of deployments, health or restarts; that is `freehold.serving.replica`'s business.
"""

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from structlog.typing import FilteringBoundLogger

from freehold.cluster.guard import guard_argv
from freehold.config import engine_environment

LINE_CHARACTERS = 2000
"""What is kept of one line of output."""
TAIL_LINES = 20
"""How many of the last lines are kept for error messages."""
_OUTPUT_GRACE_S = 1.0
"""How long to wait, after the exit, for the end of the output."""
_KILL_WAIT_S = 5.0
"""How long a killed process may take to go; longer means that the kernel holds it."""


def described(code: int) -> str:
    """How a process with that exit code (negative: the signal) ended, in words."""
    if code >= 0:
        return f"the engine exited with status {code}"
    with contextlib.suppress(ValueError):
        return f"the engine was ended by {signal.Signals(-code).name}"
    return f"the engine was ended by signal {-code}"


def logged(log: FilteringBoundLogger, also: Callable[[str], None] | None = None) -> Callable[[str], None]:
    """Takes lines of an engine: each goes to the log, as event `engine_log`, and to `also`."""

    def take(line: str) -> None:
        log.info("engine_log", line=line)
        if also is not None:
            also(line)

    return take


class EngineProcess:
    """A running engine, leader of a process group of its own. Made by `start`.

    Attributes:
        pid: the process id, also the id of its group.
        exited: done with the exit code (negative: the signal) as soon as the process is gone. Wait for it
            with `asyncio.wait`, which does not cancel it.
        tail: the last lines that it wrote.
    """

    def __init__(self, transport: asyncio.SubprocessTransport, protocol: "_Protocol") -> None:
        self.pid = transport.get_pid()
        self.exited = protocol.exited
        self.tail = protocol.tail
        self._transport = transport
        self._protocol = protocol

    @classmethod
    async def start(
        cls, argv: Sequence[str], env: Mapping[str, str], on_line: Callable[[str], None]
    ) -> "EngineProcess":
        """Start the process; its output goes line by line to `on_line`.

        Args:
            argv: the program.
            env: what its environment has besides this process's own, which it gets less what looks like a secret.
            on_line: is told each line of both outputs.

        Raises:
            OSError: the system cannot start a process.
        """
        transport, protocol = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Protocol(on_line),
            *guard_argv(tuple(argv)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=engine_environment(env),
            start_new_session=True,
        )
        return cls(transport, protocol)

    def describe_exit(self) -> str:
        """How the process ended, in words."""
        return described(self.exited.result())

    async def terminate(self, grace_s: float) -> None:
        """Ask the process to end; kill it if it has not after `grace_s`. Returns when it is gone."""
        self._signal(signal.SIGTERM)
        await asyncio.wait({self.exited}, timeout=grace_s)
        await self.kill()

    async def kill(self) -> bool:
        """Kill the process group at once, if it still runs, and release its pipes.

        Returns: whether the process is gone, which fails only where the kernel holds it.
        """
        self._signal(signal.SIGKILL)
        try:
            await asyncio.wait({self.exited}, timeout=_KILL_WAIT_S)
            if self.exited.done():
                await asyncio.wait({self._protocol.closed}, timeout=_OUTPUT_GRACE_S)
        finally:
            self._transport.close()
        await asyncio.wait({self._protocol.closed}, timeout=_OUTPUT_GRACE_S)
        return self.exited.done()

    async def read_rest(self) -> None:
        """Wait, after the exit, for the last of the output."""
        await asyncio.wait({self._protocol.closed}, timeout=_OUTPUT_GRACE_S)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the whole group, unless its leader is gone: then nothing of it is left."""
        if not self.exited.done():
            _signal_group(self.pid, number)


class _Protocol(asyncio.SubprocessProtocol):
    """Receives what the process writes and the news of its exit."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._on_line = on_line
        self._transport: asyncio.SubprocessTransport | None = None
        self._lines = {1: _Lines(), 2: _Lines()}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)  # uvloop's is no subclass

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        for line in self._lines[fd].feed(data):
            self._keep(line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        del exc  # a broken pipe is the end of it
        if fd in self._lines and (rest := self._lines[fd].rest()):
            self._keep(rest)

    def process_exited(self) -> None:
        """Also ends what the engine itself had started: nobody is left to do so."""
        transport = self._transport
        if transport is None or self.exited.done():
            return
        pid, code = transport.get_pid(), transport.get_returncode()
        if pid:
            _signal_group(pid, signal.SIGKILL)
        self.exited.set_result(-signal.SIGKILL if code is None else code)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # the exit code tells more
        if not self.closed.done():
            self.closed.set_result(None)

    def _keep(self, line: str) -> None:
        self.tail.append(line)
        self._on_line(line)


class _Lines:
    """Cuts a stream of bytes into printable lines of bounded length; the rest of an overlong one is dropped."""

    def __init__(self) -> None:
        self._buffer = b""
        self._dropping = False

    def feed(self, data: bytes) -> list[str]:
        """The lines, empty ones left out, that are complete now."""
        *whole, rest = (self._buffer + data).split(b"\n")
        if whole and self._dropping:
            whole, self._dropping = whole[1:], False
        lines = [text for line in whole if (text := _printable(line))]
        if self._dropping:
            rest = b""
        elif len(rest) > LINE_CHARACTERS:
            lines.append(_printable(rest))
            rest, self._dropping = b"", True
        self._buffer = rest
        return lines

    def rest(self) -> str:
        """What came after the last line end."""
        rest, self._buffer = self._buffer, b""
        return _printable(rest)


def _printable(line: bytes) -> str:
    """The line as text without control characters, cut to `LINE_CHARACTERS`."""
    text = line[: 4 * LINE_CHARACTERS].decode(errors="replace")[:LINE_CHARACTERS]
    return "".join(c if c.isprintable() else " " for c in text).rstrip()


def _signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a process group; that it is gone, or only a zombie (PermissionError on macOS), is as good."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def resident_bytes(pid: int) -> int | None:
    """The memory that a process holds; None where the system does not tell, or the process is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
