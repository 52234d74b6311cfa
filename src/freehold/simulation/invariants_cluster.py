"""That nodes hold what is placed on them, that whoever goes first does not wait, and that nobody waits forever."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from freehold.cluster.arbiter.decisions import Decision, Place
from freehold.simulation.world import HOUR_S, World
from freehold.types.cluster import Node, NodeState, Resources, WorkClass, Workload

Tell: TypeAlias = Callable[[str, str, str], None]
Amounts: TypeAlias = tuple[float, float, float]
"""Cores, bytes of memory, devices."""
_SLACK_S: Final = 1.0
_ALMOST: Final = 1e-6
NOTHING: Final = (0.0, 0.0, 0.0)


@dataclass(slots=True)
class Patience:
    """Since when something waits that ought not to."""

    since: float
    progress: int


class ClusterChecks:
    """Looks at what is placed where.

    Args:
        world: whose cluster.
        tell: told of what does not hold: the invariant, of what, and what was seen.
        longest_s: how long a job may wait while its organization has less than it is due and the nodes could hold it.
    """

    def __init__(self, world: World, tell: Tell, longest_s: float | None = None) -> None:
        jobs = world.scenario.job
        self._world = world
        self._tell = tell
        self._bound_s = max((each.checkpoint_s for each in jobs), default=0.0) + _SLACK_S
        longest = max((each.hours.most * HOUR_S + each.restart_s for each in jobs), default=0.0)
        self._longest_s = longest_s if longest_s is not None else HOUR_S + 4 * longest
        self._weights = {share.organization: share.weight for share in world.scenario.share if share.project is None}
        self._zones = {(share.organization, share.project): share.zones for share in world.scenario.share}
        self._progress = 0
        """Goes up whenever nodes or what callers wait for change, so that waiting begins anew."""
        self._nodes: dict[str, Node] = {}
        self._kept: dict[str, Patience] = {}
        self._behind: dict[str, float] = {}
        world.floor.on_decision = self._decided

    def look(self) -> None:
        """See who waits, and whether that is right."""
        floor = self._world.floor
        if floor.nodes != self._nodes:
            self._nodes = dict(floor.nodes)
            self._progress += 1
        waiting = [tenant.workload for name, tenant in floor.tenants.items() if name not in floor.holding]
        if not waiting:
            self._kept.clear()
            self._behind.clear()
            return
        self._look_at_priority([each for each in waiting if each.work_class is not WorkClass.RESEARCH])
        self._look_at_starvation([each for each in waiting if each.work_class is WorkClass.RESEARCH])

    def _decided(self, decision: Decision) -> None:
        """See whether a placement is possible at all."""
        if not isinstance(decision, Place):
            return
        floor = self._world.floor
        workload = floor.tenants[decision.workload].workload
        if workload.work_class is not WorkClass.RESEARCH:
            self._progress += 1
        if len(decision.nodes) != len(workload.members):
            detail = f"{len(decision.nodes)} of {len(workload.members)} members were placed"
            self._tell("gangs are whole", workload.id, detail)
        permitted = self._permitted(workload)
        for node_id, member in zip(decision.nodes, workload.members, strict=False):
            node = floor.nodes[node_id]
            if permitted is not None and node.zone not in permitted:
                self._tell("nothing is outside its zones", workload.id, f"it is on {node.id} in {node.zone}")
            if node.state is not NodeState.READY:
                self._tell("nothing is placed where nothing may be", workload.id, f"{node.id} is {node.state}")
            if member.devices and member.device_kind not in {None, node.total.device_kind}:
                self._tell("devices are of their kind", workload.id, f"{node.id} has {node.total.device_kind}")
        used = self._used({**floor.holding, workload.id: decision.nodes})
        for node_id in dict.fromkeys(decision.nodes):
            total, has = _amounts(floor.nodes[node_id].total), used[node_id]
            if any(mine > all_ + _ALMOST for mine, all_ in zip(has, total, strict=True)):
                self._tell("no node is over-committed", node_id, f"{has} of {total} are given")

    def _look_at_priority(self, waiting: Iterable[Workload]) -> None:
        """Whoever could have what less urgent work holds must have it after the time for a checkpoint.

        What is free may be kept for somebody before him who needs more, and less urgent work may be there as a guest.
        """
        now, kept = self._world.agenda.now, {}
        keeping: list[frozenset[str] | None] = []
        for workload in sorted(waiting, key=lambda each: (each.work_class, each.queued_at_s)):
            permitted = self._permitted(workload)
            if any(zones is None or permitted is None or zones & permitted for zones in keeping):
                continue
            if not self._could_have(workload):
                keeping.append(permitted)
                continue
            before = self._kept.get(workload.id)
            if before is None or before.progress != self._progress:
                before = Patience(now, self._progress)
            kept[workload.id] = before
            if now - before.since > self._bound_s:
                detail = f"it waits for {now - before.since:.0f} s for what less urgent work holds"
                self._tell("no priority inversion", workload.id, detail)
        self._kept = kept

    def _look_at_starvation(self, waiting: Sequence[Workload]) -> None:
        """Whose organization has less than it is due, and for whom there would be room, does not wait forever."""
        now, behind = self._world.agenda.now, {}
        due = self._due(waiting) if waiting else {}
        for workload in waiting:
            if workload.organization_id not in due or not self._within(workload, due[workload.organization_id]):
                continue
            if not self._could_have(workload):
                continue
            since = behind[workload.id] = self._behind.get(workload.id, now)
            if now - since > self._longest_s:
                self._tell("nobody starves", workload.id, f"it has waited for {now - since:.0f} s")
        self._behind = behind

    def _due(self, waiting: Iterable[Workload]) -> dict[str, Amounts]:
        """What each organization may still have: its share of what callers leave, less what it has."""
        floor = self._world.floor
        left, has = NOTHING, {each.organization_id: NOTHING for each in waiting}
        for node in floor.nodes.values():
            if node.state is NodeState.READY:
                left = _plus(left, _amounts(node.total), 1)
        for name in floor.holding:
            workload = floor.tenants[name].workload
            for member in workload.members:
                if workload.work_class is WorkClass.RESEARCH:
                    mine = has.get(workload.organization_id, NOTHING)
                    has[workload.organization_id] = _plus(mine, _amounts(member), 1)
                else:
                    left = _plus(left, _amounts(member), -1)
        weights = {name: self._weights.get(name, 1.0) for name in has}
        every = sum(weights.values())
        return {name: _plus(_part(left, weights[name] / every), has[name], -1) for name in has}

    @staticmethod
    def _within(workload: Workload, due: Amounts) -> bool:
        """Whether it would take no more than that, of anything."""
        need = NOTHING
        for member in workload.members:
            need = _plus(need, _amounts(member), 1)
        return all(wants <= may or wants == 0 for wants, may in zip(need, due, strict=True))

    def _could_have(self, workload: Workload) -> bool:
        """Whether there would be room if nothing was there but what cannot leave, goes before it, or is its own."""
        floor = self._world.floor
        research = workload.work_class is WorkClass.RESEARCH
        staying = {
            name: nodes
            for name, nodes in floor.holding.items()
            if (holder := floor.tenants[name].workload).checkpoint_s is None
            or (not research and holder.work_class <= workload.work_class)
            or (research and holder.organization_id == workload.organization_id)
        }
        used, permitted = self._used(staying), self._permitted(workload)
        free = [
            tuple(total - has for total, has in zip(_amounts(node.total), used[node.id], strict=True))
            for node in floor.nodes.values()
            if node.state is NodeState.READY
            and (permitted is None or node.zone in permitted)
            and _right_kind(workload.members[0], node)
        ]
        need = _amounts(workload.members[0])
        return sum(_times(room, need) for room in free) >= len(workload.members)

    def _used(self, holding: dict[str, tuple[str, ...]]) -> defaultdict[str, Amounts]:
        """What is given of each node."""
        used: defaultdict[str, Amounts] = defaultdict(lambda: NOTHING)
        for name, nodes in holding.items():
            for node_id, member in zip(nodes, self._world.floor.tenants[name].workload.members, strict=False):
                cores, memory, devices = used[node_id]
                used[node_id] = cores + member.cores, memory + member.memory_bytes, devices + member.devices
        return used

    def _permitted(self, workload: Workload) -> frozenset[str] | None:
        """Where something may run: where it says, and its organization, and its project."""
        found = workload.zones
        for project in dict.fromkeys((None, workload.project_id)):
            zones = self._zones.get((workload.organization_id, project))
            if zones is not None:
                found = frozenset(zones) if found is None else found & frozenset(zones)
        return found


def _amounts(resources: Resources) -> Amounts:
    return resources.cores, float(resources.memory_bytes), resources.devices


def _plus(one: Amounts, other: Amounts, sign: int) -> Amounts:
    return one[0] + sign * other[0], one[1] + sign * other[1], one[2] + sign * other[2]


def _part(amounts: Amounts, share: float) -> Amounts:
    return amounts[0] * share, amounts[1] * share, amounts[2] * share


def _times(room: tuple[float, ...], need: Amounts) -> int:
    """How often it fits."""
    counts = [int((has + _ALMOST) // wants) for has, wants in zip(room, need, strict=True) if wants > 0]
    return max(0, min(counts, default=1_000_000))


def _right_kind(member: Resources, node: Node) -> bool:
    return not member.devices or member.device_kind in {None, node.total.device_kind}
