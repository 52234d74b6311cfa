"""Schemas become grammars whose every text is valid, and what a grammar cannot say is refused."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from freehold.engines.grammar_pieces import integer, number
from freehold.engines.grammar_schema import schema_grammar
from freehold.errors import InvalidRequest, UnsupportedParameter
from tests.engines.grammar_sampler import Sampler, seeded
from tests.engines.grammar_schemas import SCHEMAS

UNSUPPORTED: list[tuple[str, dict[str, Any]]] = [
    ("uniqueItems", {"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
    ("multipleOf", {"type": "number", "multipleOf": 0.1}),
    ("not", {"type": "string", "not": {"const": "a"}}),
    ("patternProperties", {"type": "object", "patternProperties": {"^a": {"type": "string"}}}),
    ("contains", {"type": "array", "contains": {"type": "string"}}),
    ("oneOf", {"oneOf": [{"type": "string"}, {"type": "string", "minLength": 3}]}),
    ("allOf", {"allOf": [{"type": "string"}, {"minLength": 3}]}),
    ("$ref", {"$ref": "https://example.com/schema"}),
    ("format", {"type": "string", "format": "iri-reference"}),
    ("pattern", {"type": "string", "pattern": "(?=a)b"}),
    ("minProperties", {"type": "object", "minProperties": 3}),
]


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("tokens", [64, 1000, 30_000])
def test_every_text_of_the_grammar_is_valid(name: str, tokens: int) -> None:
    """Whatever a schema's grammar lets a model write parses and is valid under the schema."""
    schema = SCHEMAS[name]
    sampler = Sampler(schema_grammar(schema, tokens=tokens, param="response_format"))
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    rng = seeded(name)
    for _ in range(60):
        validator.validate(json.loads(sampler.sample(rng)))


@pytest.mark.parametrize(("keyword", "schema"), UNSUPPORTED, ids=[keyword for keyword, _ in UNSUPPORTED])
def test_what_cannot_be_held_is_refused_by_name_and_place(keyword: str, schema: dict[str, Any]) -> None:
    """A keyword that a grammar cannot hold is refused with its name and its place, never dropped."""
    outer = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    with pytest.raises(UnsupportedParameter) as refusal:
        schema_grammar(outer, tokens=1000, param="response_format")
    assert refusal.value.param == "response_format"
    assert f"'{keyword}'" in refusal.value.message
    assert "#/properties/a" in refusal.value.message


def test_a_lenient_reading_drops_what_cannot_be_held() -> None:
    """The parameters of a tool that is not strict may have keywords that are not held."""
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"enum": [1]}, "uniqueItems": True}}}
    sampler = Sampler(schema_grammar(schema, tokens=1000, param="tools", lenient=True))
    assert isinstance(json.loads(sampler.sample(seeded(1))), dict)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "string", "enum": [1, 2]},
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/a"}}}},
    ],
)
def test_a_schema_that_allows_nothing_is_refused(schema: dict[str, Any]) -> None:
    """A schema that no finite value meets is refused instead of being asked of the model."""
    with pytest.raises(InvalidRequest) as refusal:
        schema_grammar(schema, tokens=1000, param="response_format")
    assert refusal.value.code == "invalid_json_schema"


def test_longest_texts_fit_the_tokens_that_there_are() -> None:
    """The fewer tokens there are for an answer, the shorter is the longest text of its grammar."""
    schema = SCHEMAS["list"]
    tight, wide = (schema_grammar(schema, tokens=tokens, param="x") for tokens in (64, 1_000_000))
    rng = seeded(0)
    assert "{0,2000}" in wide
    assert max(len(Sampler(tight).sample(rng)) for _ in range(50)) < 500


@settings(max_examples=150, deadline=None)
@given(low=st.integers(-(10**6), 10**6), span=st.integers(0, 10**6), seed=st.integers())
def test_integers_stay_within_their_range(low: int, span: int, seed: int) -> None:
    """The grammar of a range of integers makes integers of that range only, and reaches both ends."""
    text = integer(low, low + span)
    assert text is not None
    rng, sampler = seeded(seed), Sampler(f"root ::= {text}")
    for _ in range(20):
        assert low <= json.loads(sampler.sample(rng)) <= low + span


@settings(max_examples=150, deadline=None)
@given(
    low=st.none() | st.decimals(-1000, 1000, places=3),
    high=st.none() | st.decimals(-1000, 1000, places=3),
    above=st.booleans(),
    below=st.booleans(),
    seed=st.integers(),
)
def test_numbers_stay_within_their_range(
    low: Decimal | None, high: Decimal | None, above: bool, below: bool, seed: int
) -> None:
    """The grammar of a range of numbers makes numbers of that range only, bounds excluded where they are."""
    text = number(low, high, above=above, below=below)
    if text is None:
        assert low is not None
        assert high is not None
        assert low >= high
        return
    rng, sampler = seeded(seed), Sampler(f"root ::= {text}")
    for _ in range(20):
        value = Decimal(sampler.sample(rng))
        assert low is None or (value > low if above else value >= low)
        assert high is None or (value < high if below else value <= high)


@settings(max_examples=100, deadline=None)
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s, max_size=3)))
def test_a_constant_is_written_exactly(value: Any) -> None:
    """The grammar of a constant makes the JSON text of that value and nothing else."""
    sampler = Sampler(schema_grammar({"const": value}, tokens=1000, param="x"))
    assert json.loads(sampler.sample(seeded(0))) == value
