"""Runs commands in processes that are forked from one which has imported the program: most of a command's time is that.

Each is a process of its own, with its own environment, folder and streams, as if it had been typed; that the program
starts as it is typed, and what it imports then, have tests of their own.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

from freehold.cli.main import run

STREAMS = (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY))


@lru_cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.cli.imported"])
    return context


def run_forked(
    args: Sequence[str], environment: Mapping[str, str], stdin: str, timeout_s: float
) -> "subprocess.CompletedProcess[str]":
    """Run one command to its end.

    Raises:
        subprocess.TimeoutExpired: it did not end in time, and was killed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stream, _ in STREAMS:
            (folder / stream).write_text(stdin if stream == "stdin" else "", encoding="utf-8")
        process = _context().Process(target=_command, args=(list(args), dict(environment), str(Path.cwd()), name))
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(args), timeout_s)
        out, err = ((folder / stream).read_text(encoding="utf-8") for stream in ("stdout", "stderr"))
        status = process.exitcode
        process.close()
    return subprocess.CompletedProcess(list(args), status, out, err)


def _command(args: list[str], environment: dict[str, str], cwd: str, folder: str) -> None:
    """Be the program."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, (stream, flags) in enumerate(STREAMS):
        file = os.open(f"{folder}/{stream}", flags)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # for as long as the process lives
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # for as long as the process lives
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    sys.argv = ["freehold", *args]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run(args))
