"""What the n-gram classifier sees of a text: rows of a table, by hash; the same in training and in serving.

A text is a list of words. Its features are, for each of its different words, the word and the character n-grams within
it, and each of its different pairs of words that follow one another. A word's features depend on the word alone, so
that their sum can be kept, and a text costs one look-up for each of its words.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from zlib import crc32

from freehold.content_filter.normalise import AsciiTable, ascii_plain, plain
from freehold.types.content_filter import Passage

_WORD = re.compile(r"\w+(?:'\w+)*")
_ASCII_WORDS = AsciiTable(
    lambda each: ascii_plain(each) if each.isalnum() or each in "_'" or not ascii_plain(each) else " "
)
"""A word's characters as in `plain`, and a space for all between words."""
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
    return _words(text if text.isascii() else plain(text))


def words_in(passage: Passage) -> list[str]:
    """The words of a passage, looked for once, whoever asks."""
    words: list[str] | None = passage.memo.get("words")
    if words is None:
        words = passage.memo["words"] = words_of(passage.text)
    return words


def _words(text: str) -> list[str]:
    """Of an ASCII text, or of a normalised one; of ASCII by splitting, in a quarter of the time of the pattern."""
    if not text.isascii() or "''" in (text := f" {_ASCII_WORDS(text)} "):
        words = _WORD.findall(text)
    else:
        words = text.replace(" '", " ").replace("' ", " ").split() if "'" in text else text.split()
    if max(map(len, words), default=0) <= LONGEST_WORD:
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
    whole = crc32(f"w{word}".encode(errors="surrogatepass"))
    if marked.isascii():
        letters = marked.encode()
        return sorted({whole & mask, *(crc32(letters[start:end]) & mask for start, end in _pieces(len(marked)))})
    grams = (marked[start:end].encode(errors="surrogatepass") for start, end in _pieces(len(marked)))
    return sorted({whole & mask, *(crc32(gram) & mask for gram in grams)})


@lru_cache(maxsize=LONGEST_WORD + 2)
def _pieces(size: int) -> tuple[tuple[int, int], ...]:
    """Where the n-grams of a marked word of so many code points begin and end."""
    return tuple(
        (start, start + length) for length in range(SHORTEST, LONGEST + 1) for start in range(size - length + 1)
    )


def pair_row(first: str, second: str, mask: int) -> int:
    """The row of two words that follow one another."""
    return crc32(f"{first} {second}".encode(errors="surrogatepass")) & mask
