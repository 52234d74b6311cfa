"""Leaky buckets of work: what requests take runs out as fast as the units of a deployment work.

As Azure describes it for provisioned throughput: a request is taken as long as the bucket is not full, however large it
is; it takes an estimate when it begins and is corrected when it ends. So what is taken in any stretch of time is at
most what the units do in it, one bucket, and what the last request goes beyond.

A correction is exact: afterwards the bucket holds what it would if the true amount had been known from the beginning.
The bucket's level is how far the free sum, all that was taken less all that could run out, is above the lowest that it
has been (Lindley's recursion). A correction shifts the sum from the moment on at which its request began, and with it
the lowest of that stretch; so each open request keeps the lowest between its own beginning and the next one's.

Amounts are integers, in parts of `UNIT_MINUTE`; times are microseconds of one clock. Nothing here waits, so nothing
comes between a check and what is taken.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from freehold.types.capacity import Weights, Work
from freehold.types.leases import Need

MICROSECONDS: Final = 1_000_000
WINDOW_S: Final = 60
"""The utilization is that of so many last seconds."""


class Bucket:
    """One leaky bucket.

    Args:
        units: what runs out of it: so much in a microsecond.
        burst_us: it is full with what runs out in so long.
        now_us: the time.
    """

    __slots__ = (
        "_base",
        "_begun_us",
        "_burst_us",
        "_free",
        "_lowest",
        "_open",
        "_recent",
        "_updated_us",
        "recent",
        "units",
    )

    def __init__(self, units: int, burst_us: int, now_us: int) -> None:
        self.units = units
        self._burst_us = burst_us
        self._updated_us = self._begun_us = now_us
        self._free = self._base = self._lowest = 0
        self._open: list[Draught] = []
        """Of the requests that are not settled, in the order of their beginning."""
        self._recent: deque[list[int]] = deque()
        """Seconds of the last minute, and what the requests take that began in each."""
        self.recent = 0
        """What the requests take that began in the last minute, as of its last advance."""

    def change(self, units: int, burst_us: int, now_us: int) -> None:
        """Go on with other units; what is in it stays."""
        self.advance(now_us)
        self.units, self._burst_us = units, burst_us

    def advance(self, now_us: int) -> None:
        """Bring it up to the time. A clock that was set back brings nothing for that stretch, and takes nothing."""
        elapsed_us = now_us - self._updated_us
        self._updated_us = now_us
        if elapsed_us > 0:
            self._free = free = self._free - self.units * elapsed_us
            if self._open:
                last = self._open[-1]
                last.lowest = min(last.lowest, free)
            else:
                self._base = min(self._base, free)
            self._lowest = min(self._lowest, free)
        first = now_us // MICROSECONDS - WINDOW_S
        while self._recent and self._recent[0][0] <= first:
            slot = self._recent.popleft()
            self.recent -= slot[1]
            slot[0] = -1

    @property
    def level(self) -> int:
        """What is in it, as of its last advance."""
        return self._free - self._lowest

    @property
    def size(self) -> int:
        """What it holds when it is full."""
        return self.units * self._burst_us

    @property
    def filled(self) -> float:
        """How full it is, in percent; more than 100 while it is over-full."""
        return 100.0 * self.level / self.size if self.units else 100.0

    def wait_us(self, amount: int = 1) -> int | None:  # noqa: ARG002  # however large it is
        """How long until it takes a request of an amount, as of its last advance; None if it never does."""
        if not self.units:
            return None
        over = self.level - self.size
        return 0 if over < 0 else over // self.units + 1

    def need(self, amount: int) -> Need | None:  # noqa: ARG002  # here is all that there is
        """What is worth asking other gateways for before a request of an amount is refused."""
        return None

    def take(self, amount: int, weights: Weights) -> "Draught":
        """Put the work of a request in; it was advanced to now."""
        slot = self._began(amount)
        self._free += amount
        draught = Draught(self, amount, self._free, slot, weights)
        self._open.append(draught)
        return draught

    def _began(self, amount: int) -> list[int]:
        """Count what a request takes in the last minute; the second in which it began."""
        second = self._updated_us // MICROSECONDS
        if not self._recent or self._recent[-1][0] != second:
            self._recent.append([second, 0])
        slot = self._recent[-1]
        slot[1] += amount
        self.recent += amount
        return slot

    def settle(self, draught: "Draught", amount: int, now_us: int) -> None:
        """Have what a request took be an amount, and have taken it from its beginning on."""
        self.advance(now_us)
        change = amount - draught.taken
        place = self._open.index(draught)
        if change:
            for later in self._open[place:]:
                later.lowest += change
            self._free += change
            self._correct(draught, change)
        del self._open[place]
        if place:
            before = self._open[place - 1]
            before.lowest = min(before.lowest, draught.lowest)
        else:
            self._base = min(self._base, draught.lowest)
        self._lowest = min(self._base, min((each.lowest for each in self._open), default=self._base))

    def _correct(self, draught: "Draught", change: int) -> None:
        """Have a request of the last minute have taken so much more."""
        if draught.slot[0] >= 0:
            draught.slot[1] += change
            self.recent += change

    @property
    def elsewhere(self) -> int:
        """What other gateways' requests of the last minute take of it in a minute, as far as is known."""
        return 0

    @property
    def per_minute(self) -> int:
        """What the requests of the last minute take in a minute, as of its last advance."""
        return self.recent * WINDOW_S * MICROSECONDS // self.window_us

    @property
    def window_us(self) -> int:
        """How long the last minute is here: less while it is not there for so long, at least a second."""
        whole = self._updated_us - (self._updated_us // MICROSECONDS - WINDOW_S + 1) * MICROSECONDS
        return max(MICROSECONDS, min(whole, self._updated_us - self._begun_us))


class Draught:
    """What one request takes of a bucket. Made by `Bucket.take`.

    Args:
        bucket: which.
        taken: how much.
        lowest: of the free sum since it began and until the next one did.
        slot: the second in which it began.
        weights: what its work comes to.
    """

    __slots__ = ("_bucket", "headers", "lowest", "slot", "taken", "weights")

    def __init__(self, bucket: Bucket, taken: int, lowest: int, slot: list[int], weights: Weights) -> None:
        self._bucket = bucket
        self.taken = taken
        self.lowest = lowest
        self.slot = slot
        self.weights = weights
        self.headers: Callable[[int], dict[str, str]] | None = None
        """What the answer tells of the units, at a time."""

    def settle(self, work: Work, now_us: int) -> None:
        """Have it be what the request needed after all; once."""
        self._bucket.settle(self, self.weights.amount(work), now_us)

    def undo(self, now_us: int) -> None:
        """Have taken nothing; once."""
        self._bucket.settle(self, 0, now_us)
