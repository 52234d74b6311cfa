"""From examples to weights, with scikit-learn: features, one logistic regression a head, quantised tables."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from freehold.content_filter.features import pair_row, word_rows, words_of
from freehold.content_filter.ngrams import CENTRE, SHORT, SQUARE_STEPS
from freehold.training.content_filter.data import Example
from freehold.training.content_filter.recipe import HEADS, Recipe

Floats = NDArray[np.float64]


def counted(texts: Sequence[str], bits: int) -> sparse.csr_matrix:
    """How many of a text's different words and pairs have each row as a feature: texts x rows."""
    mask = (1 << bits) - 1
    kept: dict[str, list[int]] = {}
    ends = [0]
    rows: list[int] = []
    for text in texts:
        words = words_of(text)
        for word in dict.fromkeys(words):
            if word not in kept:
                kept[word] = word_rows(word, mask)
            rows += kept[word]
        rows += [pair_row(first, second, mask) for first, second in dict.fromkeys(pairwise(words))]
        ends.append(len(rows))
    ones = np.ones(len(rows), dtype=np.float64)
    matrix = sparse.csr_matrix((ones, np.array(rows, dtype=np.int32), ends), shape=(len(texts), 1 << bits))
    matrix.sum_duplicates()
    return matrix


def labels_of(examples: Sequence[Example]) -> Floats:
    """Examples x heads, NaN where a label is not known."""
    return np.array([[example.labels.get(head, np.nan) for head in HEADS] for example in examples], dtype=np.float64)


def idf_of(counts: sparse.csr_matrix, primary: NDArray[np.bool_]) -> Floats:
    """The weight of each row by how rare it is in primary texts; zero where fewer than two examples have it."""
    seen = np.asarray((counts > 0).sum(axis=0)).ravel()
    rare = np.asarray((counts[primary] > 0).sum(axis=0)).ravel()
    idf: Floats = np.log((1 + primary.sum()) / (1 + np.maximum(rare, 0.5))) + 1
    return np.where(seen >= 2, np.minimum(idf, (255 / SQUARE_STEPS) ** 0.5), 0.0)


def fit(examples: Sequence[Example], counts: sparse.csr_matrix, recipe: Recipe) -> tuple[dict[str, bytes], list[float]]:
    """Train every head.

    Args:
        examples: with labels and weights.
        counts: of their texts.
        recipe: the numbers.

    Returns:
        The tables of the weights' file, and the step of each head's lane.
    """
    labels = labels_of(examples)
    weights = np.array([example.weight for example in examples])
    primary = np.array([example.primary for example in examples])
    idf = idf_of(counts, primary if primary.any() else np.ones(len(examples), dtype=bool))
    features = _normalized(counts, idf)
    used = np.flatnonzero(idf)
    table = np.zeros((1 << recipe.bits, len(HEADS) + 2), dtype=np.uint8)
    table[used, 0] = np.maximum(1, np.round(SQUARE_STEPS * idf[used] ** 2)).astype(np.uint8)
    table[used, 1] = 1
    table[used, 2:] = CENTRE
    steps: list[float] = []
    for lane, head in enumerate(HEADS, 2):
        known = ~np.isnan(labels[:, lane - 2])
        if len(np.unique(labels[known, lane - 2])) < 2:
            steps.append(1.0)  # of a head without examples: weights of zero
            continue
        coefficients = _regression(features[known][:, used], labels[known, lane - 2], weights[known], recipe)
        raw = coefficients * idf[used]
        step = float(np.quantile(np.abs(raw), 0.9999)) / 127
        table[used, lane] = (np.clip(np.round(raw / step), -127, 127) + CENTRE).astype(np.uint8)
        steps.append(step)
        del head
    return {"rows": table.tobytes()}, steps


def _normalized(counts: sparse.csr_matrix, idf: Floats) -> sparse.csr_matrix:
    """The features as serving has them: each count times idf, divided by the length that serving takes."""
    squares = np.asarray(counts @ (idf**2)).ravel()
    return (sparse.diags(1 / np.sqrt(squares + SHORT)) @ counts @ sparse.diags(idf)).tocsr()


def _regression(features: sparse.csr_matrix, labels: Floats, weights: Floats, recipe: Recipe) -> Floats:
    """The coefficients of a head; both classes weigh the same in all."""
    positive = weights[labels == 1].sum()
    balanced = np.where(labels == 1, weights * (weights[labels == 0].sum() / positive), weights)
    balanced *= weights.sum() / balanced.sum()
    model = LogisticRegression(C=recipe.strength, solver="liblinear", random_state=recipe.seed)
    model.fit(features, labels, sample_weight=balanced)
    coefficients: Floats = model.coef_[0]
    return coefficients
