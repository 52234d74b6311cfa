"""Finds out who has to leave so that something has room: as few as possible, and who borrowed most, and began last.

Those who share their kind of need are asked about one by one. For a workload of several members this is a heuristic
where their needs differ, and for the number of victims; it finds room whenever there is some for members that all need
the same.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from freehold.cluster.arbiter.hosts import NOTHING, Amount, Host, Pool, covers, fits_in, minus, plus, times
from freehold.cluster.arbiter.shares import Books, Entry, Line, Standing, State, dominant
from freehold.types.cluster import WorkClass

_ROUNDING: Final = 1e-9
_CHUNK: Final = 16
"""Of so many nodes at a time those are chosen that cost the fewest victims."""
_BELOW: Final = {
    WorkClass.API: (WorkClass.RESEARCH, WorkClass.PRODUCT),
    WorkClass.PRODUCT: (WorkClass.RESEARCH,),
    WorkClass.RESEARCH: (WorkClass.RESEARCH,),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Where something will run when its victims have left; without any, at once or when those have who were asked."""

    parts: list[tuple[Host, Amount]]
    victims: list[Entry]


class Taking:
    """Who may be asked to leave in favour of somebody: lower classes, his guests and, to `reclaim`, who has borrowed.

    Somebody of the same class has borrowed if he, with what he loses, still has at least as much of his due as the
    other will have.

    Attributes:
        classes: those of whose members some may be asked, the least urgent first.
    """

    def __init__(self, entry: Entry, books: Books, *, reclaim: bool) -> None:
        self._entry = entry
        self._total = books.total
        self._reclaim = reclaim
        self._lost: dict[Standing, Amount] = {}
        self.classes = _BELOW[entry.work_class]

    def allows(self, victim: Entry) -> bool:
        """Whether it may be asked."""
        entry = self._entry
        if victim.state is not State.RUNNING or victim.workload.checkpoint_s is None:
            return False
        if victim.work_class > entry.work_class:
            return True
        if victim.work_class < entry.work_class or victim is entry:
            return False
        return entry.id in victim.guest_of or (self._reclaim and self._borrowed(victim))

    def _borrowed(self, victim: Entry) -> bool:
        mine: Standing = self._entry.line
        theirs: Standing = victim.line
        if mine is theirs:
            return False
        if self._entry.line.organization is not victim.line.organization:
            mine, theirs = self._entry.line.organization, victim.line.organization
        lost = plus(self._lost.get(theirs, NOTHING), victim.want.amount)
        after = dominant(plus(mine.booked, self._entry.want.amount), self._total) / mine.weight
        return after <= dominant(minus(theirs.booked, lost), self._total) / theirs.weight + _ROUNDING

    def take(self, victim: Entry) -> None:
        """Count a victim."""
        for standing in (victim.line, victim.line.organization):
            self._lost[standing] = plus(self._lost.get(standing, NOTHING), victim.want.amount)


class Planner:
    """Makes one plan.

    Args:
        entry: for what.
        entries: all that there is, by its id.
        books: who has what.
        guests: those of its own class who may be asked whatever they are due.
        reclaim: whether those of its own class who borrowed may be asked.
    """

    def __init__(
        self, entry: Entry, entries: Mapping[str, Entry], books: Books, guests: Collection[Entry], *, reclaim: bool
    ) -> None:
        self._entry = entry
        self._entries = entries
        self._books = books
        self._lenders = books.lenders(entry) if reclaim else []
        self._taking = Taking(entry, books, reclaim=reclaim)
        self._only: dict[Host, Amount] | None = None
        if entry.work_class is WorkClass.RESEARCH and not reclaim:
            self._only = self._held_by(guests)
        self._rooms: dict[Host, Amount] = {}
        self._parts: list[tuple[Host, Amount]] = []
        self._victims: dict[Entry, None] = {}

    def plan(self) -> Plan | None:
        """Where it can be and who has to leave for it; None if nothing that may be asked for is enough."""
        want = self._entry.want
        if not self._conceivable():
            return None
        if len(want.groups) == 1 and want.groups[0][2] == 1:
            amount, pools, _one = want.groups[0]
            if (found := self._quickly(amount, pools)) is not None:
                return found
        if not all(self._place(amount, pools, count) for amount, pools, count in want.groups):
            return None
        return Plan(self._parts, self._needed_victims())

    def _conceivable(self) -> bool:
        """Whether all of it together would be enough."""
        own = self._entry.work_class
        room = NOTHING
        for pool in self._entry.want.pools:
            room = plus(room, pool.reach)
            for each in self._taking.classes:
                if each is not own or not self._lenders:
                    room = plus(room, pool.takeable[each])
        return covers(plus(room, self._books.reclaimable(self._entry, self._lenders)), self._entry.want.amount)

    def _quickly(self, amount: Amount, pools: tuple[Pool, ...]) -> Plan | None:
        """A plan for a single member with one victim or none, if there is one."""
        for pool in pools:
            for host in pool.special:
                if covers(self._room(host), amount):
                    return Plan([(host, amount)], [])
        for victim in self._candidates():
            if self._taking.allows(victim):
                for host, held in victim.held().items():
                    if host.ready and host.pool in pools and covers(plus(self._room(host), held), amount):
                        return Plan([(host, amount)], [victim])
        return None

    def _candidates(self) -> Iterator[Entry]:
        """All that runs and may have to leave, in the order in which it should."""
        for work_class in self._taking.classes:
            if work_class is not self._entry.work_class:
                lines: Iterable[Line] = self._books.richest_first(work_class)
            else:
                lines = self._lenders or self._books.lines(work_class)  # for guests
            for line in lines:
                if line.takeable != NOTHING:
                    yield from reversed(line.running.values())

    def _room(self, host: Host) -> Amount:
        """What is left there for further members: what is free or coming, and not kept for somebody who goes first."""
        room = self._rooms.get(host)
        if room is None:
            room = plus(host.free, host.coming)
            for claimant, amount in host.claims.items():
                if self._entries[claimant].work_class <= self._entry.work_class and claimant != self._entry.id:
                    room = minus(room, amount)
            self._rooms[host] = room
        return room

    def _place(self, amount: Amount, pools: tuple[Pool, ...], count: int) -> bool:
        """Find room for members that need the same; whether there is some for all."""
        for pool in pools:
            for host in (*pool.special, *pool.with_devices(amount[2])):
                count -= self._fill(host, amount, count)
                if count == 0:
                    return True
        if self._only is not None and not self._enough(self._only, amount, pools, count):
            return False
        chunk: list[Host] = []
        for host in self._victims_hosts(pools):
            if self._could_have(host, amount):
                chunk.append(host)
            if len(chunk) == _CHUNK:
                count -= self._clear(chunk, amount, pools, count)
                chunk = []
                if count == 0:
                    return True
        return self._clear(chunk, amount, pools, count) == count

    def _held_by(self, guests: Iterable[Entry]) -> dict[Host, Amount]:
        """What guests have on each node; nobody else may be asked, if not for what he borrowed."""
        found: dict[Host, Amount] = {}
        for guest in guests:
            if self._taking.allows(guest):
                for host, amount in guest.held().items():
                    found[host] = plus(found.get(host, NOTHING), amount)
        return found

    def _enough(self, held: Mapping[Host, Amount], amount: Amount, pools: tuple[Pool, ...], count: int) -> bool:
        """Whether there could be room for `count` members if all left that have this; if not, nobody need be asked."""
        for host, has in held.items():
            if host.ready and host.pool in pools:
                count -= fits_in(plus(self._room(host), has), amount, count)
        return count <= 0

    def _victims_hosts(self, pools: tuple[Pool, ...]) -> Iterator[Host]:
        """The nodes of those who may have to leave, in the order in which they should."""
        seen: dict[Host, None] = {}
        for victim in self._candidates():
            for host, _amount in victim.parts:
                if host not in seen:
                    seen[host] = None
                    if host.ready and host.pool in pools:
                        yield host

    def _clear(self, hosts: list[Host], amount: Amount, pools: tuple[Pool, ...], most: int) -> int:
        """Have others leave these nodes until there is room for `most` members; for how many there was."""
        count = 0
        costs = [(len(found), index) for index, host in enumerate(hosts) if (found := self._leaving(host, amount))]
        for _cost, index in sorted(costs):
            host = hosts[index]
            while victims := self._leaving(host, amount):
                for each in dict.fromkeys((host, *self._take(victims))):
                    if each.ready and each.pool in pools:
                        count += self._fill(each, amount, most - count)
                if count == most:
                    return count
        return count

    def _could_have(self, host: Host, amount: Amount) -> bool:
        """Whether there would be room for one member if all left that can be asked."""
        room = self._room(host)
        for each in self._taking.classes:
            room = plus(room, host.takeable[each])
        return covers(room, amount)

    def _fill(self, host: Host, amount: Amount, most: int) -> int:
        """Put as many members there as have room; how many."""
        count = fits_in(self._room(host), amount, most)
        if count:
            self._rooms[host] = minus(self._rooms[host], times(amount, count))
            self._parts += [(host, amount)] * count
        return count

    def _leaving(self, host: Host, amount: Amount) -> list[Entry]:
        """Who would have to leave there for one member more; nobody if that is not enough."""
        if self._only is not None and host not in self._only:
            return []
        room = self._room(host)
        found: list[Entry] = []
        tenants = [(self._entries[each], held) for each, held in host.tenants.items()]
        left = [(each, held) for each, held in tenants if each not in self._victims and self._taking.allows(each)]
        left.sort(key=_preference)
        while left:
            enough = [(each, held) for each, held in left if covers(plus(room, held), amount)]
            victim, held = enough[0] if enough else max(left, key=lambda one: _help(room, one[1], amount))
            found.append(victim)
            if enough:
                return found
            room = plus(room, held)
            left.remove((victim, held))
        return []

    def _take(self, victims: Iterable[Entry]) -> Iterator[Host]:
        """Count on what they have; the nodes that it is on."""
        for victim in victims:
            if not self._taking.allows(victim):  # who lost several parts already has borrowed no more
                continue
            self._victims[victim] = None
            self._taking.take(victim)
            for host, held in victim.held().items():
                self._rooms[host] = plus(self._room(host), held)
                yield host

    def _needed_victims(self) -> list[Entry]:
        """The victims without those that turned out not to be needed."""
        used = {host for host, _amount in self._parts}
        for victim in reversed(list(self._victims)):
            held = {host: amount for host, amount in victim.held().items() if host in used}
            if all(covers(self._rooms[host], amount) for host, amount in held.items()):
                del self._victims[victim]
                for host, amount in held.items():
                    self._rooms[host] = minus(self._rooms[host], amount)
        return list(self._victims)


def _preference(one: tuple[Entry, Amount]) -> tuple[int, float, float, int]:
    """Smallest leaves first: the least urgent, who borrowed most, who began last."""
    entry, _held = one
    return -entry.work_class, -entry.line.organization.ratio, -entry.line.ratio, -entry.started


def _help(room: Amount, held: Amount, need: Amount) -> tuple[int, int, int]:
    """How much of what is lacking it has: devices first."""
    lacking = [max(0, wants - has) for wants, has in zip(need, room, strict=True)]
    return min(lacking[2], held[2]), min(lacking[0], held[0]), min(lacking[1], held[1])
