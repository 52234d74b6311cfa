"""How good scores are: average precision, precision, recall, and how far chance may have moved them. NumPy only."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
DRAWS = 1000
"""Of the bootstrap."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with its 95 % interval by bootstrap over the texts."""

    value: float
    low: float
    high: float


def average_precision(truth: Bools, scores: Floats) -> float:
    """The area under the precision-recall curve as steps: the sum over thresholds of precision x gained recall.

    NaN where nothing is true. Equal scores are one threshold.
    """
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order])
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    found = hits[ends]
    precision = found / (ends + 1)
    return float(np.sum(precision * np.diff(found, prepend=0)) / hits[-1])


def precision(truth: Bools, flagged: Bools) -> float:
    """Which part of what was flagged is true; NaN where nothing was flagged."""
    return float(truth[flagged].mean()) if flagged.any() else float("nan")


def recall(truth: Bools, flagged: Bools) -> float:
    """Which part of what is true was flagged; NaN where nothing is true."""
    return float(flagged[truth].mean()) if truth.any() else float("nan")


def measured(figure: Callable[..., float], *columns: NDArray[np.generic], seed: int = 0) -> Measured:
    """A figure of columns of the same length, with its interval."""
    draw = np.random.default_rng(seed)
    size = len(columns[0])
    drawn = [
        figure(*(column[rows] for column in columns))
        for rows in (draw.integers(0, size, size) for _ in range(DRAWS if size else 0))
    ]
    known = np.array([value for value in drawn if not np.isnan(value)])
    if not len(known):
        return Measured(figure(*columns) if size else float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(known, (0.025, 0.975))
    return Measured(figure(*columns), float(low), float(high))
