"""A sampler of llama.cpp's grammars: makes random texts of a grammar, so that tests can judge all that it allows."""

import random
from collections.abc import Callable

Node = Callable[[random.Random], str]
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def seeded(seed: object) -> random.Random:
    """A source of choices that is the same each time."""
    return random.Random(str(seed))  # not for secrets


class Sampler:
    """Reads a grammar once; `sample` makes one of its texts."""

    def __init__(self, grammar: str) -> None:
        self._rules: dict[str, Node] = {}
        for line in grammar.splitlines():
            name, _, body = line.partition(" ::= ")
            self._text, self._at = body, 0
            self._rules[name] = self._choices()
            assert self._at == len(body), f"unread: {body[self._at :]}"

    def sample(self, rng: random.Random) -> str:
        """A text of the grammar, chosen at random."""
        return self._rules["root"](rng)

    def _skip(self) -> str:
        while self._text[self._at : self._at + 1] == " ":
            self._at += 1
        return self._text[self._at : self._at + 1]

    def _choices(self) -> Node:
        options = [self._sequence()]
        while self._skip() == "|":
            self._at += 1
            options.append(self._sequence())
        return lambda rng: rng.choice(options)(rng)

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._skip() not in {"", "|", ")"}:
            parts.append(self._repeated(self._atom()))
        return lambda rng: "".join(part(rng) for part in parts)

    def _atom(self) -> Node:
        char = self._text[self._at]
        self._at += 1
        if char == "(":
            inner = self._choices()
            assert self._skip() == ")"
            self._at += 1
            return inner
        if char == '"':
            text = ""
            while self._text[self._at] != '"':
                text += self._char()
            self._at += 1
            return lambda _rng: text
        if char == "[":
            return self._class()
        end = self._at
        while end < len(self._text) and (self._text[end].isalnum() or self._text[end] in "-_"):
            end += 1
        name, self._at = self._text[self._at - 1 : end], end
        return lambda rng: self._rules[name](rng)  # noqa: PLW0108  # the rule may not have been read yet

    def _char(self) -> str:
        char = self._text[self._at]
        self._at += 1
        if char != "\\":
            return char
        kind = self._text[self._at]
        self._at += 1
        width = {"x": 2, "u": 4, "U": 8}.get(kind)
        if width is None:
            return ESCAPES.get(kind, kind)
        digits = self._text[self._at : self._at + width]
        self._at += width
        return chr(int(digits, 16))

    def _class(self) -> Node:
        negated = self._text[self._at] == "^"
        self._at += negated
        ranges: list[tuple[int, int]] = []
        while self._text[self._at] != "]":
            low = self._char()
            high = low
            if self._text[self._at] == "-":
                self._at += 1
                high = self._char()
            ranges.append((ord(low), ord(high)))
        self._at += 1
        if negated:
            pool = [chr(p) for p in (*range(256), 0x20AC, 0x1F600) if not any(a <= p <= b for a, b in ranges)]
            return lambda rng: rng.choice(pool)

        def draw(rng: random.Random) -> str:
            low, high = rng.choice(ranges)
            return chr(rng.choice((low, high, rng.randint(low, high))))

        return draw

    def _repeated(self, node: Node) -> Node:
        char = self._text[self._at : self._at + 1]
        if char == "?":
            self._at += 1
            return lambda rng: node(rng) if rng.random() < 0.5 else ""
        if char == "*":
            self._at += 1
            return lambda rng: "".join(node(rng) for _ in range(_count(rng, 0, 40)))
        if char != "{":
            return node
        end = self._text.index("}", self._at)
        low, comma, high = self._text[self._at + 1 : end].partition(",")
        self._at = end + 1
        least, most = int(low), int(high) if comma else int(low)
        return lambda rng: "".join(node(rng) for _ in range(_count(rng, least, most)))


def _count(rng: random.Random, least: int, most: int) -> int:
    return rng.choice((least, most if most < least + 5 else least + 4, rng.randint(least, min(most, least + 12))))
