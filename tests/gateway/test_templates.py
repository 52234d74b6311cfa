"""Templates: what they may hold, and that data stays data."""

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import InvalidRequest
from freehold.gateway.templates import MAX_RENDERED, TemplateProblem, check_template, render, value_of

ITEM: dict[str, Any] = {"question": "2 + 2?", "a key": ["x", {"y": 1.5}], "items": True, "none": None}
SAMPLE: dict[str, Any] = {"output_text": " Four ", "output_json": {"answer": 4}}
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain { text }", "plain { text }"),
        ("Q: {{ item.question }}\n", "Q: 2 + 2?\n"),
        ("{{item['a key'][0]}}{{ item['a key'][-1].y }}", "x1.5"),
        ("{{ item.items }} {{ item.none }}", "true null"),
        ("{{ item['a key'] }}", '["x",{"y":1.5}]'),
        ("{{ sample.output_text | trim | upper }}", "FOUR"),
        ("{{ sample.output_json.answer }}", "4"),
        ("{{ sample.output_text | tojson }} {{ item['a key'] | length }}", '" Four " 2'),
        ("a{# nothing #}b", "ab"),
    ],
)
def test_a_template_becomes_a_text(template: str, text: str) -> None:
    """Fields are put in as texts or JSON, and keys go before attributes of Python's dictionaries."""
    check_template(template)
    assert render(template, ITEM, SAMPLE) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ 7 * 7 }}",
        "{{ 'a' * 1000000000 }}",
        "{{ item.question * 1000000000 }}",
        "{% for x in item.list %}{{ x }}{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{% set x = 1 %}",
        "{{ config }}",
        "{{ self }}",
        "{{ item.question() }}",
        "{{ range(1000000000) }}",
        "{{ item | attr('__class__') }}",
        "{{ item | map('upper') }}",
        "{{ item.a | replace('a', 'b') }}",
        "{{ item[item.question] }}",
        "{{ item.question[0:2] }}",
        "{{ item.a if item.b else item.c }}",
        "{{ item.a ~ item.b }}",
        "{{ item.a, item.b }}",
        "{{ lipsum.__globals__ }}",
        "{{ item" + ".a" * 40 + " }}",
        "{{ " + "(" * 20_000 + "item.a" + ")" * 20_000 + " }}",
        "{{ item.a",
        "{{ }}",
        "{{ item.a }}" + "a" * 65_536,
    ],
)
def test_what_is_no_field_is_refused(template: str) -> None:
    """Statements, calls, operators, other names, and what is too long or too deep are refused, and the place named."""
    with pytest.raises(InvalidRequest) as refused:
        check_template(template, "grader.input")
    assert (refused.value.param, refused.value.code) == ("grader.input", "invalid_template")


@pytest.mark.parametrize("name", ["__class__", "keys", "answer", "items.x"])
def test_a_field_that_is_not_there_is_named(name: str) -> None:
    """A field that the data does not have is an error with its name, also where Python has such an attribute."""
    template = "{{ item." + name + " }}"
    check_template(template)
    with pytest.raises(TemplateProblem, match=f"item.{name}"):
        render(template, ITEM, SAMPLE)


@given(text=st.text())
def test_braces_in_data_are_text(text: str) -> None:
    """Whatever stands in the data comes out as it is, templates within it too."""
    hostile = "{{ item.secret }}{% raw %}" + text
    assert render("<{{ item.x }}>", {"x": hostile, "secret": "s"}, {}) == f"<{hostile}>"


@pytest.mark.slow
@given(text=st.text(alphabet="{}%#|.[]()'\"_ aitemsplx0\n", max_size=60), data=st.dictionaries(st.text(), DATA))
def test_no_template_breaks_anything(text: str, data: dict[str, Any]) -> None:
    """Any text is refused as a template, lacks its data, or becomes a text."""
    try:
        check_template(text)
    except InvalidRequest:
        return
    with suppress(TemplateProblem):
        assert isinstance(render(text, data, data), str)


def test_what_grows_too_long_is_refused() -> None:
    """A template does not become longer than its bound, however often it names a long field."""
    with pytest.raises(TemplateProblem, match=str(MAX_RENDERED)):
        render("{{ item.x }}" * 3, {"x": "a" * (MAX_RENDERED // 2)}, {})


def test_a_reference_names_a_value_as_it_is() -> None:
    """`item_reference` may be written with braces or without, and has to be one field."""
    assert value_of("item['a key']", ITEM, {}) == value_of("{{ item['a key'] }}", ITEM, {}) == ITEM["a key"]
    with pytest.raises(InvalidRequest, match="one field"):
        value_of("{{ item.question }} and", ITEM, {})


def test_filters_cannot_be_made_to_work_for_long() -> None:
    """What filters write counts even where nothing of it is left in the end."""
    item = {"long": ["x" * 1000] * 1000}
    assert render("{{ item | tojson | length }}", item, {}) == str(len(orjson.dumps(item)))
    with pytest.raises(TemplateProblem, match="filters write more than"):
        render("{{ item | tojson | length }}" * 1000, item, {})
    with pytest.raises(TemplateProblem, match="filters write more than"):
        value_of("item.long" + " | tojson | upper" * 15, {"long": '\n"' * 500_000}, {})
