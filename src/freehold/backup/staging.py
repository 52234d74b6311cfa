"""Putting a folder in the place of another: whole or not at all.

What is to be the home is made in a hidden folder beside it, so on the same file system, and takes its place by one
rename. What was there before is renamed too, never deleted. Whatever happens in between, a full disk, an interrupt, a
loss of power, there is the old folder, or the new one, or (between two renames) both under other names.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from freehold.errors import Conflict, HomeError


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """An empty folder beside a target, mode 0700; deleted at the end if it has not taken the target's place.

    Raises:
        Conflict: another process is restoring there.
        HomeError: the folder cannot be made.
    """
    place = target.with_name(f".{target.name}.restoring")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        raise HomeError(f"{place} cannot be made: {exc.strerror}") from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another process restores a backup into {target}; wait until it is done") from None
        _empty(place)  # of what a restore left that was killed
        try:
            yield place
        finally:
            if _is(place, descriptor):
                shutil.rmtree(place, ignore_errors=True)
    finally:
        os.close(descriptor)


@contextmanager
def unused(target: Path, *, replace: bool) -> Iterator[None]:
    """See that a home may be made at a path, and keep other processes from using what is there.

    Args:
        target: the path.
        replace: whether there may be something already.

    Raises:
        Conflict: there is something, and it is not to be replaced.
        HomeError: a process uses it, or it is no folder of its own.
    """
    if target.exists() and not target.is_dir():
        raise HomeError(f"{target} is no folder; give another --home")
    if os.path.ismount(target):
        raise HomeError(f"{target} is where a file system is mounted, and cannot be renamed; give a folder in it")
    if target.exists() and any(target.iterdir()) and not replace:
        raise Conflict(f"{target} is not empty; give another --home, or --replace to move aside what is there")
    lock = target / "lock"
    if not lock.exists():
        yield
        return
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeError(f"a Freehold process uses the home {target}; stop it before restoring into it") from None
        yield
    finally:
        os.close(descriptor)


def put_in_place(place: Path, target: Path, stamp: str) -> Path | None:
    """Have a staged folder take a target's place.

    Args:
        place: the staged folder, everything in it on the disk.
        target: where it goes; what is there is moved aside, unless it is an empty folder.
        stamp: what the name of what was there gets.

    Returns:
        Where what was there is now; None if there was nothing.

    Raises:
        HomeError: it cannot be done, and all is as it was.
    """
    aside: Path | None = None
    try:
        if target.exists() and any(target.iterdir()):
            aside = target.with_name(f"{target.name}.replaced-{stamp}")
            target.rename(aside)
        try:
            place.rename(target)
        except OSError:
            if aside is not None:
                aside.rename(target)
            raise
        descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with suppress(OSError):
            os.fsync(descriptor)
        os.close(descriptor)
    except OSError as exc:
        raise HomeError(f"the home cannot be put in place as {target}: {exc.strerror}") from exc
    return aside


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _is(place: Path, descriptor: int) -> bool:
    """Whether a path still names the folder that a descriptor is of."""
    with suppress(FileNotFoundError):
        return os.path.samestat(place.lstat(), os.fstat(descriptor))
    return False
