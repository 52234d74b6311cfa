"""Regular expressions of blocklists."""

import pytest

from freehold.content_filter.patterns import check_pattern
from freehold.errors import InvalidRequest


@pytest.mark.parametrize(
    ("pattern", "text", "span"),
    [
        (r"ba+na+", "a Banaana", (2, 7)),
        (r"\bproject [a-z]+ falcon\b", "the project red falcon flies", (4, 22)),
        ("é+t", "l'ét", (2, 4)),
        ("(?-i)Falcon", "falcon Falcon", (7, 13)),
        ("a|b*c", "xbbc", (1, 4)),
    ],
)
def test_a_pattern_finds(pattern: str, text: str, span: tuple[int, int]) -> None:
    """A pattern matches whatever the letters' case, and its offsets are code points."""
    match = check_pattern(pattern).search(text)
    assert match is not None
    assert (match.start(), match.end()) == span


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", r"missing \)"),
        ("[z-a]", "invalid character class range"),
        ("(?=banana)", "look-around and back-references do not exist"),
        (r"(a)\1", "look-around and back-references do not exist"),
        ("a{1001}", "invalid repetition size"),
        (r"(\pL{30}){30}", "too much memory; make its repetitions smaller"),
        ("banana*|", "matches where there is nothing"),
        ("(banana)*", "matches where there is nothing"),
        (r"\b", "matches where there is nothing"),
        ("(?m)^", "matches where there is nothing"),
        ("$", "matches where there is nothing"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(pattern: str, reason: str) -> None:
    """A pattern that is wrong, too large or matches nothing at all is refused with what to do about it."""
    with pytest.raises(InvalidRequest, match=reason) as caught:
        check_pattern(pattern)
    assert pattern in str(caught.value)


def test_a_pattern_takes_linear_time() -> None:
    """What would take a back-tracking matcher longer than anyone lives is decided at once."""
    assert check_pattern("(a+)+b").search("a" * 100_000) is None
