"""Decides who gets room on the cluster. It has no clock, does no I/O and draws no lots.

It is told what happens (nodes that come, drain and go; workloads that want room, and that end) and when, and answers
with what is to be done. The rules:

- The more urgent class goes first; within a class, whose organization and project has least of its due (`shares`).
- All members of a workload are placed at once, or none.
- What cannot be placed may have others leave: those of a less urgent class that can write a checkpoint, and within
  research those that have more than their due (`planning`). They are asked, and ended when their time is over.
- Of those that have to wait, the first of each class and place has a reservation: what becomes free is kept for it
  until it is enough. It stays the first until it is placed. What can be asked to leave again may run there meanwhile.
"""

import heapq
from collections.abc import Sequence

from freehold.cluster.arbiter.decisions import Adopt, Decision, Refuse, Taken, Wait, Waiting
from freehold.cluster.arbiter.floor import Floor
from freehold.cluster.arbiter.shares import State
from freehold.types.cluster import Node, WorkClass, Workload

_LIVE = (State.RUNNING, State.YIELDING, State.ENDING)


class Arbiter(Floor):
    """Decides who gets room. Every method says what is to be done now; times never go back.

    Args:
        shares: what organizations and projects are due, and where they may run.
        overdue_s: every fourth reservation goes to the one that has waited longest, if it has waited for so long.
    """

    @property
    def next_deadline_s(self) -> float | None:
        """When `advance` is to be called at the latest; None while nobody was asked to leave."""
        while self._deadlines:
            deadline_s, _number, workload = self._deadlines[0]
            entry = self.entries.get(workload)
            if entry is not None and entry.state is State.YIELDING and entry.deadline_s == deadline_s:
                return deadline_s
            heapq.heappop(self._deadlines)
        return None

    def set_node(self, node: Node, now_s: float) -> list[Decision]:
        """A node has come, or changed. Of `node.free` no account is taken: what is placed is placed from here.

        What runs on one that drains is asked to go on elsewhere if it can; what runs on one that is lost is ended.
        """
        self._begin(now_s)
        host = self.pools.hosts.get(node.id)
        kind = node.total.device_kind if node.total.devices else None
        if host is not None and (host.pool.zone, host.pool.kind) != (node.zone, kind):
            self._lose(host)
        host = self.pools.set(node)
        self.books.resize(self.pools.total)
        self._wants.refresh()
        if host.ready:
            self._grow(host)
        else:
            self._leave_node(host)
        self._review()
        return self._decisions

    def forget_node(self, node_id: str, now_s: float) -> list[Decision]:
        """A node is no member any more; what ran there has to end.

        Raises:
            KeyError: there is no such node.
        """
        self._begin(now_s)
        self._lose(self.pools.hosts[node_id])
        self.books.resize(self.pools.total)
        self._review()
        return self._decisions

    def submit(self, workload: Workload, now_s: float) -> list[Decision]:
        """Something wants room: it is placed, waits, or is refused and forgotten.

        Raises:
            ValueError: there is one of that id already, or it has no members.
        """
        self._begin(now_s)
        zones = self.books.zones(workload)
        entry = self._new_entry(workload, zones)
        refusal = self._wants.refusal(entry.want, workload, zones)
        if refusal is not None:
            return [Refuse(workload.id, *refusal, now_s)]
        self._know(entry)
        self._enqueue(entry)
        if entry.want.blocked and entry.work_class is not WorkClass.RESEARCH:
            return [Wait(workload.id, Waiting.NO_ROOM, now_s)]
        self._settle()
        self._tell_wait(entry, Waiting.NO_ROOM)
        return self._decisions

    def revise(self, workload: Workload, now_s: float) -> list[Decision]:
        """What waits may be elsewhere than was said at first: it keeps its turn, or is refused and forgotten.

        Raises:
            KeyError: there is no such workload.
            ValueError: it runs.
        """
        self._begin(now_s)
        before = self.entries[workload.id]
        if before.state in _LIVE:
            raise ValueError(f"workload '{workload.id}' runs")
        self._withdraw(before)
        before.want.users -= 1
        del self.entries[workload.id]
        zones = self.books.zones(workload)
        entry = self._new_entry(workload, zones)
        entry.number, entry.ran = before.number, before.ran
        refusal = self._wants.refusal(entry.want, workload, zones)
        if refusal is None:
            self._know(entry)
            self._enqueue(entry)
        else:
            self._decisions.append(Refuse(workload.id, *refusal, now_s))
        self._settle()
        return self._decisions

    def adopt(self, workload: Workload, nodes: Sequence[str], now_s: float) -> list[Decision]:
        """Take note of what runs already, as after a restart of whoever asks.

        Raises:
            ValueError: there is one of that id already, or not a node for each member.
            KeyError: there is no such node.
        """
        self._begin(now_s)
        self._run_on(workload, nodes)
        self._settle()
        return self._decisions

    def take_over(self, workload_id: str, workload: Workload, now_s: float) -> list[Decision]:
        """What runs is this workload from now on, and stays where it is: nobody else gets its room in between.

        Raises:
            ValueError: there is one of the new id already, or the old one does not run, or has other members.
            KeyError: there is no such workload.
        """
        self._begin(now_s)
        entry = self.entries[workload_id]
        if entry.state is not State.RUNNING:
            raise ValueError(f"workload '{workload_id}' does not run")
        if workload.id in self.entries or workload.members != entry.workload.members:
            raise ValueError(f"workload '{workload_id}' cannot be '{workload.id}'")
        nodes = entry.nodes()
        self._vacate(entry)
        entry.want.users -= 1
        del self.entries[workload_id]
        self._run_on(workload, nodes)
        self._decisions.append(Adopt(workload.id, nodes, self._now_s))
        self._settle()
        return self._decisions

    def release(self, workload_id: str, now_s: float) -> list[Decision]:
        """Something has ended for good, or does not want room any more.

        Raises:
            KeyError: there is no such workload.
        """
        self._begin(now_s)
        entry = self.entries[workload_id]
        if entry.state in _LIVE:
            self._vacate(entry)
        else:
            self._withdraw(entry)
        entry.want.users -= 1
        del self.entries[workload_id]
        self._settle()
        return self._decisions

    def yielded(self, workload_id: str, now_s: float) -> list[Decision]:
        """What was asked to leave, or told to end, has, and wants to go on when there is room.

        Raises:
            KeyError: there is no such workload.
            ValueError: it does not run.
        """
        self._begin(now_s)
        entry = self.entries[workload_id]
        if entry.state not in _LIVE:
            raise ValueError(f"workload '{workload_id}' does not run")
        self._vacate(entry)
        entry.ran = True
        self._enqueue(entry)
        self._settle()
        self._tell_wait(entry, Waiting.PREEMPTED)
        return self._decisions

    def advance(self, now_s: float) -> list[Decision]:
        """Time has passed: who was asked to leave and has not in time has to end."""
        self._begin(now_s)
        while (deadline_s := self.next_deadline_s) is not None and deadline_s <= now_s:
            _at, _number, workload = heapq.heappop(self._deadlines)
            self._end(self.entries[workload], Taken.OVERDUE)
        return self._decisions

    def waiting(self, workload_id: str) -> Waiting | None:
        """Why something waits; None where it runs, or is about to leave.

        Raises:
            KeyError: there is no such workload.
        """
        entry = self.entries[workload_id]
        if entry.state is State.PENDING:
            return Waiting.MAKING_ROOM
        if entry.state is State.WAITING:
            return Waiting.PREEMPTED if entry.ran else Waiting.NO_ROOM
        return None
