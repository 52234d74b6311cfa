"""A process that fine-tunes as a job of a cluster: told and heard, stopped, killed, and how its end is told."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.cluster.base import JobOrder
from freehold.cluster.local import LocalCluster
from freehold.errors import EngineFailed, JobProcessFailed, NoRoom
from freehold.gateway.tuning_messages import NODE_UNREADY, cause_of
from freehold.gateway.tuning_process import NodeProcess
from freehold.jobs.process import SANDBOX, Bounds
from freehold.training.finetune.protocol import STOPPED
from freehold.types.cluster import NODE_HOME, Resources
from tests.jobs.starting import PATHS, alive
from tests.service import eventually

PROGRAM = "tests.jobs.program"
PATIENCE_S = 60.0


class Slow(LocalCluster):
    """A cluster that has a job begin when it is told so, or never."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.ready = asyncio.Event(), asyncio.Event()

    async def submit(self, job: JobOrder) -> None:
        self.asked.set()
        await self.ready.wait()
        await super().submit(job)


class Unable(LocalCluster):
    """A cluster whose nodes cannot begin a job."""

    async def submit(self, job: JobOrder) -> None:
        raise EngineFailed(f"the folder of {job.id} is not there")


def process(folder: Path, *arguments: str, cluster: LocalCluster | None = None, cores: float = 0.0) -> NodeProcess:
    """A process that runs a function of the tests' program, isolated as on a node."""
    bounds = Bounds(None, isolate=True, hidden=(NODE_HOME,)).arguments(0)
    members = (Resources(cores=cores),)
    order = JobOrder("job-1", SANDBOX, (*bounds, PROGRAM, *arguments), members, None, folder, sys.executable, PATHS)
    return NodeProcess(cluster or LocalCluster(), order)


def run(scenario: Callable[[], Awaitable[Any]]) -> Any:
    """Do something within the patience of a test."""

    async def main() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await scenario()

    return asyncio.run(main())


def heard(folder: Path, *arguments: str) -> tuple[list[Any], int, str]:
    """What such a process says, its exit status, and what it complains of."""

    async def scenario() -> tuple[list[Any], int, str]:
        async with process(folder, *arguments) as running:
            messages = [message async for message in running.messages()]
            return messages, await running.wait(), running.complaint

    found: tuple[list[Any], int, str] = run(scenario)
    return found


def test_messages_go_both_ways(tmp_path: Path) -> None:
    """What the process is told it hears, what it says is heard, and it has gone when the block is left."""

    async def scenario() -> None:
        async with process(tmp_path, "greet") as running:
            messages = running.messages()
            assert await anext(messages) == {"ready": True}
            await running.tell({"number": 1, "text": "ü\n"})
            assert await anext(messages) == {"heard": {"number": 1, "text": "ü\n"}}
            assert not await running.ended(within_s=0.1)

    run(scenario)


def test_the_end_is_told(tmp_path: Path) -> None:
    """The exit status, or the signal, and the last line of its log are known; a torn last line of output is dropped."""
    messages, status, complaint = heard(tmp_path, "end", "3")
    assert (messages, status) == ([], 3)
    assert "process 0 of 1" in complaint
    assert complaint.endswith("xxx")
    assert heard(tmp_path, "fall", str(int(signal.SIGSEGV)))[1] == -signal.SIGSEGV
    assert heard(tmp_path, "lines", "torn")[:2] == ([{"first": True}], 0)
    assert heard(tmp_path, "work", "data.bin")[1] == 0


def test_it_has_no_network(tmp_path: Path) -> None:
    """A process on a node is kept from the network as one here is."""
    messages, status, _ = heard(tmp_path, "network", "1", str(tmp_path / "local"))
    assert status == 0
    assert messages[0]["own"]["inet"] == messages[1]["child"]["inet"] == "PermissionError"


def test_it_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    """Killed, the process and its children are gone, and that is its status."""

    async def scenario() -> list[int]:
        async with process(tmp_path, "linger") as running:
            messages = running.messages()
            pids = list((await anext(messages)).values())
            assert all(alive(pid) for pid in pids)
            running.kill()
            assert [message async for message in messages] == []
            assert await running.wait() == -signal.SIGKILL
            assert await running.ended(within_s=0)
        return pids

    pids = run(scenario)
    eventually(lambda: not any(alive(pid) for pid in pids), "all are gone")


@pytest.mark.parametrize("how", ["told", "killed"])
def test_one_that_has_not_begun_never_does(tmp_path: Path, how: str) -> None:
    """Who is to stop while its model is still copied to its node stops there, with all that it had before."""

    async def scenario() -> None:
        cluster = Slow()
        async with process(tmp_path, "end", "0", cluster=cluster) as running:
            await cluster.asked.wait()
            if how == "told":
                await running.tell({"type": "pause"})
            else:
                running.kill()
            assert [message async for message in running.messages()] == []
            assert await running.wait() == STOPPED
        cluster.ready.set()

    run(scenario)
    assert not (tmp_path / "said.txt").exists()


def test_why_it_cannot_begin_is_told(tmp_path: Path) -> None:
    """A node that cannot begin it is an error with a code; one without room is told as that."""

    async def scenario() -> None:
        with pytest.raises(JobProcessFailed, match="A node cannot begin a job: the folder of job-1") as caught:
            async with process(tmp_path, "echo", cluster=Unable()) as running:
                await anext(running.messages())
        assert cause_of(1, "", caught.value.code).code == NODE_UNREADY
        full = LocalCluster(Resources(cores=1))
        with pytest.raises(NoRoom, match="needs 2 cores"):
            async with process(tmp_path, "echo", cluster=full, cores=2) as running:
                await anext(running.messages())

    run(scenario)


def test_nonsense_is_an_error(tmp_path: Path) -> None:
    """A line that is no JSON object, and is not the last, is an error."""
    said = "print('{\"first\": true}'); print('hello'); print('{}')"
    (tmp_path / "nonsense_job.py").write_text(said, encoding="utf-8")
    env = {"PYTHONPATH": str(tmp_path)}
    order = JobOrder("job-1", "nonsense_job", (), (Resources(),), None, tmp_path, sys.executable, env)

    async def scenario() -> None:
        async with NodeProcess(LocalCluster(), order) as running:
            messages = running.messages()
            assert await anext(messages) == {"first": True}
            with pytest.raises(JobProcessFailed, match="no JSON"):
                await anext(messages)

    run(scenario)
