import asyncio
import hashlib
from pathlib import Path

import pytest

from freehold.errors import DigestMismatch, SourceUnavailable
from freehold.types.model import Progress
from tests.catalog.making import gguf_bytes
from tests.catalog.serving import FileServer, open_catalog

pytestmark = pytest.mark.slow

MODEL = gguf_bytes(size=3_000_000)
DIGEST = hashlib.sha256(MODEL).hexdigest()


def test_a_broken_connection_is_resumed(tmp_path: Path) -> None:
    """After a connection broke halfway only the missing part is fetched, and the file is whole."""

    async def scenario() -> None:
        async with FileServer({"/m.gguf": MODEL}, drops=2).running() as server, open_catalog(tmp_path) as catalog:
            seen: list[Progress] = []
            entry = await catalog.pull(f"{server.url}/m.gguf", sha256=DIGEST, progress=seen.append)
            assert catalog.path(entry).read_bytes() == MODEL
            starts = [int(headers["range"][len("bytes=") : -1]) for _, headers in server.seen[1:]]
            assert len(starts) == 2
            assert 0 < starts[0] <= starts[1] < len(MODEL)
            assert seen[-1] == Progress("done", len(MODEL), len(MODEL))
            assert not list((tmp_path / "models" / "partial").iterdir())

    asyncio.run(scenario())


def test_a_later_pull_goes_on_where_an_earlier_one_stopped(tmp_path: Path) -> None:
    """What a failed pull fetched is kept: no model is visible, and the next pull fetches only the rest."""

    async def scenario() -> None:
        async with FileServer({"/m.gguf": MODEL}, drops=10_000).running() as server:
            async with open_catalog(tmp_path) as catalog:
                with pytest.raises(SourceUnavailable):
                    await catalog.pull(f"{server.url}/m.gguf")
                assert await catalog.list() == []
            server.drops, before = 0, server.sent
            async with open_catalog(tmp_path) as catalog:
                entry = await catalog.pull(f"{server.url}/m.gguf")
                assert entry.sha256 == DIGEST
                assert server.sent - before < len(MODEL)

    asyncio.run(scenario())


def test_a_server_without_ranges_is_asked_for_the_whole(tmp_path: Path) -> None:
    """A server that ignores Range answers from the start, and the file is whole all the same."""

    async def scenario() -> None:
        server_files = FileServer({"/m.gguf": MODEL}, drops=1, ranges=False)
        async with server_files.running() as server, open_catalog(tmp_path) as catalog:
            entry = await catalog.pull(f"{server.url}/m.gguf")
            assert catalog.path(entry).read_bytes() == MODEL
            assert server.sent > len(MODEL)

    asyncio.run(scenario())


def test_a_file_that_changed_is_fetched_anew(tmp_path: Path) -> None:
    """The beginning of an older version is not joined to the rest of a newer one."""

    async def scenario() -> None:
        newer = gguf_bytes(seed=7, size=3_000_000)
        async with FileServer({"/m.gguf": MODEL}, drops=10_000).running() as server, open_catalog(tmp_path) as catalog:
            with pytest.raises(SourceUnavailable):
                await catalog.pull(f"{server.url}/m.gguf")
            server.files["/m.gguf"], server.drops = newer, 0
            entry = await catalog.pull(f"{server.url}/m.gguf")
            assert catalog.path(entry).read_bytes() == newer

    asyncio.run(scenario())


def test_a_wrong_digest_leaves_nothing(tmp_path: Path) -> None:
    """Bytes other than those pinned are discarded: no entry, no blob, nothing kept."""

    async def scenario() -> None:
        async with FileServer({"/m.gguf": MODEL}).running() as server, open_catalog(tmp_path) as catalog:
            with pytest.raises(DigestMismatch):
                await catalog.pull(f"{server.url}/m.gguf", sha256="0" * 64)
            assert await catalog.list() == []
            assert not [path for path in (tmp_path / "models").rglob("*") if path.is_file()]

    asyncio.run(scenario())


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/m.gguf", "gopher://127.0.0.1/"])
def test_redirects_to_other_schemes_are_not_followed(target: str, tmp_path: Path) -> None:
    """A redirect leads to https, or http where it is accepted, or nowhere."""

    async def scenario() -> None:
        async with FileServer(moves={"/m.gguf": target}).running() as server, open_catalog(tmp_path) as catalog:
            with pytest.raises(SourceUnavailable, match="is not fetched from"):
                await catalog.pull(f"{server.url}/m.gguf")

    asyncio.run(scenario())


def test_redirects_are_followed_five_times(tmp_path: Path) -> None:
    """Five redirects are followed, a sixth is not."""

    async def scenario() -> None:
        moves = {f"/{step}.gguf": f"/{step - 1}.gguf" for step in range(1, 7)}
        async with FileServer({"/0.gguf": MODEL}, moves=moves).running() as server, open_catalog(tmp_path) as catalog:
            assert (await catalog.pull(f"{server.url}/5.gguf")).sha256 == DIGEST
            with pytest.raises(SourceUnavailable, match="more than 5 redirects"):
                await catalog.pull(f"{server.url}/6.gguf")

    asyncio.run(scenario())


def test_plain_http_must_be_allowed(tmp_path: Path) -> None:
    """Without catalog.allow_http nothing is asked over plain HTTP."""

    async def scenario() -> None:
        async with FileServer({"/m.gguf": MODEL}).running() as server:
            async with open_catalog(tmp_path, allow_http=False) as catalog:
                with pytest.raises(SourceUnavailable, match="allow_http"):
                    await catalog.pull(f"{server.url}/m.gguf")
            assert server.seen == []

    asyncio.run(scenario())
