"""The memory that the C library keeps for a process that serves.

Where threads allocate, glibc gives each an arena of its own, up to eight for each core, and keeps what was freed in
them. Threads of Python take turns at the interpreter's lock, so few arenas serve as many. The environment variable for
that (`MALLOC_ARENA_MAX`) is read before a program begins: one that is installed with pip calls `mallopt` instead.
Other C libraries have neither function, and keep less. Source: mallopt(3) and malloc_trim(3), Linux man-pages.
"""

import ctypes
from typing import Any, Final

ARENAS: Final = 2
_M_ARENA_MAX: Final = -8


def share_arenas() -> None:
    """Have all threads allocate from a few arenas; to be called before there is a second thread."""
    mallopt = _of_c("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Give memory that was freed back to the system; takes some milliseconds."""
    malloc_trim = _of_c("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(ctypes.c_size_t(0))


def _of_c(name: str) -> Any:
    """A function of the C library; None where it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None)
