from dataclasses import replace

import pytest

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.arbiter.decisions import (
    Adopt,
    Place,
    Preempt,
    Refusal,
    Refuse,
    Resume,
    Take,
    Taken,
    Wait,
    Waiting,
)
from freehold.cluster.arbiter.view import parts, workloads
from freehold.types.cluster import NodeState, ShareSettings, WorkClass
from tests.cluster.witness import Witness, node, work


def cluster(nodes: int = 1, devices: int = 8, *, shares: tuple[ShareSettings, ...] = ()) -> Witness:
    """A cluster of equal nodes, `n0` and so on."""
    witness = Witness(Arbiter(shares))
    for index in range(nodes):
        witness.set_node(node(f"n{index}", devices))
    return witness


def devices_of(witness: Witness, organization: str) -> int:
    """How many devices an organization has, without what was asked to leave."""
    running = [witness.workloads[name] for name in witness.running if name not in witness.leaving]
    return sum(need.devices for each in running if each.organization_id == organization for need in each.members)


def test_what_is_placed_leaves_whole_nodes_whole() -> None:
    """Small workloads share a node, so that a large one still finds one that is empty."""
    witness = cluster(nodes=3)
    for index in range(4):
        assert witness.submit(work(f"small{index}", devices=2)) == [Place(f"small{index}", ("n0",), 0.0)]
    assert witness.submit(work("large", devices=8)) == [Place("large", ("n1",), 0.0)]


def test_work_without_devices_goes_where_there_are_none() -> None:
    """What needs only cores leaves the nodes with devices to those who need them."""
    witness = cluster(nodes=1)
    witness.set_node(node("plain", 0))
    assert witness.submit(work("tokenizing", devices=0)) == [Place("tokenizing", ("plain",), 0.0)]


def test_serving_has_a_training_leave_and_it_goes_on_later() -> None:
    """It is asked, has its time to write a checkpoint, makes room, and is resumed when there is some again."""
    witness = cluster()
    witness.submit(work("training", devices=8, checkpoint_s=60.0))
    decisions = witness.submit(work("replica", WorkClass.API, at=5.0))
    assert decisions == [Preempt("training", "replica", 60.0, 0.0), Wait("replica", Waiting.MAKING_ROOM, 0.0)]
    witness.now_s = 20.0
    left = witness.leave("training")
    assert left == [Place("replica", ("n0",), 20.0), Wait("training", Waiting.PREEMPTED, 20.0)]
    assert witness.release("replica") == [Resume("training", ("n0",), 20.0)]


def test_who_does_not_leave_in_time_is_ended() -> None:
    """At the deadline it is told to end; what waits for its room still waits until it has."""
    witness = cluster()
    witness.submit(work("training", devices=8, checkpoint_s=60.0))
    witness.submit(work("replica", WorkClass.API))
    assert witness.arbiter.next_deadline_s == 60.0
    assert witness.pass_time(59.0) == []
    assert witness.pass_time(1.0) == [Take("training", Taken.OVERDUE, 60.0)]
    assert witness.leave("training")[0] == Place("replica", ("n0",), 60.0)


def test_no_more_leave_than_have_to_and_those_last_that_began_first() -> None:
    """Of many trainings one leaves where one is enough, and it is the one that began last."""
    witness = cluster()
    for index in range(8):
        witness.submit(work(f"training{index}", checkpoint_s=60.0, at=float(index)))
    witness.submit(work("replica", WorkClass.API))
    witness.submit(work("other", WorkClass.API))
    assert list(witness.leaving) == ["training7", "training6"]


def test_what_others_are_about_to_leave_is_enough_for_more_than_one() -> None:
    """Nobody else is asked to leave while what is coming free is enough."""
    witness = cluster(nodes=2)
    for index in range(2):
        witness.submit(work(f"training{index}", devices=8, checkpoint_s=60.0))
    for index in range(8):
        witness.submit(work(f"replica{index}", WorkClass.API))
    assert list(witness.leaving) == ["training1"]
    witness.leave_all()
    assert sorted(witness.running) == sorted(["training0", *(f"replica{index}" for index in range(8))])


def test_a_product_goes_before_research_and_after_the_api() -> None:
    """With all of the room taken and waited for, each class is served before the next."""
    witness = cluster(devices=1)
    witness.submit(work("first", WorkClass.API))
    for work_class in (WorkClass.RESEARCH, WorkClass.PRODUCT, WorkClass.API):
        witness.submit(work(work_class.name, work_class, at=1.0))
    order = []
    while len(witness.workloads) > 0:
        name = next(iter(witness.running))
        order.append(name)
        witness.release(name)
    assert order == ["first", "API", "PRODUCT", "RESEARCH"]


def test_organizations_get_what_they_are_due_of_what_all_want() -> None:
    """With weights of 2 and 1 the one ends with twice as much, even though the other was there first."""
    witness = cluster(nodes=3, shares=(ShareSettings(organization="a", weight=2),))
    for index in range(24):
        witness.submit(work(f"b{index}", organization="b", checkpoint_s=10.0))
    assert devices_of(witness, "b") == 24
    for index in range(24):
        witness.submit(work(f"a{index}", organization="a", checkpoint_s=10.0))
        witness.leave_all()
    assert (devices_of(witness, "a"), devices_of(witness, "b")) == (16, 8)


def test_projects_of_one_organization_share_what_it_has() -> None:
    """Within an organization the project that has least goes first."""
    witness = cluster()
    for index in range(8):
        witness.submit(work(f"p{index}", project="p", checkpoint_s=10.0))
    for index in range(8):
        witness.submit(work(f"q{index}", project="q", checkpoint_s=10.0))
    witness.leave_all()
    assert sum(name.startswith("q") for name in witness.running) == 4


def test_what_cannot_write_a_checkpoint_is_never_asked() -> None:
    """Serving waits for a training that cannot be interrupted."""
    witness = cluster()
    witness.submit(work("training", devices=8))
    assert witness.submit(work("replica", WorkClass.API)) == [Wait("replica", Waiting.NO_ROOM, 0.0)]


def test_a_large_gang_does_not_starve_under_a_stream_of_small_work() -> None:
    """Although small workloads keep coming that would fit, the gang is placed once those of before have ended."""
    witness = cluster(nodes=4)
    for index in range(32):
        witness.submit(work(f"old{index}", organization="small"))
    witness.submit(work("gang", devices=8, members=2, organization="large"))
    count = 0
    for index in range(32):
        witness.release(f"old{index}")
        for _ in range(2):
            count += 1
            witness.submit(work(f"new{count}", organization="small", at=1.0))
        if "gang" in witness.running:
            break
    assert "gang" in witness.running
    assert len(set(witness.running["gang"])) == 2


def test_what_may_leave_again_uses_what_is_kept_for_a_gang() -> None:
    """Reserved room does not stand empty: a guest runs there, and leaves when the gang has all that it needs."""
    witness = cluster(nodes=2)
    for index in range(2):
        witness.submit(work(f"old{index}", devices=8))
    witness.submit(work("gang", devices=8, members=2, organization="other"))
    witness.submit(work("guest", devices=4, checkpoint_s=30.0, at=1.0))
    witness.release("old0")
    assert "guest" in witness.running
    witness.release("old1")
    assert "guest" in witness.leaving
    witness.leave_all()
    assert set(witness.running["gang"]) == {"n0", "n1"}


def test_what_is_outside_its_zones_or_fits_nowhere_is_refused() -> None:
    """Refusals say whether it is the zones or the size, and in words what is lacking."""
    witness = Witness(Arbiter([ShareSettings(organization="eu-only", zones=["eu"])]))
    witness.set_node(node("n0", 8, zone="us"))
    witness.set_node(node("n1", 2, zone="eu"))
    found = []
    for workload in (
        work("a", devices=4, zones=["eu"]),
        work("b", devices=4, organization="eu-only"),
        work("c", devices=16),
        work("d", devices=1, zones=["us"], organization="eu-only"),
        work("e", devices=8, members=2),
    ):
        (decision,) = witness.submit(workload)
        assert isinstance(decision, Refuse)
        found.append((decision.reason, decision.detail))
    assert [reason for reason, _detail in found] == [
        Refusal.OUTSIDE_ZONES,
        Refusal.OUTSIDE_ZONES,
        Refusal.NEVER_FITS,
        Refusal.OUTSIDE_ZONES,
        Refusal.NEVER_FITS,
    ]
    assert "only in these zones: eu" in found[0][1]
    assert "no zone" in found[3][1]
    assert "2 x (8 devices" in found[4][1]


def test_what_waits_keeps_its_turn_where_it_may_be_now() -> None:
    """Zones that have changed count for what waits: it goes elsewhere in its turn, or is refused."""
    witness = Witness()
    witness.set_node(node("n0", 2, zone="eu"))
    witness.set_node(node("n1", 2, zone="us"))
    for name in ("a", "b"):
        witness.submit(work(name, devices=2))
    first, second = (work(name, devices=2, zones=["eu"], at=at) for name, at in (("first", 1.0), ("second", 2.0)))
    for each in (first, second):
        witness.submit(each)
    assert witness.revise(replace(first, zones=frozenset({"us"}))) == []
    witness.release("b" if witness.running["b"] == ("n1",) else "a")
    assert (witness.running["first"], [each.id for each in witness.waiting]) == (("n1",), ["second"])
    (refused,) = witness.revise(replace(second, zones=frozenset()))
    assert isinstance(refused, Refuse)
    assert refused.reason is Refusal.OUTSIDE_ZONES
    with pytest.raises(ValueError, match="runs"):
        witness.arbiter.revise(first, 3.0)


def test_a_draining_node_is_left_and_a_lost_one_has_lost_what_ran_there() -> None:
    """Trainings are asked to leave a node that drains; of a gang with a member on a lost node all members end."""
    witness = cluster(nodes=2)
    witness.submit(work("alone", devices=8, checkpoint_s=20.0))
    witness.set_node(node("n2", 8))
    witness.submit(work("gang", devices=8, members=2, checkpoint_s=20.0))
    drained = witness.arbiter.pools.hosts["n0"]
    assert "alone" in drained.tenants
    decisions = witness.set_node(replace(node("n0"), state=NodeState.DRAINING))
    assert decisions == [Preempt("alone", None, 20.0, 0.0)]
    decisions = witness.set_node(replace(node("n1"), state=NodeState.LOST))
    assert decisions == [Take("gang", Taken.NODE_LOST, 0.0)]
    witness.leave_all()
    assert witness.running == {"alone": ("n2",)}
    witness.set_node(node("n1"))
    witness.set_node(node("n0"))
    assert set(witness.running["gang"]) == {"n0", "n1"}


def test_a_node_that_is_elsewhere_now_has_nothing_of_before() -> None:
    """What runs on a node that changes its zone is told to end, and its end leaves the node as it has become."""
    witness = cluster()
    witness.submit(work("training", devices=8))
    assert witness.set_node(node("n0", zone="us")) == [Take("training", Taken.NODE_LOST, 0.0)]
    witness.release("training")
    witness.submit(work("next", devices=8, zones=["us"]))
    assert witness.running == {"next": ("n0",)}


def test_after_a_restart_it_is_told_what_runs() -> None:
    """What is adopted counts like what was placed, and can be asked to leave."""
    witness = cluster()
    workload = work("training", devices=8, checkpoint_s=60.0)
    witness.workloads["training"] = workload
    witness.running["training"] = ("n0",)
    assert witness.arbiter.adopt(workload, ["n0"], 0.0) == []
    witness.submit(work("replica", WorkClass.API))
    assert list(witness.leaving) == ["training"]
    with pytest.raises(ValueError, match="already"):
        witness.arbiter.adopt(workload, ["n0"], 0.0)


def test_what_is_taken_over_stays_where_it_is() -> None:
    """It has another id and the rest as before; nobody who waits gets its room in between, and it counts once."""
    witness = cluster()
    witness.submit(work("before", WorkClass.API, devices=8))
    witness.submit(work("waits", WorkClass.API))
    arbiter = witness.arbiter
    assert arbiter.take_over("before", work("after", WorkClass.API, devices=8), 1.0) == [Adopt("after", ("n0",), 1.0)]
    assert sorted(arbiter.entries) == ["after", "waits"]
    assert arbiter.waiting("waits") is Waiting.NO_ROOM
    with pytest.raises(ValueError, match="cannot be"):
        arbiter.take_over("after", work("again", WorkClass.API, devices=4), 2.0)
    with pytest.raises(ValueError, match="does not run"):
        arbiter.take_over("waits", work("again", WorkClass.API), 2.0)
    assert arbiter.release("after", 3.0) == [Place("waits", ("n0",), 3.0)]


def test_the_view_tells_who_has_what_and_who_waits_why() -> None:
    """It shows all workloads with their state, and each project's part of the cluster."""
    witness = cluster()
    witness.submit(work("training", devices=8, checkpoint_s=60.0, project="p"))
    witness.submit(work("replica", WorkClass.API))
    shown = [(each.workload.id, each.state, each.reason, each.deadline_s) for each in workloads(witness.arbiter)]
    assert shown == [("replica", "waiting", Waiting.MAKING_ROOM, None), ("training", "yielding", None, 60.0)]
    found = [(part.work_class.name, part.project_id, part.share, part.waiting) for part in parts(witness.arbiter)]
    assert found == [("API", None, 0.125, 1), ("RESEARCH", "p", 0.0, 0)]
