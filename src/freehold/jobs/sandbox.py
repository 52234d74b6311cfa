"""Runs a module as a job's process: without any network, and never longer than the process that started it.

`python -P -m freehold.jobs.sandbox PARENT_PID MEMORY_BYTES {isolated|open} HIDDEN READABLE MODULE ARGS…`

The process that is started bounds itself for good, starts another of itself that runs the module, and waits for that:
it ends the whole process group as soon as the parent is gone, and else ends as the module did.

A filter of system calls, which whatever the module starts inherits, refuses to make or connect sockets but for a pair
of connected ones within the process, and whatever gets around that: io_uring, and reaching into other processes. It
needs no privilege. The system calls' numbers are those of Linux on x86_64 and aarch64; elsewhere nothing is run but by
`open`. See seccomp(2), and seccomp_filter.rst of the kernel for the program's form.

PARENT_PID is 0 where whoever starts it cannot say, and sees itself that it does not begin for nobody. HIDDEN and
READABLE are lists in JSON: folders that an isolated process does not see but for the folder that it runs in, and what
of them can be read; with no folders nothing is hidden. See `freehold.jobs.landlock`.
"""

import ctypes
import errno
import json
import os
import platform
import resource
import runpy
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Final

from freehold.jobs.landlock import hide

REFUSED: Final = 125
"""The exit status where the process cannot be isolated; stderr says why."""
ISOLATED: Final = "isolated"
OPEN: Final = "open"

_WATCH_S: Final = 0.5
"""How often a system without a signal for it is asked whether the parent lives."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2

_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Machine → AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64 of <linux/audit.h>."""
_NEVER: Final = {
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "io_uring_setup": (425, 425),
    "pidfd_getfd": (438, 438),
}
"""System calls that are refused, with their numbers on x86_64 and aarch64."""
_SOCKETPAIR: Final = (53, 199)
"""Is allowed for streams, which reach nobody but their other end; a pair of datagram sockets could send anywhere."""
_OTHER_NUMBERING: Final = 0x40000000
"""System calls of x86_64's x32 have this bit, and other numbers."""

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_NUMBER_AT: Final = 0  # of struct seccomp_data
_ARCHITECTURE_AT: Final = 4
_FAMILY_AT: Final = 16
_TYPE_AT: Final = 24
_TYPE_BITS: Final = 0xF  # without SOCK_CLOEXEC and SOCK_NONBLOCK
_ALLOW: Final = 0x7FFF0000  # SECCOMP_RET_ALLOW
_REFUSE: Final = 0x00050000 | errno.EACCES  # SECCOMP_RET_ERRNO
_KILL: Final = 0x80000000  # SECCOMP_RET_KILL_PROCESS


class CannotIsolate(Exception):
    """This system cannot keep a process from the network; says why, and what can be done."""


def filter_program(machine: str) -> bytes:
    """The filter, as an array of `struct sock_filter`.

    Args:
        machine: as `platform.machine()` names it.

    Raises:
        CannotIsolate: its system calls' numbers are not known.
    """
    if machine not in _ARCHITECTURES:
        raise CannotIsolate(_advice(f"'{machine}' is none of {', '.join(_ARCHITECTURES)}"))
    place = list(_ARCHITECTURES).index(machine)
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _OTHER_NUMBERING),
        (_RETURN, 0, 0, _REFUSE),
    ]
    for numbers in _NEVER.values():
        steps += [(_EQUAL, 0, 1, numbers[place]), (_RETURN, 0, 0, _REFUSE)]
    steps += [
        (_EQUAL, 1, 0, _SOCKETPAIR[place]),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FAMILY_AT),
        (_EQUAL, 1, 0, socket.AF_UNIX),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _TYPE_AT),
        (_AND, 0, 0, _TYPE_BITS),
        (_EQUAL, 1, 0, socket.SOCK_STREAM),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def isolate() -> None:
    """Keep this process, and what it starts, from the network for good. It must have one thread only.

    Raises:
        CannotIsolate: the system cannot do it.
    """
    if sys.platform != "linux":
        raise CannotIsolate(_advice(f"the system is '{sys.platform}', not Linux"))
    program = filter_program(platform.machine())
    steps = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(steps))  # struct sock_fprog
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.create_string_buffer(header, len(header)))


def _hide(folders: list[Path], readable: list[Path]) -> None:
    """Hide folders, but for what can be read of them and the folder where this process runs.

    Raises:
        CannotIsolate: the kernel can, and did not.
    """
    if folders:
        try:
            hide(folders, Path.cwd(), readable)
        except OSError as exc:
            raise CannotIsolate(_advice(f"Landlock: {exc.strerror}")) from exc


def _advice(reason: str) -> str:
    return (
        f"A job's process cannot be kept from the network here: {reason}. Run jobs on Linux on x86_64 or aarch64, or "
        "set isolate = false in [jobs] to run them with the network."
    )


def _prctl(option: int, *arguments: "int | ctypes.Array[ctypes.c_char]") -> None:
    """Call prctl(2).

    Raises:
        CannotIsolate: the kernel refuses.
    """
    given = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments]
    rest = [ctypes.c_ulong(0)] * (4 - len(given))
    if ctypes.CDLL(None, use_errno=True).prctl(ctypes.c_int(option), *given, *rest) != 0:
        raise CannotIsolate(_advice(f"prctl({option}): {os.strerror(ctypes.get_errno())}"))


def _bound(memory_bytes: int) -> None:
    """No core file, and no more memory than that for each process; 0 is no bound."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def _end_group() -> None:
    os.killpg(0, signal.SIGKILL)


def _follow(parent: int) -> None:
    """End the process group once the parent is gone: at once where the kernel tells, else soon."""
    if sys.platform == "linux":
        signal.signal(signal.SIGTERM, lambda *_: _end_group())
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    else:
        threading.Thread(target=_ask_for, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        _end_group()


def _ask_for(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    _end_group()


def _wait_for(child: int) -> None:
    """Wait for the child, and end as it does. Its standard streams are its own."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        if -code not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _run(module: str, arguments: list[str], watcher: int) -> None:
    """Be the process of the module."""
    if sys.platform == "linux":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != watcher:
            _end_group()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main(arguments: list[str]) -> None:
    """Take the arguments that `freehold.jobs.process` gives."""
    parent, memory_bytes, how, hidden, readable, module, *rest = arguments
    starter = int(parent) or os.getppid()
    try:
        _bound(int(memory_bytes))
        if how != OPEN:
            isolate()
            _hide(*([Path(each) for each in json.loads(given)] for given in (hidden, readable)))
        _follow(starter)
    except CannotIsolate as exc:
        sys.stderr.write(f"{exc}\n")
        sys.exit(REFUSED)
    watcher = os.getpid()
    if child := os.fork():
        _wait_for(child)
    _run(module, rest, watcher)


if __name__ == "__main__":
    main(sys.argv[1:])
