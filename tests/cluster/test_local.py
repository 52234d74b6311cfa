import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.cluster.base import JobOrder, JobPhase, Placed, Placement
from freehold.cluster.local import NODE, LocalCluster
from freehold.errors import ConfigError, Conflict, NoRoom, NotFound
from freehold.types.cluster import Node, Resources
from tests.serving.trial import BOTH_LOOPS, eventually

Run = Callable[[Any], Any]

MIB = 1 << 20
SMALL = Resources(cores=2.0, memory_bytes=100 * MIB, devices=1, device_kind="toy")
SLEEPER = (sys.executable, "-I", "-S", "-c", "print('here', flush=True); import time; time.sleep(600)")


def _placement(folder: Path, needs: Resources, zones: frozenset[str] | None = None) -> Placement:
    return Placement("echo-1", SLEEPER, {}, needs, zones, {}, folder / "e.sock")


@asynccontextmanager
async def _cluster(total: Resources | None = None, zone: str | None = None) -> AsyncIterator[LocalCluster]:
    cluster = LocalCluster(total, zone)
    try:
        yield cluster
    finally:
        await cluster.close()


def _order(folder: Path, script: str, count: int = 1, needs: Resources | None = None) -> JobOrder:
    (folder / "trial_job.py").write_text(script, encoding="utf-8")
    order = JobOrder("job-1", "trial_job", (), (needs or Resources(),) * count, None, folder, sys.executable)
    return replace(order, env={"PYTHONPATH": str(folder)})


async def _free(cluster: LocalCluster) -> Node:
    (node,) = await cluster.nodes()
    return node


@BOTH_LOOPS
def test_an_engine_is_placed_here_and_its_room_comes_back(run: Run, tmp_path: Path) -> None:
    """A placed engine runs here, is heard, takes what it needs, and gives it back when it ends."""

    async def main() -> tuple[Placed, list[str], Resources, Resources]:
        lines: list[str] = []
        async with _cluster(SMALL) as cluster:
            placed = await cluster.place(_placement(tmp_path, Resources(1.5, 60 * MIB, 1)), lines.append)
            await eventually(lambda: bool(lines), "its first line")
            taken = (await _free(cluster)).free
            await placed.process.kill()
            return placed, lines, taken, (await _free(cluster)).free

    placed, lines, taken, after = run(main())
    assert (placed.node, placed.address, lines) == (NODE, tmp_path / "e.sock", ["here"])
    assert taken == Resources(0.5, 40 * MIB, 0, "toy")
    assert after == SMALL


@pytest.mark.parametrize(
    ("needs", "zones", "message"),
    [
        (Resources(cores=3), None, "needs 3 cores, and 2 are free"),
        (Resources(memory_bytes=101 * MIB), None, "needs 101 MiB of memory, and 100 are free"),
        (Resources(devices=2), None, "needs 2 devices, and 1 are free"),
        (Resources(devices=1, device_kind="other"), None, "a device of the kind 'other'"),
        (Resources(), frozenset({"us", "asia"}), "the zones asia, us only; this is 'eu'"),
    ],
)
def test_what_has_no_room_is_refused_with_what_is_lacking(
    tmp_path: Path, needs: Resources, zones: frozenset[str] | None, message: str
) -> None:
    """An engine that needs more than is free, or another zone, is not started; the error says what is lacking."""

    async def main() -> Resources:
        async with _cluster(SMALL, "eu") as cluster:
            with pytest.raises(NoRoom, match=message):
                await cluster.place(_placement(tmp_path, needs, zones), print)
            return (await _free(cluster)).free

    assert asyncio.run(main()) == SMALL


def test_nothing_is_counted_where_nobody_has_said_what_there_is(tmp_path: Path) -> None:
    """Without stated resources, whatever is asked for is started."""

    async def main() -> Node:
        async with _cluster() as cluster:
            placed = await cluster.place(_placement(tmp_path, Resources(10_000, 1 << 60, 64)), print)
            await placed.process.kill()
            return await _free(cluster)

    assert asyncio.run(main()).free == Resources()


def test_an_engine_that_cannot_be_started_takes_no_room(tmp_path: Path) -> None:
    """Where the program is not there, the engine ends at once and its room is free again."""

    async def main() -> tuple[int, Resources]:
        async with _cluster(SMALL) as cluster:
            wrong = replace(_placement(tmp_path, Resources(1)), argv=("/nonexistent/engine",))
            placed = await cluster.place(wrong, print)
            await asyncio.wait({placed.process.exited})
            await placed.process.kill()
            return placed.process.exited.result(), (await _free(cluster)).free

    assert asyncio.run(main()) == (1, SMALL)


@BOTH_LOOPS
def test_a_job_is_followed_to_its_end(run: Run, tmp_path: Path) -> None:
    """All processes of a job know which they are; what the first says is told as it comes, from the beginning."""
    script = (
        "import os, sys\n"
        "names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR')\n"
        "print(*(os.environ[name] for name in names), os.environ['MASTER_PORT'].isdigit())\n"
        "print('x' * 5000)\n"
        "print('a complaint', file=sys.stderr)\n"
    )

    async def main() -> tuple[list[str], list[str], JobPhase, Resources]:
        async with _cluster(SMALL) as cluster:
            await cluster.submit(_order(tmp_path, script, 2, Resources(1)))
            lines = [line async for line in cluster.logs("job-1")]
            status = await cluster.status("job-1")
            again = [line async for line in cluster.logs("job-1")]
            return lines, again, status.phase, (await _free(cluster)).free

    lines, again, phase, free = run(main())
    assert lines == ["0 2 0 2 127.0.0.1 True", "x" * 5000]
    assert again == lines
    assert (phase, free) == (JobPhase.SUCCEEDED, SMALL)
    assert (tmp_path / "complaints.txt").read_text(encoding="utf-8").splitlines() == ["a complaint"] * 2


@BOTH_LOOPS
def test_one_process_that_fails_ends_the_others(run: Run, tmp_path: Path) -> None:
    """When one process of a job ends badly the others are ended too, and its complaint is told."""
    script = (
        "import os, sys, time\n"
        "if os.environ['RANK'] == '1': sys.exit('the data is not there')\n"
        "print('waiting', flush=True); time.sleep(600)\n"
    )

    async def main() -> tuple[list[str], Any]:
        async with _cluster(SMALL) as cluster:
            await cluster.submit(_order(tmp_path, script, 2))
            lines = [line async for line in cluster.logs("job-1")]
            return lines, await cluster.status("job-1")

    _, status = run(main())
    assert status.phase is JobPhase.FAILED
    assert "process 1 of 2" in status.detail
    assert status.detail.endswith("the data is not there")


@BOTH_LOOPS
def test_a_job_is_asked_before_it_is_killed(run: Run, tmp_path: Path) -> None:
    """A cancelled job gets SIGTERM and time to write its checkpoint; one that does not end is killed."""
    script = (
        "import signal, sys\n"
        "def stop(*_): open('checkpoint', 'w').close(); sys.exit(0)\n"
        "signal.signal(15, stop if len(sys.argv) == 1 else signal.SIG_IGN)\n"
        "print('ready', flush=True)\n"
        "while 1: signal.pause()\n"
    )

    async def main() -> list[JobPhase]:
        phases = []
        async with _cluster(SMALL) as cluster:
            willing = _order(tmp_path, script)
            for order, grace_s in ((willing, 60.0), (replace(willing, id="job-2", arguments=("deaf",)), 0.1)):
                await cluster.submit(order)
                async for _ in cluster.logs(order.id):
                    await cluster.cancel(order.id, grace_s)
                phases.append((await cluster.status(order.id)).phase)
        return phases

    assert run(main()) == [JobPhase.CANCELLED, JobPhase.CANCELLED]
    assert (tmp_path / "checkpoint").exists()


@BOTH_LOOPS
def test_a_job_hears_what_it_is_told(run: Run, tmp_path: Path) -> None:
    """A line that a job is told comes to its process; one that has ended does not hear it, and its code is told."""
    script = (
        "import sys\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    print('heard', line.strip(), flush=True)\n"
        "    if line.strip() == 'end': sys.exit(3)\n"
    )

    async def main() -> tuple[list[str], Any]:
        lines = []
        async with _cluster() as cluster:
            await cluster.submit(_order(tmp_path, script))
            with pytest.raises(NotFound):
                await cluster.tell("job-2", "hello")
            async for line in cluster.logs("job-1"):
                lines.append(line)
                await cluster.tell("job-1", "hello" if line == "ready" else "end")
            await cluster.tell("job-1", "late")
            return lines, await cluster.status("job-1")

    lines, status = run(main())
    assert lines == ["ready", "heard hello", "heard end"]
    assert (status.phase, status.code, status.lost) == (JobPhase.FAILED, 3, False)


def test_wrong_orders_are_refused(tmp_path: Path) -> None:
    """A job that runs is not submitted twice, an unknown one is not found, and too large a one has no room."""
    script = "import time; print('here', flush=True); time.sleep(600)"

    async def main() -> list[str]:
        order = _order(tmp_path, script, 2, Resources(1))
        async with _cluster(SMALL) as cluster:
            await cluster.submit(order)
            messages = []
            for error, call in (
                (Conflict, lambda: cluster.submit(order)),
                (NoRoom, lambda: cluster.submit(replace(order, id="job-2"))),
                (NotFound, lambda: cluster.status("job-3")),
                (NotFound, lambda: cluster.drain("elsewhere")),
                (ConfigError, lambda: cluster.drain(NODE)),
            ):
                with pytest.raises(error) as caught:
                    await call()
                messages.append(str(caught.value))
            return messages

    messages = asyncio.run(main())
    assert "job-1" in messages[0]
    assert "needs 2 cores, and 0 are free" in messages[1]
    assert "job-3" in messages[2]


def test_leaving_the_cluster_ends_its_jobs(tmp_path: Path) -> None:
    """Jobs end with the cluster that was left."""
    script = "import time; print('here', flush=True); time.sleep(600)"

    async def main() -> JobPhase:
        async with _cluster(SMALL) as cluster:
            await cluster.submit(_order(tmp_path, script))
            async for _ in cluster.logs("job-1"):
                break
        return (await cluster.status("job-1")).phase

    assert asyncio.run(main()) is JobPhase.CANCELLED
