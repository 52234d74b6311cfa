"""How much of an unfinished text may still become part of what is told by its form: a number, an address, a key."""

import re

MOST = 256
"""Code points that are held back at most."""
_WORD = re.compile(r"\S*")
_NUMBERS = re.compile(r"\S*(?:\s(?:(?=[^\s0-9]*[0-9])\S+|[^\sa-z]{1,7}(?=\s|\Z)))*")
"""Of a reversed text: its last word, and before it, each after one white space, words with a digit in them, or short
ones without a small letter, as the second of `GB29 NWBK 6016`."""


def last_word(text: str) -> int:
    """How long the last word is, which may go on."""
    return _end(_WORD, text)


def last_numbers(text: str) -> int:
    """How long the last word is, with the groups of a number before it, that may go on in the next group."""
    return _end(_NUMBERS, text)


def _end(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.match(text[: -MOST - 1 : -1])
    return 0 if found is None else found.end()
