"""What goes to a tool and comes back, without a server."""

from typing import Any

import pytest

from freehold.errors import McpCallRefused, McpFailed
from freehold.gateway.mcp_output import read_arguments, read_output
from freehold.types.mcp import Answer, RemoteTool


def given(schema: dict[str, Any], arguments: str) -> dict[str, Any]:
    """The arguments of a tool with such a schema."""
    return read_arguments("desk", RemoteTool("tool", None, schema), arguments)


def test_no_arguments_are_an_empty_object() -> None:
    """A model that writes nothing for a tool without arguments calls it."""
    assert given({"type": "object"}, "") == {}


@pytest.mark.parametrize(
    ("schema", "arguments", "fits"),
    [
        ({"properties": {"a": {"pattern": "^x+$"}}}, '{"a": "xx"}', True),
        ({"properties": {"a": {"pattern": "^x+$"}}}, '{"a": "y"}', False),
        ({"properties": {"a": {"pattern": "(?=x)x"}}}, '{"a": "y"}', True),
        ({"patternProperties": {"^n_": {"type": "integer"}}}, '{"n_a": 1, "b": "c"}', True),
        ({"patternProperties": {"^n_": {"type": "integer"}}}, '{"n_a": "1"}', False),
        ({"patternProperties": {"^n_": {}}, "additionalProperties": False}, '{"b": 1}', False),
        ({"patternProperties": {"^n_": {}}, "additionalProperties": False}, '{"n_": 1}', True),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "string"}}, '{"b": 1}', False),
        ({"properties": {"a": {}}, "additionalProperties": {"const": ""}}, '{"a": 1, "b": ""}', True),
        ({"$defs": {"n": {"type": "null"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}, '{"a": "1"}', False),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"const": 1}}}, '{"a": 2}', False),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": {"enum": [1]}}}, '{"a": 1}', True),
        ({"$schema": "urn:of-somebody", "properties": {"a": {"const": 1}}}, '{"a": 2}', False),
    ],
)
def test_arguments_are_checked_by_the_schema(schema: dict[str, Any], arguments: str, fits: bool) -> None:
    """Schemas of every draft count; a pattern beyond regular languages is left to the server."""
    if fits:
        assert given(schema, arguments)
        return
    with pytest.raises(McpCallRefused, match="The arguments for the tool 'tool' do not fit"):
        given(schema, arguments)


def test_a_pattern_cannot_hold_up_the_gateway() -> None:
    """A pattern that a backtracking engine would try for ages is matched in linear time, wherever it stands."""
    slow, text = "^(a+)+$", "a" * 5000 + "!"
    with pytest.raises(McpCallRefused):
        given({"properties": {"a": {"pattern": slow}}}, f'{{"a": "{text}"}}')
    keys = {"patternProperties": {slow: False}, "additionalProperties": True, "unevaluatedProperties": False}
    assert given(keys, f'{{"{text}": 1}}') == {text: 1}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"properties": {"a": {"$ref": "https://example.org/schema.json"}}},
        {"properties": {"a": {"$ref": "file:///etc/hostname"}}},
        {"$ref": "#"},
        {"$schema": ["a"], "type": 1},
    ],
)
def test_a_schema_that_is_none_is_the_servers_fault(schema: dict[str, Any]) -> None:
    """A schema that is invalid, leads elsewhere or in a circle fails the call; nothing is fetched for it."""
    with pytest.raises(McpFailed, match="describes the arguments of 'tool' with an invalid schema") as caught:
        given(schema, '{"a": 1}')
    assert caught.value.kind == "mcp_protocol_error"


def test_arguments_have_a_bound() -> None:
    """A megabyte of arguments is refused before it is read."""
    with pytest.raises(McpCallRefused, match="are longer than"):
        given({}, "[" * (1024 * 1024 + 1))


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([{"type": "resource", "resource": {"uri": "file:///x", "text": "inside"}}], "inside"),
        (
            [{"type": "resource", "resource": {"uri": "x:y", "blob": "AA=="}}],
            "[A resource that is no text: x:y]",
        ),
        ([{"type": "resource_link", "name": "x", "uri": "https://x.test"}], "[A link: x https://x.test]"),
        ([{"type": "audio", "mimeType": "audio/wav"}], "[Content of the type audio/wav, which cannot be shown here.]"),
        ([{"type": "novelty"}], "[Content of a kind that cannot be shown here.]"),
        ([], ""),
    ],
)
def test_content_becomes_text(blocks: list[dict[str, Any]], text: str) -> None:
    """Text is joined, and what is no text is told in words."""
    assert read_output(Answer(tuple(blocks)), 1000).output == text


def test_structured_content_alone_is_shown_as_json() -> None:
    """A server that answers with data only has it shown; beside text, which says the same, it is not."""
    assert read_output(Answer((), {"ä": 2**70}), 1000).output == f'{{"ä": {2**70}}}'
    assert read_output(Answer(({"type": "text", "text": "one"},), {"a": 1}), 1000).output == "one"


def test_half_a_letter_does_not_pass() -> None:
    """Output with halves of surrogate pairs becomes text that can be written down."""
    assert read_output(Answer(({"type": "text", "text": "a\ud800b"},)), 1000).output == "a?b"
