"""Verified model files on the disk, each named by its digest; put in place whole, or not at all."""

import errno
import hashlib
import os
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
    """A folder of files named `sha256-<hex>`."""

    root: Path

    def path(self, sha256: str) -> Path:
        """Where the file with that digest is, if it is there."""
        return self.root / f"sha256-{sha256}"

    def put(self, source: Path, sha256: str) -> Path:
        """Move a file, already verified and on the same file system, into the store; on the disk when this returns."""
        self.root.mkdir(parents=True, exist_ok=True)
        target = self.path(sha256)
        with source.open("rb") as file:
            os.fsync(file.fileno())
        source.chmod(0o600)
        source.replace(target)
        folder = os.open(self.root, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return target

    def remove(self, sha256: str) -> None:
        """Delete the file, if it is there."""
        self.path(sha256).unlink(missing_ok=True)


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
