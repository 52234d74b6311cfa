"""A grammar (GBNF) held exactly, character by character, and what is left of it at any point as a grammar again.

OpenVINO GenAI holds a model to grammars with xgrammar, which is fast where a rule has few states: it computes for
each which of the vocabulary's tokens may follow. A text of at most 2,000 characters has 2,000 of them, and takes half a
second a token. So that library gets the grammar with its larger bounds left out (`GrammarMachine.remainder`), and this
machine watches what comes for the bounds. Where a text goes beyond one it is cut there, and generated on under what is
left.

The machine follows all stacks of unfinished rules at once, as llama.cpp's own does (its `src/llama-grammar.cpp`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

EXACT: Final = 16
"""Repetitions up to so many stay as they are in `GrammarMachine.remainder`; a bound above is left out."""
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True, eq=False)
class _Literal:
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class _Class:
    ranges: tuple[tuple[str, str], ...]
    negated: bool

    def has(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) is not self.negated


@dataclass(frozen=True, slots=True, eq=False)
class _Reference:
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class _Sequence:
    parts: "tuple[_Node, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    options: "tuple[_Node, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class _Repeated:
    node: "_Node"
    least: int
    most: int | None


_Node: TypeAlias = _Literal | _Class | _Reference | _Sequence | _Choice | _Repeated
_Stack: TypeAlias = "tuple[_Node, _Stack] | None"
"""What is to come, the next first."""


class GrammarMachine:
    """Reads a text under a grammar.

    Args:
        grammar: its rules, one a line, the whole text under `root`.

    Raises:
        ValueError: it is no such grammar.
    """

    def __init__(self, grammar: str) -> None:
        self._rules = dict(_Reader(line).rule() for line in grammar.splitlines() if line)
        self._repeated: dict[tuple[int, int, int | None], _Repeated] = {}
        self._literals: dict[str, _Literal] = {}
        self._stacks: list[_Stack] = [(self._rules["root"], None)]

    def feed(self, text: str) -> int:
        """Read on; how many characters fit the grammar. What comes behind them was not read."""
        for at, char in enumerate(text):
            found: dict[int | tuple[int, int], _Stack] = {}
            for stack in self._stacks:
                for after in self._after(stack, char):
                    found[_key(after)] = after
            if not found:
                return at
            self._stacks = list(found.values())
        return len(text)

    @property
    def may_end(self) -> bool:
        """Whether the text so far is one of the grammar's."""
        return any(head is None for stack in self._stacks for head in self._heads(stack))

    @property
    def must_end(self) -> bool:
        """Whether no longer text with this beginning is one of the grammar's."""
        return not any(head for stack in self._stacks for head in self._heads(stack))

    def remainder(self) -> str:
        """A grammar with every text that may follow the one so far, and with more: bounds above `EXACT` are left out.

        The bounds that are near by then are not: the next character is one that the machine takes, whichever it is.
        """
        used: dict[str, str] = {}
        root = " | ".join(self._rendered(stack, used) for stack in self._stacks)
        pending = [name for text in used.values() for name in self._names_in(text)]
        while pending:
            name = pending.pop()
            if name not in used:
                used[name] = self._text(self._rules[name], top=True)
                pending += self._names_in(used[name])
        return "\n".join([f"root ::= {root}", *(f"{name} ::= {body}" for name, body in used.items()), ""])

    # Reading

    def _after(self, stack: _Stack, char: str) -> Iterator[_Stack]:
        """What is to come after the character, if it may be the next."""
        for head in self._heads(stack):
            if head is None:
                continue
            node, rest = head
            if isinstance(node, _Literal):
                if node.text[0] == char:
                    yield rest if len(node.text) == 1 else (self._literal(node.text[1:]), rest)
            elif isinstance(node, _Class) and node.has(char):
                yield rest

    def _heads(self, stack: _Stack) -> Iterator[_Stack]:
        """The stack with each node that may be its next character on top; None where it may be at its end."""
        pending, seen = [stack], set()
        while pending:
            top = pending.pop()
            if top is None:
                yield None
                continue
            if _key(top) in seen:
                continue
            seen.add(_key(top))
            node, rest = top
            match node:
                case _Literal():
                    if node.text:
                        yield top
                    else:
                        pending.append(rest)
                case _Class():
                    yield top
                case _Reference():
                    pending.append((self._rules[node.name], rest))
                case _Sequence():
                    for part in reversed(node.parts):
                        rest = (part, rest)
                    pending.append(rest)
                case _Choice():
                    pending += [(option, rest) for option in node.options]
                case _Repeated():
                    pending += self._repetitions(node, rest)

    def _repetitions(self, node: _Repeated, rest: _Stack) -> list[_Stack]:
        """The repetition begun once more, or left where that is allowed."""
        stacks: list[_Stack] = [rest] if node.least == 0 else []
        if node.most is None or node.most > 0:
            less = self._again(node.node, max(node.least - 1, 0), None if node.most is None else node.most - 1)
            stacks.append((node.node, (less, rest)))
        return stacks

    def _again(self, node: _Node, least: int, most: int | None) -> _Repeated:
        """The one repetition of a node with these bounds, so that equal stacks are the same."""
        key = (id(node), least, most)
        if key not in self._repeated:
            self._repeated[key] = _Repeated(node, least, most)
        return self._repeated[key]

    def _literal(self, text: str) -> _Literal:
        if text not in self._literals:
            self._literals[text] = _Literal(text)
        return self._literals[text]

    # Writing

    def _rendered(self, stack: _Stack, used: dict[str, str]) -> str:
        """What a stack has to come; the rules that only it needs are put into `used`."""
        parts = []
        while stack is not None:
            node, stack = stack
            parts.append(self._text(node, top=False))
        text = " ".join(part for part in parts if part) or '""'
        name = f"s{len(used)}"
        used[name] = text
        return name

    def _text(self, node: _Node, *, top: bool) -> str:
        match node:
            case _Literal():
                return _literal_text(node.text)
            case _Class():
                return _class_text(node)
            case _Reference():
                return node.name
            case _Sequence():
                return " ".join(part for part in (self._text(part, top=False) for part in node.parts) if part) or '""'
            case _Choice():
                options = " | ".join(self._text(option, top=True) or '""' for option in node.options)
                return options if top else f"({options})"
            case _Repeated():
                return self._loosened(node)

    def _loosened(self, node: _Repeated) -> str:
        inner = self._text(node.node, top=False)
        if isinstance(node.node, _Sequence | _Repeated):
            inner = f"({inner})"
        least, most = min(node.least, EXACT), node.most
        if most is not None and most <= EXACT:
            return f"{inner}{{{node.least},{most}}}" if most else ""
        return f"{inner}{{{least}}} {inner}*" if least else f"{inner}*"

    def _names_in(self, text: str) -> list[str]:
        """The rules that a rule's text names."""
        bare = re.sub(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]', " ", text)
        return [name for name in re.findall(r"[a-z][a-z0-9-]*", bare) if name in self._rules]


def _class_text(node: _Class) -> str:
    """A class with every character that may mean something written by its number; readers differ in what does."""
    ranges = [_char(low) if low == high else f"{_char(low)}-{_char(high)}" for low, high in node.ranges]
    return f"[{'^' if node.negated else ''}{''.join(ranges)}]"


def _literal_text(text: str) -> str:
    shown = ("\\" + char if char in '"\\' else char if char.isprintable() else _char(char) for char in text)
    return f'"{"".join(shown)}"'


def _char(char: str) -> str:
    """A character in a class, or one that is not printable, with four digits or eight; of two xgrammar takes more."""
    point = ord(char)
    if char.isascii() and char.isalnum():
        return char
    return f"\\u{point:04X}" if point < 0x10000 else f"\\U{point:08X}"


def _key(stack: _Stack) -> int | tuple[int, int]:
    """Names a stack: the same for the same nodes in the same order, which is enough to leave out most doubles."""
    return 0 if stack is None else (id(stack[0]), hash(_ids(stack[1])))


def _ids(stack: _Stack) -> tuple[int, ...]:
    found = []
    while stack is not None:
        found.append(id(stack[0]))
        stack = stack[1]
    return tuple(found)


class _Reader:
    """Reads one rule."""

    def __init__(self, line: str) -> None:
        self._name, _, self._source = line.partition(" ::= ")
        self._at = 0

    def rule(self) -> tuple[str, _Node]:
        node = self._choice()
        if self._at != len(self._source):
            raise ValueError(f"the grammar's rule {self._name} cannot be read from: {self._source[self._at :][:40]}")
        return self._name, node

    def _peek(self) -> str:
        while self._source[self._at : self._at + 1] == " ":
            self._at += 1
        return self._source[self._at : self._at + 1]

    def _choice(self) -> _Node:
        options = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            options.append(self._sequence())
        return options[0] if len(options) == 1 else _Choice(tuple(options))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._peek() not in {"", "|", ")"}:
            parts.append(self._repetition(self._atom()))
        return parts[0] if len(parts) == 1 else _Sequence(tuple(parts))

    def _atom(self) -> _Node:
        if self._source[self._at] == "(":
            self._at += 1
            inner = self._choice()
            if self._peek() != ")":
                raise ValueError(f"the grammar's rule {self._name} has no end of a group")
            self._at += 1
            return inner
        for pattern, made in ((_LITERAL, self._made_literal), (_CLASS, self._made_class), (_NAME, self._made_name)):
            found = pattern.match(self._source, self._at)
            if found:
                self._at = found.end()
                return made(found[0])
        raise ValueError(f"the grammar's rule {self._name} cannot be read from: {self._source[self._at :][:40]}")

    def _made_literal(self, source: str) -> _Node:
        return _Literal("".join(_unescaped(found) for found in _CHAR.findall(source[1:-1])))

    def _made_class(self, source: str) -> _Node:
        negated = source.startswith("[^")
        chars = _CHAR.findall(source[2 if negated else 1 : -1])
        ranges: list[tuple[str, str]] = []
        at = 0
        while at < len(chars):
            if chars[at + 1 : at + 2] == ["-"] and at + 2 < len(chars):
                ranges.append((_unescaped(chars[at]), _unescaped(chars[at + 2])))
                at += 3
            else:
                ranges.append((_unescaped(chars[at]), _unescaped(chars[at])))
                at += 1
        return _Class(tuple(ranges), negated)

    def _made_name(self, source: str) -> _Node:
        return _Reference(source)

    def _repetition(self, node: _Node) -> _Node:
        found = _TIMES.match(self._source, self._at)
        if not found:
            return node
        self._at = found.end()
        bounds = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(found[0])
        if bounds is None:
            least = int(found[1])
            bounds = (least, least if found[2] is None else int(found[2][1:]) if found[2] != "," else None)
        return _Repeated(node, *bounds)


_CHAR = re.compile(r"\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}|\\.|[^\\]", re.DOTALL)
_LITERAL = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)
_CLASS = re.compile(r"\[(?:\\.|[^\]\\])*\]", re.DOTALL)
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_TIMES = re.compile(r"[*+?]|\{(\d+)(,\d*)?\}")


def _unescaped(char: str) -> str:
    if char[0] != "\\":
        return char
    if char[1] in "xuU" and len(char) > 2:
        return bytes.fromhex(char[2:].rjust(8, "0")).decode("utf-32-be")
    return _ESCAPES.get(char[1], char[1])
