"""The worker as the gateway has it: started when it is needed, asked one thing at a time, replaced when it dies."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from freehold.config import engine_environment
from freehold.errors import ProvenanceUnavailable
from freehold.provenance.frames import HEAD, Frame, head_length, pack, read_head

log = structlog.get_logger(__name__)

TIME_LIMIT_S = 60.0
MEMORY_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request to a worker may take.

    Args:
        time_s: from its beginning to its answer.
        memory_bytes: of address space, for the whole process.
    """

    time_s: float = TIME_LIMIT_S
    memory_bytes: int = MEMORY_BYTES


class WorkerRefusal(Exception):
    """The worker is well, but cannot do what it was asked.

    Args:
        kind: one of the kinds in `freehold.provenance.worker`.
        message: why.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class WorkerProcess:
    """A worker, running or not.

    Args:
        opening: what a new process is told first; nothing if None.
        bounds: what a request may take.
    """

    def __init__(self, opening: Mapping[str, Any] | None = None, bounds: Bounds | None = None) -> None:
        self._opening = opening
        self._bounds = bounds or Bounds()
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._asked: set[asyncio.Task[Frame]] = set()

    @property
    def pid(self) -> int | None:
        """The process's id; None while there is none."""
        return self._process.pid if self._process is not None else None

    async def ask(self, frame: Frame) -> Frame:
        """The answer to a frame.

        A caller who gives up does not disturb the next: what it asked is done all the same, within the bounds.

        Raises:
            WorkerRefusal: the worker says why not.
            ProvenanceUnavailable: it died, or took too long and was ended; the next frame finds a new one.
        """
        task = asyncio.create_task(self._in_turn(frame))
        self._asked.add(task)
        task.add_done_callback(self._answered)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End the process; what is being asked fails."""
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)
        await self._end()

    def _answered(self, task: "asyncio.Task[Frame]") -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone; then nobody else takes note of it

    async def _in_turn(self, frame: Frame) -> Frame:
        async with self._turn:
            try:
                async with asyncio.timeout(self._bounds.time_s):
                    answer = await self._exchange(await self._running(), frame)
            except (OSError, EOFError, ValueError) as exc:  # a TimeoutError is an OSError
                slow = isinstance(exc, TimeoutError)
                status = await self._end()
                log.warning("provenance_worker_lost", reason="it took too long" if slow else "it died", status=status)
                raise ProvenanceUnavailable("The picture's provenance cannot be handled now; try again.") from exc
            except asyncio.CancelledError:
                await self._end()  # it may be in the middle of an answer
                raise
        return _accepted(answer)

    async def _running(self) -> Process:
        """The process, started anew if there is none."""
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._end()
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "freehold.provenance.worker"),
            *("--memory-bytes", str(self._bounds.memory_bytes)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=engine_environment({}),
            start_new_session=True,
        )
        if self._opening is not None:
            answer = await self._exchange(process, Frame(self._opening))
            if "error" in answer.values:
                await self._end()  # so that it is tried again, once the certificate is mended
                _accepted(answer)
        return process

    async def _exchange(self, process: Process, frame: Frame) -> Frame:
        """Write a frame and read one."""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.writelines(pack(frame))
        await process.stdin.drain()
        source = process.stdout
        head = await source.readexactly(head_length(await source.readexactly(HEAD.size)))
        values, lengths = read_head(head)
        return Frame(values, [await source.readexactly(length) for length in lengths])

    async def _end(self) -> int | None:
        """Kill the process, if there is one; its exit status, negative for a signal."""
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None
        process.stdin.close()
        if process.returncode is None:
            with suppress(ProcessLookupError):  # it ended just now
                process.kill()
        return await process.wait()


def _accepted(answer: Frame) -> Frame:
    """An answer that is no refusal.

    Raises:
        WorkerRefusal: it is one.
    """
    error = answer.values.get("error")
    if error is not None:
        raise WorkerRefusal(error["kind"], error["message"])
    return answer
