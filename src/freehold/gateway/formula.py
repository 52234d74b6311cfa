"""The formulas of `multi` graders, such as `0.7 * style + 0.3 * max(facts, 0.5)`.

Python's parser reads them, and nothing of Python runs them: the tree is walked here, over numbers, the graders' names,
the operators `+ - * / ^` and a few functions. `^` is the power, as in OpenAI's documentation.
"""

import ast
import math
from collections.abc import Callable, Collection, Mapping
from typing import Final

from freehold.errors import InvalidRequest

MAX_NODES: Final = 500
_OPERATIONS: Final[Mapping[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: lambda one, other: one + other,
    ast.Sub: lambda one, other: one - other,
    ast.Mult: lambda one, other: one * other,
    ast.Div: lambda one, other: one / other,
    ast.Pow: math.pow,
}
_SIGNS: Final[Mapping[type[ast.unaryop], Callable[[float], float]]] = {
    ast.UAdd: lambda value: value,
    ast.USub: lambda value: -value,
}
_FUNCTIONS: Final[Mapping[str, tuple[Callable[..., float], int, int]]] = {
    "abs": (abs, 1, 1),
    "ceil": (math.ceil, 1, 1),
    "exp": (math.exp, 1, 1),
    "floor": (math.floor, 1, 1),
    "log": (math.log, 1, 1),
    "max": (max, 2, 32),
    "min": (min, 2, 32),
    "sqrt": (math.sqrt, 1, 1),
}
"""By name: what it does, and how many numbers it takes at least and at most."""


class FormulaProblem(InvalidRequest):
    """A formula cannot be read, or has no value for these scores."""


def check_formula(text: str, names: Collection[str], param: str | None = None) -> None:
    """Return if a formula can be worked out for scores of these names.

    Raises:
        FormulaProblem: it cannot; names what is wrong.
    """
    _walked(_read(text, param), dict.fromkeys(names, 1.0), param, counting=False)


def work_out(text: str, scores: Mapping[str, float], param: str | None = None) -> float:
    """The value of a formula.

    Args:
        text: the formula.
        scores: by the names of graders.
        param: where it stands, for the error.

    Raises:
        FormulaProblem: it has none: it cannot be read, divides by zero, or comes to no finite number.
    """
    try:
        value = _walked(_read(text, param), scores, param, counting=True)
    except (ArithmeticError, ValueError) as exc:
        raise _problem(f"it cannot be worked out for these scores: {exc}", param) from exc
    if not math.isfinite(value):
        raise _problem("it comes to no finite number", param)
    return value


def _read(text: str, param: str | None) -> ast.expr:
    try:
        tree = ast.parse(text.strip().replace("^", "**"), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise _problem("it cannot be read", param) from exc
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise _problem("it is too long", param)
    return tree.body


def _walked(node: ast.expr, scores: Mapping[str, float], param: str | None, *, counting: bool) -> float:
    """The value of a part; where it is not counted it is only looked at, and 1."""

    def value(part: ast.expr) -> float:
        return _walked(part, scores, param, counting=counting)

    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number) if counting else 1.0
        case ast.Name(id=name):
            if name not in scores:
                raise _problem(f"it names '{name[:64]}', and there is no such grader", param)
            return scores[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
            inner = value(operand)
            return _SIGNS[type(op)](inner) if counting else 1.0
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            one, other = value(left), value(right)
            return _OPERATIONS[type(op)](one, other) if counting else 1.0
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            function, least, most = _FUNCTIONS[name]
            numbers = [value(each) for each in args]
            if not least <= len(numbers) <= most:
                raise _problem(f"'{name}' takes {least} to {most} numbers", param)
            return float(function(*numbers)) if counting else 1.0
        case _:
            raise _problem(
                "it may have numbers, the names of graders, + - * / ^ and " + ", ".join(sorted(_FUNCTIONS)), param
            )


def _problem(why: str, param: str | None) -> FormulaProblem:
    return FormulaProblem(f"Invalid formula: {why}.", param=param, code="invalid_formula")
