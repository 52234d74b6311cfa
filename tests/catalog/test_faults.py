import asyncio
import hashlib
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from freehold.errors import CatalogError
from tests.catalog.making import gguf_bytes
from tests.catalog.serving import FileServer, open_catalog, until
from tests.disk import small_disk

PROGRAM = Path(__file__).with_name("pull_program.py")
MODEL = gguf_bytes(size=3_000_000)
DIGEST = hashlib.sha256(MODEL).hexdigest()


async def start_pull(home: Path, uri: str, *limit: str) -> Process:
    """A process that has begun to pull."""
    process = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAM), str(home), uri, *limit, stdout=PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"pulling\n"
    return process


async def outcome(process: Process) -> str:
    """What a process that pulls says at its end."""
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return output.decode().strip()


def received(home: Path) -> int:
    """How many bytes of unfinished downloads there are."""
    return sum(part.stat().st_size for part in (home / "models" / "partial").rglob("*.part"))


@pytest.mark.slow
def test_a_killed_download_goes_on_in_a_new_process(tmp_path: Path) -> None:
    """After kill -9 halfway another process asks for the missing part only, and the model is whole."""

    async def scenario() -> None:
        async with FileServer({"/m.gguf": MODEL}, gate=asyncio.Event()).running() as server:
            killed = await start_pull(tmp_path, f"{server.url}/m.gguf")
            await until(lambda: received(tmp_path) >= len(MODEL) // 4)
            killed.kill()
            assert await killed.wait() == -9
            kept, server.gate = received(tmp_path), None
            assert len(MODEL) // 4 <= kept < len(MODEL)
            async with open_catalog(tmp_path) as catalog:
                assert await catalog.list() == []
            before = server.sent
            assert await outcome(await start_pull(tmp_path, f"{server.url}/m.gguf")) == DIGEST
            assert server.seen[-1][1]["range"] == f"bytes={kept}-"
            assert server.sent - before == len(MODEL) - kept
            assert not [path for path in (tmp_path / "models").rglob("*") if path.is_file() and DIGEST not in path.name]

    asyncio.run(scenario())


@pytest.mark.slow
def test_two_processes_fetch_a_model_once(tmp_path: Path) -> None:
    """Of two processes that pull the same into one home, one fetches it and the other waits for that."""

    async def scenario() -> None:
        async with FileServer({"/m.gguf": MODEL}, gate=asyncio.Event()).running() as server:
            first = await start_pull(tmp_path, f"{server.url}/m.gguf")
            await until(lambda: server.seen)
            second = await start_pull(tmp_path, f"{server.url}/m.gguf")
            await asyncio.sleep(0.5)
            assert server.gate is not None
            server.gate.set()
            assert [await outcome(first), await outcome(second)] == [DIGEST, DIGEST]
            assert len(server.seen) == 1

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_file_that_cannot_grow_is_told_as_a_full_disk(tmp_path: Path) -> None:
    """When the system refuses to write on, the message speaks of space; no model is there, nor what filled the disk."""

    async def scenario() -> None:
        async with FileServer({"/m.gguf": MODEL}, lengths=False).running() as server:
            process = await start_pull(tmp_path, f"{server.url}/m.gguf", "2000000")
            assert "not enough space" in await outcome(process)
            async with open_catalog(tmp_path) as catalog:
                assert await catalog.list() == []
        assert not [path for path in (tmp_path / "models").rglob("*") if path.is_file()]

    asyncio.run(scenario())


@pytest.mark.parametrize("lengths", [True, False])
def test_a_full_disk_is_told(lengths: bool, tmp_path: Path) -> None:
    """A model that does not fit is a clear error, at once where its size is known, and leaves the disk free."""

    async def scenario(disk: Path) -> None:
        async with FileServer({"/m.gguf": MODEL}, lengths=lengths).running() as server:
            (tmp_path / "home").mkdir()
            (tmp_path / "home" / "models").symlink_to(disk)
            async with open_catalog(tmp_path / "home") as catalog:
                with pytest.raises(CatalogError, match="not enough space"):
                    await catalog.pull(f"{server.url}/m.gguf")
                assert await catalog.list() == []

    with small_disk(tmp_path / "small", megabytes=1) as disk:
        asyncio.run(scenario(disk))
        assert sum(path.stat().st_size for path in disk.rglob("*") if path.is_file()) < 1000
