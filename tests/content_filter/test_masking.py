"""Hiding what was found in a text."""

import pytest

from freehold.content_filter.masking import masked
from freehold.types.content_filter import Span


def test_each_span_becomes_its_word() -> None:
    """What was found is replaced by a word for its kind, and everything else stays as it was."""
    text = "write to ana@example.org 🙂 or pay with 4111111111111111, key=abc"
    spans = [
        Span("personal_data", "email", 9, 24),
        Span("personal_data", "card", 39, 55),
        Span("secret", "github_token", 61, 64),
    ]
    assert masked(text, spans) == "write to [EMAIL] 🙂 or pay with [CARD], key=[SECRET]"


@pytest.mark.parametrize(("text", "spans", "expected"), [("", [], ""), ("abc", [], "abc")])
def test_a_text_without_spans_stays(text: str, spans: list[Span], expected: str) -> None:
    """Nothing found, nothing changed."""
    assert masked(text, spans) == expected


def test_spans_that_touch_are_both_masked() -> None:
    """A span may begin where the one before it ends, at the text's beginning and at its end."""
    spans = [Span("personal_data", "national_id", 0, 2), Span("personal_data", "ip_address", 2, 4)]
    assert masked("abcd", spans) == "[NATIONAL_ID][IP_ADDRESS]"
