"""Texts as a reader sees them: what hides a word from a detector is taken away before anything is looked for.

`plain` undoes what changes no meaning: compatibility forms (NFKC), case, invisible characters, stacked accents,
letters of other scripts that pass for Latin ones. Whether a letter passes for a Latin one is decided by its word
alone, never by the words around it, so that a term on a list and the same term in a text always come to the same
string: in a word that has a Latin letter every look-alike becomes Latin; a word without one becomes Latin only where
each of its two or more letters is one that nobody can tell apart. So a Russian sentence stays Russian.

`squeezed` also undoes what does change meaning: digits and signs in place of letters, accents, and whatever stands
between letters. It is the skeleton of a text, to be compared with skeletons only.

`traced` and `traced_squeezed` tell where in the text each of their characters came from.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
"""Control characters that are no white space, and Unicode's default ignorable code points."""
_STACKED = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
"""Accents that no letter takes: those of letters are part of them after NFKC."""


class AsciiTable:
    """What becomes of the characters of an ASCII text: several times as fast as `str.translate`.

    Args:
        becomes: for a character the one that stands in its place, or nothing where it is left out.
    """

    def __init__(self, becomes: Callable[[str], str]) -> None:
        characters = [becomes(chr(code)) for code in range(128)]
        self._table = "".join(each or " " for each in characters).encode().ljust(256)
        self._left_out = bytes(code for code, each in enumerate(characters) if not each)

    def __call__(self, text: str) -> str:
        """The text, which is ASCII, with other characters."""
        return text.encode().translate(self._table, self._left_out).decode()


def ascii_plain(character: str) -> str:
    """White space is a space, control characters go, letters are small."""
    return " " if character.isspace() else character.lower() if character.isprintable() else ""


_ASCII = AsciiTable(ascii_plain)
_WORD = re.compile(r"\w+")
_NO_LETTERS = re.compile(r"[\W_]+")
_LATIN = re.compile("[A-Za-z]")
_CACHED_LENGTH = 64
"""Of the longest word whose result is kept."""

_PUNCTUATION = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u02b9\uff07", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043", "-"),
    "\u2800": " ",
    **{chr(0x1F150 + n): chr(97 + n) for n in range(26)},
    **{chr(0x1F170 + n): chr(97 + n) for n in range(26)},
}
"""Signs that stand for others wherever they are: quotation marks, dashes, the empty braille cell, letters in discs."""
_TYPESET = (
    *((sign, _PUNCTUATION[sign]) for sign in "\u2019\u2018\u201c\u201d\u2013\u2014"),
    ("\u2026", "..."),
    ("\xa0", " "),
)
"""The usual ones of them, and what NFKC makes of other usual ones."""

_SAME = dict(
    zip(
        "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u051b\u051d\u04cf\u03bf\u03f2\u03f3"
        "\u0261\u0251\u0131\u0578\u057d\u0585\u0570\u0581\u0566",
        "aeopcyxijsdhqwlocjgainuohgq",
        strict=True,
    )
)
_SAME |= dict(
    zip(
        # Small capitals, and some letters of phonetic alphabets
        "\u1d00\u0299\u1d04\u1d05\u1d07\ua730\u0262\u029c\u026a\u1d0a\u1d0b\u029f\u1d0d\u0274\u1d0f\u1d18\u0280"
        "\ua731\u1d1b\u1d1c\u1d20\u1d21\u028f\u1d22\u0269\u0192",
        "abcdefghijklmnoprstuvwyzif",
        strict=True,
    )
)
"""Letters that nobody can tell from Latin ones, in any type."""

_ALIKE = {
    **_SAME,
    **dict(
        zip(
            # Cyrillic capitals and small letters, then Greek capitals and small letters
            "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0406\u0408\u0405\u04ae\u0417"
            "\u0418\u042f\u0413\u041f\u0401\u0407"
            "\u0432\u043a\u043c\u043d\u0442\u0433\u043f\u0438\u044f\u044c\u0451\u0457\u04af\u0491"
            "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03f9\u0386\u0388\u038a"
            "\u038c"
            "\u03b1\u03b2\u03b3\u03b5\u03b7\u03b9\u03ba\u03bc\u03bd\u03c1\u03c4\u03c5\u03c7\u03c9\u03c3\u03ac\u03ad\u03af"
            "\u03cc\u03cd\u03ce",
            "abekmhopctyxijsyenrrneibkmhtrnnrbeiyrabezhikmnoptyxcaeioabyenikuvptuxwoaeiouw",
            strict=True,
        )
    ),
}
"""Letters that pass for Latin ones among Latin ones."""
_LOOKALIKE = re.compile(f"[{''.join(_ALIKE)}]")
_ALIKE_TABLE = str.maketrans(_ALIKE)
_SAME_TABLE = str.maketrans(_SAME)
_PUNCTUATION_TABLE = str.maketrans(_PUNCTUATION)

_LEET = dict(zip("01345789@$\u20ac\u00a3\u00a2", "oieastbgaselc", strict=True))
_INNER = re.compile(r"[!|](?=\w)")
"""Signs that are letters only before a letter: at a word's end they are punctuation."""
_STROKED = {
    **dict(zip("\u00f8\u0111\u0142\u0127\u0167\u0180\u0268\u0289\u024d\u0247\u01b6\u023c\u0249\u024f",
               "odlhtbiurezcjy", strict=True)),
    "\u00e6": "ae", "\u0153": "oe", "\u00f0": "d", "\u00fe": "th",
}  # fmt: skip
"""Latin letters that Unicode does not decompose."""


def _unaccented() -> Iterator[tuple[str, str]]:
    """Every small Latin letter with accents, and the letter without them."""
    for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00)):
        base = unicodedata.normalize("NFD", chr(code))[0]
        if base.isascii() and base != chr(code):
            yield chr(code), base


_SKELETON = str.maketrans({**dict(_unaccented()), **_STROKED, **_LEET})
_SKELETON_ASCII = AsciiTable(lambda each: _LEET.get(each, each if each.isalnum() else ""))


@dataclass(frozen=True, slots=True)
class Traced:
    """A normalised text, and where it came from.

    Args:
        plain: the normalised text.
        starts: for each of its characters the index in the original where it began, and at the end the original's
            length. Never falling.
    """

    plain: str
    starts: list[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The piece of the original that `plain[start:end]` came from; not empty where this is not empty.

        A character of the original that became several belongs to the piece wholly.
        """
        if start >= end:
            return self.starts[start], self.starts[start]
        after = bisect_right(self.starts, self.starts[end - 1])
        return self.starts[start], self.starts[min(after, len(self.starts) - 1)]


def plain(text: str) -> str:
    """The text without what hides words: NFKC, visible characters only, look-alikes Latin, no case, single spaces.

    Without spaces at its ends. Of an ASCII text of 1 kB in under 15 µs.
    """
    text = _typed(text)
    if text.isascii():
        text = _ASCII(text)
        return " ".join(text.split()) if "  " in text else text.strip()
    return _plain(text)


def squeezed(text: str) -> str:
    """The skeleton of a text: `plain`, digits and signs that stand for letters undone, only letters and digits left.

    Every look-alike is Latin here, whatever word it stands in, and letters have no accents: "b.4 d" is "bad".
    """
    text = _typed(text)
    if text.isascii():
        return _lettered(_ASCII(text))
    return "".join(
        _skeleton_word(word) if len(word) <= _CACHED_LENGTH else _lettered(_piece(word, everywhere=True))
        for word in text.split()
    )


def traced(text: str) -> Traced:
    """`plain(text)` with its origin; slow, for texts in which something was found."""
    return _joined(_spaced(_origins(text, everywhere=False)), len(text))


def traced_squeezed(text: str) -> Traced:
    """`squeezed(text)` with its origin; slow, for texts in which something was found."""
    origins = list(_spaced(_origins(text, everywhere=True)))
    letters = _INNER.sub("i", "".join(character for character, _ in origins))
    pairs = [
        (letter, origin)
        for character, (_, origin) in zip(letters, origins, strict=True)
        for letter in character.translate(_SKELETON)
        if _kept(letter)
    ]
    return _joined(iter(pairs), len(text))


def _typed(text: str) -> str:
    """The text with the signs that typesetters use as on a keyboard, so that most texts in English are ASCII."""
    if not text.isascii():
        for sign, typed in _TYPESET:
            if sign in text:
                text = text.replace(sign, typed)
    return text


def _plain(text: str) -> str:
    """Of a text that is not ASCII: word by word, because most words of most texts were seen before."""
    words = [
        _plain_word(word) if len(word) <= _CACHED_LENGTH else _piece(word, everywhere=False) for word in text.split()
    ]
    return " ".join(" ".join(words).split())


@lru_cache(maxsize=8192)
def _plain_word(word: str) -> str:
    """A word as `plain` has it."""
    return _piece(word, everywhere=False)


@lru_cache(maxsize=8192)
def _skeleton_word(word: str) -> str:
    """A word as `squeezed` has it."""
    return _lettered(_piece(word, everywhere=True))


def _piece(text: str, *, everywhere: bool) -> str:
    """A text without white space; what becomes a space in it stays where it is."""
    text = _composed(_INVISIBLE.sub("", text)).translate(_PUNCTUATION_TABLE)
    text = _latin_words(text, everywhere=everywhere).casefold()
    return _latin_words(_composed(text), everywhere=everywhere)


def _lettered(text: str) -> str:
    """Letters and digits only, from a text in small letters."""
    if "!" in text or "|" in text:
        text = _INNER.sub("i", text)
    if text.isascii():
        return _SKELETON_ASCII(text)
    return _NO_LETTERS.sub(lambda run: "".join(filter(_kept, run[0])), text.translate(_SKELETON))


def _composed(text: str) -> str:
    """NFKC without stacked accents."""
    text = unicodedata.normalize("NFKC", text)
    return unicodedata.normalize("NFKC", _STACKED.sub("", text)) if _STACKED.search(text) else text


def _latin_words(text: str, *, everywhere: bool) -> str:
    """The text with the look-alikes that pass for Latin letters made Latin; it keeps its length."""
    if not _LOOKALIKE.search(text):
        return text
    if everywhere:
        return text.translate(_ALIKE_TABLE)
    return _WORD.sub(lambda word: _latin(word[0]), text)


def _latin(word: str) -> str:
    """The word, Latin where it passes for it."""
    if _LATIN.search(word):
        return word.translate(_ALIKE_TABLE)
    same = word.translate(_SAME_TABLE)
    looks = same.isascii() and (len(word) > 1 or unicodedata.name(word, "").startswith("LATIN"))
    return same if looks else word


def _kept(character: str) -> bool:
    """Whether a character stands in a skeleton: letters, digits, and the vowel signs of scripts that have them."""
    return character.isalnum() or unicodedata.category(character) in {"Mn", "Mc"}


def _origins(text: str, *, everywhere: bool) -> list[tuple[str, int]]:
    """The characters of `_plain(text)` before white space is dealt with, each with its origin."""
    pairs = [(character, at) for at, character in enumerate(text) if not _INVISIBLE.match(character)]
    pairs = [(character.translate(_PUNCTUATION_TABLE), at) for character, at in _composed_pairs(pairs)]
    pairs = _latin_pairs(pairs, everywhere=everywhere)
    pairs = _composed_pairs([(each, at) for character, at in pairs for each in character.casefold()])
    return _latin_pairs(pairs, everywhere=everywhere)


def _latin_pairs(pairs: list[tuple[str, int]], *, everywhere: bool) -> list[tuple[str, int]]:
    """`_latin_words` with origins."""
    latin = _latin_words("".join(character for character, _ in pairs), everywhere=everywhere)
    return [(character, at) for character, (_, at) in zip(latin, pairs, strict=True)]


def _composed_pairs(pairs: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """`_composed` with origins: what composes with the characters before it shares the origin of the first."""
    normalized: list[tuple[str, int]] = []
    for cluster, origin in _clusters(pairs):
        normalized += [(character, origin) for character in unicodedata.normalize("NFKC", cluster)]
    left = [(character, at) for character, at in normalized if not _STACKED.match(character)]
    return left if len(left) == len(normalized) else _composed_pairs(left)


def _clusters(pairs: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """The shortest pieces that can be normalised one by one, each with the origin of its first character."""
    cluster, origin = "", 0
    for character, at in pairs:
        if not cluster:
            cluster, origin = character, at
        elif unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) or unicodedata.normalize(
            "NFKC", cluster + character
        ) != unicodedata.normalize("NFKC", cluster) + unicodedata.normalize("NFKC", character):
            cluster += character
        else:
            yield cluster, origin
            cluster, origin = character, at
    if cluster:
        yield cluster, origin


def _spaced(pairs: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """With runs of white space as one space, and none at the ends."""
    space: int | None = None
    begun = False
    for character, at in pairs:
        if character.isspace():
            space = at if space is None else space
            continue
        if space is not None and begun:
            yield " ", space
        space, begun = None, True
        yield character, at


def _joined(pairs: Iterator[tuple[str, int]], length: int) -> Traced:
    """As a traced text."""
    characters: list[str] = []
    starts: list[int] = []
    for character, at in pairs:
        characters.append(character)
        starts.append(at)
    return Traced("".join(characters), [*starts, length])
