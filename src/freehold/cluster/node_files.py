"""A node's own copies of models, in the store of its machine's home: missing ones come in pieces and are verified."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from freehold.catalog.blobs import BlobStore, hash_model
from freehold.catalog.locking import locked
from freehold.errors import EngineFailed


@dataclass(frozen=True, slots=True)
class Listing:
    """A model as the gateway has it.

    Args:
        digest: its SHA-256 in hex, as the catalog names it.
        files: the path of each file within it and its size in bytes; the one of a single file has no path.
    """

    digest: str
    files: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, path: Path, digest: str) -> "Listing":
        """What there is of a model.

        Raises:
            OSError: it cannot be read.
        """
        if not path.is_dir():
            return cls(digest, (("", path.stat().st_size),))
        files = sorted(each for each in path.rglob("*") if each.is_file())
        return cls(digest, tuple((each.relative_to(path).as_posix(), each.stat().st_size) for each in files))

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(size for _, size in self.files)


class NodeFiles:
    """The models of this node.

    Args:
        root: the folder of models in the machine's home.
    """

    def __init__(self, root: Path) -> None:
        self._blobs = BlobStore(root / "blobs")
        self._incoming = root / "incoming"

    def path(self, digest: str) -> Path:
        """Where a model is, if it is there."""
        return self._blobs.path(digest)

    def has(self, digest: str) -> bool:
        """Whether it is there."""
        return self.path(digest).exists()

    @asynccontextmanager
    async def turn(self, digest: str) -> AsyncIterator[None]:
        """One process of this node after another gets a model; who comes second finds it there."""
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with locked(self._incoming / f"{digest}.lock"):
            yield

    def begin(self, listing: Listing) -> "Arrival":
        """Take a model that comes in pieces.

        Raises:
            EngineFailed: the disk has no room for it.
            OSError: the folder cannot be written.
        """
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(self._incoming).free < listing.bytes:
            raise EngineFailed(f"the node's disk has no room for the model's {listing.bytes >> 20} MiB")
        return Arrival(self._blobs, Path(tempfile.mkdtemp(dir=self._incoming)), listing)


class Arrival:
    """A model that arrives. Each piece is written where it belongs; `finish` verifies and keeps it."""

    def __init__(self, blobs: BlobStore, folder: Path, listing: Listing) -> None:
        self._blobs = blobs
        self._folder = folder
        self._listing = listing
        self._model = folder / "model"
        if not _single(listing):
            self._model.mkdir()
        for name, size in listing.files:
            file = self._file(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as opened:
                opened.truncate(size)

    def write(self, name: str, offset: int, piece: bytes) -> None:
        """Write a piece of a file."""
        with self._file(name).open("r+b") as file:
            file.seek(offset)
            file.write(piece)

    async def finish(self) -> None:
        """Put the model in place.

        Raises:
            EngineFailed: it is not what its digest says.
        """
        found = await asyncio.to_thread(hash_model, self._model)
        if found != self._listing.digest:
            raise EngineFailed("the model arrived at the node with another digest than it has in the catalog")
        await asyncio.to_thread(self._blobs.put, self._model, found)

    def close(self) -> None:
        """Delete what is left of it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, name: str) -> Path:
        if not name:
            return self._model
        parts = PurePosixPath(name).parts
        if ".." in parts or PurePosixPath(name).is_absolute() or os.sep in "".join(parts):
            raise EngineFailed("a file of the model has a path that leaves its folder")
        return self._model.joinpath(*parts)


def _single(listing: Listing) -> bool:
    return [name for name, _ in listing.files] == [""]


class Arrivals:
    """Models that arrive at this node at once.

    Args:
        files: where they are kept.
    """

    def __init__(self, files: NodeFiles) -> None:
        self._files = files
        self._arrivals: dict[str, Arrival] = {}
        self._turns: dict[str, AbstractAsyncContextManager[None]] = {}

    async def begin(self, digest: str, files: Sequence[tuple[str, int]]) -> bool:
        """Take a model, once no other process of this node takes it; whether it is still missing then.

        Raises:
            EngineFailed, OSError: as of `NodeFiles.begin`.
        """
        turn = self._files.turn(digest)
        await turn.__aenter__()
        if self._files.has(digest):
            await turn.__aexit__(None, None, None)
            return False
        try:
            self._arrivals[digest] = self._files.begin(Listing(digest, tuple((name, size) for name, size in files)))
        except BaseException:
            await turn.__aexit__(None, None, None)
            raise
        self._turns[digest] = turn
        return True

    async def take(self, digest: str, name: str, offset: int, piece: bytes) -> None:
        """Take a piece of a model's file."""
        await asyncio.to_thread(self._arrivals[digest].write, name, offset, piece)

    async def finish(self, digest: str) -> None:
        """Verify a model and keep it.

        Raises:
            EngineFailed: it is not what its digest says.
        """
        arrival = self._arrivals.pop(digest)
        try:
            await arrival.finish()
        finally:
            arrival.close()
            await self._turns.pop(digest).__aexit__(None, None, None)


def with_paths(argv: Sequence[str], paths: Sequence[tuple[str, str]]) -> list[str]:
    """The arguments of a program with paths of one machine changed to those of another, also within JSON.

    A path is changed where it stands whole: not where it only begins another name.
    """
    for before, after in sorted(paths, key=lambda pair: -len(pair[0])):
        argv = [_changed(argument, before, after) for argument in argv]
        argv = [_changed(argument, json.dumps(before)[1:-1], json.dumps(after)[1:-1]) for argument in argv]
    return list(argv)


def _changed(argument: str, before: str, after: str) -> str:
    pieces = argument.split(before)
    joined = pieces[0]
    for piece in pieces[1:]:
        whole = not piece or not (piece[0].isalnum() or piece[0] in "._-")
        joined += (after if whole else before) + piece
    return joined
