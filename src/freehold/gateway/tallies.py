"""Counters and histograms of Prometheus for what every request moves: plain numbers, told when somebody asks.

Those of the client library have a lock for each number, which a gateway's one event loop does not need. What they tell
is the same. To be moved in one thread.
"""

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_CREATED: Final = "_created"


class Count:
    """One number that grows."""

    __slots__ = ("created", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.created = time.time()

    def inc(self, amount: float = 1) -> None:
        """Let it grow."""
        self.value += amount


class Spread:
    """How often which values came.

    Args:
        bounds: the upper ends of its buckets, ascending; the last one has none.
    """

    __slots__ = ("_bounds", "created", "each", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.each = [0] * (len(bounds) + 1)
        """How many values fell into each bucket, and not into the ones before."""
        self.total = 0.0
        """The sum of the values."""
        self.created = time.time()

    def observe(self, value: float) -> None:
        """Count a value."""
        self.each[bisect_left(self._bounds, value)] += 1
        self.total += value


class Counts(Collector):
    """A counter with labels.

    Args:
        name: without `_total`.
        documentation: what it counts.
        labels: the names of its labels.
        registry: where it stands.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        self._head = (name, documentation)
        self._labels = labels
        self._of: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        """The number with these values of the labels."""
        found = self._of.get(values)
        if found is None:
            found = self._of[values] = Count()
        return found

    def collect(self) -> Iterable[Metric]:
        """See `Collector.collect`."""
        family = CounterMetricFamily(*self._head, labels=self._labels)
        for values, count in self._of.items():
            family.add_metric(values, count.value, created=count.created)
        yield family


class Spreads(Collector):
    """A histogram with labels.

    Args:
        name: its name.
        documentation: what it measures.
        labels: the names of its labels.
        buckets: the upper ends of its buckets, ascending.
        registry: where it stands.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._head = (name, documentation)
        self._labels = labels
        self._bounds = tuple(map(float, buckets))
        self._names = [floatToGoString(bound) for bound in (*self._bounds, float("inf"))]  # type: ignore[no-untyped-call]
        self._of: dict[tuple[str, ...], Spread] = {}
        registry.register(self)

    def labels(self, *values: str) -> Spread:
        """The spread with these values of the labels."""
        found = self._of.get(values)
        if found is None:
            found = self._of[values] = Spread(self._bounds)
        return found

    def collect(self) -> Iterable[Metric]:
        """See `Collector.collect`."""
        family = HistogramMetricFamily(*self._head, labels=self._labels)
        for values, spread in self._of.items():
            reached, buckets = 0.0, []
            for name, count in zip(self._names, spread.each, strict=True):
                reached += count
                buckets.append((name, reached))
            family.add_metric(values, buckets, spread.total)
            family.add_sample(family.name + _CREATED, dict(zip(self._labels, values, strict=True)), spread.created)
        yield family
