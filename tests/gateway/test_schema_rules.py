"""JSON schemas that callers send."""

from typing import Any

import pytest

from freehold.errors import InvalidRequest
from freehold.gateway.schema_rules import check_schema

GOOD: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"$ref": "#/$defs/c"}}},
    "required": ["a", "b"],
    "additionalProperties": False,
    "$defs": {"c": {"type": "object", "properties": {}, "required": [], "additionalProperties": False}},
}


def test_a_closed_schema_passes_the_strict_mode() -> None:
    """A schema that closes every object and requires every property may be asked for strictly."""
    check_schema(GOOD, strict=True, param="response_format")
    assert GOOD["additionalProperties"] is False


@pytest.mark.parametrize(
    ("schema", "strict", "text"),
    [
        ({"type": "strin"}, False, "'#/type'"),
        ({"type": "object", "properties": {"a": {"type": 3}}}, False, "'#/properties/a/type'"),
        ({**GOOD, "additionalProperties": True}, True, "'additionalProperties' is required"),
        ({**GOOD, "required": ["a"]}, True, "missing: b"),
        ({"type": "array", "items": {"type": "string"}}, True, "root"),
        (
            {**GOOD, "properties": {"a": {"type": "object", "properties": {"x": {}}}, "b": {"type": "null"}}},
            True,
            "'#/properties",
        ),
    ],
)
def test_wrong_schemas_are_told_by_their_place(schema: dict[str, Any], strict: bool, text: str) -> None:
    """What is not a schema, or breaks a rule of the strict mode, is told with a JSON pointer."""
    with pytest.raises(InvalidRequest) as caught:
        check_schema(schema, strict=strict, param="response_format")
    assert text in caught.value.message
    assert (caught.value.param, caught.value.code) == ("response_format", "invalid_json_schema")


def test_endless_nesting_is_refused() -> None:
    """A schema nested deeper than the limit is refused instead of exhausting the stack."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(60):
        schema = {"type": "array", "items": schema}
    with pytest.raises(InvalidRequest, match="nested deeper"):
        check_schema(schema, strict=False, param="tools")
