r"""Regular expressions of JSON schemas as grammars for the inside of a JSON string.

Understands what ECMA-262 and OpenAI's structured outputs have in common: groups, alternatives, classes and
counted repetition. Describes whole strings even where the expression is not anchored, and ASCII only for `\W`,
`\D`, `\S` and `.`: all that it makes matches, though not all that matches is made.
"""

from collections.abc import Callable
from dataclasses import dataclass

from freehold.engines.grammar_pieces import alternatives, literal

Ranges = list[tuple[int, int]]

_DIGIT: Ranges = [(0x30, 0x39)]
_WORD: Ranges = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
_SPACE: Ranges = [(0x20, 0x20)]
_CLASSES = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROLS = {"n": 0x0A, "r": 0x0D, "t": 0x09, "f": 0x0C}
_JSON_ESCAPES = {0x22: '\\"', 0x5C: "\\\\", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x0C: "\\f"}
_PUNCTUATION = set(".^$*+?()[]{}|/\\-\"'@#%&,:;<>=!~` _")


class UnsupportedPattern(ValueError):
    """The expression uses something that a grammar cannot say."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A grammar with the fewest and the most characters of the texts that it makes."""

    text: str
    least: int
    most: int


def pattern_grammar(pattern: str, repeats: int, rule: Callable[[str], str]) -> Piece:
    """The grammar of the strings that match.

    Args:
        pattern: the regular expression.
        repeats: the most for `*`, `+` and `{n,}`.
        rule: makes a rule and returns its name. What is repeated becomes one, for llama.cpp writes repeated pieces
            out and refuses to when they are large.

    Raises:
        UnsupportedPattern: it cannot be said in a grammar.
    """
    return _Reader(pattern, repeats, rule).read()


class _Reader:
    """Reads one expression from left to right."""

    def __init__(self, pattern: str, repeats: int, rule: Callable[[str], str]) -> None:
        self._text = pattern.removeprefix("^")
        if self._text.endswith("$") and not self._text.endswith("\\$"):
            self._text = self._text[:-1]
        self._repeats = repeats
        self._rule = rule
        self._at = 0
        self._depth = 0
        self._anchored = len(self._text) < len(pattern)

    def read(self) -> Piece:
        piece = self._choices()
        if self._at < len(self._text):
            raise UnsupportedPattern("an unmatched ')'")
        return piece

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        char = self._peek()
        if not char:
            raise UnsupportedPattern("ends too early")
        self._at += 1
        return char

    def _choices(self) -> Piece:
        pieces = [self._sequence()]
        while self._peek() == "|":
            if self._depth == 0 and self._anchored:
                raise UnsupportedPattern("anchors beside '|'; put the alternatives into a group")
            self._at += 1
            pieces.append(self._sequence())
        text = alternatives([piece.text for piece in pieces])
        return Piece(text, min(p.least for p in pieces), max(p.most for p in pieces))

    def _sequence(self) -> Piece:
        pieces: list[Piece] = []
        while self._peek() not in {"", "|", ")"}:
            pieces.append(self._repeated(self._atom()))
        text = " ".join(piece.text for piece in pieces) or '""'
        return Piece(text, sum(p.least for p in pieces), sum(p.most for p in pieces))

    def _atom(self) -> Piece:
        char = self._take()
        if char == "(":
            return self._group()
        if char == "[":
            return _one_of(self._class())
        if char == ".":
            return _one_of([(0x20, 0x7E)])
        if char == "\\":
            return _one_of(self._escape())
        if char in "^$*+?{}":
            raise UnsupportedPattern(f"'{char}' in this place")
        return _one_of([(ord(char), ord(char))])

    def _group(self) -> Piece:
        if self._text.startswith("?:", self._at):
            self._at += 2
        elif self._peek() == "?":
            raise UnsupportedPattern("groups that look around or have names")
        self._depth += 1
        if self._depth > 32:
            raise UnsupportedPattern("groups nested too deep")
        piece = self._choices()
        self._depth -= 1
        if self._take() != ")":
            raise UnsupportedPattern("a group that is not closed")
        return Piece(f"({piece.text})", piece.least, piece.most)

    def _escape(self) -> Ranges:
        char = self._take()
        if char.lower() in _CLASSES:
            ranges = _CLASSES[char.lower()]
            return ranges if char.islower() else _without(ranges, 0x7E)
        if char in _CONTROLS:
            return [(_CONTROLS[char], _CONTROLS[char])]
        if char in {"u", "x"}:
            digits = "".join(self._take() for _ in range(4 if char == "u" else 2))
            try:
                return [(int(digits, 16), int(digits, 16))]
            except ValueError as exc:
                raise UnsupportedPattern(f"'\\{char}{digits}'") from exc
        if char in _PUNCTUATION:
            return [(ord(char), ord(char))]
        raise UnsupportedPattern(f"'\\{char}'")

    def _class(self) -> Ranges:
        negated = self._peek() == "^"
        self._at += negated
        ranges: Ranges = []
        while (char := self._take()) != "]":
            start = self._escape() if char == "\\" else [(ord(char), ord(char))]
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in {"]", ""}:
                self._at += 1
                upper = self._take()
                end = self._escape() if upper == "\\" else [(ord(upper), ord(upper))]
                if len(start) != 1 or len(end) != 1 or start[0][0] > end[0][1]:
                    raise UnsupportedPattern("a range of characters that is out of order")
                start = [(start[0][0], end[0][1])]
            ranges += start
        if not ranges:
            raise UnsupportedPattern("an empty class")
        return _without(ranges, 0x10FFFF) if negated else ranges

    def _repeated(self, piece: Piece) -> Piece:
        char = self._peek()
        if char not in {"*", "+", "?", "{"}:
            return piece
        self._at += 1
        if char == "{":
            least, most = self._counts()
        else:
            least, most = {"*": (0, self._repeats), "+": (1, self._repeats), "?": (0, 1)}[char]
        if self._peek() == "?":  # lazy: the same strings
            self._at += 1
        if most < least or most > 2000:
            raise UnsupportedPattern("a repetition count that is out of range")
        return Piece(f"{self._rule(piece.text)}{{{least},{most}}}", piece.least * least, piece.most * most)

    def _counts(self) -> tuple[int, int]:
        end = self._text.find("}", self._at)
        low, comma, high = self._text[self._at : end].partition(",")
        if end < 0 or not low.isdecimal() or (high and not high.isdecimal()):
            raise UnsupportedPattern("'{' in this place")
        self._at = end + 1
        least = int(low)
        return least, int(high) if high else max(self._repeats, least) if comma else least


def _without(ranges: Ranges, top: int) -> Ranges:
    """The characters from the space to `top` that are not in the ranges; no surrogates."""
    left: Ranges = []
    start = 0x20
    for low, high in sorted([*ranges, (0x7F, 0x9F), (0xD800, 0xDFFF)]):
        if start <= min(low - 1, top):
            left.append((start, min(low - 1, top)))
        start = max(start, high + 1)
    if start <= top:
        left.append((start, top))
    return left


def _one_of(ranges: Ranges) -> Piece:
    """One character of the ranges, as it stands inside a JSON string."""
    special = sorted(point for point in _JSON_ESCAPES if any(low <= point <= high for low, high in ranges))
    plain: Ranges = []
    for low, high in ranges:
        start = max(low, 0x20)
        for point in (0x22, 0x5C):
            if start <= point <= high:
                if start < point:
                    plain.append((start, point - 1))
                start = point + 1
        if start <= high:
            plain.append((start, high))
    choices = [literal(_JSON_ESCAPES[point]) for point in special]
    if plain:
        if len(plain) == 1 and plain[0][0] == plain[0][1]:
            choices.insert(0, literal(chr(plain[0][0])))
        else:
            body = "".join(_point(low) if low == high else f"{_point(low)}-{_point(high)}" for low, high in plain)
            choices.insert(0, f"[{body}]")
    if not choices:
        raise UnsupportedPattern("a control character")
    return Piece(alternatives(choices), 1, 1)


def _point(point: int) -> str:
    if chr(point).isascii() and chr(point).isalnum():
        return chr(point)
    return f"\\x{point:02X}" if point < 0x100 else f"\\u{point:04X}" if point < 0x10000 else f"\\U{point:08X}"
