"""Prompts for models that write: many that call for long answers, and one of a given length. No two begin alike."""

import hashlib
import random
from collections.abc import Sequence
from typing import Final

_WHO: Final = (
    "lighthouse keeper", "baker", "clockmaker", "bee keeper", "ferry captain", "glass blower", "map maker", "gardener",
)  # fmt: skip
_WHERE: Final = ("by the sea", "in the mountains", "in a small town", "on a long journey")
_WORDS: Final = tuple(
    "the river a house of stone people walk along old road and then morning light falls on fields where farmers "  # noqa: SIM905  # words read best as words
    "work while birds sing about summer rain winter snow autumn leaves spring flowers children play near water".split()
)
WORDS_FOR_A_TOKEN: Final = 0.98
"""Of these words, in the starter model's vocabulary; only about: what counts is the server's own count."""


def story_prompts(nonce: str, count: int) -> Sequence[str]:
    """Prompts that a small model answers at length, each with a beginning of its own."""
    return [
        f"{_name(nonce, i)}: Write a very long story about a {_WHO[i % len(_WHO)]} "
        f"{_WHERE[i // len(_WHO) % len(_WHERE)]}. Tell it in full detail, from the first day to the last."
        for i in range(count)
    ]


def long_prompt(nonce: str, tokens: int) -> str:
    """About so many tokens of plain English words, which nobody has read before."""
    drawn = random.Random(nonce)  # noqa: S311  # no secret
    words = [drawn.choice(_WORDS) for _ in range(round(tokens * WORDS_FOR_A_TOKEN))]
    return f"{_name(nonce, 0)}: " + " ".join(words)


def _name(nonce: str, number: int) -> str:
    return f"Chapter {hashlib.sha256(f'{nonce} {number}'.encode()).hexdigest()[:8]}"
