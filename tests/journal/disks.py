"""Disks for the journal's tests: one that writes down what is done to it, and ones that fail."""

import errno
import os
import threading
from pathlib import Path

from freehold.journal.disk import OsDisk
from freehold.journal.kernel_sync import KernelSync


class RecordingDisk(OsDisk):
    """The real file system, and a list of what was done: (operation, file name)."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self._names: dict[int, str] = {}

    def note(self, operation: str, name: str) -> None:
        """Add something to the list."""
        self.done.append((operation, name))

    def make_folder(self, path: Path) -> None:
        self.note("make_folder", path.name)
        super().make_folder(path)

    def create(self, path: Path) -> int:
        self.note("create", path.name)
        file = super().create(path)
        self._names[file] = path.name
        return file

    def open(self, path: Path) -> int:
        self.note("open", path.name)
        file = super().open(path)
        self._names[file] = path.name
        return file

    def write(self, file: int, data: bytes | memoryview) -> int:
        self.note("write", self._names[file])
        return super().write(file, data)

    def truncate(self, file: int, size: int) -> None:
        self.note("truncate", self._names[file])
        super().truncate(file, size)

    def sync_data(self, file: int) -> None:
        self.note("sync_data", self._names[file])
        super().sync_data(file)

    def sync(self, file: int) -> None:
        self.note("sync", self._names[file])
        super().sync(file)

    def close(self, file: int) -> None:
        self.note("close", self._names[file])
        super().close(file)

    def rename(self, source: Path, target: Path) -> None:
        self.note("rename", f"{source.name} {target.name}")
        super().rename(source, target)
        for file, name in self._names.items():
            if name == source.name:
                self._names[file] = target.name

    def unlink(self, path: Path) -> None:
        self.note("unlink", path.name)
        super().unlink(path)

    def sync_folder(self, path: Path) -> None:
        self.note("sync_folder", path.name)
        super().sync_folder(path)


class NotedKernel(KernelSync):
    """The kernel's own syncs, each of which is noted at its end, and fails if that does.

    Args:
        disk: takes the note.
    """

    def __init__(self, disk: RecordingDisk) -> None:
        super().__init__()
        self._disk = disk

    def end(self) -> int | None:
        ended = super().end()
        if ended is None:
            return None
        try:
            self._disk.note("kernel_sync", "")
        except OSError as exc:
            return exc.errno or errno.EIO
        return ended


class HeldKernel(KernelSync):
    """The kernel's own syncs, none of which begins before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[int] = []
        """The files that are to be synced."""

    def begin(self, file: int) -> None:
        self.held.append(file)

    def let_go(self) -> None:
        """Begin the one that is held."""
        super().begin(self.held.pop())


class FailingDisk(RecordingDisk):
    """A disk of which one operation fails, and for some time those that follow it.

    Args:
        nth: which operation, from 1.
        times: how many from there on.
        half: whether a write that fails leaves half of its data behind.
        kernel: whether the kernel syncs by itself; then that fails too.
    """

    def __init__(self, nth: int, times: int = 1, *, half: bool = False, kernel: bool = False) -> None:
        super().__init__()
        self._kernel = kernel
        self._first, self._end = nth, nth + times
        self._half = half
        self._count = 0
        self._lock = threading.Lock()

    def fail_from_now(self) -> None:
        """Have every operation fail that comes."""
        self._first, self._end = self._count + 1, 1_000_000_000

    @property
    def has_failed(self) -> bool:
        """Whether the operation came."""
        return self._count >= self._first

    def note(self, operation: str, name: str) -> None:
        super().note(operation, name)
        with self._lock:
            self._count += 1
            fails = self._first <= self._count < self._end
        if fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO), f"{operation} {name}")

    def kernel_sync(self) -> KernelSync | None:
        return NotedKernel(self) if self._kernel else None

    def write(self, file: int, data: bytes | memoryview) -> int:
        try:
            return super().write(file, data)
        except OSError:
            if self._half:
                os.write(file, data[: len(data) // 2])
            raise


class SmallDisk(OsDisk):
    """A disk with room for so many bytes more; a write that does not fit goes as far as there is room.

    Args:
        room_bytes: how many.
    """

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes

    def write(self, file: int, data: bytes | memoryview) -> int:
        if not self.room_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = super().write(file, data[: self.room_bytes])
        self.room_bytes -= written
        return written

    def truncate(self, file: int, size: int) -> None:
        self.room_bytes += os.fstat(file).st_size - size
        super().truncate(file, size)
