"""What hides a word is taken away, what does not stays, and every character knows where it came from."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.content_filter.normalise import Traced, plain, squeezed, traced, traced_squeezed

HIDDEN = st.sampled_from("\u200b\u200d\u2060\ufeff\u00ad\u202e\ufe0f\U000e0041\u0301\u0336\x00\x07")
CYRILLIC = str.maketrans("aeopcyx", "\u0430\u0435\u043e\u0440\u0441\u0443\u0445")
CAPITALS = str.maketrans("ABEKMHOPCTX", "\u0391\u0392\u0395\u039a\u039c\u0397\u039f\u03a1\u03f9\u03a4\u03a7")
TEXTS = st.text() | st.text(
    st.sampled_from(
        "aB1\u0301\u0308\u0327\u1100\u1161\u11a8\u3099\u30ab \t\n\u00e9\ufb01\u0130\u0345\u03a3\u0653\u0627!$@."
    )
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ba\tNaNa \r\n phone ", "ba nana phone"),
        ("\uff22\uff41\uff44", "bad"),
        ("\U0001d4d1\U0001d4ea\U0001d4ed", "bad"),
        ("\u24d1\u24d0\u24d3 \U0001f150\U0001f171", "bad ab"),
        ("b\u200ba\u00add", "bad"),
        ("b\u0336a\u0336d\u0336", "bad"),
        ("b\u0430n\u0430n\u0430", "banana"),
        ("\u0412\u0410N\u0410N\u0410", "banana"),
        ("\u0455\u0435\u0445", "sex"),
        ("\u1d05\u1d0f\u0274'\u1d1b don\u2019t", "don't don't"),
        ("caf\u00e9 na\u00efve", "caf\u00e9 na\u00efve"),
        ("\u7f8e\u3057\u3044 \U0001f600", "\u7f8e\u3057\u3044 \U0001f600"),
        ("Stra\u00dfe", "strasse"),
        ("", ""),
    ],
)
def test_what_hides_a_word_is_undone(text: str, expected: str) -> None:
    """Compatibility forms, invisible characters, stacked accents, look-alikes and case are undone, and nothing else."""
    assert plain(text) == expected


def test_other_scripts_stay() -> None:
    """A Russian and a Greek sentence keep their letters, though many of them look Latin."""
    russian = (
        "\u043e\u043d\u0430 \u0441\u043a\u0430\u0437\u0430\u043b\u0430, \u0447\u0442\u043e \u0430 \u0438 "
        "\u043e \u0431\u0443\u0434\u0443\u0442 \u0432\u043c\u0435\u0441\u0442\u0435"
    )
    greek = "\u03ba\u03b1\u03b9 \u03b7 \u03bc\u03b7\u03c4\u03ad\u03c1\u03b1 \u03c4\u03bf\u03c5"
    assert plain(russian) == russian
    assert plain(greek) == greek
    assert plain(russian.upper()) == russian


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("b.4 d", "bad"),
        ("B@n4n4-ph0n3!", "bananaphone"),
        ("sh!p", "ship"),
        ("b\u00e1\u00f1\u00e3n\u00e4 ph\u00f8ne", "bananaphone"),
        ("b\u2022a\u2022d", "bad"),
        ("\u0397\u0391\u03a4", "hat"),
        ("\u0928\u093f", "\u0928\u093f"),
        ("26", "26"),
    ],
)
def test_a_skeleton_has_letters_only(text: str, expected: str) -> None:
    """Digits and signs that stand for letters become letters, and what stands between letters goes."""
    assert squeezed(text) == expected


@given(TEXTS)
def test_plain_is_plain(text: str) -> None:
    """Normalising twice is normalising once, and the result holds no run of white space and no capital."""
    once = plain(text)
    assert plain(once) == once
    assert once == " ".join(once.split())
    assert once == once.casefold() or not once.isascii()


@given(TEXTS)
def test_the_trace_is_of_the_same_text(text: str) -> None:
    """A traced text is the normalised one, and its origins rise from the text's beginning to its end."""
    for found, expected in ((traced(text), plain(text)), (traced_squeezed(text), squeezed(text))):
        assert found.plain == expected
        assert len(found.starts) == len(expected) + 1
        assert found.starts == sorted(found.starts)
        assert found.starts[-1] == len(text)
        assert all(0 <= start < len(text) for start in found.starts[:-1])


@given(st.lists(st.tuples(st.sampled_from("bananaphone"), st.lists(HIDDEN, max_size=3)), min_size=1))
def test_hidden_characters_hide_nothing(pieces: list[tuple[str, list[str]]]) -> None:
    """Whatever invisible characters and stacked accents stand behind letters, the word is the same in a skeleton."""
    text = "".join(letter + "".join(hidden) for letter, hidden in pieces)
    assert squeezed(text) == "".join(letter for letter, _ in pieces)


@given(st.text(st.sampled_from("abehkmoptxy"), min_size=1).map(lambda tail: "b" + tail))
def test_look_alikes_within_a_word_are_latin(word: str) -> None:
    """A word with some letters of another alphabet reads as the Latin one."""
    assert plain("b" + word[1:].translate(CYRILLIC)) == word
    assert plain("B" + word[1:].upper().translate(CAPITALS)) == word


@given(TEXTS, st.integers(0, 20), st.integers(0, 20))
def test_a_span_of_the_trace_comes_from_its_piece(text: str, start: int, length: int) -> None:
    """The original piece of a found span holds all that the span was made of."""
    found = traced(text)
    end = min(start + length, len(found.plain))
    start = min(start, end)
    first, last = found.span(start, end)
    assert first <= last
    if start < end:
        assert first < last
        before, after = (_letter_like_the_words(found.plain, at) for at in (start, end - 1))
        piece = plain(f"{before}{text[first:last]}{after}")
        assert found.plain[start:end].strip() in piece or unicodedata.combining(text[first])


def _letter_like_the_words(text: str, at: int) -> str:
    """A letter that makes look-alikes be read as the word at that place has them: Latin or not; none outside a word."""
    word = next((word[0] for word in re.finditer(r"\w+", text) if word.start() <= at < word.end()), "")
    return "" if not word else "z" if re.search("[a-z]", word) else "\u0431"


def test_a_letter_that_became_two_belongs_to_its_span_wholly() -> None:
    """Half of a ligature comes from the whole ligature."""
    assert traced("a\ufb01b").span(1, 2) == (1, 2)
    assert Traced("ab", [0, 4, 9]).span(0, 1) == (0, 4)
    assert Traced("ab", [0, 4, 9]).span(1, 2) == (4, 9)
    assert Traced("ab", [0, 4, 9]).span(1, 1) == (4, 4)
