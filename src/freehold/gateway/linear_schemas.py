"""JSON schemas that others wrote: checked by their own draft, without fetching anything, and in linear time."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

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


def linear_validator(schema: Mapping[str, Any]) -> Validator:
    """Checks by the schema's own draft, fetches nothing, and matches patterns in linear time.

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
    }
    linear: type[Validator] = extend(draft, rules)  # type: ignore[no-untyped-call]
    return linear


def _matches(pattern: str, text: str) -> bool | None:
    """Whether a pattern is found in a text; None where only an engine that may take forever could tell."""
    try:
        return re2.search(pattern, text) is not None
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


def _unchecked(*_: Any) -> Iterator[ValidationError]:
    return iter(())
