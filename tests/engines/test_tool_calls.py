"""Tool calls are read the same, however the text that has them is cut into pieces."""

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.tool_calls import CallParser, allowed_tools, call_grammar, call_trigger, tagged_grammar
from freehold.errors import InvalidRequest, UnsupportedParameter
from freehold.types.chat import ChatRequest
from tests.engines.grammar_sampler import Sampler, seeded

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ARGUMENTS = st.dictionaries(
    st.text(max_size=8),
    st.recursive(st.none() | st.integers() | st.text(), lambda sub: st.lists(sub, max_size=3)),
    max_size=3,
)
CALLS = st.lists(st.tuples(st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True), ARGUMENTS), max_size=3)


def _read(parser: CallParser, text: str, cuts: list[int]) -> tuple[str, list[list[str]]]:
    """The text and the calls that a parser finds in the pieces of a text."""
    said = ""
    calls: list[list[str]] = []
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, end in pairwise(edges):
        piece, deltas = parser.feed(text[start:end])
        said += piece
        for delta in deltas:
            if delta.name is not None:
                assert delta.id is not None
                assert delta.index == len(calls)
                calls.append([delta.name, ""])
            calls[delta.index][1] += delta.arguments
    return said + parser.rest(), calls


@given(before=st.text(max_size=20), calls=CALLS, cuts=st.lists(st.integers(0, 10_000), max_size=40))
def test_calls_within_tags_are_read_in_any_pieces(
    before: str, calls: list[tuple[str, dict[str, Any]]], cuts: list[int]
) -> None:
    """Text before the calls, their names and their arguments come out whole, wherever the text was cut."""
    parts = [
        f'<tool_call>\n{{"name": "{name}", "arguments": {json.dumps(args)}}}\n</tool_call>' for name, args in calls
    ]
    said, found = _read(CallParser(tagged=True), before + "\n".join(parts), cuts)
    assert said == before
    assert [(name, json.loads(args)) for name, args in found] == calls


@given(arguments=ARGUMENTS, cuts=st.lists(st.integers(0, 10_000), max_size=40))
def test_a_bare_call_is_read_in_any_pieces(arguments: dict[str, Any], cuts: list[int]) -> None:
    """A call without tags comes out whole, without its outer brace."""
    text = f'{{"name": "f", "arguments": {json.dumps(arguments)}}}'
    said, found = _read(CallParser(tagged=False), text, cuts)
    assert not said
    assert [(name, json.loads(args)) for name, args in found] == [("f", arguments)]


@given(text=st.text(alphabet="<tool_cal>x", max_size=40), cuts=st.lists(st.integers(0, 100), max_size=20))
def test_text_that_only_looks_like_a_tag_is_not_lost(text: str, cuts: list[int]) -> None:
    """What is held back as the possible beginning of a call comes out when it was none."""
    said, calls = _read(CallParser(tagged=True), text, cuts)
    assert said == text
    assert not calls


def _request(**extra: Any) -> ChatRequest:
    function = {"name": "weather", "parameters": WEATHER}
    other = {"name": "now"}
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Weather?"}],
        "tools": [{"type": "function", "function": function}, {"type": "function", "function": other}],
    }
    return ChatRequest.model_validate(body | extra)


def test_a_demanded_call_names_an_allowed_function() -> None:
    """Every text of a call's grammar is one call of an allowed function with arguments of its schema."""
    named = _request(tool_choice={"type": "function", "function": {"name": "weather"}})
    rng = seeded(3)
    for request, names in ((_request(tool_choice="required"), {"weather", "now"}), (named, {"weather"})):
        sampler = Sampler(call_grammar(allowed_tools(request), 500))
        calls = [json.loads(sampler.sample(rng)) for _ in range(30)]
        assert {call["name"] for call in calls} == names
        assert all(isinstance(call["arguments"], dict) for call in calls)


def test_one_call_where_several_are_not_allowed() -> None:
    """Without `parallel_tool_calls` an answer has one call."""
    request = _request(parallel_tool_calls=False)
    sampler = Sampler(tagged_grammar(allowed_tools(request), request, 500))
    rng = seeded(3)
    assert all(sampler.sample(rng).count("<tool_call>\n") == 1 for _ in range(20))


def test_a_strict_function_with_a_schema_that_cannot_be_held_is_refused() -> None:
    """A strict function's schema is held whole or refused; arguments that are no object are refused."""
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    for parameters, error in ((schema, UnsupportedParameter), ({"type": "string"}, InvalidRequest)):
        tool = {"type": "function", "function": {"name": "f", "strict": True, "parameters": parameters}}
        request = _request(tools=[tool])
        with pytest.raises(error) as refusal:
            call_grammar(allowed_tools(request), 500)
        assert refusal.value.param == "tools"


@pytest.mark.parametrize(
    "text",
    [
        "see <tool_call></tool_call>:",
        "<tool_call> <tool_call>",
        "<tool_call>\nnot json\n</tool_call>",
        '<tool_call>\n{"name": "f", "parameters": {}}',
        '<tool_call>\n{"name": "f',
        "<tool_call>",
    ],
)
def test_a_tag_without_a_call_comes_out_as_text(text: str) -> None:
    """A tag that no call follows, or only the beginning of one, is text, in whatever pieces it comes."""
    for size in (1, 3, len(text)):
        said, calls = _read(CallParser(tagged=True), text, list(range(size, len(text), size)))
        assert said == text
        assert not calls


@given(ahead=st.integers(0, 40))
def test_calls_are_held_to_the_grammar_from_any_token_of_their_beginning(ahead: int) -> None:
    """Generation is held where the text ends within a call's beginning, and not where anything else follows a tag."""
    trigger = re.compile(call_trigger())
    begun = ('<tool_call>\n{"name": "')[:ahead]
    assert bool(trigger.search("Well: " + begun)) == (len(begun) >= len("<tool_call>"))
    assert not trigger.search("<tool_call></")
