"""The rules of one grammar, the bounds that keep its texts short enough, and JSON under no schema."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from freehold.engines.grammar_pieces import CHAR, integer
from freehold.engines.grammar_pieces import number as number_between

MAX_RULES = 3000
CHARS_PER_TOKEN = 2
"""Fewer than models write, so that the bounds err on the side of ending."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most of what a schema leaves open: characters of a string, items of an array, recursion."""

    string: int
    items: int
    depth: int


LADDER: Final = (
    Bounds(2000, 100, 6),
    Bounds(1000, 50, 5),
    Bounds(500, 32, 4),
    Bounds(250, 16, 3),
    Bounds(120, 8, 3),
    Bounds(60, 6, 2),
    Bounds(32, 4, 2),
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A grammar that can stand in a sequence, and the most characters that it makes."""

    text: str
    most: int


class Rules:
    """The rules of one grammar; equal rules are one."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def add(self, body: str) -> str:
        """The name of the rule with this body.

        Raises:
            ValueError: the grammar has become too large.
        """
        if len(self._names) >= MAX_RULES:
            raise ValueError("it is too large")
        return self._names.setdefault(body, f"r{len(self._names)}")

    def render(self, root: str) -> str:
        """The grammar whose texts are those of `root`."""
        return "\n".join([f"root ::= {root}", *(f"{name} ::= {body}" for body, name in self._names.items()), ""])


def fit(build: Callable[[Rules, Bounds], Piece], tokens: int) -> str:
    """The grammar that `build` makes under the widest bounds whose longest text still fits the tokens."""
    rules, root = Rules(), Piece("", 0)
    for bounds in LADDER:
        rules = Rules()
        root = build(rules, bounds)
        if root.most <= tokens * CHARS_PER_TOKEN:
            break
    return rules.render(root.text)


def any_object(rules: Rules, bounds: Bounds) -> Piece:
    """Any JSON object, at most four levels deep."""
    return FreeJson(rules, bounds).object(3)


class FreeJson:
    """JSON under no schema. Its length is taken as that of one full level: all levels full is not met in practice."""

    def __init__(self, rules: Rules, bounds: Bounds) -> None:
        self._rules = rules
        self._bounds = bounds
        self.string: Final = rules.add(f'"\\"" {rules.add(CHAR)}{{0,{bounds.string}}} "\\""')
        key = rules.add(f'"\\"" {rules.add(CHAR)}{{1,{min(64, bounds.string)}}} "\\": "')
        self.key: Final = key

    def value(self, depth: int) -> Piece:
        """Any value whose arrays and objects nest at most `depth` deep."""
        scalars = [self.string, integer(None, None) or "", number_between(None, None, above=False, below=False) or ""]
        choices = [*scalars, '"true"', '"false"', '"null"']
        if depth > 0:
            choices += [self.object(depth - 1).text, self._array(depth - 1)]
        return Piece(self._rules.add(" | ".join(choices)), self._most)

    def object(self, depth: int) -> Piece:
        """Any object whose values nest at most `depth` deep."""
        return self.mapping(self.value(depth), 0, max(2, self._bounds.items >> (3 - min(depth, 3))))

    def mapping(self, value: Piece, least: int, most: int) -> Piece:
        """An object with any keys and such values."""
        pair = self._rules.add(f"{self.key} {value.text}")
        body = f'"{{" {pair} (", " {pair}){{{max(least - 1, 0)},{max(most - 1, 0)}}} "}}"'
        return Piece(self._rules.add(body if least else f'"{{}}" | {body}'), 2 + most * (value.most + 24))

    def _array(self, depth: int) -> str:
        value = self.value(depth).text
        most = max(2, self._bounds.items >> (3 - min(depth, 3)))
        return self._rules.add(f'"[]" | "[" {value} (", " {value}){{0,{most - 1}}} "]"')

    @property
    def _most(self) -> int:
        return 2 * self._bounds.string
