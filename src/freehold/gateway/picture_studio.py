"""The way to the process that decodes uploaded pictures.

It is started with its first job, works on one at a time within a bound of memory and of time, and is started anew when
it dies, hangs or is left in the middle of a job.
"""

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog

from freehold.cluster.guard import guard_argv
from freehold.config import engine_environment
from freehold.errors import InvalidRequest
from freehold.gateway.picture_program import LENGTH, packed
from freehold.types.images import Upload, size_text

log = structlog.get_logger(__name__)

MEMORY_BYTES = 1024 * 1024 * 1024
DEADLINE_S = 60.0
"""For one job, the start of the process included; a picture of the largest size takes a few seconds."""
_PROGRAM = "freehold.gateway.picture_program"


@dataclass(frozen=True, slots=True)
class Sources:
    """What an edit or a variation is made from, as an engine takes it.

    Args:
        size: of both pictures, "WIDTHxHEIGHT" in pixels.
        image: an RGB PNG.
        mask: a grey PNG; 255 is to be painted anew.
        alpha_mask: the same as an RGBA PNG; what is transparent is to be painted anew.
    """

    size: str
    image: bytes = field(repr=False)
    mask: bytes | None = field(repr=False)
    alpha_mask: bytes | None = field(repr=False)


class Studio:
    """Decodes pictures.

    Args:
        memory_bytes: the address space of the process.
        deadline_s: for one job.
    """

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, deadline_s: float = DEADLINE_S) -> None:
        self._uploads = _Worker(memory_bytes, deadline_s)

    async def sources(
        self, image: Upload, mask: Upload | None, sizes: Sequence[tuple[int, int]], *, edit: bool
    ) -> Sources:
        """What is made of a caller's files.

        Args:
            image: the picture.
            mask: for an edit, the picture whose transparent part is to be painted anew, if it is not `image` itself.
            sizes: those that the engine paints and the request allows; the nearest is taken. Without any, `image`'s.
            edit: whether a mask is needed.

        Raises:
            InvalidRequest: a file is no picture, is broken or is over a limit; says which and what.
        """
        uploads = [image] if mask is None else [image, mask]
        answer = await self._uploads.do({"edit": edit, "sizes": sizes}, uploads)
        if answer is None:
            raise InvalidRequest(
                "Invalid value: 'image' takes more time or memory to decode than a picture may.", param="image"
            )
        result, parts = answer
        if "refused" in result:
            name, _, what = str(result["refused"]).partition(" ")
            raise InvalidRequest(f"Invalid value: '{name}' {what}", param=name)
        image_png, mask_png, alpha_png = parts if edit else (*parts, None, None)
        assert image_png is not None, "the first part is the picture"
        return Sources(size_text(*result["size"]), image_png, mask_png, alpha_png)

    async def close(self) -> None:
        """End the process."""
        await self._uploads.close()


class _Worker:
    """One process, for one job at a time. The files of those that wait stay where they are."""

    def __init__(self, memory_bytes: int, deadline_s: float) -> None:
        self._memory_bytes = memory_bytes
        self._deadline_s = deadline_s
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def do(self, job: Mapping[str, Any], files: Sequence[Upload]) -> tuple[dict[str, Any], list[bytes]] | None:
        """Have a job done; None if the process ended or had to be ended, and then the next one gets a new process.

        That is no error: an error would keep what its frames hold, which are whole files, until it is forgotten.
        """
        async with self._turn:
            done = False
            try:
                async with asyncio.timeout(self._deadline_s):
                    answer = await _exchange(await self._running(), job, files)
                done = True
                return answer
            except (TimeoutError, OSError, asyncio.IncompleteReadError) as exc:
                log.warning("picture_process_died", reason=type(exc).__name__)
                return None
            finally:
                if not done:  # also where the task was cancelled: what is under way would be the next job's answer
                    await self.close()

    async def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            argv = (sys.executable, "-P", "-m", _PROGRAM, str(self._memory_bytes))
            self._process = await asyncio.create_subprocess_exec(
                *guard_argv(argv),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=engine_environment({}),
                start_new_session=True,
            )
        return self._process


async def _exchange(
    process: asyncio.subprocess.Process, job: Mapping[str, Any], files: Sequence[Upload]
) -> tuple[dict[str, Any], list[bytes]]:
    """Send a job and wait for its result."""
    assert process.stdin is not None, "the process was started with pipes"
    assert process.stdout is not None, "likewise"
    process.stdin.write(packed(job, [upload.size for upload in files]))
    for upload in files:
        process.stdin.write(await upload.read())
        await process.stdin.drain()
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    result: dict[str, Any] = orjson.loads(await process.stdout.readexactly(length))
    return result, [await process.stdout.readexactly(size) for size in result["parts"]]
