"""The machine takes exactly the texts of a grammar, and what it says is left of one really may follow."""

import json

import pytest

from freehold.engines.grammar_machine import EXACT, GrammarMachine
from freehold.engines.grammar_schema import schema_grammar
from tests.engines.grammar_sampler import Sampler, seeded
from tests.engines.grammar_schemas import SCHEMAS

TEXT = 'root ::= "\\"" r0{0,300} "\\""\nr0 ::= [^"\\\\\\x7F\\x00-\\x1F] | "\\\\" ["\\\\/bfnrt]\n'


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_texts_of_a_grammar_are_taken(name: str) -> None:
    """Every text that a schema's grammar makes is taken to its end, in one piece or character by character."""
    grammar = schema_grammar(SCHEMAS[name], tokens=400, param="response_format")
    sampler = Sampler(grammar)
    for seed in range(10):
        text = sampler.sample(seeded(seed))
        machine = GrammarMachine(grammar)
        assert machine.feed(text) == len(text)
        assert machine.may_end


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_what_is_left_may_follow(name: str) -> None:
    """Whatever the grammar of what is left makes begins with a character that the machine takes next."""
    grammar = schema_grammar(SCHEMAS[name], tokens=60, param="response_format")
    sampler = Sampler(grammar)
    for seed in range(5):
        rng = seeded(seed)
        text = sampler.sample(rng)
        cut = rng.randrange(len(text))
        machine = GrammarMachine(grammar)
        machine.feed(text[:cut])
        rest = Sampler(machine.remainder())
        for _ in range(3):
            following = rest.sample(rng)
            assert machine.may_end if not following else GrammarMachine(machine.remainder()).feed(following)
            again = GrammarMachine(grammar)
            again.feed(text[:cut])
            assert again.feed(following) >= min(1, len(following))


def test_a_bound_is_held() -> None:
    """A text over its bound is taken up to the bound, and then only its end may follow."""
    machine = GrammarMachine(TEXT)
    assert machine.feed('"' + "x" * 400) == 301
    assert not machine.may_end
    assert machine.remainder().splitlines()[:2] == ["root ::= s0", 's0 ::= "\\""']
    assert machine.feed('"') == 1
    assert machine.may_end
    assert machine.must_end


def test_large_bounds_are_left_out() -> None:
    """What is left names no repetition of more than a few, and what is near its bound has it again."""
    machine = GrammarMachine(TEXT)
    assert "{0,300}" not in machine.remainder()
    machine.feed('"' + "x" * (300 - EXACT))
    assert f"r0{{0,{EXACT}}}" in machine.remainder()


def test_a_least_number_is_held() -> None:
    """A text may not end before its least length, however long that is."""
    machine = GrammarMachine('root ::= "<" [a-z]{40,} ">"\n')
    assert machine.feed("<" + "a" * 39 + ">") == 40
    assert f"[a-z]{{{1}}} [a-z]*" in machine.remainder()
    assert machine.feed("a>") == 2


def test_what_is_no_grammar_is_refused() -> None:
    """A rule that cannot be read is named."""
    with pytest.raises(ValueError, match="root"):
        GrammarMachine('root ::= "a')


def test_json_of_any_kind_is_taken() -> None:
    """An object under no schema is taken as this project writes JSON."""
    grammar = schema_grammar({"type": "object"}, tokens=400, param="response_format")
    text = json.dumps({"a": [2.5, {"b": None}], "c": 'd\n"é"'}, ensure_ascii=False)
    machine = GrammarMachine(grammar)
    assert machine.feed(text) == len(text)
    assert machine.must_end
