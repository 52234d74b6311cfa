"""Runs a module of ours in a Python that can train, which this one need not be, and passes on what it says.

    await run_module("freehold.training.data.worker", [json], say)

The module says lines on standard output, and what goes wrong on standard error. It ends with this coroutine: it is
asked to stop first, so that a training can write a checkpoint. Its `__main__` part is
`sys.exit(worker_status(main))`.
"""

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeAlias

from freehold.config import engine_environment
from freehold.engines.parent import follow_parent
from freehold.errors import ConfigError, EngineFailed, FreeholdError

Say: TypeAlias = Callable[[str], None]

NEEDS: Final = ("torch", "tokenizers")
REFUSED: Final = 2
"""The status of a process whose input is wrong; the last line on standard error says what."""
INTERRUPTED: Final = 130
PATIENCE_S: Final = 120.0
"""How long a process that was asked to stop may take before it is killed."""
LONGEST_LINE_BYTES: Final = 1 << 20
QUICK_MEMORY: Final[Mapping[str, str]] = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
}
"""Environment of a training: has the C library keep the memory of one step for the next."""
PATIENT: Final[Mapping[str, str]] = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""Environment of a training that shares its processor: has threads that wait for one another sleep. They look again and
again otherwise, and where another process has the core of the one that is waited for, that is all that they do."""
_REMEMBERED: Final = 100
"""Lines of standard error that are told where a process broke down."""


def found_python(environment: Path, needs: Sequence[str] = NEEDS) -> str:
    """This interpreter if it can train; else the one that `make setup-train` makes, if it is there.

    Args:
        environment: the folder of this interpreter's environment, beside which that one would lie.
        needs: what must be importable.
    """
    beside = environment.parent / ".venv-train" / "bin" / "python"
    here = all(find_spec(name) is not None for name in needs)
    return sys.executable if here or not beside.exists() else str(beside)


def training_python(needs: Sequence[str] = NEEDS) -> str:
    """The interpreter that trains.

    Raises:
        ConfigError: there is none; says what to install.
    """
    python = found_python(Path(sys.prefix), needs)
    if python == sys.executable and (missing := [name for name in needs if find_spec(name) is None]):
        raise ConfigError(
            f"training needs {' and '.join(missing)}; install them with: make setup-train, "
            "or pip install 'freehold[train]'"
        )
    return python


async def run_module(
    module: str,
    arguments: Sequence[str],
    say: Say,
    *,
    environment: Mapping[str, str] | None = None,
    python: str | None = None,
) -> None:
    """Run a module of ours to its end.

    Args:
        module: its full name.
        arguments: of its command line.
        say: is told each line of its standard output.
        environment: is added to this process's own, less what looks like a secret.
        python: the interpreter; without one, that which trains.

    Raises:
        ConfigError: what it was given is wrong, or there is no Python that can train; says what.
        EngineFailed: it ended badly; its last line is in the message, and all that it complained of has been said.
    """
    process = await asyncio.create_subprocess_exec(
        python or training_python(), "-P", "-m", module, *arguments,
        stdin=DEVNULL, stdout=PIPE, stderr=PIPE, limit=LONGEST_LINE_BYTES,
        env=engine_environment({"PYTHONUNBUFFERED": "1", **(environment or {})}),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    complaints: deque[str] = deque(maxlen=_REMEMBERED)
    reading = asyncio.gather(_pass_on(process.stdout, say), _pass_on(process.stderr, complaints.append))
    try:
        await asyncio.shield(reading)
        status = await process.wait()
    finally:
        await _ended(process, reading)
    last = next((line for line in reversed(complaints) if line), "")
    if status == REFUSED:
        raise ConfigError(last or f"{module} refused what it was given")
    if status != 0:
        for line in complaints:
            say(line)
        raise EngineFailed(f"{module} ended with status {status}: {last or 'it said nothing'}")


async def _pass_on(stream: asyncio.StreamReader, say: Callable[[str], object]) -> None:
    async for raw in stream:
        say(raw.decode(errors="replace").rstrip())


async def _ended(process: asyncio.subprocess.Process, reading: asyncio.Future[Any]) -> None:
    """Have the process stop, if it runs, while what it says is still read."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), PATIENCE_S)
        except TimeoutError:
            process.kill()
    await asyncio.wait([asyncio.ensure_future(reading)], timeout=1)


def worker_status(work: Callable[[], None]) -> int:
    """Do the work of a process that `run_module` started, and return its exit status.

    It ends with the process that started it. What the user can mend becomes one line on standard error.
    """
    follow_parent()
    try:
        work()
    except FreeholdError as exc:
        sys.stderr.write(f"{' '.join(exc.message.split())}\n")
        return REFUSED if isinstance(exc, ConfigError) else 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def asked_to_stop() -> Callable[[], bool]:
    """Have signals ask for a stop instead of ending the process; the same one again ends it."""
    asked: set[int] = set()

    def ask(number: int, _: FrameType | None) -> None:
        asked.add(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    return lambda: bool(asked)
