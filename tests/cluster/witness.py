"""Watches an arbiter from outside: carries out what it decides, and says what it must never do."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.arbiter.decisions import Decision, Place, Preempt, Refuse, Resume, Take, Taken, Wait
from freehold.types.cluster import Node, NodeState, Resources, WorkClass, Workload

GB = 1 << 30


def node(name: str, devices: int = 8, *, zone: str | None = None, cores: float = 64, kind: str = "gpu") -> Node:
    """A node of that name."""
    total = Resources(cores, 512 * GB, devices, kind if devices else None)
    return Node(name, name, zone, total, total)


def work(
    name: str,
    work_class: WorkClass = WorkClass.RESEARCH,
    devices: int = 1,
    *,
    members: int = 1,
    cores: float = 1,
    organization: str = "org",
    project: str | None = None,
    zones: Iterable[str] | None = None,
    at: float = 0.0,
    checkpoint_s: float | None = None,
) -> Workload:
    """A workload whose members all need the same."""
    need = Resources(cores, GB, devices)
    where = None if zones is None else frozenset(zones)
    return Workload(name, work_class, organization, project, (need,) * members, where, at, checkpoint_s)


@dataclass
class Witness:
    """Drives an arbiter, and asserts at every decision that it may be taken.

    Attributes:
        running: where what runs is; also what was asked to leave, until it has.
        leaving: who was asked or told to leave, and by when.
    """

    arbiter: Arbiter = field(default_factory=Arbiter)
    now_s: float = 0.0
    nodes: dict[str, Node] = field(default_factory=dict)
    workloads: dict[str, Workload] = field(default_factory=dict)
    running: dict[str, tuple[str, ...]] = field(default_factory=dict)
    leaving: dict[str, float] = field(default_factory=dict)
    seen: list[Decision] = field(default_factory=list)

    @property
    def waiting(self) -> list[Workload]:
        """Who has no room."""
        return [workload for name, workload in self.workloads.items() if name not in self.running]

    def set_node(self, node: Node) -> list[Decision]:
        """A node comes or changes."""
        self.nodes[node.id] = node
        return self._carry_out(self.arbiter.set_node(node, self.now_s))

    def forget_node(self, name: str) -> list[Decision]:
        """A node goes for good."""
        self.nodes.pop(name)
        return self._carry_out(self.arbiter.forget_node(name, self.now_s))

    def submit(self, workload: Workload) -> list[Decision]:
        """Somebody wants room."""
        self.workloads[workload.id] = workload
        return self._carry_out(self.arbiter.submit(workload, self.now_s))

    def revise(self, workload: Workload) -> list[Decision]:
        """Somebody who waits may be elsewhere."""
        self.workloads[workload.id] = workload
        return self._carry_out(self.arbiter.revise(workload, self.now_s))

    def release(self, name: str) -> list[Decision]:
        """Somebody wants no more."""
        self.running.pop(name, None)
        self.leaving.pop(name, None)
        del self.workloads[name]
        return self._carry_out(self.arbiter.release(name, self.now_s))

    def leave(self, name: str) -> list[Decision]:
        """Who was asked to leave has left."""
        del self.running[name], self.leaving[name]
        return self._carry_out(self.arbiter.yielded(name, self.now_s))

    def leave_all(self) -> None:
        """Everybody leaves who was asked to."""
        while self.leaving:
            self.leave(next(iter(self.leaving)))

    def pass_time(self, seconds: float) -> list[Decision]:
        """Time passes."""
        self.now_s += seconds
        return self._carry_out(self.arbiter.advance(self.now_s))

    def _carry_out(self, decisions: list[Decision]) -> list[Decision]:
        for decision in decisions:
            self.seen.append(decision)
            match decision:
                case Place():
                    self._place(decision)
                case Preempt():
                    self._preempt(decision)
                case Take():
                    self._take(decision)
                case Refuse():
                    del self.workloads[decision.workload]
                case Wait():
                    assert decision.workload not in self.running, f"{decision} runs already"
        return decisions

    def _place(self, decision: Place) -> None:
        workload = self.workloads[decision.workload]
        assert workload.id not in self.running, f"{workload.id} is placed twice"
        assert len(decision.nodes) == len(workload.members), "a gang is placed whole"
        for name, need in zip(decision.nodes, workload.members, strict=True):
            node = self.nodes[name]
            assert node.state is NodeState.READY, f"nothing is placed on {name}, which is {node.state}"
            assert workload.zones is None or node.zone in workload.zones, f"{workload.id} is outside of its zones"
            if need.devices and need.device_kind is not None:
                assert node.total.device_kind == need.device_kind, "each gets the devices that it needs"
        ran = any(isinstance(each, Place) and each.workload == workload.id for each in self.seen[:-1])
        assert isinstance(decision, Resume) == ran, "who ran before is resumed"
        self.running[workload.id] = decision.nodes
        self._assert_room(set(decision.nodes))

    def _assert_room(self, names: set[str]) -> None:
        for name in names:
            cores, memory, devices = self.used(name)
            total = self.nodes[name].total
            assert cores <= total.cores + 1e-6, f"{name} has {total.cores} cores, not {cores}"
            assert memory <= total.memory_bytes, f"the memory of {name} is given away once"
            assert devices <= total.devices, f"{name} has {total.devices} devices, not {devices}"

    def used(self, name: str, *, but: Iterable[str] = ()) -> tuple[float, int, int]:
        """The cores, memory and devices that somebody has on a node."""
        cores, memory, devices = 0.0, 0, 0
        for each in self.running.keys() - set(but):
            for where, need in zip(self.running[each], self.workloads[each].members, strict=True):
                if where == name:
                    cores, memory, devices = cores + need.cores, memory + need.memory_bytes, devices + need.devices
        return cores, memory, devices

    def _preempt(self, decision: Preempt) -> None:
        victim = self.workloads[decision.workload]
        assert victim.id in self.running, "who does not run is not asked to leave"
        assert victim.id not in self.leaving, "nobody is asked twice"
        assert victim.checkpoint_s is not None, "who cannot write a checkpoint is not asked"
        assert decision.deadline_s == decision.at_s + victim.checkpoint_s, "everybody gets the time that he needs"
        if decision.in_favour_of is not None:
            winner = self.workloads[decision.in_favour_of]
            assert winner.id not in self.running, "nobody has to leave for who runs already"
            less_urgent = victim.work_class > winner.work_class
            research = victim.work_class is winner.work_class is WorkClass.RESEARCH
            assert less_urgent or research, "who goes before others does not leave for them"
        self.leaving[victim.id] = decision.deadline_s

    def _take(self, decision: Take) -> None:
        assert decision.workload in self.running, "who does not run cannot end"
        if decision.reason is Taken.OVERDUE:
            assert self.leaving[decision.workload] <= self.now_s, "nobody is ended before his time"
        self.leaving[decision.workload] = self.now_s

    def fits(self, workload: Workload, *, leaving_out: Iterable[str] = ()) -> bool:
        """Whether there is room for a workload whose members need the same, if some that run did not."""
        out = list(leaving_out)
        need, missing = workload.members[0], len(workload.members)
        for node in self.nodes.values():
            if node.state is not NodeState.READY or (workload.zones is not None and node.zone not in workload.zones):
                continue
            if need.devices and need.device_kind not in {None, node.total.device_kind}:
                continue
            cores, memory, devices = self.used(node.id, but=out)
            counts = [int((node.total.cores - cores + 1e-6) / need.cores)] if need.cores else []
            counts += [(node.total.memory_bytes - memory) // need.memory_bytes] if need.memory_bytes else []
            counts += [(node.total.devices - devices) // need.devices] if need.devices else []
            missing -= max(0, min(counts))
        return missing <= 0

    def assert_settled(self) -> None:
        """Nobody waits in vain. To be asked while nobody is about to leave."""
        for work_class in WorkClass:
            waiting = [each for each in self.waiting if each.work_class <= work_class]
            takeable = [
                name
                for name in self.running
                if self.workloads[name].work_class > work_class and self.workloads[name].checkpoint_s is not None
            ]
            fitting = [each.id for each in waiting if self.fits(each, leaving_out=takeable)]
            assert not waiting or len(fitting) < len(waiting), f"{fitting} could run before {takeable}"
        for each in self.waiting:
            if each.work_class is WorkClass.RESEARCH and each.checkpoint_s is not None:
                assert not self.fits(each), f"{each.id} could run, were it only until somebody else needs the room"
