"""Samples of several contenders, taken in turn, and what they come to: medians, ranges, ratios pair by pair."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Samples:
    """Contender → measure → one value a round, in the order of the rounds; None where it could not be measured."""

    values: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)

    def add(self, contender: str, measures: Mapping[str, float | None]) -> None:
        """Keep one round's values."""
        for name, value in measures.items():
            self.values.setdefault(contender, {}).setdefault(name, []).append(value)

    def of(self, contender: str, measure: str) -> list[float]:
        """The values that there are."""
        found = self.values.get(contender, {}).get(measure, ())
        return [value for value in found if value is not None]

    def summary(self, contender: str, measure: str) -> "Summary | None":
        """Median and range; None without a value."""
        return Summary.of(self.of(contender, measure))

    def ratio(self, above: str, below: str, measure: str) -> "Summary | None":
        """Median and range of the quotients of one round's two values; None where no round has both."""
        pairs = zip(
            self.values.get(above, {}).get(measure, ()), self.values.get(below, {}).get(measure, ()), strict=False
        )
        return Summary.of([a / b for a, b in pairs if a is not None and b])


@dataclass(frozen=True, slots=True)
class Summary:
    """A median with the least and the greatest value."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary | None":
        """Of values; None without one."""
        return cls(statistics.median(values), min(values), max(values)) if values else None

    def as_json(self) -> dict[str, Any]:
        """For the file of results."""
        return {"median": self.median, "min": self.low, "max": self.high}


def in_turn(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Every name once a round; each round begins with another, and every other one goes backwards."""
    for number in range(rounds):
        start = number % len(names)
        order = [*names[start:], *names[:start]]
        yield from ((number, name) for name in (order if number % 2 == 0 else reversed(order)))
