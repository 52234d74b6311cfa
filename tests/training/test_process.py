"""Running a module of ours in the Python that trains."""

import asyncio
import sys
from pathlib import Path

import pytest

from freehold.errors import ConfigError, EngineFailed
from freehold.training.process import REFUSED, run_module

PATIENCE_S = 30.0


def module(folder: Path, text: str) -> dict[str, str]:
    """The environment in which `told` is a module of this text."""
    (folder / "told.py").write_text(text, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def run(folder: Path, text: str, *arguments: str) -> list[str]:
    """What a module of this text says."""
    said: list[str] = []
    started = run_module("told", arguments, said.append, environment=module(folder, text), python=sys.executable)
    asyncio.run(started)
    return said


def test_what_it_says_is_passed_on(tmp_path: Path) -> None:
    """Lines of standard output arrive in their order, and warnings beside them do not matter."""
    said = run(tmp_path, "import sys; sys.stderr.write('warning\\n'); print('a'); print(sys.argv[1])", "b")
    assert said == ["a", "b"]


def test_wrong_input_is_told_as_such(tmp_path: Path) -> None:
    """A process that refuses its input gives the error that the user sees."""
    text = f"import sys; sys.stderr.write('warning\\nline 3 is broken\\n'); sys.exit({REFUSED})"
    with pytest.raises(ConfigError, match=r"^line 3 is broken$"):
        run(tmp_path, text)


def test_a_breakdown_is_told_with_its_trace(tmp_path: Path) -> None:
    """Of a process that breaks down the last line is the error, and all that it complained of is said."""
    said: list[str] = []
    with pytest.raises(EngineFailed, match="ended with status 1: ZeroDivisionError"):
        asyncio.run(run_module("told", [], said.append, environment=module(tmp_path, "1 / 0"), python=sys.executable))
    assert said[0].startswith("Traceback")


def test_it_is_asked_to_stop_and_heard_to_its_end(tmp_path: Path) -> None:
    """Who stops waiting has the process stop, and what it says while it does so is passed on."""
    text = (
        "import signal, sys, time\n"
        "def stop(*_):\n    print('checkpoint written')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\nprint('ready')\ntime.sleep(600)\n"
    )
    said: list[str] = []

    async def leave_once_ready() -> None:
        ready = asyncio.Event()

        def say(line: str) -> None:
            said.append(line)
            ready.set()

        started = run_module("told", [], say, environment=module(tmp_path, text), python=sys.executable)
        running = asyncio.create_task(started)
        await asyncio.wait_for(ready.wait(), PATIENCE_S)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(leave_once_ready())
    assert said == ["ready", "checkpoint written"]
