"""What an earlier run has left: taken by replicas that are alike, its room kept for them, or ended."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.arbiter.decisions import Adopt, Decision, Place, Take, Taken
from freehold.cluster.base import HostedRecord, Placement
from freehold.cluster.desk import ArbiterDesk
from freehold.cluster.likeness import digest_of
from freehold.cluster.local import LocalCluster
from freehold.cluster.orphans import Orphans
from freehold.types.cluster import Node, Resources, WorkClass, Workload

PATIENCE_S = 60.0
NEEDS = Resources(cores=2.0)
TOTAL = Resources(cores=4.0, memory_bytes=1 << 30)


def placement(workload: str = "chat-1", deployment: str = "chat", program: str = "engine") -> Placement:
    """An engine as a replica of that id would have it started."""
    argv = (sys.executable, "-m", program)
    return Placement(workload, argv, {}, NEEDS, None, {}, Path("e.sock"), deployment=deployment)


def left(
    workload: str = "chat-1", deployment: str = "chat", program: str = "engine", *, held: bool = False
) -> HostedRecord:
    """Such an engine as an earlier run has left it."""
    digest, name = digest_of(placement(workload, deployment, program)), f"{workload}.{program}"
    where = (Path("there.sock"), 7, NEEDS, None, WorkClass.API, None)
    return HostedRecord(name, workload, deployment, digest, "n", *where, "gateway", 0, 5.0, held)


def wants(workload: str = "chat-1") -> Workload:
    """What the replica of that id wants."""
    return Workload(workload, WorkClass.API, "org", None, (NEEDS,), None, 0.0)


class _Left(LocalCluster):
    """A cluster of one node on which engines were left."""

    def __init__(self, records: Sequence[HostedRecord]) -> None:
        super().__init__(TOTAL)
        self.records = list(records)
        self.dismissed: list[str] = []
        self.may_end = asyncio.Event()

    async def nodes(self) -> list[Node]:
        """See `Cluster.nodes`."""
        return [Node("n", "n", "eu", TOTAL, TOTAL)]

    async def hosted(self) -> list[HostedRecord]:
        """See `Cluster.hosted`."""
        return list(self.records)

    async def dismiss(self, record: HostedRecord) -> None:
        """See `Cluster.dismiss`."""
        await self.may_end.wait()
        self.dismissed.append(record.workload)
        self.records.remove(record)


@dataclass
class _Minutes:
    """Keeps what was decided."""

    decisions: list[Decision] = field(default_factory=list)

    def check(self) -> None:
        """See `Minutes.check`."""

    def decided(self, decision: Decision, workload: Workload) -> None:
        """See `Minutes.decided`."""
        assert workload.id == decision.workload
        self.decisions.append(decision)


def run(records: Sequence[HostedRecord], scenario: Callable[[ArbiterDesk, _Left, _Minutes], Awaitable[None]]) -> None:
    """Run it at the desk of a gateway that starts again, and has the deployment `chat`."""

    async def main() -> None:
        cluster, minutes = _Left(records), _Minutes()
        orphans = Orphans(cluster, lambda name: name == "chat")
        desk = ArbiterDesk(Arbiter(), cluster, minutes, lambda: 10.0, orphans)
        async with asyncio.timeout(PATIENCE_S), desk:
            await scenario(desk, cluster, minutes)

    asyncio.run(main())


def test_a_replica_gets_the_engine_that_is_alike() -> None:
    """It is told once, its room is the replica's, and the journal has that; another replica gets another one."""

    async def scenario(desk: ArbiterDesk, cluster: _Left, minutes: _Minutes) -> None:
        first = await desk.claim(wants("chat-2"), placement("chat-2"))
        second = await desk.claim(wants("chat-5"), placement("chat-5"))
        third = await desk.claim(wants("chat-6"), placement("chat-6"))
        assert [record and record.workload for record in (first, second, third)] == ["chat-2", "chat-1", None]
        assert minutes.decisions == [Adopt("chat-2", ("n",), 10.0), Adopt("chat-5", ("n",), 10.0)]
        assert set(desk.arbiter.entries) == {"chat-2", "chat-5"}
        desk.release("chat-2")
        assert (await desk.room(wants("chat-7"))).nodes == ("n",)
        assert cluster.dismissed == []

    run([left("chat-1"), replace(left("chat-2"), name="chat-2.b")], scenario)


def test_the_room_of_an_engine_is_nobody_elses() -> None:
    """Others wait for room that is not free, until the engine has ended: by itself, or because nobody wants it."""

    async def scenario(desk: ArbiterDesk, cluster: _Left, _minutes: _Minutes) -> None:
        waits: list[str] = []
        await desk.room(wants("other-1"))
        waiting = asyncio.create_task(desk.room(wants("other-2"), lambda: waits.append("other-2")))
        await asyncio.sleep(0)
        assert (waits, waiting.done()) == (["other-2"], False)
        cluster.records.clear()
        await desk.look()
        assert (await waiting).nodes == ("n",)

    run([left()], scenario)


def test_what_never_can_be_used_is_ended() -> None:
    """Engines of no deployment, and of other settings than a replica shows, end; then their room is free."""

    async def scenario(desk: ArbiterDesk, cluster: _Left, minutes: _Minutes) -> None:
        assert await desk.claim(wants("chat-3"), placement("chat-3")) is None
        assert minutes.decisions == [Take("gone-1", Taken.UNWANTED, 10.0), Take("chat-1", Taken.UNWANTED, 10.0)]
        waiting = asyncio.create_task(desk.room(wants("chat-3")))
        await asyncio.sleep(0)
        assert not waiting.done()
        cluster.may_end.set()
        assert (await waiting).nodes == ("n",)
        assert cluster.dismissed == ["gone-1", "chat-1"]
        assert minutes.decisions[-1] == Place("chat-3", ("n",), 10.0)

    run([left("gone-1", "gone"), left("chat-1", program="before")], scenario)


def test_what_another_gateway_has_is_left_alone() -> None:
    """An engine that another gateway still has is neither taken nor ended."""

    async def scenario(desk: ArbiterDesk, cluster: _Left, minutes: _Minutes) -> None:
        assert await desk.claim(wants(), placement()) is None
        await desk.look()
        assert (cluster.dismissed, minutes.decisions, desk.arbiter.entries) == ([], [], {})

    run([left(held=True)], scenario)


def test_an_engine_where_it_may_not_be_is_not_used() -> None:
    """A replica that may run in other zones only gets none that runs elsewhere; that one ends."""

    async def scenario(desk: ArbiterDesk, cluster: _Left, minutes: _Minutes) -> None:
        abroad = replace(wants(), zones=frozenset({"us"}))
        assert await desk.claim(abroad, placement()) is None
        assert minutes.decisions == [Take("chat-1", Taken.UNWANTED, 10.0)]
        cluster.may_end.set()

    run([left()], scenario)
