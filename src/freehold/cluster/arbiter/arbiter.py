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
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

from freehold.cluster.arbiter.decisions import Decision, Place, Preempt, Refuse, Resume, Take, Taken, Wait, Waiting
from freehold.cluster.arbiter.hosts import NOTHING, Amount, Host, Pool, Pools, covers, minus, plus
from freehold.cluster.arbiter.planning import Plan, Planner
from freehold.cluster.arbiter.reservations import Reservations
from freehold.cluster.arbiter.room import find_room, has_devices
from freehold.cluster.arbiter.shares import NO_TIME, Books, Entry, Line, State, Want, turn
from freehold.cluster.arbiter.wants import Wants
from freehold.types.cluster import Node, NodeState, ShareSettings, WorkClass, Workload

_LIVE = (State.RUNNING, State.YIELDING, State.ENDING)


class Arbiter:
    """Decides who gets room. Every method says what is to be done now; times never go back.

    Args:
        shares: what organizations and projects are due, and where they may run.
        overdue_s: every fourth reservation goes to the one that has waited longest, if it has waited for so long.
    """

    def __init__(self, shares: Iterable[ShareSettings] = (), *, overdue_s: float = 3600.0) -> None:
        self.books = Books(shares)
        self.pools = Pools()
        self.entries: dict[str, Entry] = {}
        self._wants = Wants(self.pools)
        self._reservations = Reservations(self.entries, self._wants, overdue_s)
        self._deadlines: list[tuple[float, int, str]] = []
        self._touched: dict[Host, None] = {}
        self._grown: dict[Pool, None] = {}
        self._count = 0
        self._now_s = 0.0
        self._decisions: list[Decision] = []

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
            self._leave_node(host)
            self.pools.remove(host)
        host = self.pools.set(node)
        self.books.resize(self.pools.total)
        self._wants.refresh()
        if host.ready:
            self._grow(host)
        else:
            self._leave_node(host)
        self._settle()
        return self._decisions

    def forget_node(self, node_id: str, now_s: float) -> list[Decision]:
        """A node is no member any more; what ran there has to end.

        Raises:
            KeyError: there is no such node.
        """
        self._begin(now_s)
        host = self.pools.hosts[node_id]
        host.pool.leave(host)
        host.state = NodeState.LOST
        host.pool.enter(host)
        self._leave_node(host)
        self.pools.remove(host)
        self.books.resize(self.pools.total)
        self._settle()
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

    def adopt(self, workload: Workload, nodes: Sequence[str], now_s: float) -> list[Decision]:
        """Take note of what runs already, as after a restart of whoever asks.

        Raises:
            ValueError: there is one of that id already, or not a node for each member.
            KeyError: there is no such node.
        """
        self._begin(now_s)
        entry = self._new_entry(workload, self.books.zones(workload))
        if len(nodes) != len(workload.members):
            raise ValueError(f"workload '{workload.id}' has {len(workload.members)} members, not {len(nodes)}")
        hosts = [self.pools.hosts[node] for node in nodes]
        amounts = [amount for amount, _pools, count in entry.want.groups for _ in range(count)]
        entry.parts = [(hosts[index], amount) for index, amount in zip(entry.order, amounts, strict=True)]
        self._know(entry)
        self.books.book(entry.line, entry.want.amount)
        self._occupy(entry)
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

    def _begin(self, now_s: float) -> None:
        """Something happens."""
        self._now_s = max(self._now_s, now_s)
        self._decisions = []
        self._touched.clear()
        self._grown.clear()

    def _new_entry(self, workload: Workload, zones: frozenset[str] | None) -> Entry:
        if workload.id in self.entries:
            raise ValueError(f"there is a workload '{workload.id}' already")
        if not workload.members:
            raise ValueError(f"workload '{workload.id}' has no members")
        self._count += 1
        want, order = self._wants.of(workload, zones)
        return Entry(workload, want, self.books.line(workload), order, self._count)

    def _know(self, entry: Entry) -> None:
        self.entries[entry.id] = entry
        entry.want.users += 1

    def _tell_wait(self, entry: Entry, otherwise: Waiting) -> None:
        """Say that something waits, if it does."""
        if entry.state is State.PENDING:
            self._decisions.append(Wait(entry.id, Waiting.MAKING_ROOM, self._now_s))
        elif entry.state is State.WAITING:
            self._decisions.append(Wait(entry.id, otherwise, self._now_s))

    def _grow(self, host: Host) -> None:
        """There is more on a node than before."""
        self._touched[host] = None
        self._grown[host.pool] = None

    def _leave_node(self, host: Host) -> None:
        """Have everything leave a node on which nothing more is placed."""
        for claimant in list(host.claims):
            self._drop_claims(self.entries[claimant])
        for tenant in list(host.tenants):
            entry = self.entries[tenant]
            if host.state is not NodeState.DRAINING:
                self._end(entry, Taken.NODE_LOST)
            elif entry.state is State.RUNNING and entry.workload.checkpoint_s is not None:
                self._ask(entry, None)

    def _settle(self) -> None:
        """Bring about what has become possible: first for those whose victims have left, then by class and turn."""
        for host in list(self._touched):
            for claimant in list(host.claims):
                self._start_if_free(self.entries[claimant])
        for work_class in WorkClass:
            self._wants.unblock(work_class, self._grown)
            for want in list(self._wants.open(work_class)):
                if not self._promising(want):
                    self._wants.block(want)
            while (entry := self._first(work_class)) is not None:
                if not self._try(entry):
                    self._wants.block(entry.want)
                    self._reservations.grant(entry, self._now_s)
            self._reservations.grant_next(work_class, self._now_s)
        self._reclaim()

    def _promising(self, want: Want) -> bool:
        """Whether all that is free, about to be or can be taken would be enough; almost always it is not."""
        room, takeable, special = NOTHING, NOTHING, False
        for pool in want.pools:
            room = plus(room, pool.reach)
            special = special or bool(pool.special)
            for each in WorkClass:
                if each > want.work_class:
                    takeable = plus(takeable, pool.takeable[each])
        if want.guests:
            takeable = plus(takeable, want.amount)
        if not covers(plus(room, takeable), want.amount):
            return False
        return special or takeable != NOTHING or has_devices(want)

    def _first(self, work_class: WorkClass) -> Entry | None:
        """Whose turn it is, of those for whom there may be room: who has a reservation, else who has least."""
        open_wants = self._wants.open(work_class)
        if not open_wants:
            return None
        for holder in self._reservations.holders(work_class):
            if holder.want in open_wants:
                return holder
        return min((queue[0] for want in open_wants for queue in want.waiting.values()), key=turn)

    def _try(self, entry: Entry) -> bool:
        """Place something, or ask others to make room for it; whether that was possible."""
        claimed = self._reservations.lift(entry)
        parts = find_room(entry.want)
        if parts is not None and self._reservations.keep(entry, parts):
            parts = find_room(entry.want)
        if parts is not None:
            self._start(entry, parts)
            return True
        if entry.want.preemptible and self._start_as_guest(entry):
            return True
        if entry.work_class is not WorkClass.RESEARCH or entry.id in entry.want.guests:
            plan = Planner(entry, self.entries, self.books, reclaim=False).plan()
            if plan is not None:
                self._carry_out(entry, plan)
                return True
        if claimed:
            self._reservations.renew(entry, claimed, self._touched)
        return False

    def _start_as_guest(self, entry: Entry) -> bool:
        """Place something that can be asked to leave again where something is kept for others."""
        lifted = self._reservations.lift_others(entry)
        if not lifted:
            return False
        parts = find_room(entry.want)
        if parts is not None:
            entry.guest_of = tuple(holder.id for holder, _claims in lifted)
            for holder, _claims in lifted:
                holder.want.guests[holder.id] = holder.want.guests.get(holder.id, 0) + 1
            self._start(entry, parts)
        self._reservations.put_back(lifted)
        return parts is not None

    def _reclaim(self) -> None:
        """Have those of the research class leave that borrowed what others who wait are due."""
        wants = self._wants.waiting(WorkClass.RESEARCH)
        heads = [(line, queue[0]) for want in wants for line, queue in want.waiting.items()]
        tried: dict[Line, None] = {}
        hopeless: dict[Want, None] = {}
        for line, entry in sorted(heads, key=lambda head: turn(head[1])):
            if line in tried or entry.want in hopeless:
                continue
            tried[line] = None
            queue: list[Entry] | None = [entry]
            while queue and self._reclaim_for(queue[0]) and (queue := entry.want.waiting.get(line)):
                pass
            if queue:
                hopeless[entry.want] = None

    def _reclaim_for(self, entry: Entry) -> bool:
        """Have others of its class leave for it, if it is due that and it can be done."""
        if not self.books.lenders(entry):
            return False
        plan = Planner(entry, self.entries, self.books, reclaim=True).plan()
        if plan is None:
            return False
        self._reservations.lift(entry)
        self._carry_out(entry, plan)
        return True

    def _carry_out(self, entry: Entry, plan: Plan) -> None:
        """Claim what was planned, and ask the victims to leave."""
        for host in dict(plan.parts):
            for claimant in list(host.claims):
                other = self.entries[claimant]
                if other.work_class > entry.work_class:
                    self._drop_claims(other)
        for victim in plan.victims:
            self._ask(victim, entry.id)
        self._dequeue(entry)
        entry.state, entry.parts = State.PENDING, plan.parts
        for host, amount in entry.held().items():
            host.claim(entry.id, amount)
        self.books.book(entry.line, entry.want.amount)
        self._start_if_free(entry)

    def _start_if_free(self, entry: Entry) -> None:
        """Start what has its place, if all have left it."""
        if entry.state is not State.PENDING:
            return
        held = entry.held()
        if all(_frees(host, amount) for host, amount in held.items()):
            for host in held:
                host.unclaim(entry.id)
            self._occupy(entry)
            self._tell_place(entry)

    def _start(self, entry: Entry, parts: list[tuple[Host, Amount]]) -> None:
        """Start what waits."""
        self._dequeue(entry)
        entry.parts = parts
        self.books.book(entry.line, entry.want.amount)
        self._occupy(entry)
        self._tell_place(entry)

    def _tell_place(self, entry: Entry) -> None:
        decision = Resume if entry.ran else Place
        self._decisions.append(decision(entry.id, entry.nodes(), self._now_s))

    def _occupy(self, entry: Entry) -> None:
        """Have something run where its parts are."""
        self._count += 1
        entry.state, entry.started, entry.deadline_s = State.RUNNING, self._count, NO_TIME
        entry.line.running[entry.id] = entry
        if entry.want.preemptible:
            entry.line.takeable = plus(entry.line.takeable, entry.want.amount)
        for host, amount in entry.held().items():
            host.tenants[entry.id] = amount
            lent = (entry.work_class, amount) if entry.want.preemptible else None
            host.shift(free=minus(NOTHING, amount), lent=lent)

    def _ask(self, entry: Entry, in_favour_of: str | None) -> None:
        """Ask something to leave."""
        assert entry.workload.checkpoint_s is not None, "only what can write a checkpoint is asked"
        self._count_out(entry)
        entry.state, entry.deadline_s = State.YIELDING, self._now_s + entry.workload.checkpoint_s
        self._decisions.append(Preempt(entry.id, in_favour_of, entry.deadline_s, self._now_s))
        heapq.heappush(self._deadlines, (entry.deadline_s, entry.number, entry.id))

    def _end(self, entry: Entry, reason: Taken) -> None:
        """Tell something to end at once."""
        if entry.state is State.ENDING:
            return
        if entry.state is State.RUNNING:
            self._count_out(entry)
        entry.state = State.ENDING
        self._decisions.append(Take(entry.id, reason, self._now_s))

    def _count_out(self, entry: Entry) -> None:
        """Count what something has as coming, from now on."""
        del entry.line.running[entry.id]
        if entry.want.preemptible:
            entry.line.takeable = minus(entry.line.takeable, entry.want.amount)
        self.books.unbook(entry.line, entry.want.amount)
        for host, amount in entry.held().items():
            lent = (entry.work_class, minus(NOTHING, amount)) if entry.want.preemptible else None
            host.shift(coming=amount, lent=lent)

    def _vacate(self, entry: Entry) -> None:
        """Something has left its nodes."""
        if entry.state is State.RUNNING:
            self._count_out(entry)
        for host, amount in entry.held().items():
            del host.tenants[entry.id]
            host.shift(free=amount, coming=minus(NOTHING, amount))
            self._grow(host)
        for hosting in entry.guest_of:
            holder = self.entries.get(hosting)
            if holder is not None and hosting in holder.want.guests:
                holder.want.guests[hosting] -= 1
                if not holder.want.guests[hosting]:
                    del holder.want.guests[hosting]
        entry.parts, entry.guest_of = [], ()

    def _withdraw(self, entry: Entry) -> None:
        """Something that has no room yet does not want any more."""
        if entry.state is State.PENDING:
            self._drop_claims(entry)
        for host, _amount in self._reservations.lift(entry):
            self._grow(host)
        self._dequeue(entry)

    def _drop_claims(self, entry: Entry) -> None:
        """What was kept for something is kept no more; it waits like others."""
        if entry.state is State.WAITING:
            for host, _amount in self._reservations.lift(entry):
                self._grow(host)
            return
        for claimed in entry.held():
            claimed.unclaim(entry.id)
            self._grow(claimed)
        self.books.unbook(entry.line, entry.want.amount)
        entry.parts = []
        self._enqueue(entry)

    def _enqueue(self, entry: Entry) -> None:
        """Have something wait."""
        entry.state, entry.deadline_s = State.WAITING, NO_TIME
        insort(entry.want.waiting.setdefault(entry.line, []), entry, key=_since)
        self._wants.note(entry.want)

    def _dequeue(self, entry: Entry) -> None:
        """Have something wait no more."""
        queue = entry.want.waiting[entry.line]
        del queue[bisect_left(queue, entry.since, key=_since)]
        if not queue:
            del entry.want.waiting[entry.line]
        self._wants.note(entry.want)
        self._reservations.end(entry)
        entry.want.guests.pop(entry.id, None)


def _since(entry: Entry) -> tuple[float, int]:
    return entry.since


def _frees(host: Host, amount: Amount) -> bool:
    free = host.free
    return host.ready and all(has >= wants for has, wants in zip(free, amount, strict=True))
