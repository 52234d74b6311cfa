"""Filters for tests, made of real parts."""

from collections.abc import Sequence

from freehold.content_filter.base import Detector, Stage
from freehold.content_filter.blocklists import Blocklists
from freehold.content_filter.chain import Chain
from freehold.content_filter.filter import Filter
from freehold.types.content_filter import (
    BlocklistItem,
    BlocklistSettings,
    FilterSettings,
    Findings,
    Passage,
    Side,
    Span,
)

PHRASE = "bananaphone"


def listing(*terms: str, pattern: str | None = None, name: str = "fruit") -> BlocklistSettings:
    """A list of these terms, and of a pattern if there is one."""
    items = [BlocklistItem(term=term) for term in terms]
    if pattern is not None:
        items.append(BlocklistItem(pattern=pattern))
    return BlocklistSettings(name=name, items=tuple(items))


def filter_of(
    *detectors: Detector,
    stages: Sequence[Stage] = (),
    blocking: Sequence[str] = ("fruit",),
    settings: FilterSettings | None = None,
) -> Filter:
    """A filter of these detectors on both sides, whose findings in the lists `blocking` block."""
    chain = Chain(detectors, stages)
    lists = {side: frozenset(blocking) for side in Side}
    return Filter(settings or FilterSettings(name="default"), "0" * 64, chain, chain, lists)


def fruit_filter(*terms: str, pattern: str | None = None) -> Filter:
    """A filter that blocks these terms."""
    return filter_of(Blocklists([listing(*(terms or (PHRASE,)), pattern=pattern)]))


class Failing:
    """A detector that breaks at a word, as a detector with a defect does."""

    name = "failing"
    version = "1"

    def __init__(self, at: str = "") -> None:
        self._at = at

    def __call__(self, passage: Passage) -> Findings:
        """See `Detector.__call__`."""
        if self._at in passage.text:
            raise ZeroDivisionError(passage.text)
        return Findings()

    def pending(self, text: str) -> int:
        """See `Detector.pending`."""
        return len(text) - len(text.rstrip("".join(set(self._at)))) if self._at else 0


class Digits:
    """A detector that takes every stretch of digits for a telephone number."""

    name = "digits"
    version = "1"

    def __call__(self, passage: Passage) -> Findings:
        """See `Detector.__call__`."""
        spans, start = [], None
        for at, character in enumerate(f"{passage.text} "):
            if character.isdigit() and start is None:
                start = at
            elif not character.isdigit() and start is not None:
                spans.append(Span("personal_data", "phone", start, at))
                start = None
        return Findings(spans=tuple(spans))

    def pending(self, text: str) -> int:
        """See `Detector.pending`."""
        return min(256, len(text) - len(text.rstrip("0123456789")))
