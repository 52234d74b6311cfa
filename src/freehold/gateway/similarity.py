"""How alike two texts are, from 0 to 1, by measures that need no model.

`fuzzy_match` is RapidFuzz's ratio; `bleu` is sacreBLEU's for one sentence, with its tokens and smoothing. The others
are short formulas: GLEU after Wu et al. 2016 ("Google's Neural Machine Translation System", section 6) over 1- to
4-grams, ROUGE-N and ROUGE-L after Lin 2004 as F1, all over words in small letters.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from rapidfuzz import fuzz
from rapidfuzz.distance import LCSseq

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

MAX_TEXT: Final = 65_536
"""Characters of either text."""

_WORD: Final = re.compile(r"\w+")
_GLEU_ORDERS: Final = range(1, 5)


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return _WORD.findall(text.lower())


def fuzzy_match(text: str, reference: str) -> float:
    """What is left as it is when one text is made the other by putting in and taking out characters."""
    return fuzz.ratio(text, reference) / 100


@cache
def _bleu() -> "BLEU":
    """The measure over the orders of n-grams that a short text has."""
    from sacrebleu.metrics.bleu import BLEU  # noqa: PLC0415  # eight megabytes that only evaluations need

    return BLEU(effective_order=True)


def bleu(text: str, reference: str) -> float:
    """N-grams of the text that the reference has too, with a penalty for a text that is too short."""
    return min(1.0, _bleu().sentence_score(text, [reference]).score / 100)


def gleu(text: str, reference: str) -> float:
    """Common 1- to 4-grams, as a share of the text's or the reference's, whichever is less."""
    mine, theirs = words_of(text), words_of(reference)
    common = made = wanted = 0
    for order in _GLEU_ORDERS:
        found, expected = _grams(mine, order), _grams(theirs, order)
        common += (found & expected).total()
        made += found.total()
        wanted += expected.total()
    return common / max(made, wanted) if max(made, wanted) else float(text == reference)


def rouge_n(text: str, reference: str, order: int) -> float:
    """The F1 of common n-grams."""
    mine, theirs = _grams(words_of(text), order), _grams(words_of(reference), order)
    return _f1((mine & theirs).total(), mine.total(), theirs.total())


def rouge_l(text: str, reference: str) -> float:
    """The F1 of the longest common subsequence of words."""
    mine, theirs = words_of(text), words_of(reference)
    return _f1(LCSseq.similarity(mine, theirs), len(mine), len(theirs))


MEASURES: Final[Mapping[str, Callable[[str, str], float]]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    **{f"rouge_{order}": partial(rouge_n, order=order) for order in range(1, 6)},
    "rouge_l": rouge_l,
}
"""By their names in graders; `cosine` is made of embeddings, and not here."""


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two vectors of unit length; 0 where it is more than a right one."""
    return min(1.0, max(0.0, sum(a * b for a, b in zip(one, other, strict=True))))


def _grams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))


def _f1(common: int, made: int, wanted: int) -> float:
    """Of precision and recall; 0 where nothing is common."""
    return 2 * common / (made + wanted) if made + wanted else 0.0
