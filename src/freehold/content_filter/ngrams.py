"""The classifier: a linear model over hashed words, pairs of words and character n-grams, in pure Python.

A row of the table has a lane for each head, one for the square of the row's idf (its share of the text's length) and
one that counts. Where it is computed with, a row is one integer with lanes of 32 bits, so that adding two integers adds
all lanes at once; a word's sum and a pair's row are kept once they were needed. A text's scores come from the sum over
its different words and pairs: divided by the square root of the summed squares, then made a probability.

How the weights were made is in `freehold.training.content_filter`, what they are worth in
docs/models/content-filter/card.md.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from math import copysign, exp, inf, log, sqrt
from pathlib import Path
from struct import Struct
from typing import TypeAlias

from freehold.content_filter.features import WINDOW_WORDS, pair_row, windows, word_rows, words_in
from freehold.content_filter.weights_file import WeightsFile, read_weights
from freehold.types.content_filter import NOTHING, Category, Findings, Passage, Severity

KIND = "ngrams"
SHIPPED = Path(__file__).parent / "weights" / "ngrams.bin"
LANE_BYTES = 4
CENTRE = 128
"""What a weight of zero is in a lane, which knows no sign."""
SQUARE_STEPS = 4
"""Of a squared idf of one."""
SHORT = 1000.0
"""Added to the squared length of a text, so that few features say little: five to fifteen words have that much."""
_MARGIN = 1e-6
"""Of odds: what is so near to a cut point is compared as a probability."""
_WORDS_KEPT = 65_536
_PAIRS_KEPT = 131_072
"""Where more are known than this, all are forgotten: a gateway meets the usual ones again within minutes."""
MINORS = frozenset({
    "child", "children", "kid", "kids", "minor", "minors", "underage", "teen", "teens", "teenage", "teenager",
    "schoolgirl", "schoolboy", "toddler", "toddlers", "preteen", "preteens", "infant", "infants", "juvenile",
})  # fmt: skip
"""Words of which one must stand beside sexual content for `sexual/minors`; no weights are trained on such texts."""


_Sums: TypeAlias = tuple[Sequence[int], int, float]
"""Of a window by head the sum of its rows, what a sum of nothing but zeros would be, and the length to divide by."""


class _Words(dict[str, int]):
    """Numbers of words in the order in which they came, and by number the words and the sums of their rows."""

    def __init__(self, sum_of: Callable[[str], int]) -> None:
        super().__init__()
        self._sum_of = sum_of
        self.words: list[str] = []
        self.sums: list[int] = []

    def __missing__(self, word: str) -> int:
        self.sums.append(self._sum_of(word))
        self.words.append(word)
        self[word] = number = len(self.words) - 1
        return number


class _Pairs(dict[tuple[int, int], int]):
    """Rows of pairs of words by their numbers; so a known pair is found without a look at the words themselves."""

    def __init__(self, row_of: Callable[[tuple[int, int]], int]) -> None:
        super().__init__()
        self._row_of = row_of

    def __missing__(self, pair: tuple[int, int]) -> int:
        self[pair] = row = self._row_of(pair)
        return row


class _Scores(Mapping[str, float]):
    """Probabilities that are made when somebody looks at them, which nobody does of most texts.

    Args:
        make: makes them.
    """

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], dict[str, float]]) -> None:
        self._make = make
        self._made: dict[str, float] | None = None

    def _all(self) -> dict[str, float]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, name: str) -> float:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())


class NgramClassifier:
    """A detector of the four categories, with the scores of the finer ones of OpenAI's moderation.

    Args:
        weights: as `freehold train content-filter` makes them.
    """

    name = KIND

    def __init__(self, weights: WeightsFile) -> None:
        header = weights.header
        self.version = weights.version
        self.header = header
        self._heads: tuple[str, ...] = tuple(header["heads"])
        self._scales: tuple[tuple[float, float], ...] = tuple(
            (slope * step, offset) for step, (slope, offset) in zip(header["steps"], header["calibration"], strict=True)
        )
        self._cuts = [(Category(name), name, tuple(sorted(cuts))) for name, cuts in header["cuts"].items()]
        self._bands = [(name, low, high) for name, (low, high) in header["bands"].items()]
        self._lanes = len(self._heads) + 2
        self._numbers = Struct(f"<{self._lanes}I")
        self._least = self._least_odds()
        self._rows = weights.tables["rows"]
        self._mask = len(self._rows) // self._lanes - 1
        digests = weights.tables.get("seen", b"")
        self.seen = frozenset(digests[start : start + 8] for start in range(0, len(digests), 8))
        """Of the texts that the weights were trained on, the digests' first eight bytes."""
        self._words, self._pairs = _Words(self._sum_of_word), _Pairs(self._row_of_pair)

    def __call__(self, passage: Passage) -> Findings:
        """The categories, their severities and all scores: the highest of the text's windows."""
        words = words_in(passage)
        if not words:
            return NOTHING
        if len(words) <= WINDOW_WORDS:
            sums = self._sums(words)
            scores, is_suspect = partial(self._probabilities, words, sums), self._is_suspect(sums)
        else:
            seen = list(windows(words))
            of_each = list(map(self._sums, seen))
            scores, is_suspect = partial(self._highest, seen, of_each), any(map(self._is_suspect, of_each))
        return self.findings(scores()) if is_suspect else Findings(scores=_Scores(scores))

    def pending(self, text: str) -> int:  # noqa: ARG002  # the contract's
        """Nothing: the classifier judges by the whole."""
        return 0

    def logits(self, words: list[str]) -> list[float]:
        """The raw scores of a window's words by head, before they are made probabilities of."""
        lanes, centre, length = self._sums(words)
        return [(lane - centre) / length for lane in lanes]

    def _sums(self, words: list[str]) -> _Sums:
        """What the raw scores of a window's words are computed from."""
        if len(self._words) > _WORDS_KEPT or len(self._pairs) > _PAIRS_KEPT:
            self._words, self._pairs = _Words(self._sum_of_word), _Pairs(self._row_of_pair)
        numbers = list(map(self._words.__getitem__, words))
        total = sum(map(self._words.sums.__getitem__, set(numbers)))
        total += sum(map(self._pairs.__getitem__, set(pairwise(numbers))))
        squares, count, *lanes = self._numbers.unpack(total.to_bytes(self._numbers.size, "little"))
        if not squares:
            return [0] * len(self._heads), 0, 1.0
        return lanes, CENTRE * count, sqrt(squares / SQUARE_STEPS + SHORT)

    def scores(self, words: list[str]) -> dict[str, float]:
        """The probabilities of a window's words: of each head, and of the finer categories that heads make up."""
        return self._probabilities(words, self._sums(words))

    def _probabilities(self, words: list[str], sums: _Sums) -> dict[str, float]:
        scores: dict[str, float] = {}
        lanes, centre, length = sums
        for name, lane, (slope, offset) in zip(self._heads, lanes, self._scales, strict=True):
            odds = slope * ((lane - centre) / length) + offset
            scores[name] = 1.0 / (1.0 + exp(-odds if -30.0 < odds < 30.0 else -copysign(30.0, odds)))
        scores["harassment/threatening"] = min(scores["harassment"], scores["violence"])
        scores["sexual/minors"] = 0.0 if MINORS.isdisjoint(words) else scores["sexual"]
        return scores

    def _highest(self, seen: Sequence[list[str]], sums: Sequence[_Sums]) -> dict[str, float]:
        """Of each probability the highest of a text's windows."""
        highest: dict[str, float] = {}
        for each in map(self._probabilities, seen, sums):
            for name, score in each.items():
                if score > highest.get(name, 0.0):
                    highest[name] = score
        return highest

    def _is_suspect(self, sums: _Sums) -> bool:
        """Whether a severity or a doubt could come of a window; if not, nobody needs its probabilities."""
        lanes, centre, length = sums
        for head, slope, offset, least in self._least:  # a generator takes twice as long
            if slope * ((lanes[head] - centre) / length) + offset >= least:
                return True
        return False

    def _least_odds(self) -> list[tuple[int, float, float, float]]:
        """Of each head that is compared with something: its number, its scale, and the odds to begin at."""
        lowest: dict[str, float] = {}
        for name, probability in [
            *((name, cuts[0]) for _, name, cuts in self._cuts),
            *((name, low) for name, low, _ in self._bands),
        ]:
            lowest[name] = min(probability, lowest.get(name, 1.0))
        heads = {name: number for number, name in enumerate(self._heads)}
        return [(heads[name], *self._scales[heads[name]], _odds(least) - _MARGIN) for name, least in lowest.items()]

    def findings(self, scores: Mapping[str, float]) -> Findings:
        """What scores come to: severities by the cut points, and whether a dearer detector should look."""
        severities: dict[Category, Severity] = {}
        for category, name, cuts in self._cuts:
            if scores[name] >= cuts[0]:
                severities[category] = Severity(bisect_right(cuts, scores[name]))
        unsure = False
        for name, low, high in self._bands:
            if low <= scores[name] < high:
                unsure = True
        return Findings(severities=severities, scores=scores, unsure=unsure)

    def _sum_of_word(self, word: str) -> int:
        return sum(map(self._row, word_rows(word, self._mask)))

    def _row_of_pair(self, pair: tuple[int, int]) -> int:
        words = self._words.words
        return self._row(pair_row(words[pair[0]], words[pair[1]], self._mask))

    def _row(self, number: int) -> int:
        wide = bytearray(self._numbers.size)
        wide[::LANE_BYTES] = self._rows[number * self._lanes : (number + 1) * self._lanes]
        return int.from_bytes(wide, "little")


@lru_cache(maxsize=4)
def load_classifier(path: Path = SHIPPED) -> NgramClassifier:
    """The classifier with the weights of a file, the shipped ones without one.

    Raises:
        ConfigError: the file has no such weights.
    """
    return NgramClassifier(read_weights(path, KIND))


def _odds(probability: float) -> float:
    """What a probability is made of, as far as that can be told; of all odds the highest have a probability of one."""
    if probability <= 0.0:
        return -inf
    return log(probability / (1.0 - probability)) if probability < 1.0 else 30.0
