"""The file that records are appended to."""

import errno
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from freehold.journal.disk import Disk, KernelSync
from freehold.journal.reader import segment_path

NEW: Final = ".new"
"""What the name of a file ends with that is not yet a segment."""

_PROBE: Final = b" " * 64 * 1024
"""It has no newline, so that a reader takes what is left of it after a crash for a torn tail."""


class DiskLost(Exception):
    """A sync or a truncation failed: nobody knows what is on the disk, and nothing more may be written."""


@dataclass(slots=True)
class Segment:
    """The segment that is written.

    Attributes:
        number: its number.
        size: bytes up to the end of its last whole record.
        header_bytes: the length of its first line, which does not count towards its limit: what it carries may be
            longer than the limit.
    """

    number: int
    size: int
    header_bytes: int
    _file: int
    _disk: Disk

    def append(self, data: bytes) -> None:
        """Write whole lines; all of them or, as far as anybody can see later, none.

        Raises:
            OSError: they could not be written, and the segment is as it was.
            DiskLost: nor could it be brought back to what it was.
        """
        try:
            written = self._disk.write(self._file, data)
        except OSError:
            self.cut(self.size)
            raise
        if written != len(data):
            self.cut(self.size)
            raise OSError(errno.ENOSPC, f"{written} of {len(data)} bytes were written")
        self.size += written

    def probe(self) -> None:
        """Find out whether there is room again.

        Raises:
            OSError: there is none.
            DiskLost: see append.
        """
        size = self.size
        self.append(_PROBE)
        self.cut(size)

    def cut(self, size: int) -> None:
        """Take back what stands behind so many bytes.

        Raises:
            DiskLost: it is still there.
        """
        try:
            self._disk.truncate(self._file, size)
        except OSError as exc:
            raise DiskLost(f"the end of the segment could not be cut: {exc.strerror}") from exc
        self.size = size

    def sync(self) -> None:
        """Wait until all that was written is on the disk.

        Raises:
            DiskLost: it may not be, and another call would not tell.
        """
        try:
            self._disk.sync_data(self._file)
        except OSError as exc:
            raise DiskLost(f"the segment could not be synced: {exc.strerror}") from exc

    def begin_sync(self, kernel: KernelSync) -> None:
        """As `sync`, without waiting; how it ended is told to whoever takes it from `kernel`.

        Raises:
            OSError: it did not begin.
        """
        kernel.begin(self._file)

    def close(self) -> None:
        """Give the file back. What matters was synced before."""
        with suppress(OSError):
            self._disk.close(self._file)


def write_segment(disk: Disk, folder: Path, number: int, header_bytes: int, data: bytes) -> Segment:
    """Put a whole segment in place: written under a temporary name, synced, renamed, and the folder synced.

    Args:
        disk: the file system.
        folder: the writer's folder.
        number: of the segment; one that is there is replaced.
        header_bytes: the length of its first line with the newline.
        data: whole lines.

    Raises:
        OSError: it failed; the segment is there as a whole or as it was before, and may be written again.
    """
    path = segment_path(folder, number)
    temporary = path.with_name(path.name + NEW)
    file = disk.create(temporary)
    try:
        _write_all(disk, file, data)
        disk.sync(file)
        disk.rename(temporary, path)
        disk.sync_folder(folder)
    except OSError:
        with suppress(OSError):
            disk.close(file)
        with suppress(OSError):
            disk.unlink(temporary)
        raise
    return Segment(number, len(data), header_bytes, file, disk)


def _write_all(disk: Disk, file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        written = disk.write(file, left)
        if not written:
            raise OSError(errno.ENOSPC, "nothing was written")
        left = left[written:]
