"""Runs commands and servers in processes that are forked from one which has imported the program.

Importing is most of a command's time and of a server's start. Each is a process of its own, with its own environment,
folder and streams, as if it had been typed; that the program starts as it is typed, and what it imports then, have
tests of their own.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from freehold.cli.main import run

INTERPRETERS = ("PYTHON", "LD_", "MALLOC_", "LANG", "LC_", "TZ", "COLUMNS", "TERM", "NO_COLOR", "FORCE_COLOR")
"""Variables that are read when the interpreter or a library starts begin so; who sets one needs a whole start."""
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_APPEND


@lru_cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.imported"])
    return context


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether a process whose environment is to have these variables of its own can be forked."""
    return not any(name.startswith(INTERPRETERS) for name in environment)


_RUNNING: "set[Forked]" = set()


@atexit.register
def _end_all() -> None:
    """Leave no process behind whose test did not end it."""
    for process in tuple(_RUNNING):
        process.kill()


class Forked:
    """A process that runs until it ends or is ended; for its owner like a `subprocess.Popen`.

    Args:
        what: what it does: a function that can be imported, and its arguments.
        environment: all of it.
        streams: the files that are its standard input, output and error.
    """

    def __init__(
        self, what: tuple[Callable[..., Any], Any], environment: Mapping[str, str], streams: Sequence[Path | str]
    ) -> None:
        arguments = (*what, dict(environment), str(Path.cwd()), [str(stream) for stream in streams])
        self._process: ForkServerProcess = _context().Process(target=_be, args=arguments)  # has children of its own
        self._process.start()
        _RUNNING.add(self)
        self._lock = threading.Lock()
        pid = self._process.pid
        assert pid is not None, "it has been started"
        self.pid: int = pid

    def poll(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it; None while it runs."""
        with self._lock:
            code = self._process.exitcode
            if code is not None:
                _RUNNING.discard(self)  # who held on to all that have ended would run out of descriptors
            return code

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not ended after `timeout` seconds.
        """
        wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired([str(self.pid)], timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def start_command(args: Sequence[str], environment: Mapping[str, str], log: Path, output: Path | None = None) -> Forked:
    """Start a command that writes to a log until it ends; what it prints goes to `output`, where that is given."""
    return Forked((_command, list(args)), environment, (os.devnull, output or log, log))


def start_module(module: str, args: Sequence[str], environment: Mapping[str, str], log: Path) -> Forked:
    """Start `python -m MODULE ARGS`, which writes to a log until it ends."""
    return Forked((_module, [module, *args]), environment, (os.devnull, log, log))


def freehold(
    home: Path, *args: str, environment: Mapping[str, str] | None = None, timeout_s: float = 300
) -> "subprocess.CompletedProcess[str]":
    """Run one command on a home to its end, with these variables besides this process's own.

    Raises:
        subprocess.TimeoutExpired: as `run_forked`.
    """
    given = {**os.environ, **(environment or {})}
    return run_forked((*args, "--home", str(home)), given, "", timeout_s)


def run_forked(
    args: Sequence[str], environment: Mapping[str, str], stdin: str, timeout_s: float
) -> "subprocess.CompletedProcess[str]":
    """Run one command to its end.

    Raises:
        subprocess.TimeoutExpired: it did not end in time, and was killed.
    """
    with tempfile.TemporaryDirectory() as name:
        given, out, err = (Path(name) / stream for stream in ("stdin", "stdout", "stderr"))
        given.write_text(stdin, encoding="utf-8")
        process = Forked((_command, list(args)), environment, (given, out, err))
        try:
            status = process.wait(timeout_s)
        finally:
            process.kill()
        told, complained = (file.read_text(encoding="utf-8") for file in (out, err))
    return subprocess.CompletedProcess(list(args), status, told, complained)


def _command(args: list[str]) -> None:
    """Be the program."""
    sys.argv = ["freehold", *args]
    sys.exit(run(args))


def _module(argv: list[str]) -> None:
    """Be a module that is run."""
    sys.argv = argv
    runpy.run_module(argv[0], run_name="__main__", alter_sys=True)


def _be(
    what: Callable[[list[str]], None], args: list[str], environment: dict[str, str], cwd: str, streams: list[str]
) -> None:
    """Become what was asked for: its environment, its folder, its streams, and then what it does."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, stream in enumerate(streams):
        file = os.open(stream, _WRITE if number else os.O_RDONLY, 0o644)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # for as long as the process lives
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # for as long as the process lives
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    what(args)
