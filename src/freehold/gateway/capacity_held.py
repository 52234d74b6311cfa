"""What one gateway holds of a bucket of units that it shares, and what its requests have taken of it.

Pure, as `freehold.gateway.leases_held`. What is taken is kept by the moment at which it began, on the database's clock
as well as it is known here: it is the amounts at those moments that corrections change, and that are told. Moments are
told somewhat late rather than early: what is taken late runs out late.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from freehold.gateway.leases_held import Holding
from freehold.types.leases import Account, Ask, Told

_SLOTS: Final = 40
"""Into so many parts the time is divided in which a full bucket runs out; what begins in one of them is one entry."""
_IDLE_US: Final = 70_000_000
"""After so long without a request nothing is said of it any more: until then it tells in the utilization."""


@dataclass(slots=True)
class Entry:
    """What requests take that began at a moment.

    Args:
        at_us: when.
        amount: how much, as far as that is known.
        open: how many of them run.
        final: whether it can be corrected no more.
    """

    at_us: int
    amount: int = 0
    open: int = 0
    final: bool = False


class UnitsHeld(Holding):
    """A slice of a bucket of units, seen from its gateway. Of `taken` the estimates count, and nothing else.

    Args:
        account: of what.
        units: what runs out of it in a microsecond.
        burst_us: it is full with what runs out in so long.
        now_us: the time.

    Attributes:
        per_minute: gives what requests of the last minute take in a minute.
    """

    __slots__ = (
        "_asks",
        "_counted",
        "_declared_us",
        "_entries",
        "_offset_us",
        "_running",
        "burst_us",
        "per_minute",
        "units",
    )

    def __init__(self, account: Account, units: int, burst_us: int, now_us: int) -> None:
        self.units = units
        self.burst_us = burst_us
        self.per_minute: Callable[[], int] = lambda: 0
        self._entries: deque[Entry] = deque()
        self._asks = self._counted = self._declared_us = self._offset_us = self._running = 0
        super().__init__(account, lambda: self.units, None, now_us)
        self._use = lambda: (self.taken, self.per_minute())
        self.closed = True  # nothing is held before somebody asks

    @property
    def used(self) -> int:
        """See `Holding.used`."""
        return self.taken

    @property
    def size(self) -> int:
        """What the bucket holds when it is full."""
        return self.units * self.burst_us

    def take(self, amount: int, now_us: int) -> Entry:
        """Have a request take something that begins now."""
        slot_us = max(1, self.burst_us // _SLOTS)
        at_us = max(((now_us + self._offset_us) // slot_us + 1) * slot_us, self._declared_us + 1)
        last = self._entries[-1] if self._entries else None
        if last is None or last.at_us < at_us:
            last = Entry(at_us)
            self._entries.append(last)
        last.amount += amount
        last.open += 1
        self._running += 1
        self.taken += amount
        return last

    @property
    def asks(self) -> int:
        """How often it was asked for."""
        return self._asks

    def correct(self, entry: Entry, asks: int, change: int, now_us: int) -> None:
        """Have a request have taken so much more than was thought; it runs no more.

        Args:
            entry: what it stands in.
            asks: as `asks` was when it began.
            change: how much more, or less where it is negative.
            now_us: the time.
        """
        entry.open -= 1
        self._running -= 1
        if asks == self._asks:
            self.taken += change  # nobody was told yet, so it is as if that had been known
        if not entry.final:
            entry.amount += change
        elif change > 0:
            late = self.take(change, now_us)
            late.open -= 1
            self._running -= 1
            self.taken -= change

    def level(self, now_us: int) -> int:
        """See `Holding.level`."""
        if self.told is None:
            return 0
        return min(self.told.left + self.units * max(0, now_us - self.told_us), self.size)

    def inside(self, now_us: int) -> int:
        """What is in the bucket, as far as is known here; what others take meanwhile is not."""
        if self.told is None:
            return 0
        left = max(0, self.told.level - self.units * max(0, now_us - self.told_us))
        return left + max(0, self.taken - self._counted)

    def hopeful(self, amount: int, now_us: int) -> bool:  # noqa: ARG002  # however large it is
        """See `Holding.hopeful`: as long as the bucket is not full, somebody has what is lacking here."""
        return self.told is None or now_us >= self.sure_until_us or self.inside(now_us) < self.size

    def ask(self, now_us: int, *, closing: bool = False) -> Ask:
        """See `Holding.ask`."""
        found = super().ask(now_us, closing=closing)
        self._asks += 1
        self._counted = self.taken
        oldest = next((each.at_us for each in self._entries if each.open), None)
        self._declared_us = max(self._declared_us, now_us + self._offset_us if oldest is None else oldest)
        said = tuple((each.at_us, each.amount) for each in self._entries)
        return replace(found, size=self.size, oldest_us=oldest or self._declared_us, taken=said)

    def answer(self, ask: Ask, told: Told, now_us: int) -> None:
        """See `Holding.answer`."""
        super().answer(ask, told, now_us)
        self._offset_us = told.now_us - self.asked_us
        if told.fresh:
            self._declared_us = told.now_us  # it may be less than before, by a clock that was set back
        while self._entries and (told.fresh or self._entries[0].at_us <= told.final_us):
            self._entries.popleft().final = True

    def _idle(self, used: int, spent: int, now_us: int) -> bool:  # noqa: ARG002  # see `Holding._idle`
        return not self._running and not self.waiting and now_us - self.touched_us > _IDLE_US
