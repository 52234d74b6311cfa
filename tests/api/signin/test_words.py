"""The words of the pages of sign-in."""

import json
import re
from pathlib import Path

import pytest

from freehold.api.signin import words

FILE = Path(words.__file__).with_name("words.json")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("fr;q=0.9, es-MX;q=0.5, en;q=0.4", "es"),
        ("fr, *", "en"),
        ("de;q=0, es", "es"),
        ("de;q=high, es;q=0.1", "es"),
        ("es" * 100_000, "es"),
    ],
)
def test_the_browsers_language_is_spoken(header: str, language: str) -> None:
    """The most liked language that there is; English for whoever likes none, whatever the header says."""
    assert words.words_for(header).language == language


def test_every_language_has_every_word() -> None:
    """Each language has the same words, with the same places for values."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    holes = {
        name: {key: sorted(re.findall(r"{(\w+)}", text)) for key, text in all_.items()} for name, all_ in found.items()
    }
    assert all(each == holes["en"] for each in holes.values())
    assert len(holes) == 3


def test_values_are_escaped() -> None:
    """What is put into a text cannot become markup."""
    assert words.Words("de")("for", email="<script>@x") == "Für &lt;script&gt;@x."
