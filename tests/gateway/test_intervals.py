"""Intervals of means, and the comparison of runs: against tables, against SciPy, and by how often they hold."""

import random
from functools import lru_cache
from importlib import import_module
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.gateway.evaluation_results import compared
from freehold.gateway.intervals import compare, mean_of, sign_test, t_quantile, wilson


@lru_cache
def stats() -> Any:
    """SciPy's, which takes more than a second to import: not where tests are only collected."""
    return import_module("scipy.stats")


@pytest.mark.parametrize("probability", [0.9, 0.975, 0.995])
@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 7, 10, 29, 100, 1000, 100_000])
def test_quantiles_of_t_are_right(probability: float, freedom: int) -> None:
    """Student's quantiles are right to a thousandth."""
    assert t_quantile(probability, freedom) == pytest.approx(stats().t.ppf(probability, freedom), rel=1e-3)


@pytest.mark.parametrize(("passed", "count"), [(0, 1), (1, 1), (2, 3), (5, 10), (0, 50), (999, 1000)])
def test_shares_have_wilsons_interval(passed: int, count: int) -> None:
    """The interval of a share is Wilson's, and lies within 0 and 1."""
    found = wilson(passed, count)
    wanted = stats().binomtest(passed, count).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)
    assert mean_of([1.0] * passed + [0.0] * (count - passed)) == found


@given(better=st.integers(0, 200), worse=st.integers(0, 200))
def test_the_sign_test_is_exact(better: int, worse: int) -> None:
    """The p-value is that of the binomial distribution."""
    wanted = stats().binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert sign_test(better, worse) == pytest.approx(wanted, rel=1e-6)


@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_a_mean_lies_within_its_interval(values: list[float]) -> None:
    """Whatever the scores, their mean lies in the interval, and that from 0 to 1."""
    found = mean_of(values)
    assert 0 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= 1
    assert found.mean == pytest.approx(fmean(values))


def test_scores_that_are_all_alike_are_no_certainty() -> None:
    """Five items without a difference do not show that there is none."""
    found = compare([0.5] * 5, [0.5] * 5).difference
    assert (found.low, found.high) == pytest.approx((-0.4507, 0.4507), abs=1e-4)


def test_intervals_hold_as_often_as_they_say() -> None:
    """Of a thousand samples at about 95 in a hundred the interval has the true mean in it."""
    draw = random.Random(7)
    scores = [mean_of([draw.betavariate(2, 3) for _ in range(30)]) for _ in range(1000)]
    shares = [mean_of([float(draw.random() < 0.3) for _ in range(50)]) for _ in range(1000)]
    assert 930 <= sum(each.low <= 0.4 <= each.high for each in scores) <= 970
    assert 930 <= sum(each.low <= 0.3 <= each.high for each in shares) <= 975


def test_runs_are_compared_over_what_both_have() -> None:
    """Items of one run alone do not count, and those without a score count as 0."""
    found = compared(["a", "b"], {0: [1.0, 0.5], 1: [None, 0.0], 7: [1.0, 1.0]}, {0: [1.0, 1.0], 1: [1.0, 0.0]})
    assert found is not None
    assert found["items"] == 2
    first, second = found["criteria"]
    assert (first["difference"]["mean"], first["better"], first["worse"]) == (0.5, 1, 0)
    assert second["difference"]["mean"] == 0.25
    assert compared(["a"], {0: [1.0]}, {1: [1.0]}) is None
