"""A second look at texts that the n-gram classifier is not sure of, by what they mean: a head over sentence vectors.

The head is linear over a vector of the embedding deployment and the classifier's own log-odds. It may take findings
back. Its weights belong to one embedding model, `model`, whose vectors the caller must give, and to one version of
the n-gram weights: `head_for` leaves the head out where others are used.
"""

from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

from freehold.content_filter.base import Embed
from freehold.content_filter.normalise import plain
from freehold.content_filter.weights_file import WeightsFile, read_weights
from freehold.types.content_filter import Category, Findings, Passage, Severity

KIND = "embedding"
SHIPPED = Path(__file__).parent / "weights" / "embedding.bin"
WINDOW = 500
"""Of a piece that is embedded, in characters; one that is not ASCII counts three, since its tokens may be as many.
So a piece always fits into the 512 tokens of the starter model."""
GROUP = 8
"""So many pieces are judged as one text, by the mean of their vectors; a longer text by its worst group."""
LEAST = 1e-4
"""Probabilities nearer to 0 or 1 are not told apart."""


class EmbeddingHead:
    """A stage that judges the four categories anew where the findings so far are unsure.

    Args:
        weights: of the head.
        embed: gives the vectors; None from it leaves the findings as they were.
    """

    name = KIND

    def __init__(self, weights: WeightsFile, embed: Embed) -> None:
        header = weights.header
        self.version = weights.version
        self.model: str = header["model"]
        self._embed = embed
        self._categories = tuple(map(Category, header["categories"]))
        self._calibration: list[tuple[float, float]] = [(slope, offset) for slope, offset in header["calibration"]]
        self._cuts = {Category(name): tuple(cuts) for name, cuts in header["cuts"].items()}
        self._bands = {Category(name): tuple(band) for name, band in header["bands"].items()}
        self._coefficients = _rows(weights.tables["coefficients"], header["dimensions"] + len(self._categories))

    def wants(self, passage: Passage, so_far: Findings) -> bool:  # noqa: ARG002  # the contract's
        """Whether the findings are unsure."""
        return so_far.unsure and bool(so_far.scores)

    async def __call__(self, passage: Passage, so_far: Findings) -> Findings:
        """The findings, with the four categories judged anew where they were unsure."""
        if not self.wants(passage, so_far):
            return so_far
        vectors = await self._embed(passage.text)
        if vectors is None:
            return so_far
        scores = self.scores(vectors, so_far)
        severities = {
            category: severity
            for category in self._categories
            if (severity := Severity(sum(scores[category.value] >= cut for cut in self._cuts[category])))
        }
        unsure = any(low <= scores[category.value] < high for category, (low, high) in self._bands.items())
        return Findings(severities, {**so_far.scores, **scores}, so_far.shields, so_far.spans, unsure)

    def scores(self, vectors: Sequence[Sequence[float]], so_far: Findings) -> dict[str, float]:
        """The probabilities of the four categories: the highest of the text's groups of pieces."""
        odds = [log_odds(so_far.scores.get(category.value, 0.0)) for category in self._categories]
        scores = dict.fromkeys((category.value for category in self._categories), 0.0)
        for start in range(0, len(vectors), GROUP):
            inputs = [*mean_direction(vectors[start : start + GROUP]), *odds]
            for category, row, (slope, offset) in zip(
                self._categories, self._coefficients, self._calibration, strict=True
            ):
                logit = slope * sum(map(float.__mul__, row, inputs)) + offset
                score = 1.0 / (1.0 + exp(-max(-30.0, min(30.0, logit))))
                scores[category.value] = max(scores[category.value], score)
        return scores


def pieces(text: str) -> list[str]:
    """A text, normalised, in pieces that the embedding model takes, cut at spaces where there are any."""
    return list(_pieces(plain(text))) or ["."]


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = _fitting(text, start)
        if end < len(text) and (space := text.rfind(" ", start + 1, end)) > 0:
            end = space
        if piece := text[start:end].strip():
            yield piece
        start = end


def _fitting(text: str, start: int) -> int:
    """Where the longest stretch ends that begins at a place and fits into the window."""
    end = min(start + WINDOW, len(text))
    if text.isascii():
        return end
    costs = accumulate(1 if character < "\x80" else 3 for character in text[start:end])
    return start + sum(cost <= WINDOW for cost in costs)


def log_odds(probability: float) -> float:
    """What the head takes of the classifier's probability."""
    bounded = min(1 - LEAST, max(LEAST, probability))
    return log(bounded / (1 - bounded))


def mean_direction(vectors: Sequence[Sequence[float]]) -> list[float]:
    """The mean of vectors, at unit length."""
    sums = [sum(column) for column in zip(*vectors, strict=True)]
    length = sqrt(sum(value * value for value in sums)) or 1.0
    return [value / length for value in sums]


def head_for(classifier_version: str, path: Path = SHIPPED) -> WeightsFile | None:
    """The head in a file, if it was trained with these weights of the classifier; None for another one, or no file.

    Raises:
        ConfigError: the file has no such weights.
    """
    if not path.exists():
        return None
    head = read_head(path)
    return head if head.header["classifier"] == classifier_version else None


@lru_cache(maxsize=4)
def read_head(path: Path = SHIPPED) -> WeightsFile:
    """The weights of a head.

    Raises:
        ConfigError: the file has no such weights.
    """
    return read_weights(path, KIND)


def _rows(table: bytes, width: int) -> list[list[float]]:
    """Rows of 32-bit floats, little-endian."""
    values: Any = array("f")
    values.frombytes(table)
    return [list(values[start : start + width]) for start in range(0, len(values), width)]
