"""Buckets of provisioned units that several gateways share by leased slices; see `freehold.gateway.capacity_pool`."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from freehold.errors import Unavailable
from freehold.gateway.capacity_bucket import Bucket, Draught
from freehold.gateway.capacity_held import Entry, UnitsHeld
from freehold.gateway.leases_book import Holdings
from freehold.store.leases import LeaseStore
from freehold.types.capacity import Weights
from freehold.types.leases import LEASE_US, REST, UNITS, Account, Need

_FRESH_US: Final = 1_000_000
"""For how long what was read of other gateways is shown again."""
_SHORTEST_US: Final = 50_000
"""After how long a request at least may come again that found others holding what it lacks."""


class SharedDraught(Draught):
    """What one request takes of a shared bucket. Made by `SharedBucket.take`."""

    __slots__ = ("asks", "entry")

    asks: int
    entry: Entry


class SharedBucket(Bucket):
    """A bucket that gateways share. It has a clock of its own: of the times it is given only the utilization is told.

    Args:
        units: what runs out of it in a microsecond.
        burst_us: it is full with what runs out in so long.
        now_us: the time.
        held: what this gateway holds of it.
        holdings: where that is.
    """

    __slots__ = ("_holdings", "held")

    def __init__(self, units: int, burst_us: int, now_us: int, held: UnitsHeld, holdings: Holdings) -> None:
        super().__init__(units, burst_us, now_us)
        self._holdings = holdings
        self.held = held
        held.per_minute = lambda: self.per_minute

    def change(self, units: int, burst_us: int, now_us: int) -> None:
        """See `Bucket.change`."""
        super().change(units, burst_us, now_us)
        self.held.units, self.held.burst_us = units, burst_us

    @property
    def level(self) -> int:
        """See `Bucket.level`: of all gateways together, as far as is known here."""
        return self.held.inside(self._holdings.now_us())

    def wait_us(self, amount: int = 1) -> int | None:
        """See `Bucket.wait_us`."""
        if not self.units:
            return None
        now_us = self._holdings.now_us()
        self._holdings.note(self.held, amount, now_us)
        over = self.held.inside(now_us) - self.size
        if over < 0 and self.held.room(now_us) >= max(1, amount):
            return 0
        return _SHORTEST_US if over < 0 else over // self.units + 1

    def need(self, amount: int) -> Need | None:
        """See `Bucket.need`."""
        return Need(self.held.account, max(1, amount)) if self.held.hopeful(amount, self._holdings.now_us()) else None

    def take(self, amount: int, weights: Weights) -> SharedDraught:
        """See `Bucket.take`."""
        draught = SharedDraught(self, amount, 0, self._began(amount), weights)
        draught.entry, draught.asks = self.held.take(amount, self._holdings.now_us()), self.held.asks
        return draught

    def settle(self, draught: Draught, amount: int, now_us: int) -> None:
        """See `Bucket.settle`."""
        assert isinstance(draught, SharedDraught), "it was taken here"
        self.advance(now_us)
        change = amount - draught.taken
        self._correct(draught, change)
        self.held.correct(draught.entry, draught.asks, change, self._holdings.now_us())

    @property
    def elsewhere(self) -> int:
        """See `Bucket.elsewhere`."""
        told = self.held.told
        now_us = self._holdings.now_us()
        return 0 if told is None or now_us - self.held.told_us > LEASE_US else told.spent


class SharedBuckets:
    """Makes shared buckets, and knows what each gateway takes of them.

    Args:
        holdings: what this gateway holds.
        store: where all gateways say what they hold.
    """

    def __init__(self, holdings: Holdings, store: LeaseStore) -> None:
        self._holdings = holdings
        self._store = store
        self._held: dict[str, dict[Account, UnitsHeld]] = {}
        """By deployment; what is held of one stays known when its units are taken away and given back."""
        self._parts: dict[str, list[tuple[str, int, int]]] = {}
        self._read_us = -_FRESH_US

    def bucket(self, deployment: str, project: str | None, units: int, burst_us: int, now_us: int) -> Bucket:
        """See `Buckets.bucket`."""
        account = Account(UNITS, f"deployment:{deployment}" + ("" if project is None else f"#{project}"))
        of_deployment = self._held.setdefault(deployment, {})
        held = of_deployment.get(account)
        if held is None:
            held = of_deployment[account] = UnitsHeld(account, units, burst_us, self._holdings.now_us())
        return SharedBucket(units, burst_us, now_us, held, self._holdings)

    def parts(self, deployment: str) -> Sequence[tuple[str, int, int]]:
        """See `Buckets.parts`; as of the last `refresh`."""
        return self._parts.get(deployment, ())

    async def refresh(self) -> None:
        """Read what each gateway takes and holds, unless that was done just now, or the database cannot be reached."""
        now_us = self._holdings.now_us()
        if not self._held or now_us - self._read_us < _FRESH_US:
            return
        self._read_us = now_us
        with suppress(Unavailable):
            wanted = [(each.measure, each.subject) for held in self._held.values() for each in held]
            at_us, pools = await self._store.slices(wanted)
            names = await self._store.names()
            found: dict[str, list[tuple[str, int, int]]] = {}
            for deployment, held in self._held.items():
                sums: dict[str, tuple[int, int]] = {}
                for account in held.keys() & pools.keys():
                    for holder, each in pools[account].slices.items():
                        if holder != REST and at_us - each.seen_us <= LEASE_US:
                            taken, unused = sums.get(holder, (0, 0))
                            sums[holder] = (taken + each.spent, unused + each.unused)
                found[deployment] = sorted((names.get(holder, holder[:12]), *sums[holder]) for holder in sums)
            self._parts = found
