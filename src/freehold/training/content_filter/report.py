"""What predictions are worth: figures by category with their intervals, and over-blocking."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from freehold.training.content_filter.metrics import Measured, average_precision, measured, precision, recall
from freehold.training.content_filter.recipe import CATEGORIES, HEADS
from freehold.types.content_filter import Severity


@dataclass(frozen=True, slots=True)
class Predictions:
    """Labels, and what a classifier made of the same texts.

    Args:
        labels: of each text, heads → 0 or 1 as far as they are known.
        harmless: whether each text carries no harm label.
        scores: of each text, heads → probability.
        severities: of each text, the four categories → 0..3.
    """

    labels: tuple[Mapping[str, int], ...]
    harmless: tuple[bool, ...]
    scores: tuple[Mapping[str, float], ...]
    severities: tuple[Mapping[str, int], ...]

    def wire(self) -> dict[str, Any]:
        """As JSON values."""
        return {"labels": self.labels, "harmless": self.harmless, "scores": self.scores, "severities": self.severities}

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `wire` wrote."""
        raw = json.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(raw["labels"]), tuple(raw["harmless"]), tuple(raw["scores"]), tuple(raw["severities"]))


def where(asked: Sequence[bool], second: Predictions, first: Predictions) -> Predictions:
    """The second predictions of the texts that are asked about, of the others the first."""
    return Predictions(
        labels=second.labels,
        harmless=second.harmless,
        scores=tuple(b if ask else a for ask, a, b in zip(asked, first.scores, second.scores, strict=True)),
        severities=tuple(b if ask else a for ask, a, b in zip(asked, first.severities, second.severities, strict=True)),
    )


@dataclass(frozen=True, slots=True)
class CategoryFigures:
    """Of one head; precision and recall at the default threshold, for the four categories only.

    Args:
        texts: those whose label is known.
        harmful: those whose label is 1.
        auprc: the area under the precision-recall curve.
        precision: at severity medium.
        recall: at severity medium.
    """

    texts: int
    harmful: int
    auprc: Measured
    precision: Measured | None
    recall: Measured | None


@dataclass(frozen=True, slots=True)
class Report:
    """All figures.

    Args:
        texts: how many were judged.
        categories: by head, those with harmful texts only.
        mean_auprc: over the four categories, as far as they have harmful texts.
        harmless: how many texts carry no harm label.
        over_blocking: which part of them reaches medium in any of the four categories.
    """

    texts: int
    categories: Mapping[str, CategoryFigures]
    mean_auprc: float
    harmless: int
    over_blocking: Measured


def report(predictions: Predictions, threshold: Severity = Severity.MEDIUM) -> Report:
    """The figures of predictions."""
    categories = {head: figures for head in HEADS if (figures := _figures(predictions, head, threshold))}
    areas = [categories[name].auprc.value for name in CATEGORIES if name in categories]
    flagged = np.array(
        [
            any(severity >= threshold for severity in severities.values())
            for harmless, severities in zip(predictions.harmless, predictions.severities, strict=True)
            if harmless
        ],
        dtype=bool,
    )
    return Report(
        texts=len(predictions.labels),
        categories=categories,
        mean_auprc=float(np.mean(areas)) if areas else float("nan"),
        harmless=len(flagged),
        over_blocking=measured(_share, flagged),
    )


def _figures(predictions: Predictions, head: str, threshold: Severity) -> CategoryFigures | None:
    """Of one head; None where no text is harmful in it."""
    rows = [row for row, labels in enumerate(predictions.labels) if head in labels]
    truth = np.array([predictions.labels[row][head] == 1 for row in rows], dtype=bool)
    if not truth.any():
        return None
    scores = np.array([predictions.scores[row].get(head, 0.0) for row in rows])
    flagged = None
    if head in CATEGORIES:
        flagged = np.array([predictions.severities[row].get(head, 0) >= threshold for row in rows], dtype=bool)
    return CategoryFigures(
        texts=len(rows),
        harmful=int(truth.sum()),
        auprc=measured(average_precision, truth, scores),
        precision=None if flagged is None else measured(precision, truth, flagged),
        recall=None if flagged is None else measured(recall, truth, flagged),
    )


def _share(flagged: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    return float(flagged.mean()) if len(flagged) else float("nan")


def table(figures: Report) -> list[tuple[str, ...]]:
    """The figures as rows: category, texts, harmful, AUPRC, precision, recall."""
    return [
        (
            name,
            str(each.texts),
            str(each.harmful),
            _shown(each.auprc),
            _shown(each.precision) if each.precision else "",
            _shown(each.recall) if each.recall else "",
        )
        for name, each in figures.categories.items()
    ]


def _shown(figure: Measured) -> str:
    """A figure with its interval."""
    return f"{figure.value:.3f} ({figure.low:.3f}-{figure.high:.3f})"
