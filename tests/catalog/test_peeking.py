"""The header of a model that has not been fetched."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.catalog.peeking import Peek, peek
from freehold.config import CatalogSettings
from freehold.errors import CatalogError, SourceUnavailable, UnknownModel, UnsupportedModelFormat
from tests.catalog.making import gguf_bytes, safetensors_bytes
from tests.catalog.serving import FileServer

LARGE = 6 << 20


def _with_server(work: Callable[[FileServer, CatalogSettings], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        async with FileServer(**options).running() as server:
            return await work(server, CatalogSettings(allow_http=True, hf_endpoint=server.url))

    return asyncio.run(run())


@pytest.mark.parametrize("ranges", [True, False])
def test_only_the_beginning_of_a_file_is_read(ranges: bool) -> None:
    """The header of a file on a web server is read without the rest where the server knows ranges, and also if not."""
    data = gguf_bytes(size=LARGE)

    async def work(server: FileServer, settings: CatalogSettings) -> tuple[Peek, int]:
        return await peek(f"{server.url}/models/m.gguf", settings), server.sent

    found, sent = _with_server(work, files={"/models/m.gguf": data}, ranges=ranges)
    assert found.file_bytes == len(data)
    assert found.header.parameter_count == LARGE // 4
    assert (sent == 4 << 20) == ranges


def test_the_hub_is_asked_for_its_only_gguf_file() -> None:
    """A repository of a hub is enough where it has one GGUF file, also where the hub redirects to another place."""
    data = gguf_bytes(size=64)
    listed = b'{"siblings": [{"rfilename": "README.md"}, {"rfilename": "m.gguf"}]}'

    async def work(_: FileServer, settings: CatalogSettings) -> Peek:
        return await peek("hf://org/repo", settings)

    files = {"/api/models/org/repo": listed, "/cdn/m": data}
    found = _with_server(work, files=files, moves={"/org/repo/resolve/main/m.gguf": "/cdn/m"})
    assert found.header.metadata["general.architecture"] == "llama"
    assert found.file_bytes == len(data)


def test_a_file_of_this_machine_is_read_where_it_is(tmp_path: Path) -> None:
    """A file's URI and that of the folder that it is in mean the same."""
    file = tmp_path / "m.gguf"
    file.write_bytes(gguf_bytes(size=64))
    settings = CatalogSettings()
    of_file, of_folder = (asyncio.run(peek(f"file://{path}", settings)) for path in (file, tmp_path))
    assert of_file == of_folder
    assert of_file.file_bytes == file.stat().st_size


def test_what_has_no_gguf_header_is_refused() -> None:
    """Safetensors on a hub, a damaged file, a wheel and a name are errors that say what to do."""

    async def work(server: FileServer, settings: CatalogSettings) -> None:
        with pytest.raises(UnsupportedModelFormat, match="pull"):
            await peek("hf://org/repo", settings)
        with pytest.raises(UnsupportedModelFormat, match="damaged"):
            await peek(f"{server.url}/cut.gguf", settings)
        with pytest.raises(UnsupportedModelFormat, match="not GGUF"):
            await peek(f"{server.url}/other", settings)
        with pytest.raises(SourceUnavailable, match="404"):
            await peek(f"{server.url}/absent.gguf", settings)
        with pytest.raises(CatalogError, match="freehold pull"):
            await peek("pypi://package==1/model.gguf", settings)
        with pytest.raises(UnknownModel):
            await peek("a-name", settings)

    listed = b'{"siblings": [{"rfilename": "model.safetensors"}]}'
    _with_server(
        work,
        files={"/api/models/org/repo": listed, "/cut.gguf": gguf_bytes()[:60], "/other": safetensors_bytes()},
    )
