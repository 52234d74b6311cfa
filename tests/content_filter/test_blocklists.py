"""Listed terms are found however they are spelt, and not inside harmless words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.content_filter.blocklists import MOST_HELD, PATTERN_HOLD, Blocklists
from freehold.types.content_filter import Passage, Side
from tests.content_filter.filters import PHRASE, listing

FRUIT = Blocklists([listing(PHRASE, "fig", "kum quat", "c++", "\u9999\u8549", "\u2620\u2620")])


def found(detector: Blocklists, text: str, *, whole: bool = True) -> list[str]:
    """The pieces of a text in which something listed is, in its order, each once."""
    spans = detector(Passage(text, Side.COMPLETION, whole=whole)).spans
    return [text[start:end] for start, end in sorted({(span.start, span.end) for span in spans})]


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        (f"a {PHRASE} here", [PHRASE]),
        ("a BANANAPHONE!", ["BANANAPHONE"]),
        ("b4n4n4ph0n3", ["b4n4n4ph0n3"]),
        ("the b.a.n.a.n.a.p.h.o.n.e rings", ["b.a.n.a.n.a.p.h.o.n.e"]),
        ("the banana-phone rings", ["banana-phone"]),
        ("the banana phone rings", ["banana phone"]),
        ("the b\u200banana\u2060phone rings", ["b\u200banana\u2060phone"]),
        ("the b\u0430n\u0430n\u0430phone rings", ["b\u0430n\u0430n\u0430phone"]),
        ("a fig, please", ["fig"]),
        ("a  Kum\n Quat.", ["Kum\n Quat"]),
        ("a kumquat", ["kumquat"]),
        ("in C++ only", ["C++"]),
        ("\u5403\u9999\u8549\u5427", ["\u9999\u8549"]),
        ("beware \u2620\u2620!", ["\u2620\u2620"]),
    ],
)
def test_a_term_is_found_however_it_is_spelt(text: str, hits: list[str]) -> None:
    """Case, widths, invisible characters, other scripts, digits, signs and splits hide no term."""
    assert found(FRUIT, text) == hits


@pytest.mark.parametrize(
    "text",
    [
        "bananaphones",
        "a bananaphonetic spelling",
        "urbananaphone",
        "figure, configured, effigy",
        "f.i.g",
        "f1g",
        "if I go",
        "mock umquats",
        "c+ and c",
        "an apple and banana; phone me",
    ],
)
def test_a_term_is_not_found_inside_other_words(text: str) -> None:
    """Short terms match whole words only, longer ones also split words, but neither begins or ends within one."""
    hits = [] if "; phone" not in text else ["banana; phone"]
    assert found(FRUIT, text) == hits


def test_each_list_that_has_a_term_is_named() -> None:
    """A term that stands on two lists is found for both."""
    both = Blocklists([listing("fig", name="one"), listing("fig", "plum", name="two")])
    assert {span.name for span in both(Passage("a fig", Side.PROMPT)).spans} == {"one", "two"}


def test_patterns_match_the_text_as_it_is_and_as_it_reads() -> None:
    """A pattern finds what is written, and what a reader sees in place of what is written."""
    codes = Blocklists([listing(pattern=r"\bproject-[0-9]{3}\b")])
    assert found(codes, "see PROJECT-123 and project-1234") == ["PROJECT-123"]
    assert found(codes, "see pro\u200bject-123") == ["pro\u200bject-123"]


def test_the_end_of_an_unfinished_text_is_not_judged_yet() -> None:
    """A term at the end of a text that goes on may still become another word, and a pattern may not match there."""
    assert found(FRUIT, "a fig", whole=False) == []
    assert found(FRUIT, "a fig ", whole=False) == ["fig"]
    assert found(FRUIT, f"a {PHRASE}", whole=False) == []
    codes = Blocklists([listing(pattern="x[0-9]+")])
    assert found(codes, "see x12", whole=False) == []
    assert found(codes, "see x12 ", whole=False) == ["x12"]


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("we like the bana", 4),
        ("we like the b", 1),
        ("we like the b.a.n", 5),
        ("a kum ", 4),
        ("a fi", 2),
        ("a fig", 3),
        ("a fig ", 0),
        ("we like it ", 0),
        ("urban", 0),
        ("\u5403\u9999", 1),
        ("", 0),
    ],
)
def test_the_beginning_of_a_term_is_held(text: str, held: int) -> None:
    """Of an unfinished text the longest end that begins a term is held, and no more."""
    assert FRUIT.pending(text) == held


@settings(deadline=None, max_examples=60)
@given(
    before=st.text(alphabet="xyz .,\n", max_size=300),
    spelling=st.sampled_from(
        [PHRASE, "b a n a n a p h o n e", "\u200b".join(PHRASE), "B4N4N4PHONE", "kum quat", "fig"]
    ),
    cut=st.integers(1, 40),
)
def test_whatever_is_found_was_held_from_its_beginning(before: str, spelling: str, cut: int) -> None:
    """For every match, and every place in it where the text might be cut, what had come of it is held."""
    text = f"{before} {spelling}"
    start = len(before) + 1
    cut = min(start + cut, len(text))
    assert found(FRUIT, f"{text} and on")
    assert FRUIT.pending(text[:cut]) >= cut - start


@settings(deadline=None, max_examples=60)
@given(text=st.text(alphabet="banphoe 4.\u200b\u0430\u9999\u2620fig+c", max_size=400))
def test_no_text_is_held_for_ever(text: str) -> None:
    """At most 256 characters are held, and a text that is found in is found at offsets that it has."""
    assert 0 <= FRUIT.pending(text) <= min(MOST_HELD, len(text))
    for whole in (True, False):
        for span in FRUIT(Passage(text, Side.COMPLETION, whole=whole)).spans:
            assert 0 <= span.start < span.end <= len(text)


def test_a_pattern_holds_what_it_may_match() -> None:
    """A list with a pattern holds back the longest match that is promised to be found before it is sent."""
    assert Blocklists([listing(pattern="a.+b")]).pending("x" * 500) == PATTERN_HOLD


def test_the_version_is_that_of_the_items() -> None:
    """The version changes with the items, and only with them."""
    assert Blocklists([listing("fig")]).version == Blocklists([listing("fig")]).version
    assert Blocklists([listing("fig")]).version != Blocklists([listing("plum")]).version


def test_ten_thousand_terms_cost_one_look_up_for_each_word() -> None:
    """What is looked at of a text does not grow with the number of terms."""
    words = [f"{first}{second}{third}ington" for first in "bcdfghjk" for second in "aeiou" for third in "lmnpqrst"]
    many = Blocklists([listing(*(f"{word}{number}" for word in words for number in range(30)))])
    assert found(many, f"we met {words[7]}12 in {words[9]}, not {words[8]}99") == [f"{words[7]}12"]
