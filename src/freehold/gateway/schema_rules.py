"""What OpenAI's strict mode asks of a JSON schema, and that it is a schema at all.

Source: OpenAI's guide to structured outputs, "Supported schemas": every object closes itself with
`additionalProperties: false` and requires all of its properties, and the root is an object.
"""

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from freehold.errors import InvalidRequest

MAX_DEPTH = 32


def check_schema(schema: dict[str, Any], *, strict: bool, param: str) -> None:
    """Return if the schema is one that can be asked for.

    Raises:
        InvalidRequest: it is not a JSON schema, is nested too deep, or breaks a rule of the strict mode.
    """
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as exc:
        where = "/".join(str(step) for step in exc.absolute_path)
        raise InvalidRequest(
            f"Invalid schema: at '#/{where}': {exc.message[:200]}", param=param, code="invalid_json_schema"
        ) from exc
    except RecursionError as exc:
        raise _too_deep(param) from exc
    _walk(schema, "#", strict=strict, param=param, depth=0)
    if strict and schema.get("type") != "object":
        raise InvalidRequest(
            'Invalid schema: in strict mode the root must have "type": "object".',
            param=param,
            code="invalid_json_schema",
        )


def _too_deep(param: str) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid schema: nested deeper than {MAX_DEPTH} levels.", param=param, code="invalid_json_schema"
    )


def _walk(node: Any, path: str, *, strict: bool, param: str, depth: int) -> None:
    """Visit every sub-schema; `path` is a JSON pointer for the message."""
    if depth > MAX_DEPTH:
        raise _too_deep(param)
    if isinstance(node, list):
        for index, item in enumerate(node):
            _walk(item, f"{path}/{index}", strict=strict, param=param, depth=depth + 1)
        return
    if not isinstance(node, dict):
        return
    if strict and (node.get("type") == "object" or "properties" in node):
        problem = _strict_problem(node)
        if problem:
            raise InvalidRequest(f"Invalid schema: at '{path}': {problem}", param=param, code="invalid_json_schema")
    for key, value in node.items():
        if key in _NAMED and isinstance(value, dict):
            value = list(value.values())  # noqa: PLW2901  # the names are the caller's, the values schemas
        elif key not in _SCHEMAS:
            continue
        _walk(value, f"{path}/{key}", strict=strict, param=param, depth=depth + 1)


_NAMED = {"properties", "$defs", "definitions"}
"""Keywords whose values are tables of schemas."""
_SCHEMAS = {"items", "anyOf", "allOf", "oneOf", "prefixItems", "not", "additionalProperties"}
"""Keywords whose values are schemas, or lists of them."""


def _strict_problem(node: dict[str, Any]) -> str | None:
    """What strict mode would say against this object schema, if anything."""
    if node.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false in strict mode."
    missing = sorted(set(node.get("properties", {})) - set(node.get("required", [])))
    if missing:
        return f"'required' must list every property in strict mode; missing: {', '.join(missing)}."
    return None
