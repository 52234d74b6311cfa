"""Keeps room for those that were next and did not fit, so that smaller ones do not go before them for ever.

Each class has one reservation for each set of pools. Its holder keeps it until it is placed, which bounds how long it
waits by how long those run that are there. Nodes are chosen for it only when something else is about to take room that
it could have had: those first of which most is free, and on which nothing of the serving classes stands in the way.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Final, TypeAlias

from freehold.cluster.arbiter.hosts import NOTHING, Amount, Host, Pool, covers, fits_in, minus, plus
from freehold.cluster.arbiter.shares import Entry, State, Want, turn
from freehold.cluster.arbiter.wants import Wants
from freehold.types.cluster import WorkClass

_EVERY: Final = 4
"""Every so many-th reservation goes to who has waited longest."""

Parts: TypeAlias = list[tuple[Host, Amount]]


class Reservations:
    """Who is next of those that have to wait, and what is kept for them.

    Args:
        entries: all that there is, by its id.
        wants: what is waited for.
        overdue_s: how long somebody must have waited to be next for that alone.
    """

    def __init__(self, entries: Mapping[str, Entry], wants: Wants, overdue_s: float) -> None:
        self._entries = entries
        self._wants = wants
        self._overdue_s = overdue_s
        self._holders: dict[WorkClass, dict[Entry, None]] = {each: {} for each in WorkClass}
        self._guests: dict[str, dict[Entry, None]] = {}
        self._granted = 0

    def holders(self, work_class: WorkClass) -> dict[Entry, None]:
        """Who has one."""
        return self._holders[work_class]

    def grant(self, entry: Entry, now_s: float) -> None:
        """Something did not fit: whose turn it is of those that wait for the same pools is next, unless one is already.

        Args:
            entry: what did not fit.
            now_s: the time.
        """
        pools, holders = entry.want.pools, self._holders[entry.work_class]
        if any(holder.want.pools == pools for holder in holders) or not self._wants.fits_ready(entry.want):
            return
        self._granted += 1
        heads = self._heads(entry)
        first = min(heads, key=turn)
        holders[self._longest(heads, first, now_s) if self._granted % _EVERY == 0 else first] = None

    def grant_next(self, work_class: WorkClass, now_s: float) -> None:
        """Have somebody be the next wherever somebody waits and nobody is."""
        held = [holder.want.pools for holder in self._holders[work_class]]
        free: dict[tuple[Pool, ...], list[Entry]] = {}
        for want in self._wants.waiting(work_class):
            if want.pools not in held and self._wants.fits_ready(want):
                free.setdefault(want.pools, []).extend(queue[0] for queue in want.waiting.values())
        for heads in free.values():
            self.grant(min(heads, key=turn), now_s)

    def review(self) -> Parts:
        """The nodes have changed: who would not fit any more if they were empty is not next; what was kept for them."""
        found: Parts = []
        for holders in self._holders.values():
            for holder in [holder for holder in holders if not self._wants.fits_ready(holder.want)]:
                found += self.lift(holder)
                self.end(holder)
        return found

    def end(self, entry: Entry) -> None:
        """It is not next any more."""
        self._holders[entry.work_class].pop(entry, None)

    def lift(self, entry: Entry) -> Parts:
        """Keep nothing for it; what was kept."""
        if entry.state is not State.WAITING or not entry.parts:
            return []
        parts, hosts = entry.parts, entry.held()
        entry.parts = []
        for host in hosts:
            host.unclaim(entry.id)
        return parts

    def renew(self, entry: Entry, parts: Parts, touched: Mapping[Host, None]) -> None:
        """Keep the same again, unless there is now another node that has enough for one of its members."""
        kept = dict(parts)
        for host in touched:
            if host not in kept and host.ready:
                for amount, pools, _count in entry.want.groups:
                    if host.pool in pools and covers(host.open, amount):
                        return
        self._claim(entry, [(host, amount) for host, amount in parts if host.ready])

    def keep(self, entry: Entry, parts: Parts) -> bool:
        """Before something is placed, choose what is to be kept from it; whether that changes where it may be."""
        changed = False
        hosts = dict(parts)
        for holder in self._before(entry):
            if not holder.parts and _meet(holder.want, entry.want):
                self._claim(holder, self._choose(holder))
                changed = changed or any(host in hosts for host, _amount in holder.parts)
        return changed

    def _before(self, entry: Entry) -> Iterator[Entry]:
        """Those that go before it: of more urgent classes, and of its own those that were next before it was."""
        for work_class in WorkClass:
            if work_class > entry.work_class:
                return
            for holder in self._holders[work_class]:
                if holder is entry:
                    return
                yield holder

    def lift_later(self, entry: Entry) -> list[tuple[Entry, Parts]]:
        """Keep nothing for a while for those of its class that were next later than it; for whom, and what was kept."""
        holders = list(self._holders[entry.work_class])
        if entry not in holders:
            return []
        later = holders[holders.index(entry) + 1 :]
        return [(holder, self.lift(holder)) for holder in later if holder.parts and _meet(holder.want, entry.want)]

    def lift_others(self, entry: Entry) -> list[tuple[Entry, Parts]]:
        """Keep nothing for a while for whoever could have `entry` leave again; for whom, and what was kept."""
        found = []
        for work_class in WorkClass:
            for holder in self._holders[work_class]:
                may = work_class < entry.work_class or work_class is entry.work_class is WorkClass.RESEARCH
                if may and holder is not entry and holder.parts and _meet(holder.want, entry.want):
                    found.append((holder, self.lift(holder)))
        return found

    def guests(self, holder: str) -> Collection[Entry]:
        """Those that run on what was kept for somebody, by whose id; all of them may be asked to leave for him."""
        return self._guests.get(holder, ())

    def invite(self, guest: Entry, lifted: Iterable[tuple[Entry, Parts]]) -> None:
        """Note that somebody runs on what is kept for these."""
        for holder, _parts in lifted:
            holder.want.guests[holder.id] = holder.want.guests.get(holder.id, 0) + 1
            self._guests.setdefault(holder.id, {})[guest] = None
        guest.guest_of = tuple(holder.id for holder, _parts in lifted)

    def guest_left(self, guest: Entry) -> None:
        """A guest has left."""
        for hosting in guest.guest_of:
            self._left(guest, hosting)
        guest.guest_of = ()

    def _left(self, guest: Entry, hosting: str) -> None:
        """A guest has left; who hosted him may be gone as well."""
        guests = self._guests[hosting]
        del guests[guest]
        if not guests:
            del self._guests[hosting]
        holder = self._entries.get(hosting)
        if holder is not None and hosting in holder.want.guests:
            holder.want.guests[hosting] -= 1
            if holder.want.guests[hosting] == 0:
                del holder.want.guests[hosting]

    def put_back(self, lifted: Iterable[tuple[Entry, Parts]]) -> None:
        """Keep again what was lifted."""
        for holder, parts in lifted:
            self._claim(holder, parts)

    def _heads(self, entry: Entry) -> list[Entry]:
        """The first of each line that waits for the same pools, and for whom they are enough."""
        return [
            queue[0]
            for want in self._wants.waiting(entry.work_class)
            if want.pools == entry.want.pools and self._wants.fits_ready(want)
            for queue in want.waiting.values()
        ]

    def _longest(self, heads: Iterable[Entry], first: Entry, now_s: float) -> Entry:
        """Who of these has waited longest, if that is too long; else the first."""
        oldest = min(heads, key=lambda head: head.since)
        return oldest if now_s - oldest.workload.queued_at_s >= self._overdue_s else first

    @staticmethod
    def _claim(entry: Entry, parts: Parts) -> None:
        entry.parts = parts
        for host, amount in entry.held().items():
            host.claim(entry.id, amount)

    def _choose(self, holder: Entry) -> Parts:
        """The nodes on which there will be room for it soonest, as far as anybody can know."""
        parts: Parts = []
        taken: dict[Host, None] = {}
        guests = self._held_by_guests(holder)
        for amount, pools, count in holder.want.groups:
            missing = count
            stays: list[Host] = []
            for host, now in self._most_first(holder, amount, pools, guests):
                if missing == 0:
                    break
                if host in taken:
                    continue
                later = plus(now, minus(host.research, guests.get(host, NOTHING)))
                if not covers(later, amount):
                    stays.append(host)
                    continue
                here = fits_in(later, amount, missing)
                missing -= here
                parts += [(host, amount)] * here
                taken[host] = None
            for host in stays:  # something of the serving classes stands in the way
                if missing and fits_in(host.total, amount, 1):
                    missing -= 1
                    parts.append((host, amount))
                    taken[host] = None
        return parts

    def _most_first(
        self, holder: Entry, amount: Amount, pools: tuple[Pool, ...], guests: Mapping[Host, Amount]
    ) -> Iterator[tuple[Host, Amount]]:
        """The nodes that are ready, and what a holder could have there now; those first that have most of that.

        What that is, of most of them the index of their pool tells: nobody has a claim there, and nobody is to leave.
        """
        apart = [
            {**pool.special, **{host: None for host in guests if host.ready and host.pool is pool}} for pool in pools
        ]
        ranked: dict[int, list[tuple[int, int, int, Host, Amount]]] = {}
        for place, (pool, special) in enumerate(zip(pools, apart, strict=True)):
            for host in special if amount[2] else pool.ready_hosts():
                now = self._now(holder, host, guests)
                ranked.setdefault(now[2] if amount[2] else 0, []).append((-now[0], place, host.order, host, now))
        levels = max((len(pool.levels()) for pool in pools), default=0) if amount[2] else 0
        for devices in sorted({*ranked, *range(levels)}, reverse=True):
            here = ranked.get(devices, [])
            for place, pool in enumerate(pools):
                if 0 <= devices < min(levels, len(pool.levels())):
                    here += [
                        (-host.free[0], place, host.order, host, host.free)
                        for host in pool.levels()[devices]
                        if host not in apart[place]
                    ]
            here.sort(key=itemgetter(0, 1, 2))
            for _cores, _place, _order, host, now in here:
                yield host, now

    def _held_by_guests(self, holder: Entry) -> dict[Host, Amount]:
        """What those have on each node who run on what was kept for somebody, and were not asked to leave."""
        found: dict[Host, Amount] = {}
        for guest in self.guests(holder.id):
            if guest.state is State.RUNNING and guest.work_class is WorkClass.RESEARCH:
                for host, amount in guest.held().items():
                    found[host] = plus(found.get(host, NOTHING), amount)
        return found

    def _now(self, holder: Entry, host: Host, guests: Mapping[Host, Amount]) -> Amount:
        """What somebody could have there now."""
        now = plus(plus(host.free, host.coming), guests.get(host, NOTHING))
        for claimant, amount in host.claims.items():
            if self._entries[claimant].work_class <= holder.work_class:
                now = minus(now, amount)
        return now


def _meet(one: Want, other: Want) -> bool:
    """Whether there is a node that both may have."""
    return any(pool in other.pools for pool in one.pools)
