"""Every change that the journal makes on the file system, so that a test can put a disk of its own in its place.

Files that the journal appends to are open with O_APPEND: a write goes to the end, wherever that is after a truncation.
"""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol


class KernelSync(Protocol):
    """Syncs one file at a time; see `freehold.journal.kernel_sync`."""

    event: int
    """A descriptor that can be read when a sync has ended."""

    def begin(self, file: int) -> None:
        """Begin one. Raises OSError: it did not begin."""

    def end(self) -> int | None:
        """Take its end back: 0, or the number of the error; None if it has not ended yet. Raises OSError: unknown."""

    def close(self) -> None:
        """Give everything back."""


class Disk(ABC):
    """What the journal needs of a file system. Every operation raises OSError where it fails."""

    @abstractmethod
    def make_folder(self, path: Path) -> None:
        """Make a folder, and those above it, if it is not there."""

    @abstractmethod
    def create(self, path: Path) -> int:
        """A descriptor of a new file for appending; what was there under the name is emptied."""

    @abstractmethod
    def open(self, path: Path) -> int:
        """A descriptor of an existing file for appending."""

    @abstractmethod
    def write(self, file: int, data: bytes | memoryview) -> int:
        """Append; the number of bytes that were written, which may be fewer than there are."""

    @abstractmethod
    def truncate(self, file: int, size: int) -> None:
        """Cut a file to so many bytes."""

    @abstractmethod
    def sync_data(self, file: int) -> None:
        """Wait until what was written, and the file's size, is on the disk (fdatasync)."""

    def kernel_sync(self) -> KernelSync | None:
        """What syncs as `sync_data` does, without anybody's waiting; None where there is no such thing."""
        return None

    @abstractmethod
    def sync(self, file: int) -> None:
        """Wait until a file with everything that belongs to it is on the disk (fsync)."""

    @abstractmethod
    def close(self, file: int) -> None:
        """Give a descriptor back."""

    @abstractmethod
    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, in place of what had that name."""

    @abstractmethod
    def unlink(self, path: Path) -> None:
        """Delete a file; one that is not there is fine."""

    @abstractmethod
    def sync_folder(self, path: Path) -> None:
        """Wait until a folder's names are on the disk."""


class OsDisk(Disk):
    """The operating system's file system."""

    def make_folder(self, path: Path) -> None:
        """See Disk."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, path: Path) -> int:
        """See Disk."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def open(self, path: Path) -> int:
        """See Disk."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def write(self, file: int, data: bytes | memoryview) -> int:
        """See Disk."""
        return os.write(file, data)

    def truncate(self, file: int, size: int) -> None:
        """See Disk."""
        os.ftruncate(file, size)

    def sync_data(self, file: int) -> None:
        """See Disk."""
        os.fdatasync(file)

    def sync(self, file: int) -> None:
        """See Disk."""
        os.fsync(file)

    def close(self, file: int) -> None:
        """See Disk."""
        os.close(file)

    def rename(self, source: Path, target: Path) -> None:
        """See Disk."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """See Disk."""
        path.unlink(missing_ok=True)

    def sync_folder(self, path: Path) -> None:
        """See Disk."""
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
