"""Engines that an earlier run of this home's gateway has left on the cluster, until replicas take them or they end.

    await orphans.look()                              # what is there; the desk has the arbiter know
    record = orphans.claim(placement, permitted)      # the one that is alike, if there is one

What serves a deployment that is no more, or not as it is now, is ended. What is alike but not wanted now waits for the
cluster's time of grace, and ends by itself.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from freehold.cluster.base import Cluster, HostedRecord, Placement
from freehold.cluster.likeness import digest_of
from freehold.errors import FreeholdError
from freehold.governance.directory import ORGANIZATION
from freehold.types.cluster import Workload

log = structlog.get_logger(__name__)


class Keeper(Protocol):
    """Has the arbiter know what has room."""

    def adopt(self, workload: Workload, nodes: Sequence[str]) -> None:
        """Something runs there. Raises KeyError: there is no such node."""

    def release(self, workload_id: str, *, again: bool = False) -> None:
        """It has ended."""

    def unwanted(self, workload_id: str, known_as: str) -> None:
        """It is ended, as nobody wants it; people knew it by the second name."""


class Orphans:
    """See above.

    Args:
        cluster: where they run.
        serves: whether there is a deployment of a name.

    Attributes:
        known: whether it was looked.
    """

    def __init__(self, cluster: Cluster, serves: Callable[[str], bool]) -> None:
        self._cluster = cluster
        self._serves = serves
        self._there: dict[str, HostedRecord] = {}
        self.known = False
        self._turn = asyncio.Lock()
        self._ending: dict[str, asyncio.Task[None]] = {}

    async def look(self, keeper: Keeper) -> None:
        """Find those that there are at the first time; later, only which of them have ended.

        Raises:
            Unavailable: the cluster cannot be reached.
        """
        async with self._turn:
            if not self.known or self._there:
                await self._look(keeper)

    async def _look(self, keeper: Keeper) -> None:
        found = {record.name: record for record in await self._cluster.hosted() if not record.held}
        for name in self._there.keys() - found.keys() - self._ending.keys():
            del self._there[name]
            keeper.release(name)
        if not self.known:
            self.known = True
            for record in found.values():
                self._find(record, keeper)

    def claim(self, placement: Placement, permitted: Callable[[str], bool], keeper: Keeper) -> HostedRecord | None:
        """The engine that can take the place of a new one; nobody else gets it. Those that never can are ended.

        Args:
            placement: what would be placed.
            permitted: whether it may run on a node.
            keeper: has the arbiter know.
        """
        there = [record for record in self._there.values() if record.deployment == placement.deployment]
        free = [record for record in there if record.name not in self._ending]
        if not free:
            return None
        digest = digest_of(placement)
        alike = [record for record in free if record.digest == digest and all(map(permitted, record.nodes))]
        for record in free:
            if record not in alike:
                self._dismiss(record, keeper)
        chosen = next((record for record in alike if record.workload == placement.workload), None)
        chosen = chosen or next(iter(alike), None)
        if chosen is not None:
            del self._there[chosen.name]
        return chosen

    async def close(self) -> None:
        """End nothing any more."""
        for task in self._ending.values():
            task.cancel()
        if self._ending:
            await asyncio.wait(set(self._ending.values()))

    def _find(self, record: HostedRecord, keeper: Keeper) -> None:
        try:
            keeper.adopt(workload_of(record), record.nodes)
        except KeyError:  # its node is not seen any more
            return
        self._there[record.name] = record
        log.info("engine_found", replica=record.workload, nodes=record.nodes, silent_s=round(record.silent_s, 1))
        if not self._serves(record.deployment):
            self._dismiss(record, keeper)

    def _dismiss(self, record: HostedRecord, keeper: Keeper) -> None:
        """End what nobody wants; its room is free when it has."""
        log.info("engine_unwanted", replica=record.workload, nodes=record.nodes)
        keeper.unwanted(record.name, record.workload)
        ending = asyncio.get_running_loop().create_task(self._end(record, keeper), name=f"dismiss {record.workload}")
        self._ending[record.name] = ending
        ending.add_done_callback(lambda _: self._ending.pop(record.name, None))

    async def _end(self, record: HostedRecord, keeper: Keeper) -> None:
        try:
            await self._cluster.dismiss(record)
        except FreeholdError as exc:
            log.warning("engine_not_dismissed", replica=record.workload, reason=exc.message)
        if self._there.pop(record.name, None) is not None:
            keeper.release(record.name)


def workload_of(record: HostedRecord) -> Workload:
    """What an engine is to the arbiter, by its host's name, which no other has."""
    return Workload(
        id=record.name,
        work_class=record.work_class,
        organization_id=ORGANIZATION,
        project_id=record.project,
        members=record.members,
        zones=record.zones,
        queued_at_s=0.0,
    )
