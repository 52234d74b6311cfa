"""Which nodes take what is to be placed, where nobody has chosen them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from freehold.cluster.local import lacking
from freehold.errors import NoRoom
from freehold.types.cluster import Node, NodeState, Resources

Crowd = Callable[[Node], int]
"""How many of the same kind a node has already."""


def choose(
    nodes: Sequence[Node],
    members: Sequence[Resources],
    zones: frozenset[str] | None,
    name: str,
    crowd: Crowd = lambda _: 0,
) -> list[Node]:
    """A node for each member, all at once; those with the fewest of the same kind first, then those with most free.

    Raises:
        NoRoom: it cannot be done now; says why.
    """
    ready = [node for node in nodes if node.state is NodeState.READY]
    permitted = [node for node in ready if zones is None or node.zone in zones]
    if not permitted:
        where = "" if zones is None or not ready else f" in the zones where it may run: {', '.join(sorted(zones))}"
        raise NoRoom(f"There is no node for '{name}' now{where}.")
    chosen: list[Node] = []
    left = {node.id: node for node in permitted}
    for needs in members:
        fitting = [node for node in left.values() if not _lacks(needs, node)]
        if not fitting:
            raise NoRoom(_why(name, needs, list(left.values())))
        best = min(fitting, key=lambda node: (crowd(node) + _times(chosen, node), -node.free.devices, -node.free.cores))
        chosen.append(best)
        left[best.id] = replace(best, free=less(best.free, needs))
    return chosen


def _times(chosen: Iterable[Node], node: Node) -> int:
    """How often a node was chosen already."""
    return sum(each.id == node.id for each in chosen)


def less(free: Resources, needs: Resources) -> Resources:
    """What is left of it."""
    return replace(
        free,
        cores=free.cores - needs.cores,
        memory_bytes=free.memory_bytes - needs.memory_bytes,
        devices=free.devices - needs.devices,
    )


def _lacks(needs: Resources, node: Node) -> str:
    if needs.devices and needs.device_kind and node.free.device_kind != needs.device_kind:
        return f"it needs devices of the kind '{needs.device_kind}'"
    return lacking(needs, node.free)


def _why(name: str, needs: Resources, nodes: Sequence[Node]) -> str:
    """What each node lacks, the first of them in words."""
    shown = "; ".join(f"on '{node.name}' {_lacks(needs, node)}" for node in nodes[:3])
    more = f"; and {len(nodes) - 3} more nodes" if len(nodes) > 3 else ""
    return f"There is no room for '{name}' now: {shown}{more}."
