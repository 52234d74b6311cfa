"""The cluster of one machine: engines and jobs are processes here. The default, without which nothing is counted.

With resources stated, it starts no more than these have room for; without, whatever it is told to, and the system does
what it can.
"""

import platform
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from freehold.cluster.base import Cluster, JobOrder, JobStatus, Placed, Placement, ignore
from freehold.cluster.job import Job, Jobs
from freehold.cluster.member import Member, free_port, which_of
from freehold.cluster.process import EngineProcess
from freehold.errors import ConfigError, NoRoom, NotFound
from freehold.types.cluster import Node, Resources

NODE: Final = "local"
"""The id of the one node."""
_HOST: Final = "127.0.0.1"
_CLOSE_GRACE_S: Final = 5.0


class LocalCluster(Cluster):
    """Processes of this machine.

    Args:
        total: what the machine has for engines and jobs; None where nobody has said, and nothing is counted.
        zone: where it stands, as the organization calls it; placements in other zones are refused where it is given.
    """

    def __init__(self, total: Resources | None = None, zone: str | None = None) -> None:
        self._total = total
        self._zone = zone
        self._used: dict[object, Resources] = {}
        self._jobs = Jobs()

    async def nodes(self) -> list[Node]:
        """See `Cluster.nodes`; nothing of it where nothing is counted."""
        total = self._total or Resources()
        return [Node(NODE, platform.node() or NODE, self._zone, total, self._free())]

    async def place(
        self,
        placement: Placement,
        on_line: Callable[[str], None],
        report: Callable[[str], None] = ignore,  # noqa: ARG002  # all is here
    ) -> Placed:
        """See `Cluster.place`."""
        if placement.others:
            raise ConfigError(
                f"'{placement.workload}' has {len(placement.members)} processes, each on a node of its own, and this "
                "machine is the only node there is: see docs/how-to/add-a-node.md",
                param="cluster.address",
            )
        self._check((placement.needs,), placement.zones, placement.workload)
        key = object()
        self._used[key] = placement.needs
        try:
            placement.socket.unlink(missing_ok=True)
            process = await EngineProcess.start(placement.argv, placement.env, on_line)
        except BaseException:
            del self._used[key]
            raise
        process.exited.add_done_callback(lambda _: self._release(key))
        return Placed(process, placement.socket, NODE)

    async def submit(self, job: JobOrder) -> None:
        """See `Cluster.submit`."""
        self._jobs.refuse_running(job.id)
        self._check(job.members, job.zones, job.id)
        running = self._jobs.begin(job)
        key = object()
        self._used[key] = _sum(job.members)
        members: list[Member] = []
        try:
            port = free_port(_HOST)
            for rank in range(len(job.members)):
                members.append(await _start(job, rank, port, running))  # noqa: PERF401  # those before are ended
        except BaseException:
            del self._used[key]
            self._jobs.forget(running)
            for member in members:
                await member.kill()
            raise
        running.run(members, partial(self._release, key))

    async def status(self, job_id: str) -> JobStatus:
        """See `Cluster.status`."""
        return self._jobs.get(job_id).status

    def logs(self, job_id: str) -> AsyncIterator[str]:
        """See `Cluster.logs`."""
        return self._jobs.get(job_id).lines()

    async def tell(self, job_id: str, line: str) -> None:
        """See `Cluster.tell`."""
        await self._jobs.get(job_id).tell(line)

    async def cancel(self, job_id: str, grace_s: float) -> None:
        """See `Cluster.cancel`."""
        await self._jobs.get(job_id).cancel(grace_s)

    async def drain(self, node_id: str) -> None:
        """See `Cluster.drain`."""
        self._only(node_id)
        raise ConfigError("cluster: this machine is the only node there is; stop the service instead of draining it")

    async def resume(self, node_id: str) -> None:
        """See `Cluster.resume`."""
        self._only(node_id)

    def on_change(self, listener: Callable[[], None]) -> None:
        """See `Cluster.on_change`: the one node never changes."""

    async def close(self) -> None:
        """See `Cluster.close`; engines are ended by whoever placed them, as they are here."""
        await self._jobs.close(_CLOSE_GRACE_S)

    def _release(self, key: object) -> None:
        self._used.pop(key, None)

    def _free(self) -> Resources:
        if self._total is None:
            return Resources()
        used = _sum(self._used.values())
        return replace(
            self._total,
            cores=self._total.cores - used.cores,
            memory_bytes=self._total.memory_bytes - used.memory_bytes,
            devices=self._total.devices - used.devices,
        )

    def _check(self, members: Sequence[Resources], zones: frozenset[str] | None, name: str) -> None:
        """NoRoom unless all of them have room at once."""
        if zones is not None and self._zone is not None and self._zone not in zones:
            raise NoRoom(f"'{name}' may run in the zones {', '.join(sorted(zones))} only; this is '{self._zone}'.")
        if self._total is None:
            return
        needs = _sum(members)
        kinds = {member.device_kind for member in members if member.devices and member.device_kind}
        if other := kinds - {self._total.device_kind}:
            raise NoRoom(f"'{name}' needs a device of the kind '{min(other)}', and this machine has none.")
        if lack := lacking(needs, self._free()):
            raise NoRoom(f"There is no room for '{name}' now: {lack}.")

    def _only(self, node_id: str) -> None:
        if node_id != NODE:
            raise NotFound(f"There is no node '{node_id}'; the only one is '{NODE}'.")


def lacking(needs: Resources, free: Resources) -> str:
    """In words what there is too little of; empty where there is enough."""
    found = []
    if needs.cores > free.cores + 1e-9:
        found.append(f"it needs {needs.cores:g} cores, and {max(0.0, free.cores):g} are free")
    if needs.memory_bytes > free.memory_bytes:
        mib = 1 << 20
        found.append(
            f"it needs {-(-needs.memory_bytes // mib)} MiB of memory, and {max(0, free.memory_bytes) // mib} are free"
        )
    if needs.devices > free.devices:
        found.append(f"it needs {needs.devices} devices, and {max(0, free.devices)} are free")
    return "; ".join(found)


async def _start(job: JobOrder, rank: int, port: int, running: Job) -> Member:
    world = len(job.members)
    env = {**job.env, **which_of(rank, world, _HOST, port, local=(rank, world))}
    argv = (job.python, "-P", "-m", job.module, *job.arguments)
    return await Member.start(argv, env, Path(job.folder), running.hear if rank == 0 else _unheard)


def _unheard(line: str) -> None:
    """What the other processes of a job say is nobody's business."""


def _sum(many: Iterable[Resources]) -> Resources:
    each = list(many)
    return Resources(sum(r.cores for r in each), sum(r.memory_bytes for r in each), sum(r.devices for r in each), None)
