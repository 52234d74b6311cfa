"""Provisioned capacity as leaky buckets: what requests take runs out as fast as the units work.

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

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from freehold.errors import CapacityExceeded
from freehold.gateway.rate import duration
from freehold.types.capacity import CapacitySettings, Weights, Work
from freehold.types.deployment import DeploymentSettings
from freehold.types.limits import Claim, Scope

MICROSECONDS: Final = 1_000_000
WINDOW_S: Final = 60
"""The utilization is that of so many last seconds."""
UTILIZATION_HEADER: Final = "azure-openai-deployment-utilization"
"""As Azure sends it, in percent."""
CAPACITY: Final = "capacity"
"""The note of receipts that says how a request was served: `PROVISIONED` or `SPILLED`."""
PROVISIONED: Final = "provisioned"
SPILLED: Final = "spilled"


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

    def wait_us(self) -> int | None:
        """How long until it takes a request, as of its last advance; None if it never does."""
        if not self.units:
            return None
        over = self.level - self.size
        return 0 if over < 0 else over // self.units + 1

    def take(self, amount: int, weights: Weights) -> "Draught":
        """Put the work of a request in; it was advanced to now."""
        second = self._updated_us // MICROSECONDS
        if not self._recent or self._recent[-1][0] != second:
            self._recent.append([second, 0])
        slot = self._recent[-1]
        slot[1] += amount
        self.recent += amount
        self._free += amount
        draught = Draught(self, amount, self._free, slot, weights)
        self._open.append(draught)
        return draught

    def settle(self, draught: "Draught", amount: int, now_us: int) -> None:
        """Have what a request took be an amount, and have taken it from its beginning on."""
        self.advance(now_us)
        change = amount - draught.taken
        place = self._open.index(draught)
        if change:
            for later in self._open[place:]:
                later.lowest += change
            self._free += change
            if draught.slot[0] >= 0:
                draught.slot[1] += change
                self.recent += change
        del self._open[place]
        if place:
            before = self._open[place - 1]
            before.lowest = min(before.lowest, draught.lowest)
        else:
            self._base = min(self._base, draught.lowest)
        self._lowest = min(self._base, min((each.lowest for each in self._open), default=self._base))

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

    __slots__ = ("_bucket", "lowest", "meter", "slot", "taken", "weights")

    def __init__(self, bucket: Bucket, taken: int, lowest: int, slot: list[int], weights: Weights) -> None:
        self._bucket = bucket
        self.taken = taken
        self.lowest = lowest
        self.slot = slot
        self.weights = weights
        self.meter: Meter | None = None

    def settle(self, work: Work, now_us: int) -> None:
        """Have it be what the request needed after all; once."""
        self._bucket.settle(self, self.weights.amount(work), now_us)


@dataclass(frozen=True, slots=True)
class Share:
    """How a part of a deployment's units is used.

    Args:
        project: whose it is; None for what is everybody's.
        units: how many.
        utilization: what requests of the last minute take, in percent of what the units do in it.
        filled: how full the bucket is, in percent; from 100 on requests are refused.
    """

    project: str | None
    units: int
    utilization: float
    filled: float


@dataclass(frozen=True, slots=True)
class CapacityUse:
    """How a deployment's units are used; as `Share`, over all of them."""

    units: int
    utilization: float
    filled: float
    shares: tuple[Share, ...]


class Meter:
    """The units of one deployment: a bucket for each project that has some of its own, and one for all.

    Args:
        name: of the deployment.
        settings: how many there are, and whose.
        weights: what work comes to.
        now_us: the time.
    """

    def __init__(self, name: str, settings: CapacitySettings, weights: Weights, now_us: int) -> None:
        self._name = name
        self._own: dict[str, Bucket] = {}
        self._shared = Bucket(settings.shared, _burst_us(settings), now_us)
        self.change(settings, weights, now_us)

    def change(self, settings: CapacitySettings, weights: Weights, now_us: int) -> None:
        """Go on with other units or weights; requests that run are corrected by the weights of their beginning."""
        self.settings, self.weights = settings, weights
        burst_us = _burst_us(settings)
        self._shared.change(settings.shared, burst_us, now_us)
        own = self._own
        self._own = {}
        for project, units in settings.owned.items():
            bucket = self._own[project] = own.get(project) or Bucket(units, burst_us, now_us)
            bucket.change(units, burst_us, now_us)

    def take(self, project: str, work: Work, now_us: int) -> Draught:
        """Have a request take of its project's own units, or where those are used up, of everybody's.

        Raises:
            CapacityExceeded: neither has room.
        """
        own = self._own.get(project)
        waits: list[int] = []
        for bucket in (self._shared,) if own is None else (own, self._shared):
            bucket.advance(now_us)
            wait_us = bucket.wait_us()
            if wait_us == 0:
                draught = bucket.take(self.weights.amount(work), self.weights)
                draught.meter = self
                return draught
            if wait_us is not None:
                waits.append(wait_us)
        raise self._exceeded(own, min(waits, default=None), now_us)

    def _exceeded(self, own: Bucket | None, wait_us: int | None, now_us: int) -> CapacityExceeded:
        units, name = self.settings.units, self._name
        if wait_us is None:
            message = f"None of the {units} provisioned units of deployment `{name}` are for this project."
            return CapacityExceeded(message, scope=Scope.DEPLOYMENT, limit=f"deployment `{name}` on capacity")
        theirs = self.settings.shared + (own.units if own is not None else 0)
        filled = max(bucket.filled for bucket in (own, self._shared) if bucket is not None and bucket.units)
        message = (
            f"The provisioned capacity of deployment `{name}` is used up: its {theirs} units are at {filled:.0f} %. "
            f"Please try again in {duration(wait_us)}."
        )
        return CapacityExceeded(
            message,
            retry_after_s=wait_us / MICROSECONDS,
            scope=Scope.DEPLOYMENT,
            limit=f"deployment `{name}` on capacity",
            headers=self.headers(now_us),
        )

    def headers(self, now_us: int) -> dict[str, str]:
        """What answers tell of the utilization."""
        return {UTILIZATION_HEADER: f"{self.utilization(now_us):.1f}%"}

    def utilization(self, now_us: int) -> float:
        """Of all units together, in percent."""
        recent = possible = 0
        for bucket in (*self._own.values(), self._shared):
            bucket.advance(now_us)
            recent += bucket.recent
            possible += bucket.units * bucket.window_us
        return 100.0 * recent / possible if possible else 0.0

    def use(self, now_us: int) -> CapacityUse:
        """How the units are used now."""
        utilization = self.utilization(now_us)
        buckets: list[tuple[str | None, Bucket]] = [*self._own.items(), (None, self._shared)]
        shares = tuple(
            Share(project, bucket.units, 100.0 * bucket.recent / (bucket.units * bucket.window_us), bucket.filled)
            for project, bucket in buckets
            if bucket.units
        )
        size = sum(bucket.size for _, bucket in buckets)
        level = sum(bucket.level for _, bucket in buckets if bucket.units)
        return CapacityUse(self.settings.units, utilization, 100.0 * level / size, shares)


def _burst_us(settings: CapacitySettings) -> int:
    return round(settings.burst_s * MICROSECONDS)


class Capacities:
    """The units of all deployments that have some, and who takes of them.

    Args:
        find: gives a deployment's settings; None where there is no such deployment.
        weights: what a deployment's work comes to.
        clock: seconds; never set back.
    """

    def __init__(
        self,
        find: Callable[[str], DeploymentSettings | None],
        weights: Callable[[DeploymentSettings], Weights],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._weights = weights
        self._clock = clock
        self._meters: dict[str, Meter] = {}

    def take(self, claim: Claim) -> Draught | None:
        """Have a request take of the units of its deployment; None where that has none.

        Raises:
            CapacityExceeded: they are used up.
        """
        if claim.work is None:
            return None
        names = {subject.scope: subject.id for subject in claim.subjects}
        now_us = self._now_us()
        meter = self._meter(names[Scope.DEPLOYMENT], now_us)
        return None if meter is None else meter.take(names[Scope.PROJECT], claim.work, now_us)

    def settle(self, draught: Draught, receipt: Mapping[str, object]) -> None:
        """Correct what a request took by what its receipt says."""
        draught.settle(Work.of(receipt), self._now_us())

    def cancel(self, draught: Draught) -> None:
        """Give back all that a request took."""
        draught.settle(Work(), self._now_us())

    def headers(self, draught: Draught) -> dict[str, str]:
        """What the answer to a request tells of the utilization."""
        return {} if draught.meter is None else draught.meter.headers(self._now_us())

    def use(self, name: str) -> CapacityUse | None:
        """How the units of a deployment are used; None where it has none."""
        now_us = self._now_us()
        meter = self._meter(name, now_us)
        return None if meter is None else meter.use(now_us)

    def _meter(self, name: str, now_us: int) -> Meter | None:
        """What measures a deployment's use, by its present settings; None where it has no units."""
        settings = self._find(name)
        if settings is None or settings.capacity is None:
            self._meters.pop(name, None)
            return None
        capacity, weights = settings.capacity, self._weights(settings)
        meter = self._meters.get(name)
        if meter is None:
            meter = self._meters[name] = Meter(name, capacity, weights, now_us)
        elif meter.settings is not capacity or meter.weights is not weights:
            meter.change(capacity, weights, now_us)
        return meter

    def _now_us(self) -> int:
        return int(self._clock() * MICROSECONDS)
