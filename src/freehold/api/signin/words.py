"""The words of the pages of sign-in, in the language that the browser asks for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

_WORDS: Final[Mapping[str, Mapping[str, str]]] = json.loads(
    (Path(__file__).parent / "words.json").read_text(encoding="utf-8")
)
LANGUAGES: Final = tuple(_WORDS)
"""The first is spoken to whoever asks for none of them."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language.

    Args:
        language: one of `LANGUAGES`.
    """

    language: str

    def __call__(self, key: str, **values: str | int) -> str:
        """A text for HTML: the words as they stand, the values escaped."""
        return _WORDS[self.language][key].format(**{name: escape(str(value)) for name, value in values.items()})


def words_for(accept_language: str) -> Words:
    """The words for a header `Accept-Language`; of equally liked languages those that stand first."""
    wished: list[tuple[float, str]] = []
    for each in accept_language[:256].split(","):
        name, _, weight = each.strip().partition(";q=")
        try:
            wished.append((float(weight or 1), name[:2].lower()))
        except ValueError:
            continue
    ranked = sorted(wished, key=lambda each: -each[0])
    return Words(next((name for weight, name in ranked if weight > 0 and name in LANGUAGES), LANGUAGES[0]))
