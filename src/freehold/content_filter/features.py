"""What the n-gram classifier sees of a text: rows of a table, by hash; the same in training and in serving.

A text is a list of words. Its features are, for each of its different words, the word and the character n-grams within
it, and each of its different pairs of words that follow one another. A word's features depend on the word alone, so
that their sum can be kept, and a text costs one look-up for each of its words.
"""

import re
from collections.abc import Iterator
from zlib import crc32

from freehold.content_filter.normalise import plain

_WORD = re.compile(r"\w+(?:'\w+)*")
_ASCII_WORDS = str.maketrans(
    {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) in "_'")}
)  # fmt: skip
LONGEST_WORD = 24
"""In code points; longer runs of letters are cut into pieces, so that no text makes a word dear."""
SHORTEST, LONGEST = 2, 5
"""Of the character n-grams, in code points; `<` and `>` stand at a word's ends."""
WINDOW_WORDS = 200
"""Of a window, about 1 kB of English."""
STEP_WORDS = 150
"""From a window's beginning to that of the next."""


def words_of(text: str) -> list[str]:
    """The words of a text as it was written: letters, digits and apostrophes between them."""
    return _words(plain(text))


def _words(text: str) -> list[str]:
    """Of a normalised text; in ASCII by splitting, which takes a quarter of the time of the pattern."""
    if text.isascii() and "''" not in text:
        spaced = f" {text.translate(_ASCII_WORDS)} "
        if "'" in spaced:
            spaced = spaced.replace(" '", " ").replace("' ", " ")
        words = spaced.split()
    else:
        words = _WORD.findall(text)
    if len(max(words, key=len, default="")) <= LONGEST_WORD:
        return words
    return [word[start : start + LONGEST_WORD] for word in words for start in range(0, len(word), LONGEST_WORD)]


def windows(words: list[str]) -> Iterator[list[str]]:
    """The words in windows that overlap; a text that fits into one is one."""
    if len(words) <= WINDOW_WORDS:
        yield words
        return
    for start in range(0, len(words) - (WINDOW_WORDS - STEP_WORDS), STEP_WORDS):
        yield words[start : start + WINDOW_WORDS]


def word_rows(word: str, mask: int) -> list[int]:
    """The rows of a word's features, each once.

    Args:
        word: as `words_of` gives it.
        mask: the number of rows of the table less one; that number is a power of two.
    """
    marked = f"<{word}>"
    size = len(marked)
    rows = {crc32(f"w{word}".encode(errors="surrogatepass")) & mask}
    for length in range(SHORTEST, LONGEST + 1):
        for start in range(size - length + 1):
            rows.add(crc32(marked[start : start + length].encode(errors="surrogatepass")) & mask)
    return sorted(rows)


def pair_row(first: str, second: str, mask: int) -> int:
    """The row of two words that follow one another."""
    return crc32(f"{first} {second}".encode(errors="surrogatepass")) & mask
