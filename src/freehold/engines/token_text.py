"""Tokens as text while they come: whole characters only, nothing said twice, and nothing of a stop sequence."""

import codecs
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_SPACE: Final = "▁".encode()
"""What SentencePiece writes for a space."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a model's tokens stand for.

    Args:
        pieces: the bytes of each token by its id; empty for those that are no text.
        ends: the tokens that end an answer.
    """

    pieces: Sequence[bytes]
    ends: frozenset[int]

    def text(self, ids: Sequence[int]) -> str:
        """The text of some tokens, with U+FFFD for what is none."""
        return b"".join(self.pieces[number] for number in ids).decode(errors="replace")


def read_vocabulary(tokens: Mapping[bytes, int], hidden: Collection[int], ends: Collection[int]) -> Vocabulary:
    """The vocabulary of a tokenizer, of bytes or of SentencePiece.

    Args:
        tokens: the ids by their tokens.
        hidden: the ids of tokens that are no text.
        ends: the ids of tokens that end an answer.
    """
    pieces = [b""] * (max(tokens.values(), default=-1) + 1)
    by_sentencepiece = b"<0x0A>" in tokens
    unseen = {*hidden, *ends}
    for token, number in tokens.items():
        if number not in unseen:
            pieces[number] = _sentencepiece(token) if by_sentencepiece else token
    return Vocabulary(pieces, frozenset(ends))


def _sentencepiece(token: bytes) -> bytes:
    if len(token) == 6 and token.startswith(b"<0x") and token.endswith(b">"):
        return bytes.fromhex(token[3:5].decode())
    return token.replace(_SPACE, b" ")


class Detokenizer:
    """Makes text of one answer's tokens as they come.

    Args:
        vocabulary: what they stand for.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._pieces = vocabulary.pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """The characters that the token completes."""
        return self._decoder.decode(self._pieces[token] if token < len(self._pieces) else b"")

    @property
    def between(self) -> bool:
        """Whether no character has begun that is not complete."""
        return not self._decoder.getstate()[0]

    def reset(self) -> None:
        """Forget a character that has begun."""
        self._decoder.reset()


class StopSequences:
    """Ends a text before the first of some sequences, which may come in pieces.

    Args:
        sequences: those that end it.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = sequences
        self._beginnings = {text[:length] for text in sequences for length in range(1, len(text))}
        self._longest = max((len(text) for text in sequences), default=1) - 1
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """What can be said, and whether a sequence has come. What may be the beginning of one is held back."""
        if not self._sequences:
            return text, False
        text = self._held + text
        places = [place for place in map(text.find, self._sequences) if place >= 0]
        if places:
            self._held = ""
            return text[: min(places)], True
        lengths = range(min(self._longest, len(text)), 0, -1)
        keep = next((length for length in lengths if text[len(text) - length :] in self._beginnings), 0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], False

    def rest(self) -> str:
        """What was held back when the text ended."""
        held, self._held = self._held, ""
        return held
