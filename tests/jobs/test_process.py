"""The processes of jobs: what they cannot do, how they are talked with, and that they never stay behind."""

import asyncio
import ctypes
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from freehold.errors import JobProcessFailed
from freehold.jobs.process import LOG_BYTES, SANDBOX, Bounds, JobProcess
from freehold.jobs.sandbox import CannotIsolate, filter_program
from tests.jobs.starting import PATHS, alive
from tests.service import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are isolated by Linux")

PROGRAM = "tests.jobs.program"


def landlocked() -> bool:
    """Whether this kernel can hide files."""
    version: int = ctypes.CDLL(None).syscall(ctypes.c_long(444), None, ctypes.c_long(0), ctypes.c_long(1))
    return version >= 2


def started(folder: Path, *arguments: str, **options: Any) -> JobProcess:
    """A process that runs a function of the tests' program."""
    return JobProcess(PROGRAM, arguments, folder, environment=PATHS, **options)


def heard(folder: Path, *arguments: str, **options: Any) -> tuple[list[Any], int, str]:
    """What such a process says, its exit status, and what it complains of."""

    async def scenario() -> tuple[list[Any], int, str]:
        async with started(folder, *arguments, **options) as process:
            messages = [message async for message in process.messages()]
            return messages, await process.wait(), process.complaint

    return asyncio.run(scenario())


def test_there_is_no_network(tmp_path: Path) -> None:
    """Sockets of every family, names and io_uring are refused, to the process and to what it starts."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
        local.bind(str(tmp_path / "local"))
        where = (str(server.getsockname()[1]), str(tmp_path / "local"))
        messages, status, complaint = heard(tmp_path, "network", *where)
        free, _, _ = heard(tmp_path, "network", *where, isolate=False)
    assert (status, complaint) == (0, "")
    refused = ("inet", "inet6", "unix", "unix datagrams", "netlink", "io_uring")
    expected = {**dict.fromkeys(refused, "PermissionError"), "names": "gaierror", "streams within": ""}
    assert messages == [{"own": expected}, {"child": expected}]
    assert free[0]["own"]["inet"] == "", "the same succeeds where it is not isolated"
    assert free[0]["own"]["unix datagrams"] == ""


@pytest.mark.skipif(not landlocked(), reason="the kernel has no Landlock")
def test_a_home_is_hidden(tmp_path: Path) -> None:
    """Of a home a process sees its own folder and what it may read; nor does it see the server's environment."""
    home = tmp_path / "home"
    own, base = home / "jobs" / "mine", home / "models" / "base"
    for folder in (own, base.parent, home / "jobs" / "other"):
        folder.mkdir(parents=True)
    base.write_bytes(b"weights")
    (home / "master.key").write_bytes(b"secret")
    (own / "link").symlink_to(home / "master.key")
    where = ("files", str(home), str(base), str(os.getpid()))
    messages, status, complaint = heard(own, *where, hidden=[home], readable=[base])
    assert (status, complaint) == (0, "")
    seen = {"own", "base", "python"}
    (told,) = messages
    told.pop("signal")  # older kernels do not know of it
    assert {name for name, problem in told.items() if not problem} == seen
    assert {told[name] for name in told if name not in seen} == {"PermissionError"}
    shutil.rmtree(own / "own")
    (free,), _, _ = heard(own, *where)
    assert free["key"] == free["others"] == "", "the same succeeds where nothing is hidden"


@pytest.mark.skipif(not landlocked(), reason="the kernel has no Landlock")
def test_several_folders_are_hidden(tmp_path: Path) -> None:
    """Two folders are hidden, one within the other or not, and one that is not there makes no difference."""
    home, shared = tmp_path / "a" / "home", tmp_path / "b" / "shared"
    own, base = shared / "jobs" / "mine", home / "models" / "base"
    for folder in (own, base.parent, home / "jobs" / "mine"):
        folder.mkdir(parents=True)
    base.write_bytes(b"weights")
    (home / "master.key").write_bytes(b"secret")
    (shared / "master.key").write_bytes(b"secret")
    hidden = [home, home / "models", shared, tmp_path / "none"]
    for folder in (home, shared):
        (told,), status, _ = heard(
            own, "files", str(folder), str(base), str(os.getpid()), hidden=hidden, readable=[base]
        )
        assert status == 0
        assert {told[name] for name in ("key", "others", "new")} == {"PermissionError"}
        assert told["own"] == told["base"] == told["python"] == ""
        shutil.rmtree(own / "own")


def test_what_training_needs_works(tmp_path: Path) -> None:
    """Threads, files and mapped files work, in the job's folder, which is no place to import from."""
    messages, status, _ = heard(tmp_path, "work", "data.bin")
    (message,) = messages
    assert status == 0
    assert message["sums"] == [499500] * 4
    assert message["first"] == ord("y")
    assert message["argv"][1:] == ["work", "data.bin"]
    assert message["folder"] == str(tmp_path)
    assert message["core"] == "0", "a crash leaves no file"
    assert message["paths"] == [PATHS["PYTHONPATH"]]


def test_numbers_are_computed(tmp_path: Path) -> None:
    """A library of native code with threads of its own is loaded and computes."""
    code = "import numpy as n, sys; sys.exit(int((n.ones((300, 300)) @ n.ones((300, 300))).sum() != 300 ** 3))"
    (tmp_path / "computing.py").write_text(code, encoding="utf-8")

    async def scenario() -> int:
        async with JobProcess("computing", [], tmp_path, environment={"PYTHONPATH": str(tmp_path)}) as process:
            return await process.wait()

    assert asyncio.run(scenario()) == 0


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A process that wants more memory than it may have gets none."""
    count = 512 * 1024 * 1024
    assert heard(tmp_path, "memory", str(count), memory_bytes=256 * 1024 * 1024)[0] == [{"taken": 0}]
    assert heard(tmp_path, "memory", str(count))[0] == [{"taken": count}]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_messages_go_both_ways(tmp_path: Path, run: Callable[[Awaitable[None]], None]) -> None:
    """What the process is told it hears, and what it says is heard, in order, on either event loop."""

    async def scenario() -> None:
        async with started(tmp_path, "echo") as process:
            replies = process.messages()
            for number in range(3):
                await process.tell({"number": number, "text": "ü\n"})
                assert await anext(replies) == {"heard": {"number": number, "text": "ü\n"}}

    run(scenario())


@pytest.mark.parametrize(
    ("kind", "complaint"), [("text", "no JSON"), ("list", "no JSON object"), ("long", "more than 16777216 bytes")]
)
def test_nonsense_is_an_error(tmp_path: Path, kind: str, complaint: str) -> None:
    """A line that is no JSON object or too long is an error, after what came before it was heard."""

    async def scenario() -> None:
        async with started(tmp_path, "lines", kind) as process:
            messages = process.messages()
            assert await anext(messages) == {"first": True}
            with pytest.raises(JobProcessFailed, match=complaint):
                await anext(messages)

    asyncio.run(scenario())


def test_a_torn_line_is_dropped(tmp_path: Path) -> None:
    """The line in which a process died says nothing; its exit status does."""
    assert heard(tmp_path, "lines", "torn")[:2] == ([{"first": True}], 0)


def test_the_end_is_told(tmp_path: Path) -> None:
    """The exit status, or the signal, and the end of what was written to stderr are known; the log has all of it."""
    _, status, complaint = heard(tmp_path, "end", "3")
    assert (status, len(complaint)) == (3, 4000)
    assert complaint.endswith("xthe last words")
    assert heard(tmp_path, "fall", str(int(signal.SIGKILL)))[1:] == (-signal.SIGKILL, ""), "of this run only"
    assert heard(tmp_path, "fall", str(int(signal.SIGSEGV)))[1] == -signal.SIGSEGV
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "x" * 5000 + "the last words"


def test_a_log_stays_small(tmp_path: Path) -> None:
    """Of what processes write to stderr, one after another, the log has the beginning, and the end is known."""
    for _ in range(2):
        _, status, complaint = heard(tmp_path, "shout", "12")
        assert (status, complaint[-16:]) == (0, "yyyythe very end")
        assert (tmp_path / "log.txt").stat().st_size == LOG_BYTES


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_leaving_the_block_ends_all(tmp_path: Path, run: Callable[[Awaitable[list[int]]], list[int]]) -> None:
    """The process and what it started are gone when the block is left, and telling it more does no harm."""

    async def scenario() -> list[int]:
        async with started(tmp_path, "linger") as process:
            message = await anext(process.messages())
            pids = [message["child"], message["own"], process.pid]
            assert all(alive(pid) for pid in pids)
        await process.tell({"late": True})
        assert await process.wait() == -signal.SIGKILL
        return pids

    pids = run(scenario())
    eventually(lambda: not any(alive(pid) for pid in pids), "all are gone")


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_it_started_ends_with_it(tmp_path: Path, run: Callable[[Awaitable[Any]], Any]) -> None:
    """A process that ends takes with it what it started, so that nobody waits for more messages."""

    async def scenario() -> Any:
        async with started(tmp_path, "leave") as process:
            return [message async for message in process.messages()], await process.wait()

    messages, status = run(scenario())
    assert status == 0
    eventually(lambda: not alive(messages[0]["child"]), "it is gone")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_the_server(tmp_path: Path, number: signal.Signals) -> None:
    """However the process ends that has them, a job's process and what that started end too."""
    with subprocess.Popen([sys.executable, "-m", "tests.jobs.keeper", str(tmp_path)], stdout=subprocess.PIPE) as keeper:
        assert keeper.stdout is not None
        message = json.loads(keeper.stdout.readline())
        pids = [message["child"], message["own"], message["leader"]]
        assert all(alive(pid) for pid in pids)
        keeper.send_signal(number)
    eventually(lambda: not any(alive(pid) for pid in pids), "all are gone")


def test_what_starts_for_nobody_ends(tmp_path: Path) -> None:
    """A process whose parent is gone before it looks ends at once."""
    argv = [sys.executable, "-m", "freehold.jobs.sandbox", "1", "0", "isolated", "[]", "[]", PROGRAM, "linger"]
    done = subprocess.run(argv, cwd=tmp_path, env=PATHS, start_new_session=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def test_who_starts_it_need_not_be_named(tmp_path: Path) -> None:
    """A process that is not told whose child it is ends with whoever started it all the same."""
    bounds = Bounds(None, isolate=True).arguments(0)
    argv = [sys.executable, "-m", SANDBOX, *bounds, PROGRAM, "linger"]
    starts = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True).wait()"
    with subprocess.Popen(
        [sys.executable, "-c", starts, *argv], cwd=tmp_path, env=PATHS, stdout=subprocess.PIPE
    ) as starter:
        assert starter.stdout is not None
        message = json.loads(starter.stdout.readline())
        assert all(alive(pid) for pid in message.values())
        starter.kill()
    eventually(lambda: not any(alive(pid) for pid in message.values()), "all are gone")


def test_an_unknown_machine_is_refused() -> None:
    """Where the system calls' numbers are not known, nothing is run, and the message says what can be done."""
    with pytest.raises(CannotIsolate, match=r"'sparc64' is none of x86_64, aarch64.*isolate = false in \[jobs\]"):
        filter_program("sparc64")


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
def test_the_filter_fits_its_machine(machine: str, architecture: int) -> None:
    """The filter asks for its own machine's calls first, and every jump stays within it."""
    program = filter_program(machine)
    steps = list(struct.iter_unpack("=HBBI", program))
    assert steps[1][3] == architecture
    assert all(place + 1 + max(step[1], step[2]) < len(steps) for place, step in enumerate(steps) if step[0] & 7 == 5)


def test_a_process_that_cannot_be_isolated_is_not_run(tmp_path: Path) -> None:
    """On a machine whose calls are not known a job fails with the reason, unless it may have the network."""
    other = tmp_path / "python"  # on a kernel that says to be another machine's
    other.write_text(f'#!/bin/sh\nexec setarch linux32 {sys.executable} "$@"\n', encoding="utf-8")
    other.chmod(0o700)
    with pytest.raises(JobProcessFailed, match=r"cannot be kept from the network here.*set isolate = false in"):
        heard(tmp_path, "end", "0", python=str(other))
    assert heard(tmp_path, "end", "0", python=str(other), isolate=False)[1] == 0
    with pytest.raises(JobProcessFailed, match="cannot be started: No such file"):
        heard(tmp_path, "end", "0", python=str(tmp_path / "none"))
