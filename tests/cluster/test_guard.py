import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.cluster.guard import guard_argv
from tests.serving.trial import alive, eventually

SLEEPER = (sys.executable, "-I", "-S", "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)")


def _start(platform: str, argv: tuple[str, ...] = SLEEPER) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        guard_argv(argv, platform=platform), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_no_engine_survives_a_gateway_that_is_killed(tmp_path: Path, loop: str) -> None:
    """After kill -9 of the gateway its engines are gone within seconds, even one that hangs."""
    gateway = subprocess.Popen(
        [sys.executable, "-m", "tests.serving.trial_gateway", str(tmp_path), loop], stdout=subprocess.PIPE
    )
    assert gateway.stdout is not None
    with gateway:
        pids = [int(text) for text in gateway.stdout.readline().split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        os.killpg(pids[0], signal.SIGSTOP)
        gateway.kill()
    asyncio.run(eventually(lambda: not any(alive(pid) for pid in pids), "the engines' end"))


def test_without_the_kernels_help_the_guard_kills_the_engine() -> None:
    """Where the kernel cannot tie two processes, the guard stays and kills the engine when its input ends."""
    guard = _start("darwin")
    assert guard.stdin is not None
    assert guard.stdout is not None
    with guard:
        engine = int(guard.stdout.readline())
        assert engine != guard.pid
        os.kill(engine, signal.SIGSTOP)
        assert alive(engine)
        guard.stdin.close()
        assert guard.wait(20) == -signal.SIGKILL
    asyncio.run(eventually(lambda: not alive(engine), "the engine's end"))


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize(("script", "code"), [("raise SystemExit(7)", 7), ("import os; os.abort()", -signal.SIGABRT)])
def test_the_engines_exit_is_told(platform: str, script: str, code: int) -> None:
    """Status and signal with which an engine ends reach the gateway through the guard."""
    if platform == "linux" and sys.platform != "linux":
        pytest.skip("asks the Linux kernel")
    with _start(platform, (sys.executable, "-I", "-S", "-c", script)) as guard:
        assert guard.wait(20) == code


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_the_engine_can_be_asked_to_end(platform: str) -> None:
    """SIGTERM to the group ends the engine in good order, and the guard with it."""
    if platform == "linux" and sys.platform != "linux":
        pytest.skip("asks the Linux kernel")
    script = "import signal, sys; signal.signal(15, lambda *_: sys.exit(5)); print(1, flush=True); signal.pause()"
    with _start(platform, (sys.executable, "-I", "-S", "-c", script)) as guard:
        assert guard.stdout is not None
        guard.stdout.readline()
        os.killpg(guard.pid, signal.SIGTERM)
        assert guard.wait(20) == 5


def test_a_program_that_is_not_there_is_named() -> None:
    """An engine whose program is missing ends at once with a line that says so."""
    done = subprocess.run(
        guard_argv(("/nonexistent/engine",)), check=False, capture_output=True, text=True, start_new_session=True
    )
    assert done.returncode != 0
    assert "/nonexistent/engine" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_a_guard_whose_gateway_has_gone_starts_nothing() -> None:
    """A gateway that died while the guard came up leaves no engine behind."""
    argv = guard_argv((sys.executable, "-c", "print('started')"))
    argv[argv.index(str(os.getpid()))] = "1"
    done = subprocess.run(argv, check=False, capture_output=True, text=True, start_new_session=True)
    assert done.returncode != 0
    assert "started" not in done.stdout
    assert "gone" in done.stderr
