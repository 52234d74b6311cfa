"""The desk where room is asked for: whoever asks has it, waits for it, gives it back, or never has any."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.desk import ArbiterDesk, Unasked
from freehold.cluster.local import LocalCluster
from freehold.errors import InvalidRequest
from freehold.types.cluster import Node, Resources, ShareSettings, WorkClass, Workload

PATIENCE_S = 60.0


def wants(name: str, cores: float, work_class: WorkClass = WorkClass.API, **more: object) -> Workload:
    """Something that wants cores; research can write a checkpoint."""
    values = {
        "organization_id": "org",
        "project_id": None,
        "zones": None,
        "queued_at_s": 0.0,
        "checkpoint_s": 30.0 if work_class is WorkClass.RESEARCH else None,
        **more,
    }
    return Workload(id=name, work_class=work_class, members=(Resources(cores=cores),), **values)  # type: ignore[arg-type]


def run(scenario: Callable[[ArbiterDesk], Awaitable[None]], zone: str | None = None) -> None:
    """Run it at the desk of a machine with four cores."""

    async def main() -> None:
        cluster = LocalCluster(Resources(cores=4.0, memory_bytes=1 << 30), zone)
        async with asyncio.timeout(PATIENCE_S), ArbiterDesk(Arbiter(), cluster) as desk:
            await scenario(desk)

    asyncio.run(main())


def test_room_is_had_and_waited_for() -> None:
    """What fits has room at once; what does not waits until somebody gives some back, and is told that it waits."""

    async def scenario(desk: ArbiterDesk) -> None:
        waits: list[str] = []
        assert (await desk.room(wants("a", 3), lambda: waits.append("a"))).nodes == ("local",)
        second = asyncio.create_task(desk.room(wants("b", 2), lambda: waits.append("b")))
        await asyncio.sleep(0)
        assert (waits, second.done()) == (["b"], False)
        desk.release("a")
        assert (await second).nodes == ("local",)

    run(scenario)


def test_research_makes_room_and_has_it_again() -> None:
    """A training is asked for its room when callers need it, and has it again once they have gone."""

    async def scenario(desk: ArbiterDesk) -> None:
        had = await desk.room(wants("training", 4, WorkClass.RESEARCH))
        serving = asyncio.create_task(desk.room(wants("replica", 1)))
        assert 0 < await had.wanted_back <= 30
        assert not serving.done()
        desk.release("training", again=True)
        await serving
        again = asyncio.create_task(desk.room(wants("training", 4, WorkClass.RESEARCH)))
        await asyncio.sleep(0)
        assert not again.done()
        desk.release("replica")
        assert (await again).nodes == ("local",)

    run(scenario)


def test_who_stops_waiting_is_forgotten() -> None:
    """Whoever stops waiting gets nothing, and others do; to give back what one has not does nothing."""

    async def scenario(desk: ArbiterDesk) -> None:
        await desk.room(wants("a", 4))
        waiting = asyncio.create_task(desk.room(wants("b", 1)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        desk.release("b")
        desk.release("nobody")
        desk.release("a")
        assert (await desk.room(wants("c", 4))).nodes == ("local",)

    run(scenario)


def test_what_can_never_run_is_refused() -> None:
    """Too large a workload, or one that may not run here, is refused at once with the reason."""

    async def scenario(desk: ArbiterDesk) -> None:
        with pytest.raises(InvalidRequest) as large:
            await desk.room(wants("large", 5))
        assert large.value.code == "never_fits"
        with pytest.raises(InvalidRequest) as abroad:
            await desk.room(wants("abroad", 1, zones=frozenset({"us"})))
        assert abroad.value.code == "outside_zones"

    run(scenario, zone="eu")


class _Changing(LocalCluster):
    """One machine whose size and zone change."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    async def nodes(self) -> list[Node]:
        return [self.node]


class _Permits:
    """Permits zones."""

    def __init__(self, *zones: str) -> None:
        self.zones = set(zones)

    def organization_of(self, project_id: str | None) -> str:
        return project_id or "org"

    def permits_zone(self, organization_id: str, project_id: str | None, zone: str | None) -> bool:
        assert organization_id == (project_id or "org")
        return zone in self.zones


def _changing(scenario: Callable[[ArbiterDesk, _Changing], Awaitable[None]]) -> None:
    async def main() -> None:
        total = Resources(cores=4.0, memory_bytes=1 << 30)
        cluster = _Changing(Node("n", "n", "eu", total, total))
        async with asyncio.timeout(PATIENCE_S), ArbiterDesk(Arbiter(), cluster) as desk:
            await scenario(desk, cluster)

    asyncio.run(main())


def test_who_waits_hears_that_a_node_or_a_policy_permits_another_zone() -> None:
    """Zones count as they are when room is given: another policy, and another zone of a node, reach who waits."""

    async def scenario(desk: ArbiterDesk, cluster: _Changing) -> None:
        policy = _Permits("eu", "us")
        desk.govern(policy)
        await desk.room(wants("a", 4))
        second = asyncio.create_task(desk.room(wants("b", 2)))
        third = asyncio.create_task(desk.room(wants("c", 2, zones=frozenset({"eu"}))))
        await asyncio.sleep(0)
        policy.zones = {"us"}
        await desk.look()
        refused = await asyncio.gather(second, third, return_exceptions=True)
        assert [getattr(each, "code", each) for each in refused] == ["outside_zones", "outside_zones"]
        cluster.node = replace(cluster.node, zone="us")
        await desk.look()
        desk.release("a")
        assert (await desk.room(wants("b", 2))).nodes == ("n",)

    _changing(scenario)


def test_what_was_refused_is_looked_at_again_when_it_may_be_possible() -> None:
    """Who was refused is woken by a change of the nodes, and of where it may run, also if that was before it waited."""

    async def scenario(desk: ArbiterDesk, cluster: _Changing) -> None:
        policy = _Permits("eu")
        desk.govern(policy)
        large, abroad = wants("large", 5), wants("abroad", 1, zones=frozenset({"us"}))
        for each in (large, abroad):
            with pytest.raises(InvalidRequest):
                await desk.room(each)
        version = desk.version
        waiting = [asyncio.create_task(desk.changed(version, each)) for each in (large, abroad)]
        await desk.look()
        assert [each.done() for each in waiting] == [False, False], "nothing has changed"
        total = Resources(cores=8.0, memory_bytes=1 << 30)
        cluster.node = replace(cluster.node, total=total, free=total)
        await desk.look()
        await asyncio.gather(*waiting)
        await desk.changed(version, large)
        assert (await desk.room(large)).nodes == ("n",)
        again = asyncio.create_task(desk.changed(desk.version, wants("elsewhere", 1)))
        await asyncio.sleep(0)
        policy.zones = {"us"}
        await desk.look()
        await again
        given_up = asyncio.create_task(desk.changed(desk.version))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait({given_up})
        await desk.look()

    _changing(scenario)


def test_where_nobody_decides(tmp_path: Path) -> None:
    """Without an arbiter everybody has room at once, and the cluster chooses the node."""

    async def scenario() -> None:
        desk = Unasked()
        had = await desk.room(wants(tmp_path.name, 1000))
        assert (had.nodes, had.wanted_back.done()) == ((), False)
        desk.release(tmp_path.name)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(desk.changed(desk.version), 0)

    asyncio.run(scenario())


def test_what_runs_is_permitted_where_it_is_or_not() -> None:
    """Of what was adopted it is known whether it may be there, by the policies and shares of now."""

    async def scenario(desk: ArbiterDesk, cluster: _Changing) -> None:
        policy = _Permits("eu")
        desk.govern(policy)
        await desk.look()
        desk.adopt(wants("a", 1), ("n",))
        assert desk.permits("a")
        policy.zones = {"us"}
        assert not desk.permits("a")
        cluster.node = replace(cluster.node, zone="us")
        await desk.look()
        desk.begin_anew(Arbiter([ShareSettings(organization="org", zones=["eu"])]), "for the test")
        await desk.look()
        desk.adopt(wants("b", 1), ("n",))
        assert not desk.permits("b"), "its organization's share permits another zone only"

    _changing(scenario)
