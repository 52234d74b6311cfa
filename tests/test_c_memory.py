"""The memory that the C library keeps."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no arenas")

_THREADS = """
import ctypes, os, sys, threading
from freehold.c_memory import share_arenas
if sys.argv[1] == "shared":
    share_arenas()
c = ctypes.CDLL(None)
c.malloc.restype = c.fdopen.restype = ctypes.c_void_p
all_here, may_end = threading.Barrier(9), threading.Event()
def allocate():
    assert c.malloc(1000)
    all_here.wait()
    may_end.wait()
for _ in range(8):
    threading.Thread(target=allocate).start()
all_here.wait()
out = ctypes.c_void_p(c.fdopen(1, b"w"))
c.malloc_info(0, out)
c.fflush(out)
may_end.set()
"""


def _arenas(how: str) -> int:
    """How many arenas a process with eight threads has."""
    run = subprocess.run([sys.executable, "-c", _THREADS, how], capture_output=True, text=True, check=True, timeout=60)
    return run.stdout.count("<heap nr=")


def test_threads_share_arenas() -> None:
    """Eight threads that allocate have an arena each where nothing is said, and two in all where they share."""
    assert _arenas("own") > 2
    assert _arenas("shared") == 2


_FREED = """
import ctypes, os
from freehold.c_memory import give_back
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
blocks = [c.malloc(65536) for _ in range(1000)]
for block in blocks:
    ctypes.memset(ctypes.c_void_p(block), 1, 65536)
for block in blocks[:-1]:
    c.free(ctypes.c_void_p(block))
before = resident()
give_back()
print(before - resident())
"""


def test_what_was_freed_goes_back() -> None:
    """Of 65 MB that were freed below something that is in use, most are the system's again."""
    run = subprocess.run([sys.executable, "-c", _FREED], capture_output=True, text=True, check=True, timeout=60)
    assert int(run.stdout) > 50_000_000
