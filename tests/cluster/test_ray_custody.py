"""Engines on a real cluster of two nodes change hands: found again, taken over by a later epoch, handed over."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.cluster.base import Part, ignore
from freehold.cluster.ray import RayCluster
from freehold.cluster.spanning import Spanned
from freehold.errors import Conflict
from freehold.types.cluster import Resources
from tests.cluster.nodes import Nodes, two_nodes
from tests.cluster.test_ray import on_cluster, ticking, until
from tests.serving.trial import alive

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("ray")]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes for all tests of this file."""
    with two_nodes(tmp_path_factory.mktemp("ray")) as found:
        yield found


def _killed(process: Process) -> None:
    process.kill()


def _without_orders(process: Process) -> None:
    """As when the gateway's files are closed already, and its end is not known yet."""
    assert process.stdin is not None
    process.stdin.close()


def _unheard(process: Process) -> None:
    """As when only what it says has come to nobody yet."""
    transport = process._transport  # type: ignore[attr-defined]  # of no public form
    transport.get_pipe_transport(1).close()


def test_a_lost_way_to_the_cluster_is_made_again(nodes: Nodes, tmp_path: Path) -> None:
    """When the process that speaks Ray is killed, what was placed goes on, and is heard and ended by another one."""

    async def work(cluster: RayCluster) -> tuple[bool, str, int]:
        lines: list[str] = []
        placed = await cluster.place(ticking(tmp_path, "ticker-1"), lines.append)
        await until(lambda: "tick 0" in lines, "the first line")
        assert cluster._link is not None
        cluster._link.process.kill()
        heard = len(lines)
        await until(lambda: len(lines) > heard, "lines after that")
        goes_on = not placed.process.exited.done()
        await placed.process.terminate(5.0)
        return goes_on, placed.process.describe_exit(), len(await cluster.nodes())

    assert on_cluster(nodes, work) == (True, "the engine was ended by SIGTERM", 2)


def test_a_later_epoch_takes_an_engine_over(nodes: Nodes, tmp_path: Path) -> None:
    """Another gateway gets what one has only by a later epoch; the first is told, and the other one hands it on."""

    async def work(first: RayCluster) -> None:
        second, third = nodes.cluster(gateway="second"), nodes.cluster(gateway="third")
        try:
            placed = await first.place(ticking(tmp_path, "ticker-2"), ignore)
            (record,) = await second.hosted()
            assert (record.workload, record.pid, record.held) == ("ticker-2", placed.process.pid, True)
            with pytest.raises(Conflict, match="The gateway 'test' has the engine"):
                await second.attach(record, ignore)
            await second.lead(1)
            taken = await second.attach(record, ignore)
            await asyncio.wait({placed.process.exited})
            assert placed.process.describe_exit() == "the engine ended: the gateway 'second' has it now"
            assert not taken.process.exited.done()
            second.hand_over()
            await taken.process.terminate(5.0)
            await third.lead(1)
            (record,) = await third.hosted()
            assert (record.owner, record.held) == ("second", False)
            last = await third.attach(record, ignore)
            assert last.process.pid == placed.process.pid
            await last.process.terminate(5.0)
            assert last.process.describe_exit() == "the engine was ended by SIGTERM"
        finally:
            await second.close()
            await third.close()

    on_cluster(nodes, work)


@pytest.mark.parametrize("end", [_killed, _without_orders, _unheard])
def test_an_engine_over_two_nodes_is_found_again_whole(
    nodes: Nodes, tmp_path: Path, end: Callable[[Process], None]
) -> None:
    """A gateway that comes back, however it ended, has all of its processes, hears each, and gives back their room."""
    placement = replace(ticking(tmp_path, "big-1"), needs=Resources(cores=4))
    placement = replace(placement, others=(Part(placement.argv, {}, placement.needs),))

    async def lost() -> tuple[int, tuple[str, ...]]:
        cluster = nodes.cluster()
        placed = await cluster.place(placement, ignore)
        assert cluster._link is not None
        process = cluster._link.process
        end(process)
        await process.wait()
        await cluster.close()
        return placed.process.pid, (placed.node, *placed.others)

    async def work(cluster: RayCluster) -> None:
        (record,) = await cluster.hosted()
        assert (record.pid, record.nodes, record.members, record.held) == (pid, where, (placement.needs,) * 2, False)
        lines: list[str] = []
        placed = await cluster.attach(record, lines.append)
        assert (placed.process.pid, (placed.node, *placed.others)) == (pid, where)
        await until(lambda: len({line.split()[0] for line in lines}) == 2, "lines of both")
        await placed.process.kill()
        while [node.free.cores for node in await cluster.nodes()] != [6.0, 6.0]:  # noqa: ASYNC110  # Ray's account
            await asyncio.sleep(0.2)
        assert await cluster.hosted() == []

    pid, where = asyncio.run(lost())
    on_cluster(nodes, work)


def test_all_on_a_cluster_know_it_by_one_name(nodes: Nodes) -> None:
    """Whoever has joined, by whichever spelling of the address, finds the same name."""

    async def work(first: RayCluster) -> None:
        second = nodes.cluster(gateway="second", address=f"localhost:{nodes.port}")
        try:
            assert (first.identity, second.identity) == (None, None)
            await first.nodes()
            await second.nodes()
            assert first.identity
            assert first.identity == second.identity
        finally:
            await second.close()

    on_cluster(nodes, work)


def test_who_leads_again_has_what_it_has_in_the_name_of_its_new_epoch(nodes: Nodes, tmp_path: Path) -> None:
    """One that led in between and comes late takes nothing from it; what it lets go of anybody takes."""

    async def work(first: RayCluster) -> None:
        late = nodes.cluster(gateway="late")
        try:
            await first.lead(1)
            placed = await first.place(ticking(tmp_path, "ticker-3"), ignore)
            await first.lead(3)
            await late.lead(2)
            (record,) = await late.hosted()
            assert record.epoch == 3
            with pytest.raises(Conflict, match="in the name of epoch 3"):
                await late.attach(record, ignore)
            assert not placed.process.exited.done()
            await first.let_go()
            assert placed.process.exited.result() == 0
            await late.lead(4)
            (record,) = await late.hosted()
            assert (record.pid, record.held) == (placed.process.pid, False)
            await late.dismiss(record)
            assert await late.hosted() == []
        finally:
            await late.close()

    on_cluster(nodes, work)


def test_what_nobody_waits_for_any_more_is_left_running(nodes: Nodes, tmp_path: Path) -> None:
    """A gateway that stops taking an engine over in the midst of it, or ends just then, does not end the engine."""

    async def work(first: RayCluster) -> None:
        placed = await first.place(ticking(tmp_path, "ticker-4"), ignore)
        second = nodes.cluster(gateway="second")
        await second.lead(1)
        (record,) = await second.hosted()
        taking = asyncio.create_task(second.attach(record, ignore))
        await asyncio.wait({placed.process.exited})
        taking.cancel()
        await asyncio.wait({taking})
        second.hand_over()
        await second.close()
        third = nodes.cluster(gateway="third")
        try:
            await third.lead(2)
            (record,) = await third.hosted()
            assert record.pid == placed.process.pid
            await third.dismiss(record)
        finally:
            await third.close()

    on_cluster(nodes, work)


def test_an_engine_over_two_nodes_is_taken_over_whole(nodes: Nodes, tmp_path: Path) -> None:
    """The gateway that had it ends none of its processes, whichever of them it hears of first."""
    placement = replace(ticking(tmp_path, "big-2"), needs=Resources(cores=4))
    placement = replace(placement, others=(Part(placement.argv, {}, placement.needs),))

    async def work(first: RayCluster) -> None:
        placed = await first.place(placement, ignore)
        second = nodes.cluster(gateway="second")
        try:
            await second.lead(1)
            (record,) = await second.hosted()
            lines: list[str] = []
            taken = await second.attach(record, lines.append)
            await asyncio.wait({placed.process.exited})
            assert "the gateway 'second' has it now" in placed.process.describe_exit()
            lines.clear()
            await until(lambda: len({line.split()[0] for line in lines}) == 2, "lines of both")
            assert not taken.process.exited.done()
            await second.let_go()
            await first.lead(2)
            (record,) = await first.hosted()
            assert (record.pid, record.held) == (placed.process.pid, False)
            again = await first.attach(record, lines.append)
            lines.clear()
            await until(lambda: len({line.split()[0] for line in lines}) == 2, "lines of both once more")
            await again.process.kill()
        finally:
            await second.close()

    on_cluster(nodes, work)


def test_room_that_a_lost_gateway_kept_is_given_back_by_who_leads(nodes: Nodes, tmp_path: Path) -> None:
    """A group whose engine is no more, of a gateway that never comes back, does not hold its nodes' room for ever."""
    placement = replace(ticking(tmp_path, "big-3"), needs=Resources(cores=4))
    placement = replace(placement, others=(Part(placement.argv, {}, placement.needs),))

    async def lost() -> list[int]:
        cluster = nodes.cluster(gateway="lost")
        placed = await cluster.place(placement, ignore)
        assert isinstance(placed.process, Spanned)
        assert cluster._link is not None
        cluster._link.process.kill()
        await cluster.close()
        return [member.pid for member in placed.process._members]

    async def work(cluster: RayCluster) -> None:
        for pid in pids:
            os.kill(_parent(pid), signal.SIGKILL)
        await until(lambda: not any(map(alive, pids)), "the engine has ended")
        assert await cluster.hosted() == []
        assert [node.free.cores for node in await cluster.nodes()] == [2.0, 2.0]
        await cluster.lead(1)
        while [node.free.cores for node in await cluster.nodes()] != [6.0, 6.0]:  # noqa: ASYNC110  # Ray's account
            await asyncio.sleep(0.2)

    pids = asyncio.run(lost())
    on_cluster(nodes, work)


def _parent(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    return int(stat.rpartition(")")[2].split()[1])
