"""A process that does one job: told and heard in lines of JSON, without network, ended with its block."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, SubprocessStreamProtocol
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self, cast

import orjson

from freehold.config import engine_environment
from freehold.errors import JobProcessFailed
from freehold.jobs.sandbox import ISOLATED, OPEN, REFUSED

LINE_BYTES: Final = 16 * 1024 * 1024
"""How long a message may be."""
COMPLAINT_CHARACTERS: Final = 4000
"""What is told of the end of a process's log."""
LOG: Final = "log.txt"
"""The file in the job's folder that has what its processes wrote to stderr, one after another."""
LOG_BYTES: Final = 4 * 1024 * 1024
"""How much of that is written there, of all of them together; what comes after is dropped, but for its end."""
_DRAIN_S: Final = 5.0
"""How long the end of a process's log is waited for after its own end: whoever left its group may hold the pipe."""
_STDERR: Final = 2
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
SANDBOX: Final = "freehold.jobs.sandbox"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a job's process may have and see; see `JobProcess`. Paths are those of the machine where it runs."""

    memory_bytes: int | None
    isolate: bool
    hidden: Sequence[str] = ()
    readable: Sequence[str] = ()

    def arguments(self, parent: int) -> tuple[str, ...]:
        """As `freehold.jobs.sandbox` takes them, before the module.

        Args:
            parent: the id of the process that starts it; 0 where that is not known here.
        """
        how = ISOLATED if self.isolate else OPEN
        lists = (json.dumps(list(each)) for each in (self.hidden, self.readable))
        return (str(parent), str(self.memory_bytes or 0), how, *lists)


class JobProcess:
    """A module that runs in a process of its own while the block runs; see `freehold.jobs.sandbox`.

    The process leads a session and a process group of its own, and the whole group is killed when the process ends,
    when the block is left, and when this process dies, or the thread that entered the block; enter it in one that
    lasts.

    Args:
        module: what is run, as by `python -m`.
        arguments: of the module.
        folder: where it runs, and where its log is.
        python: the interpreter; it has Freehold installed.
        environment: is added to this process's, less what looks like a secret.
        memory_bytes: what each process of the group may have of its own (RLIMIT_DATA); no bound if None.
        isolate: whether it has no network; `[jobs] isolate`.
        hidden: folders of which an isolated process sees only its own folder and what it may read, where the kernel can
            do that.
        readable: what it may read of them.

    Attributes:
        pid: leads the process group.
    """

    pid: int

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        folder: Path,
        *,
        python: str = sys.executable,
        environment: Mapping[str, str] = _NOTHING,
        memory_bytes: int | None = None,
        isolate: bool = True,
        hidden: Sequence[Path] = (),
        readable: Sequence[Path] = (),
    ) -> None:
        bounds = Bounds(memory_bytes, isolate, tuple(map(str, hidden)), tuple(map(str, readable)))
        self._argv = (python, "-P", "-m", SANDBOX, *bounds.arguments(os.getpid()), module, *arguments)
        self._folder = folder
        self._environment = engine_environment(environment)
        self._running: tuple[asyncio.SubprocessTransport, _Protocol] | None = None

    async def __aenter__(self) -> Self:
        """Start the process.

        Raises:
            JobProcessFailed: the system cannot.
        """
        loop = asyncio.get_running_loop()
        try:
            log = FileIO(self._folder / LOG, "a")
            try:
                transport, protocol = await loop.subprocess_exec(
                    lambda: _Protocol(loop, log),
                    *self._argv,
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=PIPE,
                    cwd=self._folder,
                    env=self._environment,
                    start_new_session=True,
                )
            except BaseException:
                log.close()
                raise
        except OSError as exc:
            raise JobProcessFailed(f"A job's process cannot be started: {exc.strerror}.") from exc
        self.pid = transport.get_pid()
        self._running = transport, protocol
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        transport, protocol = self._parts()
        try:
            if not protocol.exited.done():
                _kill_group(self.pid)
                await asyncio.wait({protocol.exited})
        finally:
            await protocol.drained()
            transport.close()
            protocol.close_log()

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the process says, until it says no more: the JSON objects, one a line, of its stdout.

        A last line that does not come to its end is dropped; `wait` tells how the process ended.

        Raises:
            JobProcessFailed: a line is no JSON object, or longer than LINE_BYTES.
        """
        stdout = self._parts()[1].stdout
        assert stdout is not None, "it is a pipe"
        while line := await _line(stdout):
            yield message_of(line)

    async def tell(self, message: Mapping[str, Any]) -> None:
        """Write a message to the process; one that has ended does not hear it."""
        protocol = self._parts()[1]
        stdin = protocol.stdin
        assert stdin is not None, "it is a pipe"
        if protocol.exited.done() or stdin.is_closing():
            return
        with contextlib.suppress(ConnectionError):
            stdin.write(orjson.dumps(message) + b"\n")
            await stdin.drain()

    async def wait(self) -> int:
        """The exit status of the process once it has ended; less a signal's number where one ended it.

        Raises:
            JobProcessFailed: this system cannot keep it from the network, so it was not run.
        """
        protocol = self._parts()[1]
        exited = protocol.exited
        await asyncio.wait({exited})
        await protocol.drained()
        status = exited.result()
        if status == REFUSED and (complaint := self.complaint):
            raise JobProcessFailed(complaint.strip())
        return status

    async def ended(self, within_s: float) -> bool:
        """Whether the process ends within this time."""
        exited = self._parts()[1].exited
        await asyncio.wait({exited}, timeout=within_s)
        return exited.done()

    def kill(self) -> None:
        """Kill the process and all that it started; `wait` tells when it is gone."""
        if not self._parts()[1].exited.done():
            _kill_group(self.pid)

    @property
    def complaint(self) -> str:
        """The end of what the process wrote to stderr."""
        return self._parts()[1].complaint

    def _parts(self) -> "tuple[asyncio.SubprocessTransport, _Protocol]":
        assert self._running is not None, "the block is entered"
        return self._running


def message_of(line: bytes | str) -> dict[str, Any]:
    """What a line of a job's process says.

    Raises:
        JobProcessFailed: it is no JSON object.
    """
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise JobProcessFailed(f"A job's process wrote a line that is no JSON: {exc.msg}.") from exc
    if not isinstance(message, dict):
        raise JobProcessFailed("A job's process wrote a line that is no JSON object.")
    return message


class _Protocol(SubprocessStreamProtocol):
    """Streams for a process's pipes, its log, and the news of its end, which does not wait for these.

    Args:
        loop: runs it.
        log: has what the process writes to stderr, as far as it is not too long; closed with `close_log`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, log: FileIO) -> None:
        super().__init__(limit=LINE_BYTES, loop=loop)
        self._log = log
        self._room = max(0, LOG_BYTES - log.seek(0, os.SEEK_END))
        self._end = b""
        self._silent = asyncio.Event()
        self.exited: asyncio.Future[int] = loop.create_future()
        self._process: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._process = cast("asyncio.SubprocessTransport", transport)  # uvloop's is no subclass

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        """What comes of stderr is the log's; a log that cannot be written is no reason to stop."""
        if fd != _STDERR:
            super().pipe_data_received(fd, data)
            return
        assert isinstance(data, bytes), "pipes have bytes"
        self._end = (self._end + data)[-4 * COMPLAINT_CHARACTERS :]
        kept, self._room = data[: self._room], max(0, self._room - len(data))
        if kept:
            with contextlib.suppress(OSError):
                self._log.write(kept)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == _STDERR:
            self._silent.set()
        super().pipe_connection_lost(fd, exc)

    async def drained(self) -> None:
        """Wait until everything is here that the process has written to stderr."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await self._silent.wait()

    @property
    def complaint(self) -> str:
        """The end of what came of stderr."""
        return self._end.decode(errors="replace")[-COMPLAINT_CHARACTERS:]

    def close_log(self) -> None:
        """Write no more."""
        self._room = 0
        self._log.close()

    def process_exited(self) -> None:
        """Also ends what the process itself had started: nobody else does, and it may hold the pipes open."""
        process = self._process
        if process is not None and not self.exited.done():
            _kill_group(process.get_pid())
            code = process.get_returncode()
            self.exited.set_result(-signal.SIGKILL if code is None else code)
        super().process_exited()


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line; nothing after the last.

    Raises:
        JobProcessFailed: it is longer than LINE_BYTES.
    """
    try:
        line = await stream.readline()
    except ValueError as exc:
        raise JobProcessFailed(f"A job's process wrote a line of more than {LINE_BYTES} bytes.") from exc
    return line if line.endswith(b"\n") else b""


def _kill_group(pid: int | None) -> None:
    """Kill a process group; that it is gone is as good."""
    if pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
