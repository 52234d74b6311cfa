"""The words of a caption as token identifiers: BERT's lower-casing WordPiece, the vocabulary of all-MiniLM-L6-v2.

Source: the reference `tokenization.py` of BERT (Devlin et al., arXiv 1810.04805). Written out here because the
tokenizer libraries bring a client for model hubs into a process that must not have one.
"""

import unicodedata

MAX_TOKENS = 20
"""Most tokens of a caption, the first and last special ones included; what goes beyond is cut off."""
_LONGEST_WORD = 100


class Words:
    """A vocabulary.

    Args:
        vocabulary: one piece a line, the identifier being the line's number; pieces within a word begin with `##`.
    """

    def __init__(self, vocabulary: str) -> None:
        self._ids = {piece: index for index, piece in enumerate(vocabulary.rstrip("\n").split("\n"))}
        self._start, self._end = self._ids["[CLS]"], self._ids["[SEP]"]
        self._unknown, self._pad = self._ids["[UNK]"], self._ids["[PAD]"]

    def encode(self, caption: str) -> tuple[list[int], list[int]]:
        """Identifiers and mask, MAX_TOKENS of each."""
        pieces = [piece for word in _split(caption) for piece in self._pieces(word)][: MAX_TOKENS - 2]
        ids = [self._start, *pieces, self._end]
        room = MAX_TOKENS - len(ids)
        return ids + [self._pad] * room, [1] * len(ids) + [0] * room

    def _pieces(self, word: str) -> list[int]:
        """The longest pieces from the left; a word that cannot be put together is unknown as a whole."""
        found = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                piece = self._ids.get(prefix + word[start:end])
                if piece is not None:
                    break
            else:
                return [self._unknown]
            found.append(piece)
            start = end
        return found if len(word) <= _LONGEST_WORD else [self._unknown]


def _split(text: str) -> list[str]:
    """Lower-case words without accents; punctuation and CJK characters stand alone."""
    spaced = []
    for character in unicodedata.normalize("NFD", text.lower()):
        kind = unicodedata.category(character)
        if kind == "Mn" or character in "\0\ufffd" or (kind.startswith("C") and not character.isspace()):
            continue
        spaced.append(f" {character} " if _stands_alone(character, kind) else character)
    return "".join(spaced).split()


def _stands_alone(character: str, kind: str) -> bool:
    code = ord(character)
    symbol = 33 <= code <= 126 and not character.isalnum()
    return symbol or kind.startswith("P") or 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF
