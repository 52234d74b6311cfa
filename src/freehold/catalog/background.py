"""Work outside the event loop that ends when the task that waits for it is cancelled: threads and programs."""

import asyncio
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import TypeVar

from freehold.catalog.blobs import Count

_PROGRESS = re.compile(rb"^Progress (\d+) of (\d+)")
_KEPT_OUTPUT = 64 << 10

T = TypeVar("T")


class _Stopped(Exception):
    """Nobody waits for the thread any more."""


async def in_thread(work: Callable[[Count], T], count: Count) -> T:
    """Do blocking work in a thread; when cancelled, ends once the thread has ended, at its next count.

    Args:
        work: is given what it has to call with the bytes done.
        count: is told them, in the thread.
    """
    stop = threading.Event()

    def counted(done: int) -> None:
        if stop.is_set():
            raise _Stopped
        count(done)

    return await _to_the_end(asyncio.to_thread(work, counted), stop.set)


async def finish(work: Coroutine[None, None, T]) -> T:
    """Await work that must not be left half done: a cancellation takes effect when it is complete."""
    return await _to_the_end(work, lambda: None)


async def _to_the_end(work: Coroutine[None, None, T], cancelled: Callable[[], None]) -> T:
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        cancelled()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
        raise


async def run_python(
    arguments: tuple[str, ...], environment: Mapping[str, str], progress: Callable[[int, int], None]
) -> tuple[int, str]:
    """Run this Python in a process group of its own; its status, and the end of what it wrote on stderr.

    The group is killed when the task is cancelled. The current folder is not searched for modules.

    Args:
        arguments: after the interpreter, such as `-m` and a module.
        environment: the program's whole environment.
        progress: is told the numbers of each line `Progress <done> of <total>` on its stdout.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(_tail(process.stderr))
    try:
        async for line in process.stdout:
            if match := _PROGRESS.match(line):
                progress(int(match[1]), int(match[2]))
        complaint = await errors
        code = await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):  # it ended just now
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        errors.cancel()
    return code, complaint.decode("utf-8", "replace").strip()


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """The last of what comes, read to its end, so that the writer never waits."""
    kept = b""
    while data := await stream.read(_KEPT_OUTPUT):
        kept = (kept + data)[-_KEPT_OUTPUT:]
    return kept
