"""For how many replicas of a deployment there is room: on this machine, or on the nodes of a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from freehold.types.cluster import Node, NodeState, Resources


@dataclass(frozen=True, slots=True)
class Room:
    """Where replicas can be.

    Args:
        replicas: for how many there is room; None where nothing is counted.
        spread: whether each has a machine or accelerators of its own, so that more of them do more.
    """

    replicas: int | None = None
    spread: bool = False


THIS_MACHINE: Final = Room()
"""What nobody counts."""


def room_for(
    nodes: Sequence[Node], needs: Resources, zone: str | None, running: int, *, spread: bool, members: int = 1
) -> Room:
    """Room on some nodes.

    Args:
        nodes: the cluster's.
        needs: what one replica needs, of each of its nodes.
        zone: where it must run; None for anywhere.
        running: how many replicas have their place already.
        spread: whether the nodes are machines of a cluster.
        members: how many processes a replica has.
    """
    spread = spread or needs.devices > 0
    if nodes and all(node.total == Resources() for node in nodes):
        return Room(spread=spread)
    open_to = [node for node in nodes if node.state is NodeState.READY and zone in {None, node.zone}]
    return Room(running + sum(_fitting(node.free, needs) for node in open_to) // members, spread=spread)


def _fitting(free: Resources, needs: Resources) -> int:
    """How many replicas fit into what is free."""
    if needs.devices and needs.device_kind not in {None, free.device_kind}:
        return 0
    asked = ((free.cores, needs.cores), (free.memory_bytes, needs.memory_bytes), (free.devices, needs.devices))
    most = min((there / need for there, need in asked if need), default=inf)
    return int(most) if most < inf else 0
