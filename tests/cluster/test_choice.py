from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from freehold.cluster.choice import choose, less
from freehold.errors import NoRoom
from freehold.types.cluster import Node, NodeState, Resources

MIB = 1 << 20
SIZES = st.builds(Resources, st.integers(0, 4).map(float), st.integers(0, 4).map(lambda n: n * MIB), st.integers(0, 2))
NODES = st.lists(st.tuples(SIZES, st.sampled_from(list(NodeState)), st.sampled_from(["eu", "us", None])), max_size=5)


def _node(number: int, free: Resources, state: NodeState = NodeState.READY, zone: str | None = "eu") -> Node:
    return Node(f"id-{number}", f"node-{number}", zone, free, free, state)


@given(NODES, st.lists(SIZES, min_size=1, max_size=4), st.sampled_from([None, frozenset({"eu"})]))
def test_what_is_chosen_fits(
    found: list[tuple[Resources, NodeState, str | None]], members: list[Resources], zones: frozenset[str] | None
) -> None:
    """Whatever is chosen has room for all members together, is ready, and is in a permitted zone."""
    nodes = [_node(number, *each) for number, each in enumerate(found)]
    try:
        chosen = choose(nodes, members, zones, "job")
    except NoRoom:
        event("there is no room")
        return
    free = {node.id: node.free for node in nodes}
    for node, needs in zip(chosen, members, strict=True):
        free[node.id] = less(free[node.id], needs)
        assert node.state is NodeState.READY
        assert zones is None or node.zone in zones
    assert all(min(left.cores, left.memory_bytes, left.devices) >= 0 for left in free.values())


def test_replicas_of_one_deployment_are_spread() -> None:
    """A node with fewer of the same kind goes before one with more room."""
    small, large = _node(1, Resources(cores=2)), _node(2, Resources(cores=16))
    there = Counter({"id-2": 1})
    (chosen,) = choose([small, large], [Resources(cores=1)], None, "chat-2", lambda node: there[node.id])
    assert chosen.id == "id-1"


def test_the_refusal_says_what_each_node_lacks() -> None:
    """Without room, the error names nodes and what they lack; without a permitted node, the zones."""
    nodes = [_node(1, Resources(2.0, 100 * MIB, 8, "A100")), _node(2, Resources(8.0, 10 * MIB))]
    needs = Resources(4.0, 50 * MIB)
    with pytest.raises(NoRoom) as caught:
        choose(nodes, [needs], None, "chat-1")
    assert "on 'node-1' it needs 4 cores, and 2 are free" in caught.value.message
    assert "on 'node-2' it needs 50 MiB of memory, and 10 are free" in caught.value.message
    with pytest.raises(NoRoom, match="zones where it may run: us"):
        choose(nodes, [needs], frozenset({"us"}), "chat-1")
    with pytest.raises(NoRoom, match="devices of the kind 'H100'"):
        choose(nodes[:1], [replace(needs, cores=1.0, devices=1, device_kind="H100")], None, "chat-1")
