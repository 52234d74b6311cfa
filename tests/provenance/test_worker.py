"""The worker: bounded, replaced when it dies, and no danger to those who come after."""

import asyncio
import io
import os
import signal
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from freehold.errors import EngineFailed, FreeholdError, InvalidRequest, ProvenanceUnavailable
from freehold.provenance.process import Bounds
from tests.provenance.installation import Installation, installation, noise, picture_facts, png

pytestmark = pytest.mark.slow


async def _held(here: Installation) -> "tuple[int, asyncio.Task[bytes]]":
    """A picture in the hands of a worker that does not go on; the worker's process id."""
    await here.paint()
    pid = here.finisher.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    task = asyncio.create_task(here.paint())
    for _ in range(10):
        await asyncio.sleep(0)
    return pid, task


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    """A worker killed in the middle of a picture fails that picture, and the next one is finished by a new worker."""

    async def scenario() -> None:
        async with installation(tmp_path) as here:
            pid, held = await _held(here)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(ProvenanceUnavailable) as failed:
                await held
            assert failed.value.status == 503
            assert (await here.read(await here.paint()))["state"] == "intact"
            assert here.finisher.worker_pid not in {pid, None}

    asyncio.run(scenario())


def test_a_hung_worker_is_replaced(tmp_path: Path) -> None:
    """A worker that does not answer in its time is ended, and the next picture is finished."""

    async def scenario() -> None:
        async with installation(tmp_path, bounds=Bounds(time_s=3.0)) as here:
            pid, held = await _held(here)
            with pytest.raises(ProvenanceUnavailable):
                await held
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
            assert (await here.read(await here.paint()))["state"] == "intact"

    asyncio.run(scenario())


def test_who_gives_up_does_not_disturb_the_next(tmp_path: Path) -> None:
    """After a cancelled request the same worker answers the next one with its own picture."""

    async def scenario() -> None:
        async with installation(tmp_path) as here:
            pid, held = await _held(here)
            held.cancel()
            with pytest.raises(asyncio.CancelledError):
                await held
            os.kill(pid, signal.SIGCONT)
            report = await here.read(await here.paint(request_id="req_next"))
            assert report["origin"]["picture"]["request_id"] == "req_next"
            assert here.finisher.worker_pid == pid

    asyncio.run(scenario())


def test_many_at_once_get_their_own(tmp_path: Path) -> None:
    """Of many pictures asked for at once each is finished with its own facts."""

    async def scenario() -> list[str]:
        async with installation(tmp_path) as here:
            made = await asyncio.gather(*(here.paint(request_id=f"req_{number}") for number in range(12)))
            reports = await asyncio.gather(*(here.read(data) for data in made))
            return [report["origin"]["picture"]["request_id"] for report in reports]

    assert asyncio.run(scenario()) == [f"req_{number}" for number in range(12)]


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A picture that needs more memory than the worker may use fails, and the next one is finished."""
    large = png(Image.new("RGB", (7000, 7000)))

    async def scenario() -> None:
        async with installation(tmp_path, bounds=Bounds(memory_bytes=200 << 20)) as here:
            with pytest.raises(FreeholdError) as failed:
                await here.finisher.finish(large, format="webp", compression=None, facts=picture_facts())
            assert failed.value.status >= 500
            assert (await here.read(await here.paint()))["state"] == "intact"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "painted",
    [b"", b"no picture", noise()[:200], png(Image.new("1", (9000, 9000)))],
    ids=["empty", "text", "cut", "enormous"],
)
def test_an_engines_bad_picture_is_the_engines_fault(tmp_path: Path, painted: bytes) -> None:
    """What is no PNG, cut short or too large is told as a failure of the engine."""

    async def scenario() -> None:
        async with installation(tmp_path) as here:
            with pytest.raises(EngineFailed):
                await here.finisher.finish(painted, format="png", compression=None, facts=picture_facts())

    asyncio.run(scenario())


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _gif() -> bytes:
    out = io.BytesIO()
    Image.new("P", (8, 8)).save(out, "GIF")
    return out.getvalue()


SIGNATURE = b"\x89PNG\r\n\x1a\n"
ENORMOUS = SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 6, 0, 0, 0)) + _chunk(b"IDAT", b"x")
LONG_TEXT = SIGNATURE + noise(8)[8:33] + _chunk(b"tEXt", b"a\0" + b"x" * (50 << 20)) + noise(8)[33:]
COMPRESSED = SIGNATURE + noise(8)[8:33] + _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 << 20))) + noise(8)[33:]


@pytest.mark.parametrize(
    "data",
    [b"", b"text", _gif(), b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7\n", b"RIFF\0\0\0\0WAVE"],
    ids=["empty", "text", "gif", "svg", "pdf", "wav"],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, data: bytes) -> None:
    """A file that is neither PNG, JPEG nor WebP is the caller's fault, by its content."""

    async def scenario() -> None:
        async with installation(tmp_path) as here:
            with pytest.raises(InvalidRequest) as refused:
                await here.read(data, "")
            assert (refused.value.param, refused.value.code) == ("file", "unreadable_picture")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "data",
    [noise()[:60], ENORMOUS, LONG_TEXT, COMPRESSED, b"\xff\xd8\xff" + bytes(1000), noise() + b"PK\x03\x04" * 100],
    ids=["cut", "enormous", "long-text", "bomb", "hollow", "polyglot"],
)
def test_a_hostile_file_has_no_manifest(tmp_path: Path, data: bytes) -> None:
    """A damaged or hostile file is told as having no manifest that holds, and the next one is read."""

    async def scenario() -> str:
        async with installation(tmp_path) as here:
            report = await here.read(data, "")
            good = await here.paint()
            assert (await here.read(good))["state"] == "intact"
            return str(report["state"])

    assert asyncio.run(scenario()) in {"none", "damaged"}
