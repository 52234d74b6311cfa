"""Templates such as `{{ item.question }}`: what they may hold, and what they become.

Jinja's parser reads them, and nothing of Jinja runs them. The tree that it makes is walked here, and has to consist of
texts and of expressions that name a field of `item` or `sample`, perhaps with filters; everything else is refused:
statements, calls, operators. A name means a key of JSON data and never an attribute of a Python object. What is put in
is text, and is not looked at again: braces in it mean nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import orjson
from jinja2 import Environment, TemplateSyntaxError, nodes

from freehold.errors import InvalidRequest
from freehold.types.graders import MAX_TEMPLATE

MAX_RENDERED: Final = 1024 * 1024
"""Characters that a template may become."""
MAX_WORK: Final = 16 * 1024 * 1024
"""Characters that the filters of a template may write, those of one another and of what is then cut down included."""
MAX_DEPTH: Final = 32
"""Steps of one expression."""
NAMES: Final = ("item", "sample")

Data: TypeAlias = Mapping[str, Any]

_PARSER: Final = Environment(autoescape=False, keep_trailing_newline=True)  # noqa: S701  # it parses; what it would render never becomes a page


class TemplateProblem(InvalidRequest):
    """A template cannot be filled in: a field is not there, or the result is too long."""


@dataclass(frozen=True, slots=True)
class _Reference:
    """An expression of a template: the keys on the way to a value, and what is done with it."""

    path: tuple[str | int, ...]
    filters: tuple[str, ...]

    @property
    def name(self) -> str:
        """As a reader would write it."""
        steps = (
            f".{step}" if isinstance(step, str) and step.isidentifier() else f"[{step!r}]" for step in self.path[1:]
        )
        return f"{self.path[0]}{''.join(steps)}"


Piece: TypeAlias = str | _Reference


def check_template(text: str, param: str | None = None) -> None:
    """Return if a text can be a template.

    Args:
        text: with or without templates.
        param: where it stands, for the error.

    Raises:
        InvalidRequest: it has something in it that is not allowed, or cannot be read.
    """
    try:
        _pieces(text)
    except _Forbidden as exc:
        raise InvalidRequest(
            f"Invalid template{f' in {param!r}' if param else ''}: {exc}.", param=param, code="invalid_template"
        ) from exc


def render(text: str, item: Data, sample: Data) -> str:
    """Fill in a template.

    Args:
        text: as `check_template` has found it to be one.
        item: what `item` stands for.
        sample: what `sample` stands for.

    Raises:
        TemplateProblem: it names a field that is not there, or becomes too long.
    """
    found: list[str] = []
    left, work = MAX_RENDERED, [MAX_WORK]
    for piece in _checked(text):
        filled = piece if isinstance(piece, str) else _text(_value(piece, item, sample, work))
        left -= len(filled)
        if left < 0:
            raise TemplateProblem(f"A template comes to more than {MAX_RENDERED} characters.", code="invalid_template")
        found.append(filled)
    return "".join(found)


def value_of(reference: str, item: Data, sample: Data) -> Any:
    """What a reference such as `item.messages` names, as it is.

    Raises:
        TemplateProblem: as `render`.
        InvalidRequest: it is no reference.
    """
    wrapped = reference if "{{" in reference else "{{ " + reference + " }}"
    match _checked(wrapped):
        case (_Reference() as found,):
            return _value(found, item, sample, [MAX_WORK])
        case _:
            raise InvalidRequest(
                f"'{reference[:64]}' must name one field, such as 'item.messages'.", code="invalid_template"
            )


class _Forbidden(ValueError):
    """What stands in a template and may not."""


def _checked(text: str) -> tuple[Piece, ...]:
    try:
        return _pieces(text)
    except _Forbidden as exc:
        raise TemplateProblem(f"Invalid template: {exc}.", code="invalid_template") from exc


@lru_cache(maxsize=512)
def _pieces(text: str) -> tuple[Piece, ...]:
    """A template as texts and references.

    Raises:
        _Forbidden: it has something else in it.
    """
    if len(text) > MAX_TEMPLATE:
        raise _Forbidden(f"it has {len(text)} characters, and may have {MAX_TEMPLATE}")
    if "{{" not in text and "{%" not in text and "{#" not in text:
        return (text,)
    try:
        tree = _PARSER.parse(text)
    except TemplateSyntaxError as exc:
        raise _Forbidden(f"it cannot be read: {exc.message or 'syntax error'}"[:200]) from exc
    except RecursionError as exc:
        raise _Forbidden("it is nested too deep") from exc
    pieces: list[Piece] = []
    for node in tree.body:
        if not isinstance(node, nodes.Output):
            raise _Forbidden("only expressions such as '{{ item.question }}' are allowed, and no statements")
        pieces += [each.data if isinstance(each, nodes.TemplateData) else _reference(each) for each in node.nodes]
    return tuple(pieces)


def _reference(node: nodes.Node) -> _Reference:
    """An expression as a reference."""
    path: list[str | int] = []
    filters: list[str] = []
    for _ in range(MAX_DEPTH):
        match node:
            case nodes.Filter(
                name=name, args=[], kwargs=[], dyn_args=None, dyn_kwargs=None, node=nodes.Expr() as inner
            ):
                if name not in FILTERS:
                    raise _Forbidden(f"there is no filter '{name[:64]}' here; there are {', '.join(sorted(FILTERS))}")
                if path:
                    raise _Forbidden("a filter stands at the end of an expression")
                filters.append(name)
                node = inner
            case nodes.Getattr(attr=str() as step, node=inner):
                path.append(step)
                node = inner
            case nodes.Getitem(arg=nodes.Const(value=str() | int() as key), node=inner) if not isinstance(key, bool):
                path.append(key)
                node = inner
            case nodes.Getitem(arg=nodes.Neg(node=nodes.Const(value=int() as key)), node=inner):
                path.append(-key)
                node = inner
            case nodes.Name(name=name) if name in NAMES:
                return _Reference((name, *reversed(path)), tuple(reversed(filters)))
            case nodes.Name(name=name):
                raise _Forbidden(f"it names '{name[:64]}', and there are only 'item' and 'sample'")
            case _:
                raise _Forbidden("an expression may only name a field of 'item' or 'sample', with filters behind it")
    raise _Forbidden(f"an expression may have {MAX_DEPTH} steps")


def _value(reference: _Reference, item: Data, sample: Data, work: list[int]) -> Any:
    """What a reference names; what its filters write is taken from `work`.

    Raises:
        TemplateProblem: there is no such field, or the filters write too much.
    """
    here: Any = {"item": item, "sample": sample}
    for step in reference.path:
        known, here = _step(here, step)
        if not known:
            raise TemplateProblem(
                f"The template names '{reference.name[:200]}', and there is no such field.", code="unknown_field"
            )
    for name in reference.filters:
        here = FILTERS[name](here)
        work[0] -= len(here) if isinstance(here, str) else 1
        if work[0] < 0:
            raise TemplateProblem(
                f"A template's filters write more than {MAX_WORK} characters.", code="invalid_template"
            )
    return here


def _step(here: Any, step: str | int) -> tuple[bool, Any]:
    """Whether there is such a key or place, and what is there."""
    match here, step:
        case Mapping(), str() if step in here:
            return True, here[step]
        case list(), int() if -len(here) <= step < len(here):
            return True, here[step]
        case _:
            return False, None


def _text(value: Any) -> str:
    """A value as it stands in a text: a string as it is, everything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _length(value: Any) -> int:
    return len(value if isinstance(value, str | list | dict) else _text(value))


FILTERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "length": _length,
    "lower": lambda value: _text(value).lower(),
    "string": _text,
    "tojson": lambda value: orjson.dumps(value).decode(),
    "trim": lambda value: _text(value).strip(),
    "upper": lambda value: _text(value).upper(),
}
"""What may stand behind a field, after a `|`."""
