"""Random histories of a cluster's arbiter, and a digest of all that it decides in one.

`python -m tests.cluster.histories` writes the digests of `decided.json` anew: only where decisions are meant to change.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.cluster.arbiter.decisions import Decision, Place, Preempt, Refuse, Take
from freehold.types.cluster import Node, NodeState, Resources, ShareSettings, WorkClass, Workload

DECIDED: Final = Path(__file__).with_name("decided.json")
SEEDS: Final = 100
EVENTS: Final = 250
_CHECKPOINT_S: Final = (30.0, 120.0)


class History:
    """One history: nodes that come, drain and go, work that comes, makes room and ends, drawn from a seed.

    Args:
        seed: of everything that is drawn.
    """

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)
        organizations = [f"org{number}" for number in range(self._chance.randint(2, 4))]
        weighed = [ShareSettings(organization=name, weight=self._chance.choice((1, 2, 4))) for name in organizations]
        self._organizations = organizations
        self._arbiter = Arbiter(weighed, overdue_s=600.0)
        self._nodes = [self._node(number) for number in range(self._chance.randint(4, 24))]
        self._running: dict[str, None] = {}
        self._waiting: dict[str, None] = {}
        self._leaving: dict[str, None] = {}
        self._now_s = 0.0
        self._count = 0
        self._digest = sha256()

    def digest(self, events: int = EVENTS) -> str:
        """The digest of what is decided in so many events."""
        for node in self._nodes:
            self._hear(self._arbiter.set_node(node, self._now_s))
        for _ in range(events):
            self._now_s += self._chance.expovariate(1 / 20)
            self._hear(self._arbiter.advance(self._now_s))
            self._happen()
        return self._digest.hexdigest()

    def _happen(self) -> None:
        """One event."""
        which = self._chance.random()
        if self._leaving and which < 0.3:
            self._hear(self._arbiter.yielded(self._taken(self._leaving), self._now_s))
        elif self._running and which < 0.43:
            self._hear(self._arbiter.release(self._taken(self._running), self._now_s))
        elif self._waiting and which < 0.47:
            self._hear(self._arbiter.release(self._taken(self._waiting), self._now_s))
        elif which < 0.53:
            self._change_node()
        else:
            workload = self._workload()
            self._waiting[workload.id] = None
            self._hear(self._arbiter.submit(workload, self._now_s))

    def _taken(self, some: dict[str, None]) -> str:
        name = self._chance.choice(list(some))
        del some[name]
        if some is self._leaving:
            self._waiting[name] = None
        return name

    def _node(self, number: int) -> Node:
        zone = self._chance.choice(("a", "b", None))
        kind = self._chance.choice(("X", "X", "Y"))
        total = Resources(64.0, 2**38, self._chance.choice((0, 4, 8, 8, 8)), kind)
        return Node(f"n{number}", f"n{number}", zone, total, total)

    def _change_node(self) -> None:
        number = self._chance.randrange(len(self._nodes))
        state = self._chance.choice((NodeState.READY, NodeState.READY, NodeState.DRAINING, NodeState.LOST))
        self._nodes[number] = replace(self._nodes[number], state=state)
        self._hear(self._arbiter.set_node(self._nodes[number], self._now_s))

    def _workload(self) -> Workload:
        self._count += 1
        drawn, choice = self._chance, self._chance.choice
        work_class = choice((WorkClass.API, WorkClass.PRODUCT, *[WorkClass.RESEARCH] * 5))
        research = work_class is WorkClass.RESEARCH
        devices = choice((0, 1, 2, 4, 8, 8))
        need = Resources(float(choice((1, 4, 16))), choice((0, 2**34)), devices, choice((None, None, "X")))
        members = (need,) * (choice((1, 1, 1, 2, 4, 8, 12)) if research else 1)
        if len(members) > 2 and drawn.random() < 0.2:
            members = (replace(need, devices=1), *members[1:])
        return Workload(
            id=f"w{self._count}",
            work_class=work_class,
            organization_id=choice(self._organizations),
            project_id=choice(("p", "q")),
            members=members,
            zones=choice((None, None, None, frozenset({"a"}))),
            queued_at_s=self._now_s,
            checkpoint_s=choice((*_CHECKPOINT_S, None)) if research else choice((None, None, _CHECKPOINT_S[0])),
            apart=choice((None, "web")) if len(members) == 1 and not research else None,
        )

    def _hear(self, decisions: Sequence[Decision]) -> None:
        for each in decisions:
            told = replace(each, detail="") if isinstance(each, Refuse) else each  # its words may change
            self._digest.update(repr(told).encode())
            match each:
                case Place(workload):
                    self._waiting.pop(workload, None)
                    self._running[workload] = None
                case Preempt(workload) | Take(workload):
                    self._running.pop(workload, None)
                    self._leaving[workload] = None
                case Refuse(workload):
                    self._waiting.pop(workload, None)


def main() -> None:
    """Write the digests."""
    digests = [History(seed).digest() for seed in range(SEEDS)]
    DECIDED.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
