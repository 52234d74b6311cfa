"""Gateways that share a cluster, in one process: engines that outlive whoever started them, and a board.

`Ground` is a cluster whose engines are processes of this machine, as `LocalCluster`'s, but nobody's own: another
gateway of the ground finds and takes them. The board is that of `tests.serving.boards`.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.base import HostedRecord, Placed, Placement, ignore
from freehold.cluster.desk import ArbiterDesk
from freehold.cluster.local import LocalCluster
from freehold.cluster.process import EngineProcess
from freehold.errors import Conflict, EngineFailed, NotFound, Unavailable
from freehold.serving.leading import Leading
from freehold.serving.supervisor import Supervisor
from freehold.types.cluster import Node, NodeState, Resources
from freehold.types.deployment import DeploymentSettings
from tests.serving.boards import MemoryBoard, Shared
from tests.serving.trial import QUICK, QUICK_FIRST, ready_at_once
from tests.serving.trial_engine import find_engine

_HAS = Resources(cores=8, memory_bytes=8 << 30)
NODES = [Node(name, name, zone, _HAS, _HAS) for name, zone in (("first", "eu"), ("second", "us"))]
_LOST = -9


class Hands:
    """An engine of the ground in somebody's hands; see `freehold.cluster.base.Hosted`."""

    def __init__(self, process: EngineProcess) -> None:
        self.pid = process.pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.tail: deque[str] = process.tail
        self.process = process
        self.handed_over = False
        process.exited.add_done_callback(lambda _: self.leave(process.exited.result()))

    def leave(self, code: int = _LOST) -> None:
        """It is in these hands no more."""
        if not self.exited.done():
            self.exited.set_result(code)

    def describe_exit(self) -> str:
        """See `Hosted.describe_exit`."""
        return f"the engine ended: {self.exited.result()}"

    async def terminate(self, grace_s: float) -> None:
        """See `Hosted.terminate`."""
        if not self.exited.done() and not self.handed_over:
            await self.process.terminate(grace_s)
        self.leave()

    async def kill(self) -> bool:
        """See `Hosted.kill`."""
        if not self.exited.done() and not self.handed_over:
            await self.process.kill()
        self.leave()
        return True

    async def read_rest(self) -> None:
        """See `Hosted.read_rest`."""


@dataclass
class Ground:
    """What the gateways share.

    Args:
        folder: where the engines listen.

    Attributes:
        records: what runs, by its name.
        started: how many engines were ever started.
    """

    folder: Path
    records: dict[str, tuple[HostedRecord, Hands]] = field(default_factory=dict)
    started: int = 0
    _closing: "list[asyncio.Future[bool]]" = field(default_factory=list)
    _names: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def place(
        self, placement: Placement, owner: str, epoch: int, on_line: Callable[[str], None]
    ) -> tuple[HostedRecord, Hands]:
        """Start an engine."""
        self.started += 1
        socket = self.folder / f"{self.started}.sock"
        argv = [str(socket) if part == str(placement.socket) else part for part in placement.argv]
        process = await EngineProcess.start(argv, placement.env, on_line)
        record = HostedRecord(
            name=f"host-{next(self._names)}",
            workload=placement.workload,
            deployment=placement.workload.rpartition("-")[0],
            digest="",
            node=placement.nodes[0],
            address=socket,
            pid=process.pid,
            needs=placement.needs,
            zones=placement.zones,
            work_class=placement.work_class,
            project=None,
            owner=owner,
            epoch=epoch,
            silent_s=0.0,
        )
        hands = Hands(process)
        self.records[record.name] = record, hands
        process.exited.add_done_callback(lambda _: self._ended(record.name, process))
        return record, hands

    def _ended(self, name: str, process: EngineProcess) -> None:
        self.records.pop(name, None)
        self._closing.append(asyncio.ensure_future(process.kill()))  # of what has ended, its pipes

    async def end(self) -> None:
        """End all that runs."""
        for _, hands in list(self.records.values()):
            await hands.process.kill()
        await asyncio.gather(*self._closing)


class OnGround(LocalCluster):
    """The ground as one gateway has it.

    Args:
        ground: what runs.
        owner: the gateway's name.

    Attributes:
        cut: whether there is no way to it.
        name: its identity.
        defect: raised when it is to be led.
        hung: workloads that cannot be attached.
    """

    def __init__(self, ground: Ground, owner: str) -> None:
        super().__init__(_HAS)
        self._ground = ground
        self._owner = owner
        self._epoch = 0
        self._draining = set[str]()
        self._hands: list[Hands] = []
        self.cut = False
        self.name: str | None = "ground"
        self.defect: Exception | None = None
        self.hung = set[str]()

    @property
    def identity(self) -> str | None:
        """See `Cluster.identity`."""
        return self.name

    @property
    def reachable(self) -> bool:
        """See `Cluster.reachable`."""
        return not self.cut

    async def nodes(self) -> list[Node]:
        """See `Cluster.nodes`."""
        self._there()
        return [replace(node, state=NodeState.DRAINING) if node.id in self._draining else node for node in NODES]

    async def drain(self, node_id: str) -> None:
        """See `Cluster.drain`."""
        self._draining.add(node_id)

    async def resume(self, node_id: str) -> None:
        """See `Cluster.resume`."""
        self._draining.discard(node_id)

    async def place(
        self, placement: Placement, on_line: Callable[[str], None], report: Callable[[str], None] = ignore
    ) -> Placed:
        """See `Cluster.place`."""
        del report
        self._there()
        record, hands = await self._ground.place(placement, self._owner, self._epoch, on_line)
        self._hands.append(hands)
        return Placed(hands, record.address, record.node)

    async def hosted(self) -> list[HostedRecord]:
        """See `Cluster.hosted`."""
        self._there()
        return [record for record, hands in self._ground.records.values() if self._is_elsewhere(record, hands)]

    async def attach(
        self, record: HostedRecord, on_line: Callable[[str], None], report: Callable[[str], None] = ignore
    ) -> Placed:
        """See `Cluster.attach`."""
        del on_line, report
        if record.workload in self.hung:
            raise EngineFailed("The node does not answer.")
        _, before = self._mine(record)
        before.leave()
        hands = Hands(before.process)
        self._hands.append(hands)
        self._ground.records[record.name] = replace(record, owner=self._owner, epoch=self._epoch), hands
        return Placed(hands, record.address, record.node)

    async def dismiss(self, record: HostedRecord) -> None:
        """See `Cluster.dismiss`."""
        _, hands = self._mine(record)
        await hands.process.kill()

    async def lead(self, epoch: int) -> None:
        """See `Cluster.lead`."""
        self._there()
        if self.defect is not None:
            raise self.defect
        self._epoch = epoch
        for name, (record, hands) in self._ground.records.items():
            if not self._is_elsewhere(record, hands):
                self._ground.records[name] = replace(record, epoch=epoch), hands

    async def let_go(self) -> None:
        """See `Cluster.let_go`."""
        for hands in self._hands:
            hands.leave(0)

    def hand_over(self) -> None:
        """See `Cluster.hand_over`."""
        for hands in self._hands:
            hands.handed_over = True

    async def close(self) -> None:
        """See `Cluster.close`: what is still in these hands ends."""
        for hands in self._hands:
            if not hands.exited.done():
                await hands.process.kill()

    def _is_elsewhere(self, record: HostedRecord, hands: Hands) -> bool:
        return record.owner != self._owner or hands.exited.done()

    def _mine(self, record: HostedRecord) -> tuple[HostedRecord, Hands]:
        self._there()
        found = self._ground.records.get(record.name)
        if found is None:
            raise NotFound("It has ended.")
        if found[0].epoch > self._epoch:
            raise Conflict("It is a later leader's.")
        return found

    def _there(self) -> None:
        if self.cut:
            raise Unavailable("The cluster cannot be reached.")


class Anew:
    """See `freehold.serving.board.Follows`."""

    def __init__(self, desk: ArbiterDesk) -> None:
        self._desk = desk

    def begin(self, epoch: int) -> None:
        """See `Follows.begin`."""
        del epoch
        self.end()

    async def look(self) -> None:
        """See `Follows.look`."""
        await self._desk.look()

    def draining(self) -> list[str]:
        """See `Follows.draining`."""
        return self._desk.draining()

    def end(self) -> None:
        """See `Follows.end`."""
        self._desk.begin_anew(Arbiter(), "another leads")


@dataclass
class Gateway:
    """One of the gateways."""

    name: str
    supervisor: Supervisor
    leading: Leading
    board: MemoryBoard
    cluster: OnGround

    def vanish(self) -> None:
        """Reach nothing any more from now on: to the others, it is as good as killed."""
        self.board.cut = self.cluster.cut = True


@asynccontextmanager
async def gateway(
    folder: Path,
    name: str,
    ground: Ground,
    shared: Shared,
    *deployments: DeploymentSettings,
    identity: str | None = "ground",
) -> AsyncIterator[Gateway]:
    """A gateway that takes part; `identity` is that of its cluster."""
    board, cluster = MemoryBoard(shared), OnGround(ground, name)
    cluster.name = identity
    async with (
        ArbiterDesk(Arbiter(), cluster) as desk,
        Leading(board, name, cluster, Anew(desk), folder, clock=lambda: shared.now_us / 1_000_000) as leading,
    ):
        desk.check = leading.check
        supervisor = Supervisor(
            QUICK,
            folder / name,
            ready_at_once,
            drain_s=20.0,
            find_engine=find_engine,
            fastest_first=QUICK_FIRST,
            cluster=cluster,
            desk=desk,
            sharing=leading,
        )
        try:
            for each in deployments:
                await supervisor.set(each)
            async with supervisor.at_work():
                yield Gateway(name, supervisor, leading, board, cluster)
        finally:
            await supervisor.stop()
            await cluster.close()


@asynccontextmanager
async def three(folder: Path, *deployments: DeploymentSettings) -> AsyncIterator[tuple[list[Gateway], Ground, Shared]]:
    """Three gateways, of which the first leads."""
    ground, shared = Ground(folder), Shared()
    try:
        async with (
            gateway(folder, "a", ground, shared, *deployments) as a,
            gateway(folder, "b", ground, shared, *deployments) as b,
            gateway(folder, "c", ground, shared, *deployments) as c,
        ):
            assert a.leading.leads
            yield [a, b, c], ground, shared
    finally:
        await ground.end()
