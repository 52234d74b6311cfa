"""What is left to chance: when requests come, how long they are, how long machines hold.

Everything is drawn from generators that are seeded by the seed and by the name of what draws, so that one more caller
changes nothing about the others.
"""

import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from freehold.simulation.scenario import Arrivals, Spread

HOUR_S: Final = 3600.0
DAY_S: Final = 86_400.0
_Z95: Final = 1.6448536269514722
"""The standard normal distribution's 95th percentile."""


def generator(seed: int, name: str) -> Random:
    """The generator of one thing; the same on every machine and in every process."""
    return Random(f"{seed}/{name}")  # noqa: S311  # nothing secret is drawn


def spread(chance: Random, of: Spread) -> Callable[[], float]:
    """Draws from a log-normal distribution with that median and 95th percentile, cut at its `most`."""
    median, most = of.median, of.most
    sigma = math.log(of.p95 / median) / _Z95
    if sigma == 0:
        return lambda: median
    mean, draw = math.log(median), chance.lognormvariate
    return lambda: min(most, draw(mean, sigma))


def arrival_times(chance: Random, arrivals: Arrivals, starts_at: float) -> Iterator[float]:
    """When requests come, seconds since the beginning, without end; nothing where none come.

    Args:
        chance: what is drawn from.
        arrivals: how they come.
        starts_at: the beginning, seconds since the epoch, UTC: where in the day that is.
    """
    if arrivals.per_hour <= 0:
        return iter(())
    if arrivals.kind == "diurnal":
        return _diurnal(chance, arrivals, starts_at)
    if arrivals.kind == "bursts":
        return _bursts(chance, arrivals)
    return _poisson(chance, arrivals.per_hour / HOUR_S)


def _poisson(chance: Random, rate: float) -> Iterator[float]:
    now, draw = 0.0, chance.expovariate
    while True:
        now += draw(rate)
        yield now


def _diurnal(chance: Random, arrivals: Arrivals, starts_at: float) -> Iterator[float]:
    """A Poisson process whose rate goes up and down with the day, thinned from one at the peak's rate.

    Lewis and Shedler 1979, "Simulation of nonhomogeneous Poisson processes by thinning". The mean over a day is
    `per_hour`.
    """
    quiet = arrivals.quiet
    peak = 2 * arrivals.per_hour / HOUR_S / (1 + quiet)
    offset = starts_at % DAY_S - arrivals.peak_hour * HOUR_S
    for now in _poisson(chance, peak):
        phase = math.cos(2 * math.pi * (now + offset) / DAY_S)
        if chance.random() < quiet + (1 - quiet) * (1 + phase) / 2:
            yield now


def _bursts(chance: Random, arrivals: Arrivals) -> Iterator[float]:
    """A Poisson process that is `burst` times as fast for a while, now and then; its mean is `per_hour`.

    A Markov-modulated Poisson process with two states, see Fischer and Meier-Hellstern 1993.
    """
    every, lasts = arrivals.burst_every_s, arrivals.burst_lasts_s
    share = lasts / (every + lasts)
    calm = arrivals.per_hour / HOUR_S / (1 + share * (arrivals.burst - 1))
    now, bursting = 0.0, False
    ends = chance.expovariate(1 / every)
    while True:
        due = now + chance.expovariate(calm * (arrivals.burst if bursting else 1.0))
        if due < ends:
            now = due
            yield now
        else:
            now, bursting = ends, not bursting
            ends = now + chance.expovariate(1 / (lasts if bursting else every))
