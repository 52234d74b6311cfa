"""Terms and patterns that an administrator lists.

A term is looked for in two forms. In `plain` at word boundaries: any spelling of the same words. And, if it has at
least five letters, in the skeleton of the text, where digits and signs stand for letters and words may be split: there
it must begin and end where a word, or a piece of one, begins and ends, so that it is not found inside harmless words.
Scripts that put no space between words, and terms of signs alone, are looked for anywhere.

The cost grows with the text and not with the number of terms: one look-up for each word.
"""

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import TypeVar

import orjson
import re2

from freehold.content_filter.normalise import Traced, plain, squeezed, traced, traced_squeezed
from freehold.content_filter.patterns import Pattern, check_pattern
from freehold.types.content_filter import BlocklistSettings, Findings, Passage, Span

SQUEEZED_LETTERS = 5
"""From how many letters on a term is also looked for in the skeleton of a text."""
PATTERN_HOLD = 128
"""Code points at the end of a stream that are held back where there is a pattern: the longest match that is found
before any of it was sent."""
MOST_HELD = 256
ValueT = TypeVar("ValueT")

_CODE = "1"
"""Of what is done with the items; part of the version."""

_WORD = re.compile(r"\w+")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of scripts that put no space between words."""
_PIECES = re.compile(r"(?:[^\W_]|[@$\u20ac\u00a3\u00a2]|[!|](?=\w))+")
"""A stretch of what a skeleton is made from."""
_INNER = re.compile(r"[!|](?=[\x00-\x08\x0e-\x1f\x7f]*\w)")
_TOKEN = re.compile(r"\S+")
_ASCII = str.maketrans({chr(code): squeezed(chr(code)) or " " for code in range(128)})
"""What an ASCII character is in a skeleton, and a space for what is left out of it."""


class Blocklists:
    """Finds the items of lists.

    Args:
        lists: those that are in force.
    """

    name = "blocklists"

    def __init__(self, lists: Sequence[BlocklistSettings]) -> None:
        items = orjson.dumps([each.wire() for each in lists], option=orjson.OPT_SORT_KEYS)
        self.version = f"{_CODE}-{hashlib.sha256(items).hexdigest()[:12]}"
        self._lists: dict[str, set[str]] = {}
        """A term in either form → the lists that have it."""
        self._words: dict[str, list[tuple[int, str]]] = {}
        """A term's first word → where in the term it stands, and the term."""
        self._starts: dict[str, list[str]] = {}
        """The first letters of a skeleton → those skeletons."""
        self._patterns: list[tuple[str, Pattern]] = []
        anywhere: set[str] = set()
        skeletons: set[str] = set()
        for each in lists:
            for item in each.items:
                if item.pattern is not None:
                    self._patterns.append((each.name, check_pattern(item.pattern)))
                elif item.term is not None:
                    self._add(item.term, each.name, anywhere, skeletons)
        self._anywhere = _alternatives(anywhere)
        self._anywhere_terms = sorted(anywhere)
        self._skeletons = sorted(skeletons)

    def _add(self, term: str, list_name: str, anywhere: set[str], skeletons: set[str]) -> None:
        form = plain(term)
        if not form:
            return
        self._lists.setdefault(form, set()).add(list_name)
        word = _WORD.search(form)
        if word is None or _UNSPACED.search(form):
            anywhere.add(form)
            return
        _put(self._words, word[0], (word.start(), form))
        skeleton = squeezed(term)
        skeletons.add(skeleton)
        if len(skeleton) >= SQUEEZED_LETTERS:
            self._lists.setdefault(f"\n{skeleton}", set()).add(list_name)
            _put(self._starts, skeleton[:SQUEEZED_LETTERS], skeleton)

    def __call__(self, passage: Passage) -> Findings:
        """See `Detector.__call__`."""
        text = passage.text
        # A digit after an unfinished text keeps the white space at its end, and tells that a word may go on.
        form = plain(text) if passage.whole else plain(f"{text}0")[:-1]
        end = None if passage.whole else len(form)
        spans = [*self._plain_spans(text, form, end), *self._skeleton_spans(text, whole=passage.whole)]
        spans += self._pattern_spans(text, form, whole=passage.whole)
        return Findings(spans=tuple(dict.fromkeys(spans))) if spans else _NOTHING

    def pending(self, text: str) -> int:
        """See `Detector.pending`."""
        tail = text[-MOST_HELD:]
        held = min(PATTERN_HOLD, len(text)) if self._patterns else 0
        if self._skeletons:
            held = max(held, self._begun(tail, cut=len(tail) < len(text)))
        if self._anywhere_terms:
            held = max(held, self._begun_anywhere(tail))
        return held

    def _plain_spans(self, text: str, form: str, end: int | None) -> Iterator[Span]:
        """Terms at word boundaries of the plain text; `end` is where an unfinished one ends."""
        hits: list[tuple[str, int]] = []
        words = self._words
        seldom = not words or words.keys().isdisjoint(_WORD.findall(form))
        for word in () if seldom else _WORD.finditer(form):
            for offset, term in words.get(word[0], ()):
                start = word.start() - offset
                stop = start + len(term)
                if start >= 0 and stop != end and form.startswith(term, start) and _is_bounded(form, start, stop):
                    hits.append((term, start))
        if self._anywhere is not None:
            hits += [(match[0], match.start()) for match in self._anywhere.finditer(form)]
        if not hits:
            return
        trace = traced(text)
        for term, start in hits:
            for name in self._lists[term]:
                yield Span("blocklist", name, *_place(trace, start, start + len(term)))

    def _skeleton_spans(self, text: str, *, whole: bool) -> Iterator[Span]:
        """Terms in the skeleton of the text."""
        if not self._starts:
            return
        pieces = _skeleton(text)
        joined = "".join(pieces)
        starts, at, hits = self._starts, 0, list[tuple[str, int]]()
        for piece in pieces:
            found = starts.get(joined[at : at + SQUEEZED_LETTERS])
            if found is not None:
                hits += [(skeleton, at) for skeleton in found if joined.startswith(skeleton, at)]
            at += len(piece)
        if not hits:
            return
        ends = set(accumulate(map(len, pieces)))
        if not whole and pieces and not _is_closed(text):
            ends.discard(len(joined))
        hits = [(skeleton, at) for skeleton, at in hits if at + len(skeleton) in ends]
        if not hits:
            return
        trace = traced_squeezed(text)
        for skeleton, at in hits:
            start = at if trace.plain.startswith(skeleton, at) else trace.plain.find(skeleton)
            place = _place(trace, start, start + len(skeleton)) if start >= 0 else (0, len(text))
            for name in self._lists[f"\n{skeleton}"]:
                yield Span("blocklist", name, *place)

    def _pattern_spans(self, text: str, form: str, *, whole: bool) -> Iterator[Span]:
        """Matches of patterns in the text as it is and in its plain form; not at the end of one that goes on."""
        for name, pattern in self._patterns:
            for match in pattern.finditer(text):
                if whole or match.end() < len(text):
                    yield Span("blocklist", name, match.start(), match.end())
            found = [match for match in pattern.finditer(form) if whole or match.end() < len(form)]
            if found:
                trace = traced(text)
                for match in found:
                    yield Span("blocklist", name, *_place(trace, match.start(), min(match.end(), len(trace.plain))))

    def _begun(self, tail: str, *, cut: bool) -> int:
        """How much of the end may be the beginning of a term in its skeleton."""
        pieces = _placed(tail)[1 if cut else 0 :]
        rest = "".join(piece for _, piece in pieces)
        closed = _is_closed(tail)
        for at, piece in pieces:
            place = bisect_left(self._skeletons, rest)
            while place < len(self._skeletons) and self._skeletons[place].startswith(rest):
                if not closed or len(self._skeletons[place]) > len(rest):
                    return len(tail) - at
                place += 1
            rest = rest[len(piece) :]
        return 0

    def _begun_anywhere(self, tail: str) -> int:
        """How much of the end may be the beginning of a term that is looked for anywhere."""
        trace = traced(f"{tail}0")
        form = trace.plain[:-1]
        for at in range(max(0, len(form) - PATTERN_HOLD), len(form)):
            place = bisect_left(self._anywhere_terms, form[at:])
            while place < len(self._anywhere_terms) and self._anywhere_terms[place].startswith(form[at:]):
                if len(self._anywhere_terms[place]) > len(form) - at:
                    return len(tail) - trace.starts[at]
                place += 1
        return 0


_NOTHING = Findings()


def _skeleton(text: str) -> list[str]:
    """The skeleton of a text in pieces: between them it has something that no skeleton keeps."""
    if text.isascii():
        return _spread(text).split()
    return [piece for token in text.split() for _, piece in _token_pieces(token)]


def _placed(text: str) -> list[tuple[int, str]]:
    """The same pieces, each with where it begins in the text."""
    if text.isascii():
        return [(token.start(), token[0]) for token in _TOKEN.finditer(_spread(text))]
    return [(token.start() + at, piece) for token in _TOKEN.finditer(text) for at, piece in _token_pieces(token[0])]


def _spread(text: str) -> str:
    """An ASCII text's skeleton with spaces for what it leaves out, so that each character keeps its place."""
    if "!" in text or "|" in text:
        text = _INNER.sub("i", text)
    return text.lower().translate(_ASCII)


@lru_cache(maxsize=16384)
def _token_pieces(token: str) -> tuple[tuple[int, str], ...]:
    """The pieces of a stretch without white space."""
    if token.isascii():
        return tuple((piece.start(), piece[0]) for piece in _TOKEN.finditer(_spread(token)))
    pieces = ((piece.start(), squeezed(piece[0])) for piece in _PIECES.finditer(token))
    return tuple((at, piece) for at, piece in pieces if piece)


def _place(trace: Traced, start: int, end: int) -> tuple[int, int]:
    """Where in the original a stretch of a normalised text is, without what is left out after it."""
    return trace.starts[start], trace.starts[end - 1] + 1


def _is_closed(text: str) -> bool:
    """Whether an unfinished text's last word is over."""
    return plain(f"{text}0")[-2:-1].isspace() or not text


def _is_bounded(form: str, start: int, end: int) -> bool:
    """Whether a stretch of a plain text is not a part of a longer word."""
    before = start == 0 or not (_is_letter(form[start]) and _is_letter(form[start - 1]))
    after = end == len(form) or not (_is_letter(form[end - 1]) and _is_letter(form[end]))
    return before and after


def _is_letter(character: str) -> bool:
    return character.isalnum() or character == "_"


def _put(into: dict[str, list[ValueT]], key: str, value: ValueT) -> None:
    values = into.setdefault(key, [])
    if value not in values:
        values.append(value)


def _alternatives(terms: Iterable[str]) -> "re2._Regexp | None":
    """One expression for all terms; None where there is none."""
    longest_first = sorted(terms, key=len, reverse=True)
    return re2.compile("|".join(re2.escape(term) for term in longest_first)) if longest_first else None
