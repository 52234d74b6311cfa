"""Who of the gateways that share a cluster leads it when things go wrong; see `tests.serving.ground`."""

import asyncio
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from freehold.cluster.base import Placement, ignore
from freehold.cluster.desk import ArbiterDesk
from freehold.errors import Unavailable
from freehold.types.cluster import Resources
from freehold.types.lead import Lead
from tests.serving.boards import Shared
from tests.serving.ground import Gateway, Ground, gateway, three
from tests.serving.trial import alive, ask, eventually, trial
from tests.serving.trial_engine import PROCESS


def _pids(each: Gateway) -> set[int | None]:
    return {replica.pid for replica in each.supervisor.status("chat").replicas}


async def _all_have(gateways: list[Gateway], count: int) -> set[int | None]:
    """Wait until all gateways have so many replicas, and the same."""
    first = gateways[0]
    await eventually(lambda: len(_pids(first) - {None}) == count, "the replicas at the first")
    await eventually(lambda: all(_pids(each) == _pids(first) for each in gateways), "the same everywhere")
    return _pids(first)


async def _passes(shared: Shared, seconds: int) -> None:
    """Have time pass in which all gateways look as ever."""
    for _ in range(seconds // 2):
        shared.pass_time(2)
        await eventually(partial(_all_have_looked, shared, shared.now_us), "all look")


def _all_have_looked(shared: Shared, since_us: int) -> bool:
    return all(told.seen_us >= since_us for told in shared.told.values())


def test_the_cluster_itself_says_which_it_is(tmp_path: Path) -> None:
    """One leads of those whose clusters say the same name; a gateway on another cluster leads that one."""

    async def main() -> None:
        ground, shared = Ground(tmp_path), Shared()
        async with AsyncExitStack() as stack:
            a = await stack.enter_async_context(gateway(tmp_path, "a", ground, shared, identity="one"))
            b = await stack.enter_async_context(gateway(tmp_path, "b", ground, shared, identity="one"))
            c = await stack.enter_async_context(gateway(tmp_path, "c", ground, shared, identity="two"))
            await eventually(lambda: b.leading.standing.leader == "a", "the second knows who leads")
            assert [each.leading.leads for each in (a, b, c)] == [True, False, True]
            c.cluster.name = "one"
            shared.notify()
            await eventually(lambda: c.leading.standing.leader == "a", "the third is on the same now")
            assert not c.leading.leads
            assert shared.of("two").lead.holder == "c"

    asyncio.run(main())


def test_who_has_not_joined_leads_nothing_and_says_why(tmp_path: Path) -> None:
    """A gateway that cannot join is no part of it until it can; room is refused with the reason."""

    async def main() -> None:
        ground, shared = Ground(tmp_path), Shared()
        async with gateway(tmp_path, "a", ground, shared, identity=None) as a:
            a.cluster.cut = True
            assert not a.leading.leads
            with pytest.raises(Unavailable, match="This gateway has not joined the cluster yet"):
                a.leading.check()
            assert shared.lead == Lead()
            a.cluster.cut, a.cluster.name = False, "ground"
            shared.notify()
            await eventually(lambda: a.leading.leads, "it leads when it has joined")

    asyncio.run(main())


def test_a_leader_that_loses_the_cluster_leaves_it_to_another(tmp_path: Path) -> None:
    """It has the database still, but can start and end nothing: another gateway leads with the same engines."""

    async def main() -> None:
        async with three(tmp_path, trial(replicas=2)) as ((a, b, c), ground, shared):
            before = await _all_have([a, b, c], 2)
            a.cluster.cut = True
            await _passes(shared, 6)
            assert a.leading.leads, "it may be over in a moment"
            await _passes(shared, 12)
            await eventually(lambda: b.leading.leads or c.leading.leads, "another one leads")
            assert not a.leading.leads
            assert {await ask(a.supervisor) for _ in range(4)} == {str(pid) for pid in before}
            assert (_pids(b), ground.started) == (before, 2)

    asyncio.run(main())


def test_who_cannot_take_over_leaves_the_lead_to_others(tmp_path: Path) -> None:
    """Whatever is wrong with one gateway, such as its disk, the lease does not stay with it."""

    async def main() -> None:
        async with three(tmp_path, trial()) as ((a, b, c), ground, shared):
            before = await _all_have([a, b, c], 1)
            b.cluster.defect = OSError("No space left on device")
            c.cluster.defect = OSError("No space left on device")
            a.vanish()
            shared.pass_time(12)
            await eventually(lambda: shared.lead.epoch >= 3, "both have tried")
            c.cluster.defect = None
            shared.pass_time(12)
            await eventually(lambda: c.leading.leads, "the one that can leads")
            assert _pids(c) == before
            assert ground.started == 1

    asyncio.run(main())


def test_one_engine_that_cannot_be_taken_over_does_not_keep_anybody_from_leading(tmp_path: Path) -> None:
    """Its node does not answer: the new leader has the others, and starts another one in its place."""

    async def main() -> None:
        async with three(tmp_path, trial(replicas=2)) as ((a, b, c), ground, shared):
            before = await _all_have([a, b, c], 2)
            lost, kept = sorted(record.workload for record, _ in ground.records.values())
            (pid,) = [record.pid for record, _ in ground.records.values() if record.workload == kept]
            b.cluster.hung = c.cluster.hung = {lost}
            a.vanish()
            shared.pass_time(12)
            await eventually(lambda: b.leading.leads or c.leading.leads, "another one that leads")
            leader = b if b.leading.leads else c
            await eventually(lambda: len(_pids(leader) - before) == 1, "a new engine")
            assert pid in _pids(leader)
            assert ground.started == 3

    asyncio.run(main())


def test_who_is_deposed_has_nothing_in_hand_any_more(tmp_path: Path) -> None:
    """An engine that the new leader does not know is nobody's, so that it ends when nobody asks for it."""

    async def main() -> None:
        async with three(tmp_path, trial()) as ((a, b, c), _, shared):
            before = await _all_have([a, b, c], 1)
            argv = (sys.executable, "-I", "-S", str(PROCESS), "{}", str(tmp_path / "s"))
            stray = Placement("other-1", argv, {}, Resources(cores=1), None, {}, tmp_path / "s", nodes=("first",))
            placed = await a.cluster.place(stray, ignore)
            a.board.cut = True
            shared.pass_time(12)
            await eventually(lambda: b.leading.leads or c.leading.leads, "another one that leads")
            assert not placed.process.exited.done()
            a.board.cut = False
            shared.notify()
            await eventually(placed.process.exited.done, "it has let go")
            assert alive(placed.process.pid)
            assert {await ask(a.supervisor) for _ in range(2)} == {str(pid) for pid in before}

    asyncio.run(main())


def test_of_two_engines_of_one_name_the_one_that_serves_is_taken_over(tmp_path: Path) -> None:
    """Where a replica's first engine was thought lost and is not, the new leader has the second and ends the first."""

    async def main() -> None:
        async with three(tmp_path, trial()) as ((a, b, c), ground, shared):
            before = await _all_have([a, b, c], 1)
            (record, _) = next(iter(ground.records.values()))
            argv = (sys.executable, "-I", "-S", str(PROCESS), "{}", str(tmp_path / "s"))
            twin = Placement(record.workload, argv, {}, Resources(cores=1), None, {}, tmp_path / "s", nodes=("first",))
            placed = await a.cluster.place(twin, ignore)
            a.vanish()
            shared.pass_time(12)
            await eventually(lambda: b.leading.leads or c.leading.leads, "another one that leads")
            leader = b if b.leading.leads else c
            await eventually(lambda: not alive(placed.process.pid), "the first has ended")
            assert _pids(leader) == before
            assert ground.started == 2

    asyncio.run(main())


def test_nobody_is_said_to_lead_when_the_lease_has_ended(tmp_path: Path) -> None:
    """Who led last is not shown as the one that leads."""

    async def main() -> None:
        async with three(tmp_path) as ((a, b, c), _, shared):
            for each in (b, c):
                each.cluster.defect = OSError("No space left on device")
            await eventually(lambda: b.leading.standing.leader == "a", "it is known who leads")
            a.vanish()
            shared.pass_time(12)
            await eventually(lambda: b.leading.standing.leader == "", "nobody leads")
            with pytest.raises(Unavailable, match="No gateway leads the cluster just now"):
                b.leading.check()

    asyncio.run(main())


def test_a_lease_that_is_renewed_while_it_is_given_up_is_given_up(tmp_path: Path) -> None:
    """A gateway that ends while it renews its lease neither keeps it nor takes the cluster over again."""

    async def main() -> None:
        ground, shared = Ground(tmp_path), Shared()
        async with AsyncExitStack() as stack:
            b = await stack.enter_async_context(gateway(tmp_path, "b", ground, shared, trial()))
            await eventually(lambda: b.leading.leads, "it leads")
            async with gateway(tmp_path, "a", ground, shared, trial()) as a:
                await _all_have([b, a], 1)
                await eventually(lambda: set(b.leading.wants("chat trial")) == {"a"}, "the first knows of the second")
                b.board.turn.clear()
                shared.notify()
                await asyncio.sleep(0.1)
                closing = asyncio.create_task(stack.aclose())
                await asyncio.sleep(0.1)
                b.board.turn.set()
                await closing
                await eventually(lambda: a.leading.leads, "the second leads")
                assert a.leading.standing.epoch == 2
                assert ground.started == 1
        await ground.end()

    asyncio.run(main())


class _OnlyIn:
    """Permits work in one zone only."""

    def __init__(self, zone: str) -> None:
        self._zone = zone

    def organization_of(self, project_id: str | None) -> str:
        """See `Ownership`."""
        return project_id or "org"

    def permits_zone(self, organization_id: str, project_id: str | None, zone: str | None) -> bool:
        """See `Ownership`."""
        del organization_id, project_id
        return zone == self._zone


def test_what_is_taken_over_leaves_where_it_may_not_be_any_more(tmp_path: Path) -> None:
    """A policy that came while nobody led holds for what runs already: it serves until it is replaced elsewhere."""

    async def main() -> None:
        async with three(tmp_path, trial(replicas=2)) as ((a, b, c), ground, shared):
            await _all_have([a, b, c], 2)
            assert {record.node for record, _ in ground.records.values()} == {"first", "second"}
            a.vanish()
            for each in (b, c):
                assert isinstance(each.supervisor.desk, ArbiterDesk)
                each.supervisor.desk.govern(_OnlyIn("eu"))
            shared.pass_time(12)
            await eventually(lambda: _nodes(ground) == ["first", "first"], "both are where they may be")
            assert ground.started == 3
            await _all_have([b, c], 2)

    asyncio.run(main())


def _nodes(ground: Ground) -> list[str]:
    return [record.node for record, _ in ground.records.values()]
