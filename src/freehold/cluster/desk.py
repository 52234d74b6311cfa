"""Where room on the cluster is asked for: by replicas before they are placed, by jobs before they are submitted.

    had = await desk.room(workload)
    …                                   # run on had.nodes, and end when had.wanted_back is done
    desk.release(workload.id)

The arbiter decides; the desk tells it of nodes, workloads and the time, and hands on what it says. One event loop.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, Protocol, Self

import structlog

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.arbiter.decisions import Adopt, Decision, Place, Preempt, Refuse, Take, Taken
from freehold.cluster.base import Cluster, HostedRecord, Placement
from freehold.cluster.orphans import Orphans
from freehold.cluster.room_desk import Had, RoomDesk, Unasked
from freehold.errors import FreeholdError, InvalidRequest, Unavailable
from freehold.types.cluster import Node, NodeState, Resources, WorkClass, Workload

__all__ = ["ArbiterDesk", "Had", "Minutes", "Ownership", "RoomDesk", "Unasked", "Unrecorded"]

log = structlog.get_logger(__name__)

LOOK_S: Final = 5.0
"""How often the cluster's nodes are looked at, though none said that it has changed."""
LEAVE_S: Final = 60.0
"""How long who has room may take to leave it when another gateway begins to decide."""


class Ownership(Protocol):
    """Who owns what, and where it may be."""

    def organization_of(self, project_id: str | None) -> str:
        """The organization of a project."""

    def permits_zone(self, organization_id: str, project_id: str | None, zone: str | None) -> bool:
        """Whether work of an organization, or of a project of it, may run in a zone."""


class Minutes(Protocol):
    """Takes down what is decided."""

    def check(self) -> None:
        """Return if something can be recorded. Raises AuditUnavailable."""

    def decided(self, decision: Decision, workload: Workload) -> None:
        """Record a decision about a workload."""


class Unrecorded:
    """Takes nothing down."""

    def check(self) -> None:
        """See `Minutes.check`."""

    def decided(self, decision: Decision, workload: Workload) -> None:
        """See `Minutes.decided`."""


class ArbiterDesk:
    """See `RoomDesk`: the arbiter decides. Its block keeps it told of the nodes and of the time.

    Args:
        arbiter: decides.
        cluster: whose room it is.
        minutes: takes each decision down; without being able to, nothing new is placed.
        clock: seconds since the epoch.
        orphans: what an earlier run has left; None where nobody looks for that here.

    Attributes:
        check: returns if it is decided here; raises Unavailable where another gateway does.
    """

    def __init__(
        self,
        arbiter: Arbiter,
        cluster: Cluster,
        minutes: Minutes | None = None,
        clock: Callable[[], float] = time.time,
        orphans: Orphans | None = None,
    ) -> None:
        self.arbiter = arbiter
        self._cluster = cluster
        self.minutes: Minutes = minutes or Unrecorded()
        self._ownership: Ownership | None = None
        self.check: Callable[[], None] = _nobody_else
        self._workloads: dict[str, Workload] = {}
        self._wanted: dict[str, Workload] = {}
        """What was asked for, before it was known where that is permitted."""
        self._refused: dict[asyncio.Future[None], tuple[Workload, frozenset[str] | None]] = {}
        self.version = 0
        self._clock = clock
        self._orphans = orphans
        self._asked: dict[str, asyncio.Future[Had]] = {}
        self._had: dict[str, Had] = {}
        self._nodes: dict[str, Node] = {}
        self._looking = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._cluster.on_change(self._looking.set)
        self._task = asyncio.create_task(self._run(), name="arbiter")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._orphans is not None:
            await self._orphans.close()

    def govern(self, ownership: Ownership) -> None:
        """Have it know from now on who owns what, and where that may run."""
        self._ownership = ownership

    async def room(self, workload: Workload, on_wait: Callable[[], None] = lambda: None) -> Had:
        """See `RoomDesk.room`.

        Raises:
            AuditUnavailable: decisions cannot be recorded.
        """
        self.check()
        await self._know()
        asked = self._asked.get(workload.id)
        if asked is None:
            self.minutes.check()
            asked = self._ask(workload.id)
            self._wanted[workload.id] = workload
            workload = self._workloads[workload.id] = self._owned(workload)
            self._do(self.arbiter.submit(workload, self._clock()))
        if not asked.done():
            on_wait()
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            self.release(workload.id)
            raise

    async def claim(self, workload: Workload, placement: Placement) -> HostedRecord | None:
        """See `RoomDesk.claim`.

        Raises:
            AuditUnavailable: decisions cannot be recorded.
        """
        if self._orphans is None:
            return None
        self.minutes.check()
        await self._know()
        workload = self._owned(workload)
        record = self._orphans.claim(placement, partial(self._permits, workload), self)
        if record is None:
            return None
        self._workloads[workload.id] = workload
        self._had[workload.id] = Had(record.nodes)
        self._do(self.arbiter.take_over(record.name, workload, self._clock()))
        del self._workloads[record.name], self._had[record.name]
        return record

    def unwanted(self, workload_id: str, known_as: str) -> None:
        """See `freehold.cluster.orphans.Keeper`."""
        workload = replace(self._workloads[workload_id], id=known_as)
        self.minutes.decided(Take(known_as, Taken.UNWANTED, self._clock()), workload)

    def release(self, workload_id: str, *, again: bool = False) -> None:
        """See `RoomDesk.release`."""
        had = self._had.pop(workload_id, None)
        asked = self._asked.pop(workload_id, None)
        if had is None and asked is None:
            return
        if again and had is not None:
            self._ask(workload_id)
            self._do(self.arbiter.yielded(workload_id, self._clock()))
        elif workload_id in self.arbiter.entries:
            self._do(self.arbiter.release(workload_id, self._clock()))
            self._forget(workload_id)

    async def changed(self, version: int, workload: Workload | None = None) -> None:
        """See `RoomDesk.changed`."""
        if version != self.version:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wanted = workload or _NOTHING
        self._refused[waiting] = wanted, self._owned(wanted).zones
        try:
            await waiting
        finally:
            del self._refused[waiting]

    def adopt(self, workload: Workload, nodes: Sequence[str]) -> None:
        """Take note of what runs already, on nodes that were looked at; what is known already stays.

        Raises:
            KeyError: there is no such node.
        """
        if workload.id not in self.arbiter.entries:
            workload = self._owned(workload)
            decisions = self.arbiter.adopt(workload, nodes, self._clock())
            self._workloads[workload.id] = workload
            self._had[workload.id] = Had(tuple(nodes))
            self._do(decisions)

    def begin_anew(self, arbiter: Arbiter, why: str) -> None:
        """Decide no more, as another gateway does from now on: who waits for room is told so, who has it is to leave.

        Args:
            arbiter: that knows of nothing yet, in place of the one that there is.
            why: for whoever waits.
        """
        asked, self._asked = self._asked, {}
        had, self._had = self._had, {}
        self.arbiter, self._workloads, self._wanted, self._nodes = arbiter, {}, {}, {}
        for future in asked.values():
            if not future.done():
                future.set_exception(Unavailable(why, retry_after_s=1.0))
                future.exception()  # there may be nobody who waits any more
        for each in had.values():
            if not each.wanted_back.done():
                each.wanted_back.set_result(LEAVE_S)

    async def look(self) -> None:
        """Tell the arbiter which nodes there are."""
        nodes, before = {node.id: node for node in await self._cluster.nodes()}, self._nodes
        for gone in self._nodes.keys() - nodes.keys():
            self._do(self.arbiter.forget_node(gone, self._clock()))
        for node in nodes.values():
            known = self._nodes.get(node.id)
            if known is None or _lasting(known) != _lasting(node):
                self._do(self.arbiter.set_node(node, self._clock()))
        self._nodes = nodes
        if self._orphans is not None:
            await self._orphans.look(self)
        self._reconsider(before)

    def permits(self, workload_id: str) -> bool:
        """Whether what runs may be where it runs, by what is permitted to its owner now; also of what is not known."""
        had, workload = self._had.get(workload_id), self._workloads.get(workload_id)
        if had is None or workload is None:
            return True
        owned = self._owned(workload)
        return all(self._permits(owned, node) for node in had.nodes if node in self._nodes)

    async def _know(self) -> None:
        """Know what there is; not before: what is never asked for need not join a cluster."""
        if not self._nodes or (self._orphans is not None and not self._orphans.known):
            await self.look()

    def _permits(self, workload: Workload, node_id: str) -> bool:
        """Whether it may run on a node."""
        node, zones = self._nodes.get(node_id), self.arbiter.books.zones(workload)
        return node is not None and (zones is None or node.zone in zones)

    def _reconsider(self, before: Mapping[str, Node]) -> None:
        """Have those who wait be where that is permitted now, and wake those of the refused who may be possible."""
        for workload_id in list(self._asked):
            now = self._owned(self._wanted[workload_id])
            if now.zones != self._workloads[workload_id].zones:
                self._workloads[workload_id] = now
                self._do(self.arbiter.revise(now, self._clock()))
        changed = {key: _lasting(node) for key, node in before.items()} != {
            key: _lasting(node) for key, node in self._nodes.items()
        }
        self.version += changed
        for waiting, (wanted, zones) in self._refused.items():
            if not waiting.done() and (changed or self._owned(wanted).zones != zones):
                waiting.set_result(None)

    def _forget(self, workload_id: str) -> None:
        self._workloads.pop(workload_id, None)
        self._wanted.pop(workload_id, None)

    def draining(self) -> list[str]:
        """The ids of the nodes that drain, as they were seen last."""
        return sorted(node.id for node in self._nodes.values() if node.state is NodeState.DRAINING)

    def _owned(self, workload: Workload) -> Workload:
        """The workload with its owner's organization, and where it may run by what is permitted to its owner."""
        if self._ownership is None:
            return workload
        if workload.project_id is not None:
            organization = self._ownership.organization_of(workload.project_id)
            workload = replace(workload, organization_id=organization)
        return replace(workload, zones=self._zones(self._ownership, workload))

    def _zones(self, ownership: Ownership, workload: Workload) -> frozenset[str] | None:
        there = dict.fromkeys(node.zone for node in self._nodes.values())
        permits, organization = ownership.permits_zone, workload.organization_id
        permitted = [zone for zone in there if permits(organization, workload.project_id, zone)]
        if len(permitted) == len(there):
            return workload.zones
        zones = frozenset(zone for zone in permitted if zone is not None)
        return zones if workload.zones is None else zones & workload.zones

    def _ask(self, workload_id: str) -> "asyncio.Future[Had]":
        asked: asyncio.Future[Had] = asyncio.get_running_loop().create_future()
        self._asked[workload_id] = asked
        return asked

    def _do(self, decisions: Sequence[Decision]) -> None:
        """Hand on what was decided."""
        for decision in decisions:
            self.minutes.decided(decision, self._workloads[decision.workload])
            match decision:
                case Place(workload, nodes):
                    self._had[workload] = had = Had(nodes)
                    self._asked.pop(workload).set_result(had)
                case Adopt():
                    pass  # it has its room
                case Preempt(workload, _, deadline_s):
                    self._want_back(workload, max(0.0, deadline_s - self._clock()))
                case Take(workload):
                    self._want_back(workload, 0.0)
                case Refuse(workload, reason, detail):
                    self._forget(workload)
                    self._asked.pop(workload).set_exception(InvalidRequest(detail, code=reason.value))
        if decisions:
            self._looking.set()  # a deadline may have come nearer

    def _want_back(self, workload_id: str, within_s: float) -> None:
        had = self._had.get(workload_id)
        if had is not None and not had.wanted_back.done():
            had.wanted_back.set_result(within_s)

    async def _run(self) -> None:
        """Look at the nodes now and then, and see that nobody keeps room beyond its time."""
        while True:
            self._looking.clear()
            deadline_s = self.arbiter.next_deadline_s
            wait_s = LOOK_S if deadline_s is None else min(LOOK_S, max(0.0, deadline_s - self._clock()))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._looking.wait()
            self._do(self.arbiter.advance(self._clock()))
            try:
                await self.look()
            except FreeholdError as exc:
                log.warning("nodes_unknown", reason=exc.message)


def _nobody_else() -> None:
    """There is one gateway."""


_NOTHING: Final = Workload("", WorkClass.API, "", None, (), None, 0.0)


def _lasting(node: Node) -> tuple[Resources, str | None, NodeState]:
    """What of a node counts for what may be placed there, apart from what is there."""
    return node.total, node.zone, node.state
