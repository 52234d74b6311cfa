"""Schemas that others wrote are checked in bounded time, and nothing is fetched for them."""

from typing import Any

import pytest
from referencing.exceptions import Unresolvable

from freehold.gateway.linear_schemas import MOST_REFERENCES, SchemaTooCostly, linear_validator, problem_of

DRAFTS = (
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
)


def wrong(schema: dict[str, Any], value: Any) -> str | None:
    """What is wrong with a value."""
    found = problem_of(linear_validator(schema), value)
    return None if found is None else found.message


@pytest.mark.parametrize("draft", DRAFTS)
def test_references_that_double_come_to_an_end(draft: str) -> None:
    """Forty levels that each refer twice to the next would be a million million steps; they are given up soon."""
    names = "definitions"
    levels: dict[str, Any] = {f"a{n}": {"allOf": [{"$ref": f"#/{names}/a{n + 1}"}] * 2} for n in range(40)}
    schema = {"$schema": draft, names: {**levels, "a40": {}}, "allOf": [{"$ref": f"#/{names}/a0"}]}
    with pytest.raises(SchemaTooCostly, match=f"more than {MOST_REFERENCES} references"):
        wrong(schema, {})


def test_a_schema_of_itself_is_told() -> None:
    """A reference to the whole schema without end is an error, and no crash."""
    with pytest.raises(SchemaTooCostly, match="without end"):
        wrong({"$ref": "#"}, {})


def test_what_is_elsewhere_is_not_fetched() -> None:
    """An address in a reference is none that is looked up."""
    with pytest.raises(Unresolvable):
        wrong({"$ref": "http://127.0.0.1:9/schema"}, {})


def test_many_references_are_followed() -> None:
    """Each value has the whole bound; a list of a thousand references is far within it."""
    validator = linear_validator({"$defs": {"a": {"type": "integer"}}, "items": {"$ref": "#/$defs/a"}})
    for _ in range(30):
        assert problem_of(validator, [1] * 1000) is None
    found = problem_of(validator, [1, "x"])
    assert found is not None
    assert found.json_path == "$[1]"


def test_unique_items_are_told_in_one_pass() -> None:
    """A long list of objects is looked at once; equal numbers are equal however they are written, and true is not 1."""
    assert wrong({"uniqueItems": True}, [{"a": n} for n in range(50_000)]) is None
    assert wrong({"uniqueItems": True}, [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}]) == "has non-unique elements"
    assert wrong({"uniqueItems": True}, [1, True, 0, False, "1", [1], [True], None]) is None
    assert wrong({"uniqueItems": False}, [1, 1]) is None


def test_patterns_take_no_time_and_leave_no_trace(capfd: pytest.CaptureFixture[str]) -> None:
    """What backtracks is matched in linear time; what cannot be is not checked, and stands in no log."""
    assert wrong({"pattern": "^(a+)+$"}, "a" * 50_000 + "b") is not None
    assert wrong({"pattern": "(a{1,900}){1,900}"}, "b") is None
    assert capfd.readouterr().err == ""
