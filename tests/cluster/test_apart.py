from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.arbiter.decisions import Place
from freehold.types.cluster import Node, Resources, WorkClass, Workload

SMALL, LARGE = Resources(cores=4, memory_bytes=4 << 30), Resources(cores=16, memory_bytes=16 << 30)


def _replica(number: int, apart: str | None) -> Workload:
    needs = (Resources(cores=1, memory_bytes=1 << 30),)
    return Workload(f"chat-{number}", WorkClass.API, "org", None, needs, None, float(number), apart=apart)


def _placed(apart: str | None) -> list[str]:
    """Where three replicas are put, one after another."""
    arbiter = Arbiter()
    for name, size in (("small", SMALL), ("large", LARGE)):
        arbiter.set_node(Node(name, name, None, size, size), 0.0)
    decisions = [each for number in (1, 2, 3) for each in arbiter.submit(_replica(number, apart), float(number))]
    return [node for decision in decisions if isinstance(decision, Place) for node in decision.nodes]


def test_replicas_of_a_deployment_lie_on_different_nodes() -> None:
    """What keeps apart goes where the fewest of its name are; everything else goes where least is left over."""
    assert sorted(_placed("chat")[:2]) == ["large", "small"]
    assert len(_placed("chat")) == 3
    assert set(_placed(None)) == {"small"}
