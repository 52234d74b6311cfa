"""Texts to prepare: small, and the same each time."""

import random

WORDS = (
    *("the", "king", "and", "queen", "of", "all", "that", "is", "fair", "were", "told", "by", "night", "to", "ride"),
    *("away", "from", "17", "towns;", "'tis", "said,", "I'll", "go"),
)


def sentence(draw: random.Random) -> str:
    """Some words."""
    return " ".join(draw.choice(WORDS) for _ in range(draw.randrange(6, 18))) + ".\n"


def play(characters: int, seed: int = 1) -> str:
    """Speeches, one after another, of so many characters."""
    draw = random.Random(seed)
    text = ""
    while len(text) < characters:
        text += f"{draw.choice(WORDS).upper()}:\n{sentence(draw)}{sentence(draw)}\n"
    return text[:characters]
