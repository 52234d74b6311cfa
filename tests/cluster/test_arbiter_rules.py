"""What must always hold of the arbiter, whatever happens and in whatever order."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.types.cluster import NodeState, ShareSettings, WorkClass
from tests.cluster.witness import Witness, node, work

ZONES = ("east", "west")
ORGANIZATIONS = ("a", "b", "c")


class ArbiterMachine(RuleBasedStateMachine):
    """Nodes and workloads come and go; the witness asserts at each decision that it may be taken."""

    settled = 0

    @initialize(counts=st.lists(st.sampled_from([0, 2, 4]), min_size=1, max_size=5))
    def begin(self, counts: list[int]) -> None:
        shares = [
            ShareSettings(organization="a", weight=2),
            ShareSettings(organization="b", zones=["east"]),
            ShareSettings(organization="c", project="p", weight=3),
        ]
        self.witness = Witness(Arbiter(shares, overdue_s=50.0))
        self.names = 0
        self.asked: dict[str, frozenset[str] | None] = {}
        for index, devices in enumerate(counts):
            self.add_node(devices, ZONES[index % 2], devices > 2)

    @rule(devices=st.sampled_from([0, 2, 4]), zone=st.sampled_from([*ZONES, None]), fast=st.booleans())
    def add_node(self, devices: int, zone: str | None, fast: bool) -> None:
        if len(self.witness.nodes) < 8:
            self.names += 1
            new = node(f"n{self.names}", devices, zone=zone, cores=6, kind="fast" if fast else "gpu")
            self.witness.set_node(new)

    @rule(data=st.data(), state=st.sampled_from(NodeState))
    def change_node(self, data: st.DataObject, state: NodeState) -> None:
        if self.witness.nodes:
            name = data.draw(st.sampled_from(sorted(self.witness.nodes)))
            self.witness.set_node(replace(self.witness.nodes[name], state=state))

    @rule(data=st.data())
    def forget_node(self, data: st.DataObject) -> None:
        if len(self.witness.nodes) > 1:
            self.witness.forget_node(data.draw(st.sampled_from(sorted(self.witness.nodes))))

    @rule(
        work_class=st.sampled_from(WorkClass),
        devices=st.sampled_from([0, 1, 2, 4]),
        members=st.sampled_from([1, 1, 2, 3]),
        organization=st.sampled_from(ORGANIZATIONS),
        project=st.sampled_from([None, "p", "q"]),
        zones=st.sampled_from([None, None, ("east",), ("west",), ZONES]),
        checkpoint_s=st.sampled_from([None, 10.0, 30.0]),
        cores=st.sampled_from([0.5, 1, 3]),
    )
    def submit(
        self,
        work_class: WorkClass,
        devices: int,
        members: int,
        organization: str,
        project: str | None,
        zones: tuple[str, ...] | None,
        checkpoint_s: float | None,
        cores: float,
    ) -> None:
        self.names += 1
        permitted = zones if organization != "b" else tuple(zone for zone in zones or ZONES if zone == "east")
        wanted = work(
            f"w{self.names}",
            work_class,
            devices,
            members=members,
            cores=cores,
            organization=organization,
            project=project,
            zones=permitted,
            at=self.witness.now_s,
            checkpoint_s=checkpoint_s,
        )
        self.witness.submit(wanted)

    @rule(data=st.data(), zones=st.sampled_from([None, ("east",), ZONES]))
    def revise(self, data: st.DataObject, zones: tuple[str, ...] | None) -> None:
        waiting = sorted(each.id for each in self.witness.waiting)
        if waiting:
            before = self.witness.workloads[data.draw(st.sampled_from(waiting))]
            permitted = ("east",) if before.organization_id == "b" else zones
            self.witness.revise(replace(before, zones=None if permitted is None else frozenset(permitted)))

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if self.witness.workloads:
            self.witness.release(data.draw(st.sampled_from(sorted(self.witness.workloads))))

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.witness.leaving:
            self.witness.leave(data.draw(st.sampled_from(sorted(self.witness.leaving))))

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def pass_time(self, seconds: float) -> None:
        self.witness.pass_time(seconds)
        late = [name for name, deadline in self.witness.leaving.items() if deadline < self.witness.now_s]
        states = [self.witness.arbiter.entries[name].state.name for name in late]
        assert all(state == "ENDING" for state in states), "who has not left in time has to end"

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        if not self.witness.leaving:
            self.witness.assert_settled()
            ArbiterMachine.settled += 1
        assert set(self.witness.arbiter.entries) == set(self.witness.workloads)

    def teardown(self) -> None:
        """In the end everybody gets his turn, who could run on the nodes that there are."""
        witness = self.witness
        for name in list(witness.nodes):
            witness.set_node(replace(witness.nodes[name], state=NodeState.READY))
        for _round in range(3 * len(witness.workloads) + 3):
            witness.leave_all()
            for name in list(witness.running):
                witness.release(name)
        assert not [each.id for each in witness.waiting if witness.fits(each)], "somebody starves"


@pytest.mark.slow
def test_whatever_happens_nobody_gets_what_is_not_there_or_waits_in_vain() -> None:
    """No node is over-committed, gangs are whole, zones hold, the urgent go first, and everybody gets his turn."""
    rules = settings(
        max_examples=60,
        derandomize=True,
        stateful_step_count=25,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(ArbiterMachine, settings=rules)
    assert ArbiterMachine.settled, "there were moments in which nobody was about to leave"
