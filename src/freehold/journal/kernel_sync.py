"""Syncs that the kernel does by itself, and tells of by an event: Linux's asynchronous I/O (`io_submit(2)`).

A thread that syncs has to be woken, to wait for the interpreter twice, and to wake the event loop: several times the
processor time of the sync itself. Here one system call begins it, and the loop hears of its end as of a socket.
"""

import ctypes
import errno
import os
import platform
import sys
from contextlib import suppress
from typing import Final

from freehold.journal.disk import OsDisk

_NUMBERS: Final = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
"""By machine the numbers of io_setup, io_destroy, io_getevents and io_submit."""
_FDSYNC: Final = 3
"""IOCB_CMD_FDSYNC: as fdatasync."""
_TELL: Final = 1
"""IOCB_FLAG_RESFD."""


class _Order(ctypes.Structure):
    """`struct iocb` of <linux/aio_abi.h>, on a machine whose smallest byte is the first."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_int32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("file", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("event", ctypes.c_uint32),
    )


class _Done(ctypes.Structure):
    """`struct io_event` of the same file."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("order", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("result2", ctypes.c_int64),
    )


class _Time(ctypes.Structure):
    """`struct timespec`."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class KernelSync:
    """Syncs one file at a time. To be used by one thread.

    Raises:
        OSError: the system has no such thing, or no more of it.
    """

    def __init__(self) -> None:
        numbers = _NUMBERS.get(platform.machine())
        if numbers is None or sys.platform != "linux" or sys.byteorder != "little" or sys.maxsize < 2**32:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self._setup, self._destroy, self._events, self._submit = map(ctypes.c_long, numbers)
        # None of these calls waits, so the interpreter need not be given to another thread meanwhile.
        self._call = ctypes.PyDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        self._ask(self._setup, ctypes.c_long(1), ctypes.byref(self._context))
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        """Can be read when a sync has ended."""
        self._order = _Order(opcode=_FDSYNC, flags=_TELL, event=self.event)
        self._orders = (ctypes.POINTER(_Order) * 1)(ctypes.pointer(self._order))
        self._done = _Done()
        self._at_once = _Time(0, 0)

    def begin(self, file: int) -> None:
        """Begin to have everything that was written to a file come to be on the disk.

        Raises:
            OSError: it did not begin.
        """
        self._order.file = file
        self._ask(self._submit, self._context, ctypes.c_long(1), self._orders)

    def end(self) -> int | None:
        """Take the end of the sync back: 0, or the number of the error; None if it has not ended yet. Never waits.

        The kernel queues an end before it tells of it, so that none is missed whether or not it was told already.

        Raises:
            OSError: the system does not say.
        """
        with suppress(BlockingIOError):
            os.eventfd_read(self.event)
        none, one = ctypes.c_long(0), ctypes.c_long(1)
        if not self._ask(self._events, self._context, none, one, ctypes.byref(self._done), ctypes.byref(self._at_once)):
            return None
        return -int(self._done.result)

    def close(self) -> None:
        """Give everything back; waits for a sync that runs."""
        self._ask(self._destroy, self._context)
        os.close(self.event)

    def _ask(self, *arguments: object) -> int:
        told: int = self._call(*arguments)
        if told < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return told


class KernelDisk(OsDisk):
    """The operating system's file system, with the kernel's own syncs where it has such."""

    def kernel_sync(self) -> KernelSync | None:
        """See Disk."""
        try:
            return KernelSync()
        except OSError:
            return None
