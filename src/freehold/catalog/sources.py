"""Where a model's files come from: the contract of sources, the choice among files, and folders on this machine."""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from freehold.catalog.background import in_thread
from freehold.catalog.blobs import copy_file
from freehold.errors import CatalogError, SourceUnavailable, UnsupportedModelFormat
from freehold.types.model import Progress

Report: TypeAlias = Callable[[Progress], None]

SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
PIPELINE_INDEX = "model_index.json"
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


class Source(ABC):
    """A place with a model's file, `main`, and the files beside it."""

    main: str
    """The name of the file; known once `open` has returned."""

    async def open(self) -> None:
        """Find out which file is meant.

        Raises:
            SourceUnavailable: the source cannot be reached or has no model.
            CatalogError: there are several models.
        """
        return

    @abstractmethod
    async def get(self, name: str, target: Path, report: Report, *, sha256: str | None = None) -> bool:
        """Write the file of that name to `target`; False if there is none.

        Args:
            name: a path relative to the main file's folder.
            target: where to write; its folder is there, the file is not.
            report: is told how far it is.
            sha256: what the file's digest must be, if that is known.

        Raises:
            SourceUnavailable: the source cannot be reached.
            DigestMismatch: the source itself says which digest the file has, and it has another.
        """

    async def names(self) -> list[str] | None:
        """The paths of all files, relative to the main file's folder; None where the source cannot tell."""
        return None

    @abstractmethod
    async def close(self) -> None:
        """Release what is open; what was fetched of an unfinished file stays for the next try."""

    async def done(self) -> None:
        """The model is in the catalog: drop what was kept for another try."""
        return


class FolderSource(Source):
    """A file on this machine, or a folder with one model in it.

    Args:
        path: the file or the folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path

    async def open(self) -> None:
        """Choose the folder's model."""
        try:
            names = await asyncio.to_thread(self._names)
        except OSError as exc:
            raise SourceUnavailable(f"The file cannot be read: {exc.strerror}.", param="source") from exc
        if names is not None:
            self.main = choose_file(names)
        elif self._path.is_file():
            self._folder, self.main = self._path.parent, self._path.name
        else:
            raise SourceUnavailable("There is no such file on the machine that Freehold runs on.", param="source")

    async def get(self, name: str, target: Path, report: Report, *, sha256: str | None = None) -> bool:  # noqa: ARG002
        """Copy a file; the caller verifies its digest."""
        source = self._folder / name
        if not source.is_file():
            return False
        total = source.stat().st_size
        try:
            source.open("rb").close()
        except OSError as exc:
            raise SourceUnavailable(f"The file cannot be read: {exc.strerror}.", param="source") from exc
        await in_thread(
            lambda count: copy_file(source, target, count),
            lambda done: report(Progress("downloading", done, total)),
        )
        return True

    async def names(self) -> list[str]:
        """The files in the folder and in the folders in it."""
        return await asyncio.to_thread(
            lambda: [str(path.relative_to(self._folder)) for path in self._folder.glob("*/*") if path.is_file()]
        )

    async def close(self) -> None:
        """Nothing is open."""

    def _names(self) -> list[str] | None:
        """What the folder has; None if it is no folder."""
        return [item.name for item in self._path.iterdir()] if self._path.is_dir() else None


def choose_file(names: Iterable[str]) -> str:
    """The one model among the files of a folder: its only GGUF file, its pipeline, or its safetensors.

    Raises:
        CatalogError: there are several GGUF files.
        UnsupportedModelFormat: there are weights, but of neither format.
        SourceUnavailable: there is no model.
    """
    there = sorted(names)
    quantized = [name for name in there if name.lower().endswith(".gguf") and "mmproj" not in name.lower()]
    if any(_SHARD.search(name) for name in quantized) and all(_SHARD.search(name) for name in quantized):
        raise UnsupportedModelFormat("The model is a GGUF split into several files; use one that is whole.")
    if len(quantized) == 1:
        return quantized[0]
    if quantized:
        raise CatalogError(f"There are several models; name one of: {', '.join(quantized)}", param="source")
    for name in (PIPELINE_INDEX, SAFETENSORS, SAFETENSORS_INDEX):
        if name in there:
            return name
    if any(name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".onnx")) for name in there):
        raise UnsupportedModelFormat("The model has neither GGUF nor safetensors files.", param="source")
    raise SourceUnavailable("There is no model file.", param="source")
