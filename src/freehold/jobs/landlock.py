"""Hides folders from this process and what it starts, by Landlock: all of them but for what a job needs.

Landlock only knows what is allowed. So everything that stands beside a folder, and beside the folders that it lies
in, is allowed as before, and of the folder itself what is named. Symbolic links are not followed: what they point to
has a place of its own. A process that is held so cannot look into others that are not, nor send signals to them where
the kernel knows that. Capabilities that lead around this are given up, if there are any. See landlock(7).
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # on x86_64 and aarch64 alike
_VERSION: Final = 1  # LANDLOCK_CREATE_RULESET_VERSION
_BENEATH: Final = 1  # LANDLOCK_RULE_PATH_BENEATH
_LEAST_ABI: Final = 2  # before that, nothing could be renamed from one folder to another
_SCOPES_ABI: Final = 6
_SCOPES: Final = 3  # abstract UNIX sockets, signals
_CAPABILITIES: Final = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_GIVEN_UP: Final = 1 << 19 | 1 << 21 | 1 << 38  # CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON
_READ: Final = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, read a folder
_EVERYTHING: Final = (1 << 14) - 1  # up to LANDLOCK_ACCESS_FS_REFER
_TRUNCATE, _TRUNCATE_ABI = 1 << 14, 3
_OF_FILES: Final = 1 << 0 | 1 << 1 | 1 << 2 | _TRUNCATE
"""Rights that a file can have: execute, write, read, truncate."""


def hide(folders: Sequence[Path], own: Path, readable: Sequence[Path]) -> bool:
    """Hide folders for good; `no_new_privs` must be set, and this process have one thread only.

    Args:
        folders: what is hidden; one that is not there needs not be.
        own: a folder, in them or elsewhere, that stays as it was.
        readable: files and folders in them that can be read.

    Returns:
        Whether the kernel can do that, and there is any; nothing is hidden otherwise.

    Raises:
        OSError: the kernel can, and did not.
    """
    hidden = {folder.resolve() for folder in folders if folder.is_dir()}
    abi = _call(_CREATE, None, 0, _VERSION)
    if abi < _LEAST_ABI or not hidden:
        return False
    everything = _EVERYTHING | (_TRUNCATE if abi >= _TRUNCATE_ABI else 0)
    asked = struct.pack("=QQQ", everything, 0, _SCOPES)
    size = len(asked) if abi >= _SCOPES_ABI else 8
    rules = _done(_call(_CREATE, ctypes.c_char_p(asked), size, 0))
    try:
        for path in (*_beside(hidden), own):
            _allow(rules, path, everything)
        for path in readable:
            _allow(rules, path, _READ)
        _done(_call(_RESTRICT, rules, 0))
        _give_up()
    finally:
        os.close(rules)
    return True


def _give_up() -> None:
    """Give up the capabilities with which one looks into other processes whatever Landlock says."""
    header, sets = struct.pack("=Ii", _CAPABILITIES, 0), ctypes.create_string_buffer(24)
    libc = ctypes.CDLL(None, use_errno=True)
    _done(libc.capget(ctypes.c_char_p(header), sets))
    words = struct.unpack("=6I", sets.raw)
    kept = [word & ~(_GIVEN_UP >> (0 if place < len(words) // 2 else 32)) for place, word in enumerate(words)]
    packed = struct.pack("=6I", *(word & 0xFFFFFFFF for word in kept))
    _done(libc.capset(ctypes.c_char_p(header), ctypes.c_char_p(packed)))


def _beside(folders: set[Path]) -> Iterator[Path]:
    """What stands beside folders, and beside those that they lie in; one that lies in another is left out with it."""
    hidden = {each for each in folders if folders.isdisjoint(each.parents)}
    ways = {parent for each in hidden for parent in each.parents}
    for outer in ways:
        with os.scandir(outer) as entries:
            there = [Path(entry.path) for entry in entries if not entry.is_symlink()]
        yield from (path for path in there if path not in hidden and path not in ways)


def _allow(rules: int, path: Path, rights: int) -> None:
    """Allow what is beneath a path; what is gone, or closed to this user, needs no rule."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        _done(_call(_ADD, rules, _BENEATH, ctypes.c_char_p(struct.pack("=Qi", rights, place)), 0))
    finally:
        os.close(place)


def _call(number: int, *arguments: "int | ctypes.c_char_p | None") -> int:
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *given)
    return result


def _done(result: int) -> int:
    """What a system call has returned.

    Raises:
        OSError: it failed.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
