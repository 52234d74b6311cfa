"""JSON schemas that others wrote: checked by their own draft, without fetching anything, and in bounded time."""

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import cache, partial
from typing import Any, Final

import orjson
import re2
from jsonschema import Draft4Validator, Draft6Validator, Draft7Validator, Draft201909Validator, Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry

DRAFTS: Final[Mapping[str, type[Validator]]] = {
    "http://json-schema.org/draft-04/schema": Draft4Validator,
    "http://json-schema.org/draft-06/schema": Draft6Validator,
    "http://json-schema.org/draft-07/schema": Draft7Validator,
    "https://json-schema.org/draft/2019-09/schema": Draft201909Validator,
}
"""What a schema may say that it is; else it is of the draft of 2020-12, as the protocol has it."""


MOST_REFERENCES: Final = 20_000
"""That are followed in one value: schemas which refer to each other twice at each level would take forever."""
_EXACT: Final = 2**53
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_QUIET: Final = re2.Options()
_QUIET.log_errors = False  # a pattern is others' text, and none for our log

_left: ContextVar[list[int]] = ContextVar("references that may still be followed")


class SchemaTooCostly(Exception):  # what to call it is whose schema it is to say
    """A value cannot be checked by a schema in a bounded time."""


def problem_of(validator: Validator, value: Any) -> ValidationError | None:
    """The first thing that is wrong with a value; None if nothing is.

    Raises:
        SchemaTooCostly: it follows more than MOST_REFERENCES, or is nested too deep.
        Unresolvable: the schema refers to what is not there.
    """
    token = _left.set([MOST_REFERENCES])
    try:
        return next(iter(validator.iter_errors(value)), None)
    except RecursionError as exc:
        raise SchemaTooCostly("it refers to itself without end, or is nested too deep") from exc
    finally:
        _left.reset(token)


def linear_validator(schema: Mapping[str, Any]) -> Validator:
    """Checks by the schema's own draft, fetches nothing, and matches patterns in linear time; see `problem_of`.

    Raises:
        SchemaError: it is no schema.
    """
    named = schema.get("$schema")
    draft = DRAFTS.get(named.rstrip("#"), Draft202012Validator) if isinstance(named, str) else Draft202012Validator
    draft.check_schema(dict(schema))
    return _linear(draft)(dict(schema), registry=Registry())


@cache
def _linear(draft: type[Validator]) -> type[Validator]:
    """A draft whose patterns are matched by RE2; what would need more than that is not checked."""
    rules = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "unevaluatedProperties": _unchecked,
        "unevaluatedItems": _unchecked,
        "uniqueItems": _unique_items,
        **{name: partial(_counted, draft.VALIDATORS[name]) for name in _REFERENCES if name in draft.VALIDATORS},
    }
    linear: type[Validator] = extend(draft, rules)  # type: ignore[no-untyped-call]
    return linear


def _matches(pattern: str, text: str) -> bool | None:
    """Whether a pattern is found in a text; None where only an engine that may take forever could tell."""
    try:
        return re2.search(pattern, text, options=_QUIET) is not None
    except re2.error:
        return None


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and _matches(pattern, value) is False:
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Mapping[str, Any], value: Any, _: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    for pattern, schema in patterns.items():
        for name, each in value.items():
            if _matches(pattern, name):
                yield from validator.descend(each, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, rest: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, each in value.items():
        if name in named or any(_matches(pattern, name) is not False for pattern in patterns):
            continue
        if rest is False:
            yield ValidationError(f"there is no {name!r} here")
        elif isinstance(rest, dict):
            yield from validator.descend(each, rest, path=name)


def _counted(follow: Any, validator: Any, reference: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    """Follow a reference, as long as there are not too many.

    Raises:
        SchemaTooCostly: there are.
    """
    left = _left.get()
    left[0] -= 1
    if left[0] < 0:
        raise SchemaTooCostly(f"it follows more than {MOST_REFERENCES} references")
    yield from follow(validator, reference, value, schema)


def _unique_items(_: Any, wanted: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    if wanted is True and isinstance(value, list):
        items = [orjson.dumps(_plain(each), option=orjson.OPT_SORT_KEYS) for each in value]
        if len(set(items)) < len(items):
            yield ValidationError("has non-unique elements")


def _plain(value: Any) -> Any:
    """A value in which equal numbers are written alike."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


def _unchecked(*_: Any) -> Iterator[ValidationError]:
    return iter(())
