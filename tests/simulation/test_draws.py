"""What is left to chance has the distribution that the scenario says, and comes out the same again."""

from itertools import takewhile
from statistics import median, quantiles

import pytest

from freehold.simulation.draws import DAY_S, HOUR_S, arrival_times, generator, spread
from freehold.simulation.scenario import Arrivals, Spread

DAYS = 20


def _come(arrivals: Arrivals, *, days: int = DAYS, starts_at: float = 0.0) -> list[float]:
    times = arrival_times(generator(7, arrivals.kind), arrivals, starts_at)
    return list(takewhile(lambda when: when < days * DAY_S, times))


@pytest.mark.parametrize(
    "arrivals",
    [
        Arrivals(per_hour=100),
        Arrivals(kind="diurnal", per_hour=100, peak_hour=15, quiet=0.1),
        Arrivals(kind="bursts", per_hour=100, burst=10, burst_every_s=1800, burst_lasts_s=60),
    ],
    ids=lambda arrivals: arrivals.kind,
)
def test_the_mean_rate_is_what_was_asked_for(arrivals: Arrivals) -> None:
    """Over a long time as many come as `per_hour` says, in order, whatever the kind."""
    times = _come(arrivals)
    assert times == sorted(times)
    assert len(times) / (DAYS * 24) == pytest.approx(100, rel=0.05)


def test_a_day_has_its_peak_where_it_is_said() -> None:
    """Most come in the peak's hour, and in the quietest one the share that was asked for, by the wall clock."""
    starts_at = 9 * HOUR_S
    times = _come(Arrivals(kind="diurnal", per_hour=200, peak_hour=15, quiet=0.25), starts_at=starts_at)
    hours = [int((when + starts_at) % DAY_S // HOUR_S) for when in times]
    peak, quiet = (sum(hours.count(hour) for hour in around) for around in ((14, 15), (2, 3)))
    assert quiet / peak == pytest.approx(0.25, abs=0.05)


def test_bursts_are_crowded() -> None:
    """The busiest minutes of a bursty caller have many times as many as those of a steady one."""

    def busiest(arrivals: Arrivals) -> int:
        minutes = [int(when // 60) for when in _come(arrivals, days=2)]
        return max(minutes.count(minute) for minute in set(minutes))

    steady = busiest(Arrivals(per_hour=100))
    assert busiest(Arrivals(kind="bursts", per_hour=100, burst=50, burst_lasts_s=60)) > 3 * steady


def test_nobody_comes_at_no_rate() -> None:
    """A rate of nothing is nobody, rather than an error."""
    assert list(arrival_times(generator(1, "none"), Arrivals(per_hour=0), 0.0)) == []


def test_lengths_have_their_median_and_tail() -> None:
    """Draws have the median and the 95th percentile of the scenario, and nothing is longer than `most`."""
    draw = spread(generator(3, "lengths"), Spread(median=100, p95=500, most=900))
    found = [draw() for _ in range(20_000)]
    assert median(found) == pytest.approx(100, rel=0.05)
    assert quantiles(found, n=20)[-1] == pytest.approx(500, rel=0.07)
    assert max(found) == 900
    assert spread(generator(3, "fixed"), Spread(median=5, p95=5, most=5))() == 5


def test_the_seed_and_the_name_decide() -> None:
    """The same seed and name draw the same, another name or seed something else."""
    draws = [generator(seed, name).random() for seed, name in ((1, "a"), (1, "a"), (1, "b"), (2, "a"))]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3
