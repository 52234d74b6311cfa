"""A Ray cluster: engines and jobs run on its nodes, in actors of `freehold.cluster.host`.

Ray itself is spoken to by a process of its own (`ray_link`); this is what the gateway makes of it: which node takes
what, what runs where, and which nodes drain. A node that is lost ends what was on it; who placed it places it again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from freehold.cluster.authority import Authority
from freehold.cluster.base import Cluster, HostedRecord, JobOrder, JobStatus, Placed, Placement, ignore
from freehold.cluster.job import Jobs
from freehold.cluster.ray_hosted import RayEngine, RayHosted, RayMember
from freehold.cluster.ray_orders import orders_of, parts_of
from freehold.cluster.ray_process import Link
from freehold.cluster.ray_records import new_name, record_of, wire_of_record
from freehold.cluster.ray_view import View
from freehold.cluster.ray_wire import NAMESPACE
from freehold.cluster.spanning import Spanned, numbered
from freehold.errors import ConfigError, FreeholdError, NotFound
from freehold.types.address import TlsAddress
from freehold.types.cluster import Node

log = structlog.get_logger(__name__)

_CLOSE_GRACE_S: Final = 5.0
_RETURN_S: Final = 60.0
"""For so long a lost way to the cluster is looked for before its engines are given up."""
_AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class RayPlace:
    """Where a cluster is, and who comes to it.

    Args:
        address: of its head, `HOST:PORT`.
        token: the cluster's.
        folder: `HOME/cluster`: what this gateway shows to others, this home's name, and which nodes drain.
        authority: gives the home's, when the cluster is joined.
        node_address: this machine's own address there; None to find out.
        start_timeout_s: how long a node may take to take something.
        orphan_grace_s: after how long without any gateway an engine ends.
        namespace: in which the engines of all gateways of one home are.
        gateway: this one's name among them.
    """

    address: str
    token: str = field(repr=False)
    folder: Path
    authority: Callable[[], Awaitable[Authority]]
    node_address: str | None = None
    start_timeout_s: float = 120.0
    orphan_grace_s: float = 120.0
    namespace: str = NAMESPACE
    gateway: str = ""


class RayCluster(Cluster):
    """Joins the cluster with the first thing that is asked of it, and again where the way to it was lost.

    Args:
        place: where it is.
        home_id: begins the names of the actors of this gateway's jobs.
    """

    def __init__(self, place: RayPlace, home_id: str) -> None:
        self._place = place
        self._home_id = home_id
        self._link: Link | None = None
        self._joining = asyncio.Lock()
        self._view = View(place.folder)
        self._engines: dict[str, RayEngine] = {}
        self._returning: asyncio.Task[None] | None = None
        self._identity: str | None = None
        self._epoch = 0
        self._handed_over = self._closed = False
        self._jobs = Jobs()
        self._listeners: list[Callable[[], None]] = []

    async def nodes(self) -> list[Node]:
        """See `Cluster.nodes`."""
        await self._looked()
        return self._view.known()

    async def place(
        self, placement: Placement, on_line: Callable[[str], None], report: Callable[[str], None] = ignore
    ) -> Placed:
        """See `Cluster.place`."""
        if unnamed := [path for path, digest in placement.files.items() if not digest]:
            raise ConfigError(f"model: '{unnamed[0].name}' has no digest, so that no other node can have it")
        link = await self._looked()
        kind, members = _kind(placement.workload), placement.members
        crowd = self._view.crowd(kind)
        nodes = self._view.chosen(placement.nodes, members, placement.zones, placement.workload, crowd)
        ids = [node.id for node in nodes]
        uses = self._view.use(kind, ids, members)
        number, name = link.numbers(len(nodes)), new_name(placement.workload)
        san = f"{name}.{self._home_id}.freehold"
        hosted = self._members(link, number, len(nodes), on_line, report)
        try:
            started = await link.order(
                "place",
                hosted[0].take,
                number,
                ranks=len(nodes),
                name=name,
                epoch=self._epoch,
                timeout_s=self._place.start_timeout_s,
                files={str(path): digest for path, digest in placement.files.items()},
                san=san,
                socket=str(placement.socket),
                members=parts_of(placement, nodes, self._view.address),
                record=wire_of_record(placement, san, ids),
            )
        except BaseException:
            for use in uses:
                self._view.give_back(use)
            raise
        engine = RayEngine(name, started["group"], placement.workload, hosted)
        process = self._had(engine, ids, uses, started["pids"])
        log.info("engine_placed", replica=placement.workload, nodes=ids, pids=started["pids"])
        address = TlsAddress(self._view.address(ids[0]), started["port"], san, self._place.folder)
        return Placed(process, address, ids[0], tuple(ids[1:]))

    async def hosted(self) -> list[HostedRecord]:
        """See `Cluster.hosted`."""
        link = await self._joined()
        found = await link.order("hosted")
        mine, folder = self._place.gateway, self._place.folder
        return [record_of(wire, mine, folder) for wire in found if wire["name"] not in self._engines]

    async def attach(
        self, record: HostedRecord, on_line: Callable[[str], None], report: Callable[[str], None] = ignore
    ) -> Placed:
        """See `Cluster.attach`."""
        link, ids = await self._looked(), record.nodes
        number = link.numbers(len(ids))
        hosted = self._members(link, number, len(ids), on_line, report)
        engine = RayEngine(record.name, record.group, record.workload, hosted)
        pids = await self._attached(link, number, engine)
        process = self._had(engine, ids, self._view.use(_kind(record.workload), ids, record.members), pids)
        log.info("engine_attached", replica=record.workload, nodes=ids, pids=pids, owner=record.owner)
        return Placed(process, record.address, record.node, ids[1:])

    async def dismiss(self, record: HostedRecord) -> None:
        """See `Cluster.dismiss`."""
        try:
            placed = await self.attach(record, ignore)
        except NotFound:
            return
        await placed.process.kill()

    @property
    def identity(self) -> str | None:
        """See `Cluster.identity`."""
        return self._identity

    @property
    def reachable(self) -> bool:
        """See `Cluster.reachable`."""
        return self._link is not None and self._link.alive

    async def lead(self, epoch: int) -> None:
        """See `Cluster.lead`."""
        self._epoch = epoch
        link = await self._joined()
        hosts = [member.number for engine in self._engines.values() for member in engine.members]
        await link.order("lead", epoch=epoch, hosts=hosts)

    async def let_go(self) -> None:
        """See `Cluster.let_go`."""
        await asyncio.gather(*(engine.let_go() for engine in list(self._engines.values())))

    def hand_over(self) -> None:
        """See `Cluster.hand_over`."""
        self._handed_over = True

    async def submit(self, job: JobOrder) -> None:
        """See `Cluster.submit`."""
        self._jobs.refuse_running(job.id)
        link = await self._looked()
        nodes = self._view.chosen(job.nodes, job.members, job.zones, job.id)
        running = self._jobs.begin(job)
        uses = self._view.use(job.id, [node.id for node in nodes], job.members)
        number = link.numbers(len(nodes))
        members = [RayMember(link, number + rank, running.hear if rank == 0 else ignore) for rank in range(len(nodes))]
        for rank, member in enumerate(members[1:], start=1):
            link.listen(number + rank, member.take)
        try:
            await link.order(
                "gang",
                members[0].take,
                number,
                ranks=len(nodes),
                name=f"{job.id}.{number}",
                timeout_s=self._place.start_timeout_s,
                master=self._view.address(nodes[0].id),
                members=orders_of(job, nodes, self._view.address),
            )
        except BaseException:
            for use in uses:
                self._view.give_back(use)
            self._jobs.forget(running)
            raise
        for use, member in zip(uses, members, strict=True):
            member.exited.add_done_callback(partial(self._ended, use, member))
        running.run(members, lambda: None)

    async def status(self, job_id: str) -> JobStatus:
        """See `Cluster.status`."""
        return self._jobs.get(job_id).status

    def logs(self, job_id: str) -> AsyncIterator[str]:
        """See `Cluster.logs`."""
        return self._jobs.get(job_id).lines()

    async def cancel(self, job_id: str, grace_s: float) -> None:
        """See `Cluster.cancel`."""
        await self._jobs.get(job_id).cancel(grace_s)

    async def drain(self, node_id: str) -> None:
        """See `Cluster.drain`; remembered in the home."""
        await self._change_drain(node_id, drains=True)

    async def resume(self, node_id: str) -> None:
        """See `Cluster.resume`."""
        await self._change_drain(node_id, drains=False)

    def on_change(self, listener: Callable[[], None]) -> None:
        """See `Cluster.on_change`."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """See `Cluster.close`."""
        self._closed = True
        await self._jobs.close(_CLOSE_GRACE_S)
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.wait({self._returning})
        if self._handed_over:
            await self.let_go()
        async with self._joining:
            link, self._link = self._link, None
            if link is not None:
                await link.close()

    async def _joined(self) -> Link:
        """The way to the cluster; made where there is none."""
        async with self._joining:
            if self._link is None or not self._link.alive:
                place = self._place
                arguments = {
                    "address": place.address,
                    "node_address": place.node_address,
                    "namespace": place.namespace,
                    "prefix": f"{self._home_id}:",
                    "gateway": place.gateway,
                    "orphan_grace_s": place.orphan_grace_s,
                }
                authority = _wire_of(await place.authority())
                self._link = await Link.join(arguments, place.token, authority, self._heard_nodes, self._cut)
                self._identity = self._link.cluster
                self._view.take(self._link.nodes)
            return self._link

    async def _looked(self) -> Link:
        """The way to the cluster, whose nodes have been looked at just now."""
        link = await self._joined()
        self._view.take(await link.order("nodes"))
        return link

    def _members(
        self, link: Link, number: int, count: int, on_line: Callable[[str], None], report: Callable[[str], None]
    ) -> list[RayHosted]:
        """The processes of an engine, as they will be heard; what another gateway takes one of goes on with all."""
        hosted: list[RayHosted] = []

        def goes_on() -> bool:
            return self._handed_over or any(member.elsewhere for member in hosted)

        hosted += [
            RayHosted(link, number + rank, numbered(rank, on_line), report, self._cut, goes_on) for rank in range(count)
        ]
        for rank, other in enumerate(hosted[1:], start=1):
            link.listen(number + rank, other.take)
        return hosted

    def _had(
        self, engine: RayEngine, nodes: Sequence[str], uses: Sequence[object], pids: Sequence[int]
    ) -> RayHosted | Spanned:
        """Have an engine in hands; it as one process."""
        self._engines[engine.name] = engine
        for use, one, pid in zip(uses, engine.members, pids, strict=True):
            one.pid = pid
            one.exited.add_done_callback(partial(self._ended, use, one))
        first = engine.members[0]
        process = first if len(pids) == 1 else Spanned(engine.members, [self._view.name(node) for node in nodes])
        process.exited.add_done_callback(lambda _: self._had_no_more(engine))
        return process

    def _had_no_more(self, engine: RayEngine) -> None:
        if self._engines.get(engine.name) is engine:
            del self._engines[engine.name]

    async def _attached(self, link: Link, number: int, engine: RayEngine) -> list[int]:
        """Take an engine that runs into hands; the ids of its processes."""
        order = {"name": engine.name, "group": engine.group, "workload": engine.workload, "epoch": self._epoch}
        count, take = len(engine.members), engine.members[0].take
        found: dict[str, list[int]] = await link.order(
            "attach", take, number, ranks=count, undo="let_go", count=count, **order
        )
        return found["pids"]

    def _cut(self) -> None:
        """The way to the cluster was lost: make another one, on which its engines are found again."""
        self._tell()
        if not self._closed and (self._returning is None or self._returning.done()):
            self._returning = asyncio.create_task(self._return(), name="return to the cluster")

    async def _return(self) -> None:
        """Have the engines in hands again; those that are not found any more have ended."""
        link: Link | None = None
        while link is None or not link.alive:
            try:
                async with asyncio.timeout(_RETURN_S):
                    link = await self._again()
            except TimeoutError:
                for engine in list(self._engines.values()):
                    engine.give_up("the way to the cluster was lost")
                return
            for engine in [engine for engine in self._engines.values() if engine.members[0].cut]:
                await self._find_again(link, engine)
            with suppress(FreeholdError):
                await link.order("hosted")  # which ends what was about to start

    async def _find_again(self, link: Link, engine: RayEngine) -> None:
        """Have an engine in hands by another way; it stays lost where that one is lost meanwhile."""
        number = link.numbers(len(engine.members))
        for rank, member in enumerate(engine.members[1:], start=1):
            link.listen(number + rank, member.take)
        try:
            await self._attached(link, number, engine)
        except FreeholdError as exc:
            if link.alive:
                engine.give_up(exc.message)
            return
        log.info("engine_found_again", replica=engine.workload)
        for rank, member in enumerate(engine.members):
            member.found(link, number + rank)

    async def _again(self) -> Link:
        while True:
            try:
                return await self._joined()
            except (FreeholdError, OSError, ValueError) as exc:  # of the home's folder, or of what lies there
                log.warning("cluster_lost", reason=str(exc))
            await asyncio.sleep(_AGAIN_S)

    def _heard_nodes(self, wire: list[list[Any]]) -> None:
        self._view.take(wire)
        self._tell()

    async def _change_drain(self, node_id: str, *, drains: bool) -> None:
        await self._looked()
        node = self._view.find(node_id)
        if node is None:
            raise NotFound(f"The cluster has no node '{node_id}'; see them with 'freehold cluster nodes'.")
        self._view.drain(node.id, drains=drains)
        self._tell()

    def _ended(self, use: object, member: RayHosted | RayMember, _: "asyncio.Future[int]") -> None:
        """Whatever had room has ended; a node that lost it is in doubt."""
        self._view.give_back(use, lost=member.lost)
        if member.lost:
            self._tell()

    def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.call_soon(listener)


def _kind(workload: str) -> str:
    """What replicas of one deployment have alike in their ids."""
    return workload.rpartition("-")[0] or workload


def _wire_of(authority: Authority) -> Mapping[str, str]:
    return {"key": authority.key_pem.decode("ascii"), "certificate": authority.certificate_pem.decode("ascii")}
