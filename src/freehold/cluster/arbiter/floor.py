"""The arbiter's inside: whose turn it is, and what follows from it for nodes, books and reservations."""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from freehold.cluster.arbiter.decisions import Decision, Place, Preempt, Resume, Take, Taken, Wait, Waiting
from freehold.cluster.arbiter.hosts import NOTHING, Amount, Host, Pool, Pools, covers, plus
from freehold.cluster.arbiter.planning import Plan, Planner
from freehold.cluster.arbiter.reservations import Reservations
from freehold.cluster.arbiter.room import find_room, has_devices
from freehold.cluster.arbiter.shares import NO_TIME, Books, Entry, Line, State, Want, turn
from freehold.cluster.arbiter.tenancy import count_out, occupy, vacate
from freehold.cluster.arbiter.wants import Wants
from freehold.types.cluster import NodeState, ShareSettings, WorkClass, Workload

_MOST_IN_VAIN: Final = 3
"""So many kinds of needs are tried in vain at each event to be given what they are due; the others the next time."""


class Floor:
    """What the arbiter's methods are made of; see `freehold.cluster.arbiter.arbiter`."""

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

    def _run_on(self, workload: Workload, nodes: Sequence[str]) -> None:
        """Take note of what runs on those nodes."""
        entry = self._new_entry(workload, self.books.zones(workload))
        if len(nodes) != len(workload.members):
            raise ValueError(f"workload '{workload.id}' has {len(workload.members)} members, not {len(nodes)}")
        hosts = [self.pools.hosts[node] for node in nodes]
        amounts = [amount for amount, _pools, count in entry.want.groups for _ in range(count)]
        entry.parts = [(hosts[index], amount) for index, amount in zip(entry.order, amounts, strict=True)]
        self._know(entry)
        self.books.book(entry.line, entry.want.amount)
        self._occupy(entry)

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

    def _lose(self, host: Host) -> None:
        """A node is no more what it was: what runs there has to end, and has nothing of what the node may become."""
        host.pool.leave(host)
        host.state = NodeState.LOST
        host.pool.enter(host)
        self._leave_node(host)
        self.pools.remove(host)

    def _review(self) -> None:
        """The nodes have changed."""
        for host, _amount in self._reservations.review():
            self._grow(host)
        self._settle()

    def _settle(self) -> None:
        """Bring about what has become possible: first for those whose victims have left, then by class and turn."""
        for host in list(self._touched):
            for claimant in list(host.claims):
                self._start_if_free(self.entries[claimant])
        for work_class in WorkClass:
            self._serve(work_class)
        if self._reclaim():
            self._serve(WorkClass.RESEARCH)

    def _serve(self, work_class: WorkClass) -> None:
        """Place what there is room for, of one class."""
        self._wants.unblock(work_class, self._grown)
        for want in list(self._wants.open(work_class)):
            if not self._promising(want):
                self._wants.block(want)
        while (entry := self._first(work_class)) is not None:
            if not self._try(entry):
                self._wants.block(entry.want)
                self._reservations.grant(entry, self._now_s)
        self._reservations.grant_next(work_class, self._now_s)

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
        claimed, later = self._reservations.lift(entry), self._reservations.lift_later(entry)
        if self._place(entry):
            lifted = [host for parts in (claimed, *(parts for _holder, parts in later)) for host, _amount in parts]
            for host in lifted:
                self._grow(host)
            self._wants.unblock(entry.work_class, dict.fromkeys(host.pool for host in lifted))
            return True
        self._reservations.put_back(later)
        if claimed:
            self._reservations.renew(entry, claimed, self._touched)
        return False

    def _place(self, entry: Entry) -> bool:
        """Start something, claim room for it, or do nothing."""
        parts = self._room(entry)
        if parts is not None and self._reservations.keep(entry, parts):
            parts = self._room(entry)
        if parts is not None:
            self._start(entry, parts)
            return True
        if entry.want.preemptible and self._start_as_guest(entry):
            return True
        if entry.work_class is not WorkClass.RESEARCH or entry.id in entry.want.guests:
            guests = self._reservations.guests(entry.id)
            plan = Planner(entry, self.entries, self.books, guests, reclaim=False).plan()
            if plan is not None:
                self._carry_out(entry, plan)
                return True
        return False

    def _room(self, entry: Entry) -> list[tuple[Host, Amount]] | None:
        """Room for all members; of one that keeps apart, where the fewest of its name are."""
        parts = find_room(entry.want)
        if parts is None or entry.workload.apart is None or len(parts) > 1 or not self._like(entry, parts[0][0]):
            return parts
        amount, pools, _one = entry.want.groups[0]
        open_to_it = (host for pool in pools for host in pool.ready_hosts() if covers(host.open, amount))
        return [(min(open_to_it, key=partial(self._like, entry), default=parts[0][0]), amount)]

    def _like(self, entry: Entry, host: Host) -> int:
        """How many on a node have the name of this one."""
        return sum(self.entries[tenant].workload.apart == entry.workload.apart for tenant in host.tenants)

    def _start_as_guest(self, entry: Entry) -> bool:
        """Place something that can be asked to leave again where something is kept for others."""
        lifted = self._reservations.lift_others(entry)
        if not lifted:
            return False
        parts = find_room(entry.want)
        if parts is not None:
            self._reservations.invite(entry, lifted)
            self._start(entry, parts)
        self._reservations.put_back(lifted)
        return parts is not None

    def _reclaim(self) -> bool:
        """Have those of the research class leave that borrowed what others who wait are due; whether any has to."""
        wants = self._wants.waiting(WorkClass.RESEARCH)
        heads = [queue[0] for want in wants for queue in want.waiting.values()]
        tried: dict[Line, None] = {}
        hopeless: dict[Want, None] = {}
        before = len(self._decisions)
        for entry in sorted(heads, key=turn):
            if entry.line in tried or entry.want in hopeless:
                continue
            tried[entry.line] = None
            queue: list[Entry] | None = [entry]
            while queue and self._reclaim_for(queue[0]):
                queue = entry.want.waiting.get(entry.line)
            if queue:
                hopeless[entry.want] = None
            if len(hopeless) == _MOST_IN_VAIN:
                break
        return len(self._decisions) > before

    def _reclaim_for(self, entry: Entry) -> bool:
        """Have others of its class leave for it, if it is due that and it can be done."""
        if not self.books.lenders(entry):
            return False
        guests = self._reservations.guests(entry.id)
        plan = Planner(entry, self.entries, self.books, guests, reclaim=True).plan()
        if plan is None:
            return False
        for host, _amount in self._reservations.lift(entry):
            self._grow(host)
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
        if all(host.ready and covers(host.free, amount) for host, amount in held.items()):
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

    def _ask(self, entry: Entry, in_favour_of: str | None) -> None:
        """Ask something to leave."""
        assert entry.workload.checkpoint_s is not None, "only what can write a checkpoint is asked"
        count_out(entry, self.books)
        entry.state, entry.deadline_s = State.YIELDING, self._now_s + entry.workload.checkpoint_s
        self._decisions.append(Preempt(entry.id, in_favour_of, entry.deadline_s, self._now_s))
        heapq.heappush(self._deadlines, (entry.deadline_s, entry.number, entry.id))

    def _end(self, entry: Entry, reason: Taken) -> None:
        """Tell something to end at once."""
        if entry.state is State.ENDING:
            return
        if entry.state is State.RUNNING:
            count_out(entry, self.books)
        entry.state = State.ENDING
        self._decisions.append(Take(entry.id, reason, self._now_s))

    def _occupy(self, entry: Entry) -> None:
        """Have something run where its parts are."""
        self._count += 1
        occupy(entry, self._count)

    def _vacate(self, entry: Entry) -> None:
        """Something has left its nodes."""
        if entry.state is State.RUNNING:
            count_out(entry, self.books)
        for host in vacate(entry):
            self._grow(host)
        self._reservations.guest_left(entry)

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
