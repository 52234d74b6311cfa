"""Conditions on measured numbers, such as `gsm8k >= 0.3 and toxicity <= base + 0.02`.

Python's own parser reads the text; what is allowed in it is a short list. Nothing of it is ever executed.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, TypeAlias

BASE: Final = "base"
"""Stands for what the same thing is measured at with the model that is replaced."""
MOST_CHARACTERS: Final = 1000
_MOST_DEPTH: Final = 50

_OPERATORS: Final[Mapping[type[ast.cmpop], tuple[str, Callable[[float, float], bool]]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
}
_ARITHMETIC: Final[Mapping[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of one comparison.

    Args:
        text: as it was written.
        name: what is compared.
        holds: whether it holds; None where a number is missing.
        value: what was measured.
        base: what the replaced model was measured at; None where it is not asked for or missing.
        missing: what is missing, if anything: the name, or `base`.
    """

    text: str
    name: str
    holds: bool | None
    value: float | None
    base: float | None
    missing: str | None = None

    def told(self) -> str:
        """The comparison with its numbers."""
        if self.missing is not None:
            whose = "the present model" if self.missing == BASE else "the candidate"
            return f"'{self.text}': there is no number of '{self.name}' for {whose}"
        base = "" if self.base is None else f", base is {self.base:.6g}"
        return f"'{self.text}': {self.name} is {self.value:.6g}{base}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a condition holds, None where that rests on a missing number, and its comparisons."""

    holds: bool | None
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was read by `parse_condition`."""

    text: str
    names: frozenset[str] = field(compare=False)
    _tree: ast.expr = field(compare=False, repr=False)

    def judge(self, values: Mapping[str, float], base: Mapping[str, float]) -> Judgement:
        """Whether it holds.

        Args:
            values: what was measured of the candidate, by name.
            base: the same of the model that it would replace.
        """
        found: list[Comparison] = []
        return Judgement(_judged(self._tree, _Numbers(self.text, values, base), found), tuple(found))


@lru_cache(maxsize=1000)
def parse_condition(text: str) -> Condition:
    """Read a condition.

    Args:
        text: comparisons (`<`, `<=`, `>`, `>=`, `==`, `!=`) joined by `and`, `or`, `not` and parentheses. Each is
            about one name; a name with other characters than letters, digits and `_` stands in quotation marks. The
            other side is made of numbers and `base` with `+`, `-` and `*`.

    Raises:
        ValueError: it is none; names the place.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"a condition has at most {MOST_CHARACTERS} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as exc:
        raise ValueError(f"column {exc.offset or 1}: this cannot be read: {exc.msg}") from None
    except (RecursionError, MemoryError):
        raise ValueError("column 1: this is nested too deeply") from None
    names: set[str] = set()
    _check(tree, text.strip(), names, 0)
    return Condition(text.strip(), frozenset(names), tree)


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What a condition is judged by."""

    text: str
    values: Mapping[str, float]
    base: Mapping[str, float]


_Truth: TypeAlias = bool | None


def _check(node: ast.expr, text: str, names: set[str], depth: int) -> None:
    """ValueError unless a part of a condition is one; collects the names in it."""
    if depth > _MOST_DEPTH:
        raise _wrong(node, "this is nested too deeply")
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                _check(value, text, names, depth + 1)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            _check(operand, text, names, depth + 1)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for op in ops:
                if type(op) not in _OPERATORS:
                    raise _wrong(node, "compare with <, <=, >, >=, == or !=")
            own: set[str] = set()
            for side in (left, *comparators):
                _check_number(side, own, depth + 1)
            if len(own) != 1:
                told = "none" if not own else " and ".join(f"'{name}'" for name in sorted(own))
                raise _wrong(node, f"a comparison is about one name, and this one has {told}")
            names |= own
        case _:
            raise _wrong(node, "a comparison is expected here, such as accuracy >= 0.3")


def _check_number(node: ast.expr, names: set[str], depth: int) -> None:
    if depth > _MOST_DEPTH:
        raise _wrong(node, "this is nested too deeply")
    match node:
        case ast.Constant(value=bool()):
            raise _wrong(node, "a name, a number or 'base' is expected here")
        case ast.Constant(value=int() | float()):
            return
        case ast.Name() | ast.Attribute() | ast.Constant(value=str()):
            name = _name(node)
            if name != BASE:
                names.add(name)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            _check_number(operand, names, depth + 1)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            _check_number(left, names, depth + 1)
            _check_number(right, names, depth + 1)
        case _:
            raise _wrong(node, "a name, a number or 'base' is expected here")


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Constant(value=str(name)) if name:
            return name
        case ast.Attribute(value=value, attr=attribute):
            return f"{_name(value)}.{attribute}"
        case _:
            raise _wrong(node, "a name is expected here")


def _is_base(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Constant) and _name_or_value(node) == BASE


def _name_or_value(node: ast.Name | ast.Constant) -> object:
    return node.id if isinstance(node, ast.Name) else node.value


def _wrong(node: ast.expr, what: str) -> ValueError:
    return ValueError(f"column {node.col_offset + 1}: {what}")


def _judged(node: ast.expr, numbers: _Numbers, found: list[Comparison]) -> _Truth:
    """Whether a part holds, in the logic of three values: what is missing makes no difference where it cannot."""
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [_judged(value, numbers, found) for value in values]
            decisive = isinstance(op, ast.Or)
            if decisive in parts:
                return decisive
            return None if None in parts else not decisive
        case ast.UnaryOp(operand=operand):
            inner = _judged(operand, numbers, found)
            return None if inner is None else not inner
        case ast.Compare():
            comparison = _compared(node, numbers)
            found.append(comparison)
            return comparison.holds
        case _:
            raise AssertionError("nothing else was let through")


def _compared(node: ast.Compare, numbers: _Numbers) -> Comparison:
    sides = (node.left, *node.comparators)
    own: set[str] = set()
    for side in sides:
        _check_number(side, own, 0)
    name = own.pop()
    text = ast.get_source_segment(numbers.text, node) or ast.unparse(node)
    of_base = any(_is_base(part) for side in sides for part in ast.walk(side))
    value, base = numbers.values.get(name), numbers.base.get(name) if of_base else None
    if value is None or (of_base and base is None):
        return Comparison(text, name, None, value, base, missing=name if value is None else BASE)
    measured = [_number(side, value, base or 0.0) for side in sides]
    holds = all(
        _OPERATORS[type(op)][1](left, right) for left, op, right in zip(measured, node.ops, measured[1:], strict=False)
    )
    return Comparison(text, name, holds, value, base)


def _number(node: ast.expr, value: float, base: float) -> float:
    match node:
        case ast.Constant(value=int(number) | float(number)):
            return float(number)
        case ast.UnaryOp(op=op, operand=operand):
            inner = _number(operand, value, base)
            return -inner if isinstance(op, ast.USub) else inner
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_number(left, value, base), _number(right, value, base))
        case _:
            return base if _name(node) == BASE else value
