"""Gateways that share the replicas of one cluster; see `tests.serving.ground`."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from freehold.errors import Unavailable
from freehold.types.cluster import Resources, WorkClass, Workload
from tests.serving.boards import Shared
from tests.serving.ground import Gateway, Ground, gateway, three
from tests.serving.trial import PATIENCE_S, Client, alive, answer, ask, eventually, trial


async def _ready(gateways: Sequence[Gateway]) -> None:
    for each in gateways:
        await each.supervisor.wait_ready("chat", PATIENCE_S)


def _pids(each: Gateway) -> set[int | None]:
    return {replica.pid for replica in each.supervisor.status("chat").replicas}


def test_all_gateways_use_the_engines_of_the_one_that_leads(tmp_path: Path) -> None:
    """Three gateways have two engines between them, and each answers by both."""

    async def main() -> None:
        async with three(tmp_path, trial(replicas=2)) as (gateways, ground, _):
            await _ready(gateways)
            await eventually(lambda: all(len(_pids(each)) == 2 for each in gateways), "two replicas everywhere")
            assert ground.started == 2
            for each in gateways:
                assert {await ask(each.supervisor) for _ in range(4)} == {str(pid) for pid in _pids(each)}
            assert [each.leading.leads for each in gateways] == [True, False, False]
            assert {each.leading.standing.leader for each in gateways} == {"a"}

    asyncio.run(main())


def test_another_gateway_takes_over_what_runs_when_the_leader_is_lost(tmp_path: Path) -> None:
    """The engines go on, no request through the others fails, and the lost one ends nothing when it comes back."""

    async def main() -> None:
        async with three(tmp_path, trial(replicas=2)) as ((a, b, c), ground, shared):
            await eventually(lambda: all(len(_pids(each)) == 2 for each in (a, b, c)), "two replicas everywhere")
            before = _pids(b)
            done = asyncio.Event()

            async def client(each: Gateway) -> int:
                count = 0
                while not done.is_set():
                    async with each.supervisor.acquire("chat") as lease:
                        await answer(lease, after_s=0.01)
                    count += 1
                return count

            clients = [asyncio.create_task(client(each)) for each in (b, c)]
            a.vanish()
            shared.pass_time(7)
            assert not b.leading.leads
            shared.pass_time(5)
            assert not a.leading.leads
            await eventually(lambda: b.leading.leads or c.leading.leads, "another one that leads")
            leader, other = (b, c) if b.leading.leads else (c, b)
            assert leader.leading.standing.epoch == 2
            a.board.cut = a.cluster.cut = False
            shared.notify()
            await eventually(lambda: a.leading.standing.leader == leader.name, "the first knows who leads")
            assert {await ask(a.supervisor) for _ in range(4)} == {str(pid) for pid in before}
            done.set()
            assert min(await asyncio.gather(*clients)) > 0
            assert _pids(leader) == _pids(other) == before
            assert ground.started == 2
            assert all(alive(pid) for pid in before if pid)

    asyncio.run(main())


def test_a_leader_that_ends_in_order_hands_over(tmp_path: Path) -> None:
    """Another one leads at once with the same engine, and the last one that ends takes the engine along."""

    async def main() -> None:
        ground, shared = Ground(tmp_path), Shared()
        async with AsyncExitStack() as stack:
            async with gateway(tmp_path, "a", ground, shared, trial()) as a:
                await _ready([a])
                (pid,) = _pids(a)
                assert pid is not None
                b = await stack.enter_async_context(gateway(tmp_path, "b", ground, shared, trial()))
                await _ready([b])
                await eventually(lambda: set(a.leading.wants("chat trial")) == {"b"}, "the first knows of the second")
            await eventually(lambda: b.leading.leads, "the second leads")
            assert (b.leading.standing.epoch, _pids(b), await ask(b.supervisor)) == (2, {pid}, str(pid))
            async with gateway(tmp_path, "c", ground, shared, trial()) as c:
                await _ready([c])
                assert await ask(c.supervisor) == str(pid)
            assert alive(pid), "one that does not lead takes nothing along"
        assert not alive(pid)
        assert ground.started == 1
        await ground.end()

    asyncio.run(main())


@pytest.mark.slow
def test_a_request_at_any_gateway_wakes_what_nobody_has_loaded(tmp_path: Path) -> None:
    """What is loaded on demand is loaded by the one that leads, for whoever waits, and stays while anybody uses it."""

    async def main() -> None:
        async with three(tmp_path, trial(start="on_demand", idle_unload_s=1.0)) as ((a, b, c), ground, shared):
            assert ground.started == 0
            assert int(await ask(b.supervisor)) > 0
            client = Client(c.supervisor)
            await eventually(lambda: client.lease is not None, "a replica for the third")
            await eventually(lambda: a.leading.elsewhere("chat trial").running == 1, "the leader knows of it")
            since = shared.now_us
            longer = "the leader has looked when an unused one would be gone"
            await eventually(lambda: shared.told["a"].seen_us > since + 1_200_000, longer)
            assert a.supervisor.status("chat").state == "ready"
            await client.end()
            await eventually(lambda: not ground.records, "it is unloaded when nobody uses it")
            assert ground.started == 1

    asyncio.run(main())


def test_a_replica_goes_when_no_gateway_has_requests_on_it_any_more(tmp_path: Path) -> None:
    """New settings bring a new engine; the old one ends after the requests that another gateway has there."""

    async def main() -> None:
        async with three(tmp_path, trial()) as (gateways, ground, _):
            a, b, c = gateways
            await _ready(gateways)
            (pid,) = _pids(a)
            assert pid is not None
            client = Client(b.supervisor)
            await eventually(lambda: client.lease is not None, "a request at the second")
            for each in gateways:
                await each.supervisor.set(trial(model="new"))
            await eventually(lambda: ground.started == 2 and len(ground.records) == 2, "a new engine beside the old")
            await eventually(lambda: pid not in _pids(c), "the third has let go of the old one")
            assert await ask(c.supervisor) != str(pid)
            assert alive(pid)
            await client.end()
            await eventually(lambda: not alive(pid), "the old one has ended")
            assert {await ask(each.supervisor) for each in gateways} == {str(next(iter(_pids(a))))}

    asyncio.run(main())


def test_slots_of_a_replica_go_to_who_has_requests(tmp_path: Path) -> None:
    """Gateways have no more requests on an engine together than it does at once; one that is busy has nearly all."""

    async def main() -> None:
        async with three(tmp_path, trial(parallel=8)) as (gateways, _, __):
            await _ready(gateways)
            a, b, c = gateways
            await eventually(
                lambda: all(len(each.leading.wants("chat trial")) == 2 for each in gateways), "all are known"
            )
            clients = [Client(b.supervisor) for _ in range(8)]
            await eventually(lambda: sum(client.lease is not None for client in clients) == 6, "six of eight slots")
            others = [Client(a.supervisor), Client(c.supervisor)]
            await eventually(lambda: all(client.lease is not None for client in others), "one for each of the others")
            assert sum(client.lease is not None for client in clients) == 6
            for client in [*clients, *others]:
                await client.end()

    asyncio.run(main())


def test_an_engine_that_dies_is_started_again_by_the_one_that_leads(tmp_path: Path) -> None:
    """Every gateway has the new one soon, and the old one's number on none."""

    async def main() -> None:
        async with three(tmp_path, trial()) as (gateways, ground, _):
            await _ready(gateways)
            (pid,) = _pids(gateways[0])
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: ground.started == 2, "another engine")
            await eventually(lambda: all(_serves_by_another(each, pid) for each in gateways), "it is everywhere")
            assert len({await ask(each.supervisor) for each in gateways}) == 1

    asyncio.run(main())


def _serves_by_another(each: Gateway, pid: int) -> bool:
    status = each.supervisor.status("chat")
    return status.state == "ready" and _pids(each) != {pid} and pid not in _pids(each)


def test_room_is_asked_for_where_it_is_decided(tmp_path: Path) -> None:
    """A gateway that does not lead gives no room, and says which one does."""

    async def main() -> None:
        async with three(tmp_path, trial()) as ((a, b, _), __, ___):
            await _ready([a, b])
            work = Workload("job", WorkClass.RESEARCH, "org", None, (Resources(cores=1),), None, 0.0)
            assert (await a.supervisor.desk.room(work)).nodes in {("first",), ("second",)}
            with pytest.raises(Unavailable, match="The gateway 'a' leads the cluster"):
                await b.supervisor.desk.room(work)

    asyncio.run(main())


def test_nodes_that_drain_go_on_draining_under_the_next_leader(tmp_path: Path) -> None:
    """What the leader was told to leave the next one leaves too."""

    async def main() -> None:
        async with three(tmp_path, trial()) as ((a, b, c), _, shared):
            await _ready([a, b, c])
            await a.cluster.drain("second")
            await a.supervisor.desk.look()  # type: ignore[attr-defined]  # it is the arbiter's
            shared.notify()
            await eventually(lambda: shared.offers[""] == {"draining": ["second"]}, "it is published")
            await eventually(lambda: not _on_the_second(a), "its replica has left it")
            a.vanish()
            shared.pass_time(12)
            await eventually(lambda: b.leading.leads or c.leading.leads, "another one that leads")
            leader = b if b.leading.leads else c
            assert [node.id for node in await leader.cluster.nodes() if node.state == "draining"] == ["second"]

    asyncio.run(main())


def _on_the_second(each: Gateway) -> bool:
    return any(replica.node == "second" for replica in each.supervisor.status("chat").replicas)


def test_without_the_database_nothing_is_decided_and_everything_served(tmp_path: Path) -> None:
    """A gateway that cannot renew its lease starts and ends nothing, serves on, and leads again when it can."""

    async def main() -> None:
        ground, shared = Ground(tmp_path), Shared()
        async with gateway(tmp_path, "a", ground, shared, trial()) as a:
            await _ready([a])
            (pid,) = _pids(a)
            a.board.cut = True
            shared.pass_time(9)
            await eventually(lambda: not a.leading.leads, "it leads no more")
            assert await ask(a.supervisor) == str(pid)
            await a.supervisor.set(trial(model="new"))
            await a.supervisor.set(trial("another"))
            assert await ask(a.supervisor) == str(pid)
            a.board.cut = False
            shared.notify()
            await eventually(lambda: a.leading.leads, "it leads again")
            assert a.leading.standing.epoch in {1, 2}
            await eventually(lambda: ground.started == 3, "what was to be done is done")
            await a.supervisor.wait_ready("another", PATIENCE_S)
            await eventually(lambda: pid not in _pids(a), "the new model has replaced the old one")
            assert await ask(a.supervisor) != str(pid)
        assert not ground.records, "all has ended with the only gateway"
        await ground.end()

    asyncio.run(main())
