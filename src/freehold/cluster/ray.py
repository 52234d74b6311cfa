"""A Ray cluster: engines and jobs run on its nodes, in actors of `freehold.cluster.host`.

Ray itself is spoken to by a process of its own (`ray_link`); this is what the gateway makes of it: which node takes
what, what runs where, and which nodes drain. A node that is lost ends what was on it; who placed it places it again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from freehold.cluster.base import Cluster, JobOrder, JobStatus, Part, Placed, Placement, ignore
from freehold.cluster.choice import Crowd, choose, less
from freehold.cluster.job import Jobs
from freehold.cluster.member import which_of
from freehold.cluster.ray_hosted import RayHosted, RayMember
from freehold.cluster.ray_process import Link
from freehold.cluster.ray_wire import resources_of, wire_of_needs
from freehold.cluster.spanning import Spanned, numbered
from freehold.errors import ConfigError, NotFound
from freehold.types.address import TlsAddress
from freehold.types.cluster import Node, NodeState, Resources

log = structlog.get_logger(__name__)

DOUBT_S: Final = 10.0
"""A node that lost an engine takes nothing for so long, unless the cluster has said meanwhile that it is lost."""
REMEMBER_S: Final = 600.0
"""Lost nodes are shown for so long."""
_CLOSE_GRACE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class RayPlace:
    """Where a cluster is, and who comes to it.

    Args:
        address: of its head, `HOST:PORT`.
        token: the cluster's.
        folder: `HOME/cluster`: certificates, this home's name, and which nodes drain.
        node_address: this machine's own address there; None to find out.
        start_timeout_s: how long a node may take to take something.
        owner: whether what an earlier run of this home left is ended.
    """

    address: str
    token: str = field(repr=False)
    folder: Path
    node_address: str | None = None
    start_timeout_s: float = 120.0
    owner: bool = True


@dataclass(slots=True)
class _Seen:
    """A node, as the cluster has told."""

    node: Node
    address: str
    lost_at: float | None = None


class RayCluster(Cluster):
    """Joins the cluster with the first thing that is asked of it, and again where the way to it was lost.

    Args:
        place: where it is.
        home_id: begins the names of this home's actors.
    """

    def __init__(self, place: RayPlace, home_id: str) -> None:
        self._place = place
        self._home_id = home_id
        self._link: Link | None = None
        self._joining = asyncio.Lock()
        self._seen: dict[str, _Seen] = {}
        self._draining = _draining(place.folder)
        self._doubted: dict[str, float] = {}
        self._used: dict[object, tuple[str, str, Resources]] = {}
        self._jobs = Jobs()
        self._listeners: list[Callable[[], None]] = []

    async def nodes(self) -> list[Node]:
        """See `Cluster.nodes`."""
        link = await self._joined()
        self._take_nodes(await link.order("nodes"))
        return self._known()

    async def place(
        self, placement: Placement, on_line: Callable[[str], None], report: Callable[[str], None] = ignore
    ) -> Placed:
        """See `Cluster.place`."""
        if unnamed := [path for path, digest in placement.files.items() if not digest]:
            raise ConfigError(f"model: '{unnamed[0].name}' has no digest, so that no other node can have it")
        link = await self._joined()
        self._take_nodes(await link.order("nodes"))
        kind = placement.workload.rpartition("-")[0] or placement.workload
        of_kind = [where for where, other, _ in self._used.values() if other == kind]
        nodes = self._chosen(
            placement.nodes,
            placement.members,
            placement.zones,
            placement.workload,
            lambda node: of_kind.count(node.id),
        )
        keys = [object() for _ in nodes]
        self._used |= {k: (n.id, kind, needs) for k, n, needs in zip(keys, nodes, placement.members, strict=True)}
        number = link.numbers(len(nodes))
        name = f"{placement.workload}.{number}.{self._home_id}.freehold"
        hosted = [RayHosted(link, number + rank, numbered(rank, on_line), report) for rank in range(len(nodes))]
        for rank, other in enumerate(hosted[1:], start=1):
            link.listen(number + rank, other.take)
        try:
            started = await link.order(
                "place",
                hosted[0].take,
                number,
                name=f"{placement.workload}.{number}",
                timeout_s=self._place.start_timeout_s,
                files={str(path): digest for path, digest in placement.files.items()},
                san=name,
                socket=str(placement.socket),
                members=self._parts(placement, nodes),
            )
        except BaseException:
            for key in keys:
                del self._used[key]
            raise
        for key, node, one, pid in zip(keys, nodes, hosted, started["pids"], strict=True):
            one.pid = pid
            one.exited.add_done_callback(partial(self._member_ended, key, node.id, one))
        first = nodes[0]
        address = TlsAddress(self._seen[first.id].address, started["port"], name, self._place.folder)
        log.info("engine_placed", replica=placement.workload, nodes=[node.id for node in nodes], pids=started["pids"])
        process = hosted[0] if len(hosted) == 1 else Spanned(hosted, [node.name for node in nodes])
        return Placed(process, address, first.id, tuple(node.id for node in nodes[1:]))

    async def submit(self, job: JobOrder) -> None:
        """See `Cluster.submit`."""
        self._jobs.refuse_running(job.id)
        link = await self._joined()
        self._take_nodes(await link.order("nodes"))
        nodes = self._chosen(job.nodes, job.members, job.zones, job.id)
        running = self._jobs.begin(job)
        keys = [object() for _ in nodes]
        self._used |= {key: (node.id, job.id, needs) for key, node, needs in zip(keys, nodes, job.members, strict=True)}
        number = link.numbers(len(nodes))
        members = [RayMember(link, number + rank, running.hear if rank == 0 else ignore) for rank in range(len(nodes))]
        for rank, member in enumerate(members[1:], start=1):
            link.listen(number + rank, member.take)
        try:
            await link.order(
                "gang",
                members[0].take,
                number,
                name=f"{job.id}.{number}",
                timeout_s=self._place.start_timeout_s,
                master=self._seen[nodes[0].id].address,
                members=self._orders(job, nodes),
            )
        except BaseException:
            for key in keys:
                self._used.pop(key, None)
            self._jobs.forget(running)
            raise
        for key, node, member in zip(keys, nodes, members, strict=True):
            member.exited.add_done_callback(partial(self._member_ended, key, node.id, member))
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
        await self._jobs.close(_CLOSE_GRACE_S)
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
                    "folder": str(place.folder),
                    "prefix": f"{self._home_id}:",
                    "owner": place.owner,
                }
                self._link = await Link.join(arguments, place.token, self._heard_nodes, self._tell)
                self._take_nodes(self._link.nodes)
            return self._link

    def _chosen(
        self,
        chosen: Sequence[str],
        members: Sequence[Resources],
        zones: frozenset[str] | None,
        name: str,
        crowd: Crowd = lambda _: 0,
    ) -> list[Node]:
        """The nodes of processes that are placed at once: those that were chosen, if they have room, or others."""
        nodes = self._trusted()
        if not chosen:
            return choose(nodes, members, zones, name, crowd)
        found: list[Node] = []
        for wanted, needs in zip(chosen, members, strict=True):
            found += choose([node for node in nodes if node.id == wanted], (needs,), zones, name)
            nodes = [replace(n, free=less(n.free, needs)) if n.id == wanted else n for n in nodes]
        return found

    def _parts(self, placement: Placement, nodes: Sequence[Node]) -> list[dict[str, Any]]:
        """What each node is told of an engine's process."""
        first = Part(placement.argv, placement.env, placement.needs)
        return [
            {
                "node": node.id,
                "needs": wire_of_needs(part.needs),
                "argv": part.argv,
                "env": dict(part.env),
                "host": self._seen[node.id].address,
            }
            for node, part in zip(nodes, (first, *placement.others), strict=True)
        ]

    def _orders(self, job: JobOrder, nodes: Sequence[Node]) -> list[dict[str, Any]]:
        """What each node is told of a job's process."""
        master = self._seen[nodes[0].id].address
        ids = [node.id for node in nodes]
        found = []
        for rank, (node, needs) in enumerate(zip(nodes, job.members, strict=True)):
            local = (ids[:rank].count(node.id), ids.count(node.id))
            env = {**job.env, **which_of(rank, len(nodes), master, 0, local=local)}
            argv = [job.python, "-P", "-m", job.module, *job.arguments]
            order = {"argv": argv, "env": env, "folder": str(job.folder), "heard": rank == 0}
            found.append({"node": node.id, "needs": wire_of_needs(needs), "order": order})
        return found

    def _trusted(self) -> list[Node]:
        """The nodes without those that have just lost something, which may be lost themselves."""
        now = time.monotonic()
        return [node for node in self._known() if self._doubted.get(node.id, 0.0) <= now]

    def _known(self) -> list[Node]:
        """The nodes, with what is free by the cluster's account and by our own, whichever is less."""
        found = []
        for seen in self._seen.values():
            node = seen.node
            free = node.total
            for where, _, needs in self._used.values():
                free = less(free, needs) if where == node.id else free
            free = replace(
                free,
                cores=min(free.cores, node.free.cores),
                memory_bytes=min(free.memory_bytes, node.free.memory_bytes),
                devices=min(free.devices, node.free.devices),
            )
            state = node.state
            if state is NodeState.READY and node.id in self._draining:
                state = NodeState.DRAINING
            found.append(replace(node, free=free, state=state))
        return found

    def _heard_nodes(self, wire: list[list[Any]]) -> None:
        self._take_nodes(wire)
        self._tell()

    def _take_nodes(self, wire: Sequence[Sequence[Any]]) -> None:
        now = time.monotonic()
        for node_id, name, zone, address, alive, total, free in wire:
            before = self._seen.get(node_id)
            lost_at = None if alive else (now if before is None or before.lost_at is None else before.lost_at)
            if before is None and not alive:
                continue
            kept = before.node.total if before is not None and not alive else resources_of(total)
            state = NodeState.READY if alive else NodeState.LOST
            node = Node(node_id, name, zone, kept, resources_of(free), state)
            self._seen[node_id] = _Seen(node, address, lost_at)
        there = {node[0] for node in wire}
        for node_id, seen in list(self._seen.items()):
            if node_id not in there or (seen.lost_at is not None and now - seen.lost_at > REMEMBER_S):
                del self._seen[node_id]

    async def _change_drain(self, node_id: str, *, drains: bool) -> None:
        meant = [node for node in await self.nodes() if node_id in {node.id, node.name}]
        node = min(meant, key=lambda node: node.state is NodeState.LOST, default=None)
        if node is None:
            raise NotFound(f"The cluster has no node '{node_id}'; see them with 'freehold cluster nodes'.")
        if drains:
            self._draining.add(node.id)
        else:
            self._draining.discard(node.id)
        self._draining &= set(self._seen)
        _file(self._place.folder).write_text("".join(f"{each}\n" for each in sorted(self._draining)), encoding="ascii")
        self._tell()

    def _member_ended(
        self, key: object, node_id: str, member: "RayHosted | RayMember", _: "asyncio.Future[int]"
    ) -> None:
        """Whatever had room has ended; a node that lost it is in doubt."""
        self._used.pop(key, None)
        if member.lost:
            self._doubted[node_id] = time.monotonic() + DOUBT_S
            self._tell()

    def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.call_soon(listener)


def _file(folder: Path) -> Path:
    return folder / "draining"


def _draining(folder: Path) -> set[str]:
    """The ids of the nodes that were told to drain."""
    try:
        return set(_file(folder).read_text(encoding="ascii").split())
    except FileNotFoundError:
        return set()
