"""Locks between processes: pulls of two processes in one home take turns."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

_LOOK_AGAIN_S = 0.05


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold the lock of that path, as soon as it is free; a process that dies frees its locks."""
    while (lock := _try(path)) is None:  # noqa: ASYNC110  another process sets no event
        await asyncio.sleep(_LOOK_AGAIN_S)
    try:
        yield
    finally:
        _release(path, lock)


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock of that path, if it is free; whether it is held."""
    lock = _try(path)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            _release(path, lock)


def _try(path: Path) -> int | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists() and path.stat().st_ino == os.fstat(lock).st_ino:
            return lock  # else its last holder has removed the file: another may hold a newer one
    except (FileNotFoundError, BlockingIOError):
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _release(path: Path, lock: int) -> None:
    path.unlink(missing_ok=True)
    os.close(lock)
