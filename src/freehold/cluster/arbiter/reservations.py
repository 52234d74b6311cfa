"""Keeps room for those that were next and did not fit, so that smaller ones do not go before them for ever.

Each class has one reservation for each set of pools. Its holder keeps it until it is placed, which bounds how long it
waits by how long those run that are there. Nodes are chosen for it only when something else is about to take room that
it could have had: those first of which most is free, and on which nothing of the serving classes stands in the way.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from freehold.cluster.arbiter.hosts import Amount, Host, Pool, covers, fits_in, minus, plus
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

    @staticmethod
    def invite(lifted: Iterable[tuple[Entry, Parts]]) -> tuple[str, ...]:
        """Note that somebody runs on what is kept for these; their ids."""
        for holder, _parts in lifted:
            holder.want.guests[holder.id] = holder.want.guests.get(holder.id, 0) + 1
        return tuple(holder.id for holder, _parts in lifted)

    def guest_left(self, hosting: str) -> None:
        """A guest has left; who hosted him may be gone as well."""
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
        for amount, pools, count in holder.want.groups:
            ranked = []
            hosts = [host for pool in pools for host in pool.ready_hosts() if host not in taken]
            for index, host in enumerate(hosts):
                now, later = self._room(holder, host)
                ranked.append((not covers(later, amount), -now[2] if amount[2] else 0, -now[0], index, later))
            missing = count
            for stays, _devices, _cores, index, later in sorted(ranked):
                if missing == 0:
                    break
                host = hosts[index]
                here = fits_in(host.total, amount, 1) if stays else fits_in(later, amount, missing)
                missing -= here
                parts += [(host, amount)] * here
                if here:
                    taken[host] = None
        return parts

    def _room(self, holder: Entry, host: Host) -> tuple[Amount, Amount]:
        """What it could have there now, and what when all research there has ended."""
        now = plus(host.free, host.coming)
        for claimant, amount in host.claims.items():
            if self._entries[claimant].work_class <= holder.work_class:
                now = minus(now, amount)
        later = now
        for tenant, amount in host.tenants.items():
            entry = self._entries[tenant]
            if entry.state is State.RUNNING and entry.work_class is WorkClass.RESEARCH:
                later = plus(later, amount)
                if holder.id in entry.guest_of:
                    now = plus(now, amount)
        return now, later


def _meet(one: Want, other: Want) -> bool:
    """Whether there is a node that both may have."""
    return any(pool in other.pools for pool in one.pools)
