"""Trains the head over sentence vectors: a logistic regression a category, the classifier's log-odds added to it.

A text that lacks a label of a category counts there as harmless, for a third: most texts are. The log-odds are those
of weights that have not seen the text, and their coefficients are fixed, because held-out texts are too few to fit
them: half of a category's own, and a fifth of hate's in violence, since threats to groups are both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from freehold.content_filter.embedding import KIND, LEAST, mean_direction
from freehold.errors import ConfigError
from freehold.training.content_filter.calibration import bands_of, calibrated, calibrations, cut_points
from freehold.training.content_filter.recipe import CATEGORIES, Recipe

Floats = NDArray[np.float64]

UNLABELLED = 1 / 3
"""What a text whose label is missing weighs among the harmless."""
STRENGTH = 1.0
"""The inverse of the regularisation."""
OWN, HATE_IN_VIOLENCE = 0.5, 0.2
SURE = 0.9
"""Where the head is so sure, no guard model is asked: that costs a generation."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What the head is trained on.

    Args:
        vectors: texts x dimensions, the mean directions of their pieces.
        scores: texts x the four categories, the classifier's probabilities by weights that have not seen the text.
        labels: likewise, NaN where not known.
        harmless: which texts carry no harm label.
        folds: which fold each is in.
    """

    vectors: Floats
    scores: Floats
    labels: Floats
    harmless: NDArray[np.bool_]
    folds: NDArray[np.int64]


def directions(pieces: Sequence[Sequence[Sequence[float]]]) -> Floats:
    """One vector a text, from those of its pieces."""
    return np.array([mean_direction(vectors) for vectors in pieces])


def train_head(texts: Texts, recipe: Recipe) -> tuple[dict[str, object], bytes]:
    """The header's and the table's content of a head trained on all texts, calibrated by cross-validation."""
    logits = _held_out(texts)
    everything = np.ones(len(logits), dtype=bool)
    found = calibrations(logits, texts.labels, everything)
    probabilities = calibrated(logits, found)
    cuts = cut_points(probabilities, texts.labels, texts.harmless, recipe.over_blocking_of_head)
    rows = _fit(texts, everything)
    header = {
        "kind": KIND,
        "categories": list(CATEGORIES),
        "dimensions": texts.vectors.shape[1],
        "calibration": [
            [each.slope, float(each.slope * row[-1] + each.offset)] for each, row in zip(found, rows, strict=True)
        ],
        "cuts": cuts,
        "bands": bands_of(probabilities, texts.harmless, cuts, sure=SURE),
    }
    return header, rows[:, :-1].astype("<f4").tobytes()


def honest_head(texts: Texts, recipe: Recipe) -> tuple[Floats, Floats]:
    """Probabilities, ranked as the raw scores are, and severities 0..3 by what was found on the other folds."""
    logits = _held_out(texts)
    everything = np.ones(len(logits), dtype=bool)
    severities = np.zeros_like(logits)
    for fold in np.unique(texts.folds):
        inside, outside = texts.folds == fold, texts.folds != fold
        found = calibrations(logits[outside], texts.labels[outside], everything[outside])
        probabilities = calibrated(logits, found)
        cuts = cut_points(
            probabilities[outside], texts.labels[outside], texts.harmless[outside], recipe.over_blocking_of_head
        )
        for column, name in enumerate(CATEGORIES):
            severities[inside, column] = sum((probabilities[inside, column] >= cut).astype(float) for cut in cuts[name])
    return calibrated(logits, calibrations(logits, texts.labels, everything)), severities


def _held_out(texts: Texts) -> Floats:
    """Raw scores of every text by a head that has not seen its fold."""
    logits = np.zeros((len(texts.vectors), len(CATEGORIES)))
    for fold in np.unique(texts.folds):
        inside = texts.folds == fold
        rows = _fit(texts, ~inside)
        logits[inside] = _inputs(texts)[inside] @ rows[:, :-1].T + rows[:, -1]
    return logits


def _inputs(texts: Texts) -> Floats:
    """Vectors and log-odds side by side, as serving has them."""
    bounded = np.clip(texts.scores, LEAST, 1 - LEAST)
    return np.hstack([texts.vectors, np.log(bounded / (1 - bounded))])


def _fit(texts: Texts, chosen: NDArray[np.bool_]) -> Floats:
    """Categories x (coefficients of the inputs, intercept).

    Raises:
        ConfigError: the chosen texts are all harmful, or all harmless, in a category.
    """
    rows = []
    for column in range(len(CATEGORIES)):
        truth = texts.labels[chosen, column]
        weights = np.where(np.isnan(truth), UNLABELLED, 1.0)
        truth = np.nan_to_num(truth)
        if len(np.unique(truth)) < 2:
            raise ConfigError(f"there are too few texts of '{CATEGORIES[column]}' to cross-validate a head with")
        weights[truth == 1] *= weights[truth == 0].sum() / weights[truth == 1].sum()
        weights *= len(weights) / weights.sum()
        model = LogisticRegression(C=STRENGTH, max_iter=1000).fit(texts.vectors[chosen], truth, sample_weight=weights)
        odds = [OWN if other == column else 0.0 for other in range(len(CATEGORIES))]
        if CATEGORIES[column] == "violence":
            odds[CATEGORIES.index("hate")] = HATE_IN_VIOLENCE
        rows.append([*model.coef_[0], *odds, model.intercept_[0]])
    return np.array(rows)
