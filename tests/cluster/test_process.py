import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from freehold.cluster.process import LINE_CHARACTERS, TAIL_LINES, EngineProcess, logged
from tests.serving.trial import BOTH_LOOPS, alive, eventually

Run = Callable[[Any], Any]


def _logger(capture: LogCapture) -> structlog.typing.FilteringBoundLogger:
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(None, processors=[capture])
    return logger


async def _start(script: str, capture: LogCapture | None = None, **env: str) -> EngineProcess:
    argv = (sys.executable, "-I", "-S", "-c", script)
    return await EngineProcess.start(argv, env, logged(_logger(capture or LogCapture())))


@BOTH_LOOPS
def test_what_a_process_writes_is_logged_line_by_line(run: Run) -> None:
    """Lines of both outputs are logged and the last kept; overlong ones are cut, control characters replaced."""

    async def main() -> None:
        capture = LogCapture()
        script = (
            "import sys\n"
            "sys.stdout.write('\\x1b[31mred\\x1b[0m\\n\\n' + 'x' * 100000 + '\\nno line end'); sys.stdout.flush()\n"
            "sys.stderr.buffer.write(b'\\xff bad\\n')\n"
            "sys.exit(3)"
        )
        process = await _start(script, capture)
        await asyncio.wait({process.exited})
        assert await process.kill()
        assert process.describe_exit() == "the engine exited with status 3"
        lines = [entry["line"] for entry in capture.entries if entry["event"] == "engine_log"]
        assert sorted(lines) == sorted([" [31mred [0m", "x" * LINE_CHARACTERS, "no line end", "\ufffd bad"])
        assert sorted(process.tail) == sorted(lines)

    run(main())


def test_only_the_last_lines_are_kept() -> None:
    """A process that writes much leaves its last lines."""

    async def main() -> None:
        process = await _start("for n in range(1000): print(n)")
        await asyncio.wait({process.exited})
        await process.kill()
        assert list(process.tail) == [str(number) for number in range(1000 - TAIL_LINES, 1000)]

    asyncio.run(main())


def test_secrets_of_the_environment_stay_here() -> None:
    """An engine has the environment that its launch names, and leads a process group of its own."""

    async def main() -> None:
        script = "import os; print(os.environ.get('GIVEN'), os.getpgrp() == os.getpid())"
        process = await _start(script, GIVEN="yes")
        await asyncio.wait({process.exited})
        await process.kill()
        assert list(process.tail) == ["yes True"]

    asyncio.run(main())


@BOTH_LOOPS
def test_a_process_ends_by_itself_or_is_killed(run: Run) -> None:
    """Asked to end, a willing process ends in its own way; an unwilling one is killed after the grace."""

    async def main() -> None:
        willing = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print(1, flush=True); signal.pause()"
        unwilling = "import signal; signal.signal(15, lambda *_: None); print(1, flush=True)\nwhile 1: signal.pause()"
        ends = []
        for script in (willing, unwilling):
            process = await _start(script)
            await eventually(lambda process=process: bool(process.tail), "its first line")  # type: ignore[misc]
            await process.terminate(5.0 if script == willing else 0.2)
            assert not alive(process.pid)
            ends.append(process.describe_exit())
        assert ends == ["the engine exited with status 0", "the engine was ended by SIGKILL"]

    run(main())


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="lists processes through /proc")
@BOTH_LOOPS
def test_starting_can_be_cancelled(run: Run) -> None:
    """A start that is cancelled at any moment leaves no process."""
    mark = f"mark = {os.getpid()}; import time; time.sleep(600)"

    def left() -> list[Path]:
        return [line for line in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _content(line)]

    async def main() -> None:
        for steps in range(12):
            starting = asyncio.create_task(_start(mark))
            for _ in range(steps):
                await asyncio.sleep(0)
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await starting).kill()
        await eventually(lambda: not left(), "the end of all")

    run(main())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
