"""Cross-validation of the classifier as it serves: every text is scored by weights that have not seen it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.model_selection import StratifiedKFold

from freehold.content_filter.features import windows, words_of
from freehold.content_filter.ngrams import KIND, NgramClassifier
from freehold.content_filter.weights_file import WeightsFile
from freehold.training.content_filter.calibration import Calibration, calibrated, calibrations, cut_points
from freehold.training.content_filter.data import Example, digest_of
from freehold.training.content_filter.fitting import fit, labels_of
from freehold.training.content_filter.recipe import CATEGORIES, HEADS, Recipe

Floats = NDArray[np.float64]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Held:
    """What weights that have not seen them made of the examples.

    Args:
        folds: of each example, which fold it is in.
        logits: examples x heads.
    """

    folds: NDArray[np.int64]
    logits: Floats


def folds_of(examples: Sequence[Example], recipe: Recipe) -> NDArray[np.int64]:
    """The fold of each example: the rarest label is spread evenly, and equal texts are in one fold."""
    labels = labels_of(examples)
    often = np.nansum(labels, axis=0)
    rarity = np.argsort(often)
    kinds = [
        f"{example.primary}-" + next((HEADS[head] for head in rarity if labels[row, head] == 1), "none")
        for row, example in enumerate(examples)
    ]
    kinds = [kind if kinds.count(kind) >= recipe.folds else kind.split("-")[0] for kind in kinds]
    folds = np.zeros(len(examples), dtype=np.int64)
    split = StratifiedKFold(recipe.folds, shuffle=True, random_state=recipe.seed)
    for fold, (_, held) in enumerate(split.split(np.zeros(len(examples)), kinds)):
        folds[held] = fold
    first: dict[bytes, int] = {}
    for row, example in enumerate(examples):
        folds[row] = folds[first.setdefault(digest_of(example.text), row)]
    return folds


def held_out(examples: Sequence[Example], counts: sparse.csr_matrix, recipe: Recipe, say: Say) -> Held:
    """Score every example by weights trained without its fold."""
    folds = folds_of(examples, recipe)
    logits = np.zeros((len(examples), len(HEADS)))
    for fold in range(recipe.folds):
        inside, outside = np.flatnonzero(folds == fold).tolist(), np.flatnonzero(folds != fold).tolist()
        tables, steps = fit([examples[row] for row in outside], counts[outside], recipe)
        classifier = assembled(tables, steps, [Calibration(1.0, 0.0)] * len(HEADS), {}, {})
        for row in inside:
            logits[row] = logits_of(classifier, steps, examples[row].text)
        say(f"fold {fold + 1} of {recipe.folds}")
    return Held(folds, logits)


def logits_of(classifier: NgramClassifier, steps: Sequence[float], text: str) -> Floats:
    """The raw scores of a text by head: the highest of its windows."""
    words = words_of(text)
    found = [classifier.logits(window) for window in windows(words)] if words else [[0.0] * len(HEADS)]
    return np.max(np.array(found), axis=0) * np.array(steps)


def honest_probabilities(examples: Sequence[Example], held: Held, recipe: Recipe) -> tuple[Floats, Floats]:
    """Probabilities, and the severities 0..3 of the four categories, fold by fold.

    What makes a fold's raw scores probabilities and severities was found on the other folds. To rank texts of
    different folds the raw scores serve better: each fold's probabilities are on a scale of their own.
    """
    labels = labels_of(examples)
    primary = np.array([example.primary for example in examples])
    harmless = np.array([example.harmless for example in examples])
    probabilities = np.zeros_like(held.logits)
    severities = np.zeros((len(examples), len(CATEGORIES)))
    for fold in range(recipe.folds):
        inside, outside = held.folds == fold, held.folds != fold
        found = calibrations(held.logits[outside], labels[outside], primary[outside])
        probabilities[inside] = calibrated(held.logits[inside], found)
        others = calibrated(held.logits, found)
        known = outside & primary
        cuts = cut_points(others[known], labels[known], harmless[known], recipe.over_blocking)
        for column, name in enumerate(CATEGORIES):
            severities[inside, column] = sum((probabilities[inside, column] >= cut).astype(float) for cut in cuts[name])
    return probabilities, severities


def assembled(
    tables: dict[str, bytes],
    steps: Sequence[float],
    found: Sequence[Calibration],
    cuts: dict[str, list[float]],
    bands: dict[str, list[float]],
) -> NgramClassifier:
    """A classifier as serving has it, without a file."""
    header = weights_header(steps, found, cuts, bands)
    return NgramClassifier(WeightsFile(header, tables, "0" * 64))


def weights_header(
    steps: Sequence[float],
    found: Sequence[Calibration],
    cuts: dict[str, list[float]],
    bands: dict[str, list[float]],
) -> dict[str, object]:
    """What the weights' file says of its tables."""
    return {
        "kind": KIND,
        "heads": list(HEADS),
        "steps": list(steps),
        "calibration": [[each.slope, each.offset] for each in found],
        "cuts": cuts,
        "bands": bands,
    }
