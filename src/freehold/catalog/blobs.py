"""Verified models on the disk, each a file or a folder named by its digest; put in place whole, or not at all."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from freehold.errors import CatalogError

_CHUNK = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Count = Callable[[int], None]
"""Is told how many bytes are done."""


@dataclass(frozen=True, slots=True)
class BlobStore:
    """A folder of files and, for models of several files, folders named `sha256-<hex>`."""

    root: Path

    def path(self, sha256: str) -> Path:
        """Where the file with that digest is, if it is there."""
        return self.root / f"sha256-{sha256}"

    def put(self, source: Path, sha256: str) -> Path:
        """Move a model, already verified and on the same file system, into the store; on the disk when this returns."""
        self.root.mkdir(parents=True, exist_ok=True)
        target = self.path(sha256)
        for file in _files(source):
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
            file.chmod(0o600)
        if source.is_dir():
            for folder in (*(path for path in source.rglob("*") if path.is_dir()), source):
                _sync(folder)
            if target.is_dir():
                shutil.rmtree(target)  # a folder does not replace one that has files
        source.replace(target)
        _sync(self.root)
        return target

    def remove(self, sha256: str) -> None:
        """Delete the model, if it is there."""
        path = self.path(sha256)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def digest_in(path: Path) -> str:
    """The digest in hex that a model's path in a store names; empty for a path elsewhere."""
    _, _, digest = path.name.partition("sha256-")
    return digest


def _files(path: Path) -> list[Path]:
    """The file itself, or the files in a folder."""
    return sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size_of(path: Path) -> int | None:
    """The bytes of a model's file, or of all files of its folder; None if it is not there."""
    if not path.exists():
        return None
    return sum(file.stat().st_size for file in _files(path))


def hash_folder(folder: Path, count: Count | None = None) -> str:
    """The digest of a folder in hex: that of its lines `<digest>  <path>`, sorted by path."""
    lines = []
    done = 0
    for file in _files(folder):
        lines.append(f"{hash_file(file)}  {file.relative_to(folder).as_posix()}\n")
        done += file.stat().st_size
        if count is not None:
            count(done)
    return hashlib.sha256("".join(sorted(lines, key=lambda line: line[66:])).encode()).hexdigest()


def hash_model(path: Path, count: Count | None = None) -> str:
    """The digest of a model's file, or of its folder, in hex."""
    return hash_folder(path, count) if path.is_dir() else hash_file(path, count)


def hash_file(path: Path, count: Count | None = None) -> str:
    """The SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if count is not None:
                count(done)
    return digest.hexdigest()


def copy_file(source: Path, target: Path, count: Count) -> None:
    """Copy a regular file."""
    done = 0
    with source.open("rb") as file, target.open("wb") as copy:
        while chunk := file.read(_CHUNK):
            copy.write(chunk)
            done += len(chunk)
            count(done)


def is_full(error: OSError) -> bool:
    """Whether an error says that the disk, or a quota of it, is full."""
    return error.errno in _FULL


def no_space() -> CatalogError:
    """What to raise when the disk is full."""
    return CatalogError("There is not enough space on the disk for the model.")


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn a full disk, or a folder that cannot be written, into a CatalogError."""
    try:
        yield
    except OSError as exc:
        if is_full(exc):
            raise no_space() from exc
        raise CatalogError(f"The model folder cannot be used: {exc.strerror or 'input/output error'}.") from exc
