"""The cluster: its nodes, what the arbiter decides about them, and how that is carried out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.arbiter.decisions import Decision, Place, Preempt, Refuse, Resume, Take, Taken, Wait
from freehold.simulation.agenda import Agenda
from freehold.simulation.draws import HOUR_S, generator
from freehold.simulation.scenario import Nodes, Scenario
from freehold.simulation.tally import Meter, Tally
from freehold.types.cluster import Node, NodeState, Workload


class Tenant(Protocol):
    """What runs on the cluster: a replica, or a job. It hears what the arbiter has decided about it."""

    workload: Workload

    def placed(self, nodes: tuple[str, ...], *, again: bool) -> None:
        """It has its place, and runs from now on; `again` if it did before."""

    def asked(self, deadline: float) -> None:
        """It is to write a checkpoint and leave by then (seconds since the beginning), and to say that it has."""

    def taken(self, reason: Taken) -> None:
        """Its devices are taken now; it is to say that it has left them."""

    def refused(self, detail: str) -> None:
        """It will never have a place."""


class Floor:
    """Nodes and what is on them.

    Args:
        scenario: which nodes there are, and whose shares.
        agenda: the time.
        tally: what is counted.
        seed: of the simulation.
        arbiter: who decides.

    Attributes:
        on_decision: told of every decision; for whoever checks them.
    """

    def __init__(self, scenario: Scenario, agenda: Agenda, tally: Tally, seed: int, arbiter: Arbiter) -> None:
        self.agenda = agenda
        self.tally = tally
        self.arbiter = arbiter
        devices = any(group.devices for group in scenario.node)
        weights = {share.organization: share.weight for share in scenario.share if share.project is None}
        self.meter = Meter(weights, devices=devices)
        self.nodes: dict[str, Node] = {}
        self.tenants: dict[str, Tenant] = {}
        self.holding: dict[str, tuple[str, ...]] = {}
        """The nodes of what has its place, by the workload's id."""
        self.on_decision: Callable[[Decision], None] | None = None
        self._down: dict[str, int] = {}
        self._scenario = scenario
        self._seed = seed
        self._advance_at: float | None = None

    def begin(self) -> None:
        """Put the nodes up, and have them fail when they are to."""
        for group in self._scenario.node:
            for number in range(1, group.count + 1):
                name = f"{group.name}-{number}" if group.count > 1 else group.name
                node = Node(name, name, group.zone, group.total, group.total)
                self.nodes[name] = node
                self._set(node)
                if group.mtbf_hours is not None:
                    self._fail_some_time(name, group)
        for outage in self._scenario.outage:
            members = tuple(node.id for node in self.nodes.values() if node.zone == outage.zone)
            self.agenda.at(outage.at_hour * HOUR_S, self._outage, members)
            self.agenda.at((outage.at_hour + outage.lasts_hours) * HOUR_S, self._back, members)

    def submit(self, tenant: Tenant) -> None:
        """Something wants a place."""
        workload = tenant.workload
        self.tenants[workload.id] = tenant
        self.meter.advance(self.agenda.now)
        self.meter.wants(workload, self.units(workload))
        self._carry_out(self.arbiter.submit(workload, self.agenda.now))

    def release(self, tenant: Tenant) -> None:
        """Something has ended for good, or wants no place any more."""
        workload = tenant.workload
        self._vacate(workload)
        self.meter.wants(workload, -self.units(workload))
        del self.tenants[workload.id]
        self._carry_out(self.arbiter.release(workload.id, self.agenda.now))

    def leave(self, tenant: Tenant) -> None:
        """Something has left its place, and wants another."""
        self._vacate(tenant.workload)
        self._carry_out(self.arbiter.yielded(tenant.workload.id, self.agenda.now))

    def units(self, workload: Workload) -> float:
        """How much it needs, as the meter counts."""
        if self.meter.devices:
            return sum(member.devices for member in workload.members)
        return sum(member.cores for member in workload.members)

    def _vacate(self, workload: Workload) -> None:
        self.meter.advance(self.agenda.now)
        if self.holding.pop(workload.id, None) is not None:
            self.meter.has(workload, -self.units(workload))

    def _carry_out(self, decisions: Sequence[Decision]) -> None:
        """Have everybody hear what was decided; what they do about it comes after."""
        for decision in decisions:
            if self.on_decision is not None:
                self.on_decision(decision)
            if isinstance(decision, Place):
                workload = self.tenants[decision.workload].workload
                self.meter.advance(self.agenda.now)
                self.holding[workload.id] = decision.nodes
                self.meter.has(workload, self.units(workload))
            if not isinstance(decision, Wait):
                self.agenda.soon(self._tell, decision)
        due = self.arbiter.next_deadline_s
        if due is not None and due != self._advance_at:
            self._advance_at = due
            self.agenda.at(due, self._advance)

    def _tell(self, decision: Decision) -> None:
        tenant = self.tenants.get(decision.workload)
        if tenant is None:
            return  # it has ended in the meantime
        if isinstance(decision, Place):
            tenant.placed(decision.nodes, again=isinstance(decision, Resume))
        elif isinstance(decision, Preempt):
            tenant.asked(decision.deadline_s)
        elif isinstance(decision, Take):
            tenant.taken(decision.reason)
        elif isinstance(decision, Refuse):
            self.meter.advance(self.agenda.now)
            self.meter.wants(tenant.workload, -self.units(tenant.workload))
            del self.tenants[decision.workload]
            tenant.refused(decision.detail)

    def _advance(self, _nothing: None) -> None:
        """Those that were asked to leave may be overdue."""
        self._advance_at = None
        self._carry_out(self.arbiter.advance(self.agenda.now))

    def _set(self, node: Node) -> None:
        """Tell of a node as it is now."""
        self.meter.advance(self.agenda.now)
        before = self.nodes[node.id]
        there = node.state is not NodeState.LOST
        if before is node or (before.state is not NodeState.LOST) != there:
            total = node.total.devices if self.meter.devices else node.total.cores
            self.meter.total += total if there else -total
        self.nodes[node.id] = node
        self._carry_out(self.arbiter.set_node(node, self.agenda.now))

    def _fail_some_time(self, node_id: str, group: Nodes) -> None:
        """Have a node fail and come back, again and again."""
        chance = generator(self._seed, f"node/{node_id}")
        assert group.mtbf_hours is not None, "only what fails is made to"
        lasts, repair = group.mtbf_hours * HOUR_S, group.repair_hours * HOUR_S

        def fail(_nothing: None) -> None:
            self.tally.node_failures += 1
            self._lose(node_id)
            self.agenda.at(self.agenda.now + chance.expovariate(1 / repair), mend)

        def mend(_nothing: None) -> None:
            self._mend(node_id)
            self.agenda.at(self.agenda.now + chance.expovariate(1 / lasts), fail)

        self.agenda.at(chance.expovariate(1 / lasts), fail)

    def _outage(self, members: tuple[str, ...]) -> None:
        self.tally.outages += 1
        for node_id in members:
            self._lose(node_id)

    def _back(self, members: tuple[str, ...]) -> None:
        for node_id in members:
            self._mend(node_id)

    def _lose(self, node_id: str) -> None:
        """A node is gone, for one reason more."""
        self._down[node_id] = self._down.get(node_id, 0) + 1
        if self._down[node_id] == 1:
            self._set(replace(self.nodes[node_id], state=NodeState.LOST))

    def _mend(self, node_id: str) -> None:
        """One reason less that a node is gone."""
        self._down[node_id] -= 1
        if self._down[node_id] == 0:
            self._set(replace(self.nodes[node_id], state=NodeState.READY))
