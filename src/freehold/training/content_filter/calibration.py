"""From raw scores to probabilities, and from probabilities to severities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from freehold.training.content_filter.recipe import CATEGORIES

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ENOUGH = 8
"""So many positive primary texts calibrate a head; with fewer, it is calibrated on all examples."""
LOOSER, STRICTER = 3.0, 0.25
"""The budgets of `low` and `high`, in terms of that of `medium`."""
ASKED = 0.1
"""The grey band of a category begins where so large a part of the harmless texts scores higher: to ask a model about
every text would find more, and cost more than the answer to many of them."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A probability is the logistic function of slope x raw score + offset (Platt)."""

    slope: float
    offset: float


def calibrations(logits: Floats, labels: Floats, primary: Bools) -> list[Calibration]:
    """Of each head, from raw scores of texts that the weights have not seen."""
    found: list[Calibration] = []
    for head in range(logits.shape[1]):
        known = ~np.isnan(labels[:, head])
        if np.nansum(labels[primary, head]) >= ENOUGH:
            known &= primary
        truth = labels[known, head]
        if len(np.unique(truth)) < 2:
            found.append(Calibration(0.0, -20.0))  # without examples nothing is ever found
            continue
        model = LogisticRegression(C=1e4, solver="lbfgs").fit(logits[known, head : head + 1], truth)
        found.append(Calibration(max(float(model.coef_[0, 0]), 1e-6), float(model.intercept_[0])))
    return found


def calibrated(logits: Floats, found: Sequence[Calibration]) -> Floats:
    """The probabilities."""
    slopes = np.array([each.slope for each in found])
    offsets = np.array([each.offset for each in found])
    probabilities: Floats = 1 / (1 + np.exp(-np.clip(slopes * logits + offsets, -30, 30)))
    return probabilities


def cut_points(probabilities: Floats, labels: Floats, harmless: Bools, budget: float) -> dict[str, list[float]]:
    """From which probability on each of the four categories is low, medium and high.

    The budget, which part of the harmless texts may reach `medium` in any category, is spent where it finds most: the
    sum of the square roots of the four recalls is the largest, so that no category is sacrificed to another.

    Args:
        probabilities: texts x heads, the four categories first.
        labels: likewise, NaN where a label is not known.
        harmless: which texts carry no harm label.
        budget: for `medium`; `low` has more and `high` less.
    """
    low, medium, high = (_cuts(probabilities, labels, harmless, budget * share) for share in (LOOSER, 1.0, STRICTER))
    return {
        name: [min(low[column], medium[column]), medium[column], max(medium[column], high[column])]
        for column, name in enumerate(CATEGORIES)
    }


def bands_of(
    probabilities: Floats, harmless: Bools, cuts: dict[str, list[float]], *, sure: float = 1.0
) -> dict[str, list[float]]:
    """Between which probabilities a dearer detector should be asked, for each of the four categories.

    Args:
        probabilities: texts x categories.
        harmless: which texts carry no harm label.
        cuts: of each category low, medium and high.
        sure: from where on nobody is asked, or from `high` on. Texts that are surely harmful are rare, so a second
            look at them costs little, and finds most of what was blocked wrongly.
    """
    return {
        name: [
            min(float(np.quantile(probabilities[harmless, column], 1 - ASKED)), cuts[name][0]),
            max(cuts[name][2], sure),
        ]
        for column, name in enumerate(CATEGORIES)
    }


def asked_about(probabilities: Floats, bands: dict[str, list[float]]) -> Bools:
    """Which texts lie in the grey band of any category."""
    return np.any(
        [
            (low <= probabilities[:, column]) & (probabilities[:, column] < high)
            for column, (low, high) in enumerate(bands[name] for name in CATEGORIES)
        ],
        axis=0,
    )


def _cuts(probabilities: Floats, labels: Floats, harmless: Bools, budget: float) -> list[float]:
    """The best cuts above which so many harmless texts lie in all: texts in two categories count twice."""
    allowed = int(budget * harmless.sum())
    best: list[tuple[float, list[float]]] = [(0.0, [])] * (allowed + 1)
    for column in range(len(CATEGORIES)):
        descending = np.append(-np.sort(-probabilities[harmless, column]), 0.0)
        harmful = probabilities[labels[:, column] == 1, column]
        cuts = [_between(float(descending[above]), harmful) for above in range(min(allowed, len(descending) - 1) + 1)]
        worth = [float(np.sqrt((harmful >= cut).mean())) if len(harmful) else 0.0 for cut in cuts]
        best = [
            max(
                (best[spent - above][0] + worth[above], [*best[spent - above][1], cuts[above]])
                for above in range(min(spent, len(cuts) - 1) + 1)
            )
            for spent in range(allowed + 1)
        ]
    return best[-1][1]


def _between(harmless: float, harmful: Floats) -> float:
    """Midway from a harmless text's probability to the next harmful text's, which costs no recall."""
    higher = harmful[harmful > harmless]
    return float((harmless + higher.min()) / 2) if len(higher) else float(np.nextafter(harmless, 2.0))
