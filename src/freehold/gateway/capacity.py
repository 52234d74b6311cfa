"""Provisioned capacity: the units of each deployment, whose they are, and what requests take of them.

How much may be taken, and when, is the buckets' matter: `freehold.gateway.capacity_bucket` where there is one gateway,
and `freehold.gateway.capacity_shared` where several share the units.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from freehold.errors import CapacityExceeded
from freehold.gateway.capacity_bucket import MICROSECONDS, WINDOW_S, Bucket, Draught
from freehold.gateway.rate import duration
from freehold.gateway.refusal import Short
from freehold.types.capacity import CapacitySettings, Weights, Work
from freehold.types.deployment import DeploymentSettings
from freehold.types.limits import Claim, Scope

UTILIZATION_HEADER: Final = "azure-openai-deployment-utilization"
"""As Azure sends it, in percent."""
CAPACITY: Final = "capacity"
"""The note of receipts that says how a request was served: `PROVISIONED` or `SPILLED`."""
PROVISIONED: Final = "provisioned"
SPILLED: Final = "spilled"
MINUTE_US: Final = WINDOW_S * MICROSECONDS


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
class Part:
    """What one of several gateways takes of a deployment's units.

    Args:
        gateway: its name.
        utilization: what its requests of the last minute take, in percent of all of the units.
        held: what it may take without asking, in percent of what the buckets hold.
    """

    gateway: str
    utilization: float
    held: float


@dataclass(frozen=True, slots=True)
class CapacityUse:
    """How a deployment's units are used; as `Share`, over all of them and all gateways.

    Args:
        own_utilization: this gateway's part of the utilization.
        parts: of gateways that share the units, those that take of them.
    """

    units: int
    utilization: float
    filled: float
    shares: tuple[Share, ...]
    own_utilization: float
    parts: tuple[Part, ...] = ()


class Buckets(Protocol):
    """Makes buckets, and knows what others take of them."""

    def bucket(self, deployment: str, project: str | None, units: int, burst_us: int, now_us: int) -> Bucket:
        """A bucket for a project's own units, or for everybody's."""

    def parts(self, deployment: str) -> Sequence[tuple[str, int, int]]:
        """By gateway, as far as is known: what its requests take in a minute, and what it holds."""


class OwnBuckets:
    """Those of a gateway that is alone."""

    def bucket(self, deployment: str, project: str | None, units: int, burst_us: int, now_us: int) -> Bucket:  # noqa: ARG002  # see `Buckets`
        """See `Buckets.bucket`."""
        return Bucket(units, burst_us, now_us)

    def parts(self, deployment: str) -> Sequence[tuple[str, int, int]]:  # noqa: ARG002  # see `Buckets`
        """See `Buckets.parts`."""
        return ()


class Meter:
    """The units of one deployment: a bucket for each project that has some of its own, and one for all.

    Args:
        name: of the deployment.
        settings: how many there are, and whose.
        weights: what work comes to.
        now_us: the time.
        buckets: makes them.
    """

    def __init__(
        self, name: str, settings: CapacitySettings, weights: Weights, now_us: int, buckets: Buckets | None = None
    ) -> None:
        self._name = name
        self._buckets = buckets or OwnBuckets()
        self._own: dict[str, Bucket] = {}
        self._shared = self._buckets.bucket(name, None, settings.shared, _burst_us(settings), now_us)
        self.change(settings, weights, now_us)

    def change(self, settings: CapacitySettings, weights: Weights, now_us: int) -> None:
        """Go on with other units or weights; requests that run are corrected by the weights of their beginning."""
        self.settings, self.weights = settings, weights
        burst_us = _burst_us(settings)
        self._shared.change(settings.shared, burst_us, now_us)
        own = self._own
        self._own = {}
        for project, units in settings.owned.items():
            made = own.get(project) or self._buckets.bucket(self._name, project, units, burst_us, now_us)
            bucket = self._own[project] = made
            bucket.change(units, burst_us, now_us)

    def take(self, project: str, work: Work, now_us: int) -> Draught:
        """Have a request take of its project's own units, or where those are used up, of everybody's.

        Raises:
            CapacityExceeded: neither has room.
            Short: this gateway holds too little of one, of which there may be more.
        """
        own = self._own.get(project)
        amount = self.weights.amount(work)
        waits: list[int] = []
        for bucket in (self._shared,) if own is None else (own, self._shared):
            bucket.advance(now_us)
            wait_us = bucket.wait_us(amount)
            if wait_us == 0:
                draught = bucket.take(amount, self.weights)
                draught.headers = self.headers
                return draught
            if wait_us is None:
                continue
            waits.append(wait_us)
            need = bucket.need(amount)
            if need is not None:
                raise Short([need], self._exceeded(own, wait_us, now_us))
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
        """Of all units together, at all gateways, in percent."""
        buckets = (*self._own.values(), self._shared)
        for bucket in buckets:
            bucket.advance(now_us)
        return self._percent(sum(bucket.per_minute + bucket.elsewhere for bucket in buckets))

    def use(self, now_us: int) -> CapacityUse:
        """How the units are used now."""
        utilization = self.utilization(now_us)
        buckets: list[tuple[str | None, Bucket]] = [*self._own.items(), (None, self._shared)]
        shares = tuple(
            Share(
                project,
                bucket.units,
                100.0 * (bucket.per_minute + bucket.elsewhere) / (bucket.units * MINUTE_US),
                bucket.filled,
            )
            for project, bucket in buckets
            if bucket.units
        )
        size = sum(bucket.size for _, bucket in buckets)
        level = sum(bucket.level for _, bucket in buckets if bucket.units)
        own = self._percent(sum(bucket.per_minute for _, bucket in buckets))
        parts = tuple(
            Part(gateway, self._percent(per_minute), 100.0 * held / size)
            for gateway, per_minute, held in self._buckets.parts(self._name)
        )
        return CapacityUse(self.settings.units, utilization, 100.0 * level / size, shares, own, parts)

    def _percent(self, per_minute: int) -> float:
        return 100.0 * per_minute / (self.settings.units * MINUTE_US)


def _burst_us(settings: CapacitySettings) -> int:
    return round(settings.burst_s * MICROSECONDS)


class Capacities:
    """The units of all deployments that have some, and who takes of them.

    Args:
        find: gives a deployment's settings; None where there is no such deployment.
        weights: what a deployment's work comes to.
        clock: seconds; never set back.
        buckets: makes them.
    """

    def __init__(
        self,
        find: Callable[[str], DeploymentSettings | None],
        weights: Callable[[DeploymentSettings], Weights],
        clock: Callable[[], float] = time.monotonic,
        buckets: Buckets | None = None,
    ) -> None:
        self._find = find
        self._weights = weights
        self._clock = clock
        self._buckets = buckets
        self._meters: dict[str, Meter] = {}

    def take(self, claim: Claim) -> Draught | None:
        """Have a request take of the units of its deployment; None where that has none.

        Raises:
            CapacityExceeded: they are used up.
            Short: this gateway holds too little of them, and there may be more.
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
        draught.undo(self._now_us())

    def headers(self, draught: Draught) -> dict[str, str]:
        """What the answer to a request tells of the utilization."""
        return {} if draught.headers is None else draught.headers(self._now_us())

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
            meter = self._meters[name] = Meter(name, capacity, weights, now_us, self._buckets)
        elif meter.settings is not capacity or meter.weights is not weights:
            meter.change(capacity, weights, now_us)
        return meter

    def _now_us(self) -> int:
        return int(self._clock() * MICROSECONDS)
