"""The nodes of a Ray cluster as a gateway sees them: which there are, what is free on each, and which may be used.

What is free is the lesser of the cluster's account, which lags behind, and ours.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from freehold.cluster.choice import Crowd, choose, less
from freehold.cluster.ray_wire import resources_of
from freehold.types.cluster import Node, NodeState, Resources

DOUBT_S: Final = 10.0
"""A node that lost an engine takes nothing for so long, unless the cluster has said meanwhile that it is lost."""
REMEMBER_S: Final = 600.0
"""Lost nodes are shown for so long."""


@dataclass(slots=True)
class _Seen:
    """A node, as the cluster has told."""

    node: Node
    address: str
    lost_at: float | None = None


class View:
    """See above.

    Args:
        folder: `HOME/cluster`, which remembers which nodes drain.
        clock: seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = folder / "draining"
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._doubted: dict[str, float] = {}
        self._used: dict[object, tuple[str, str, Resources]] = {}
        self._draining = self._remembered()

    def take(self, wire: Sequence[Sequence[Any]]) -> None:
        """Hear of the nodes."""
        now = self._clock()
        for node_id, name, zone, address, alive, total, free in wire:
            before = self._seen.get(node_id)
            lost_at = None if alive else (now if before is None or before.lost_at is None else before.lost_at)
            if before is None and not alive:
                continue
            kept = before.node.total if before is not None and not alive else resources_of(total)
            state = NodeState.READY if alive else NodeState.LOST
            node = Node(node_id, name, zone, kept, resources_of(free), state)
            self._seen[node_id] = _Seen(node, address, lost_at)
        there = {node[0] for node in wire}
        for node_id, seen in list(self._seen.items()):
            if node_id not in there or (seen.lost_at is not None and now - seen.lost_at > REMEMBER_S):
                del self._seen[node_id]

    def address(self, node_id: str) -> str:
        """Where a node is reached. Raises KeyError: there is none of that id."""
        return self._seen[node_id].address

    def name(self, node_id: str) -> str:
        """What a node is called; its id where it is not known any more."""
        seen = self._seen.get(node_id)
        return node_id if seen is None else seen.node.name

    def known(self) -> list[Node]:
        """The nodes, with what is free."""
        found = []
        for seen in self._seen.values():
            node = seen.node
            free = node.total
            for where, _, needs in self._used.values():
                free = less(free, needs) if where == node.id else free
            free = replace(
                free,
                cores=min(free.cores, node.free.cores),
                memory_bytes=min(free.memory_bytes, node.free.memory_bytes),
                devices=min(free.devices, node.free.devices),
            )
            state = node.state
            if state is NodeState.READY and node.id in self._draining:
                state = NodeState.DRAINING
            found.append(replace(node, free=free, state=state))
        return found

    def chosen(
        self,
        chosen: Sequence[str],
        members: Sequence[Resources],
        zones: frozenset[str] | None,
        name: str,
        crowd: Crowd = lambda _: 0,
    ) -> list[Node]:
        """The nodes of processes that are placed at once: those that were chosen, if they have room, or others.

        Raises:
            NoRoom: there is none now.
        """
        now = self._clock()
        nodes = [node for node in self.known() if self._doubted.get(node.id, 0.0) <= now]
        if not chosen:
            return choose(nodes, members, zones, name, crowd)
        found: list[Node] = []
        for wanted, needs in zip(chosen, members, strict=True):
            found += choose([node for node in nodes if node.id == wanted], (needs,), zones, name)
            nodes = [replace(n, free=less(n.free, needs)) if n.id == wanted else n for n in nodes]
        return found

    def crowd(self, kind: str) -> Crowd:
        """How many of a kind each node has."""
        of_kind = [where for where, other, _ in self._used.values() if other == kind]
        return lambda node: of_kind.count(node.id)

    def use(self, kind: str, nodes: Iterable[str], members: Iterable[Resources]) -> list[object]:
        """Count what is placed; what it is given back by, one for each process."""
        uses = [(object(), (node, kind, needs)) for node, needs in zip(nodes, members, strict=True)]
        self._used |= dict(uses)
        return [key for key, _ in uses]

    def give_back(self, key: object, *, lost: bool = False) -> None:
        """Something has ended; a node that lost it is in doubt for a while."""
        used = self._used.pop(key, None)
        if lost and used is not None:
            self._doubted[used[0]] = self._clock() + DOUBT_S

    def find(self, node_id: str) -> Node | None:
        """The node of an id or a name, a living one first; None where there is none."""
        meant = [node for node in self.known() if node_id in {node.id, node.name}]
        return min(meant, key=lambda node: node.state is NodeState.LOST, default=None)

    def drain(self, node_id: str, *, drains: bool) -> None:
        """Have a node drain, or not, and remember that."""
        if drains:
            self._draining.add(node_id)
        else:
            self._draining.discard(node_id)
        self._draining &= set(self._seen)
        self._file.write_text("".join(f"{each}\n" for each in sorted(self._draining)), encoding="ascii")

    def _remembered(self) -> set[str]:
        """The ids of the nodes that were told to drain."""
        try:
            return set(self._file.read_text(encoding="ascii").split())
        except FileNotFoundError:
            return set()
