"""How sure a mean is: 95 % intervals for shares and scores, and the comparison of two runs over the same items.

A share of passes has Wilson's interval (1927). A mean of other scores has Student's, whose quantiles are Hill's
expansion (1970, CACM algorithm 396). Where all values are alike no spread can be told from them, and the bound is that
of the rule of three: another value has a share of less than 1 - 0.05^(1/n).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Final

LEVEL: Final = 0.95
_Z: Final = NormalDist().inv_cdf((1 + LEVEL) / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, and between what it lies with 95 % confidence.

    Args:
        mean: of the values.
        low: the lower bound.
        high: the upper bound.
        count: of how many values.
    """

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two runs differ over the items that both have.

    Args:
        difference: the mean of the second's scores less the first's, with its interval.
        better: of how many items the second's score is higher.
        worse: of how many it is lower.
        p_value: of the sign test: how likely so uneven a split is, or one more uneven, where neither is better.
    """

    difference: Interval
    better: int
    worse: int
    p_value: float


def mean_of(values: Sequence[float]) -> Interval:
    """The mean of scores from 0 to 1; of one that are all 0 or 1, as a share.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("a mean needs a value at least")
    if all(value in {0.0, 1.0} for value in values):
        return wilson(int(sum(values)), len(values))
    found = _student(values)
    return Interval(found.mean, max(0.0, found.low), min(1.0, found.high), found.count)


def wilson(passed: int, count: int) -> Interval:
    """The share of so many among `count`, which is at least 1."""
    share, square = passed / count, _Z * _Z
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count * count)) / (1 + square / count)
    low = 0.0 if passed == 0 else max(0.0, middle - half)
    high = 1.0 if passed == count else min(1.0, middle + half)
    return Interval(share, low, high, count)


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Two runs' scores of the same items, pair by pair.

    Raises:
        ValueError: there are none, or not as many of both.
    """
    differences = [b - a for a, b in zip(first, second, strict=True)]
    if not differences:
        raise ValueError("a comparison needs an item at least")
    found = _student(differences)
    bounded = Interval(found.mean, max(-1.0, found.low), min(1.0, found.high), found.count)
    better, worse = sum(each > 0 for each in differences), sum(each < 0 for each in differences)
    return Comparison(bounded, better, worse, sign_test(better, worse))


def sign_test(better: int, worse: int) -> float:
    """The two-sided p-value of the exact sign test."""
    count, least = better + worse, min(better, worse)
    if count == 0:
        return 1.0
    tail = math.fsum(
        math.exp(math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) - count * math.log(2))
        for k in range(least + 1)
    )
    return min(1.0, 2 * tail)


def _student(values: Sequence[float]) -> Interval:
    mean, count = fmean(values), len(values)
    spread = stdev(values) if count > 1 else 0.0
    if spread > 0:
        half = t_quantile((1 + LEVEL) / 2, count - 1) * spread / math.sqrt(count)
    else:
        half = 1 - (1 - LEVEL) ** (1 / count)
    return Interval(mean, mean - half, mean + half, count)


def t_quantile(probability: float, freedom: int) -> float:
    """Student's t at a probability of more than a half, with so many degrees of freedom."""
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        return (2 * probability - 1) * math.sqrt(2 / (4 * probability * (1 - probability)))
    two_sided, n = 2 * (1 - probability), float(freedom)
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    x = d * two_sided
    y = x ** (2 / n)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(two_sided * 0.5)
        y = x * x
        if n < 5:
            c += 0.3 * (n - 4.5) * (x + 0.6)
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        inner = 1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)
        y = (inner * y - 1) * (n + 1) / (n + 2) + 1 / y
    return math.sqrt(n * y)
