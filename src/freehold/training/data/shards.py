"""Tokens of a text, prepared: what a language model's training reads.

    shards = TokenShards.open(Path("data"))
    shards.tokens("training")                   # 1_003_854
    shards.read("training", 0, 65)              # uint16 [65]

They are record shards with one field, `tokens`, of uint16 where the vocabulary allows it, else uint32; documents lie
one after another, each ended by the tokenizer's token of ends. Beside them lie the tokenizer, and how many bytes each
token is.
"""

from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from freehold.errors import ConfigError
from freehold.training.data.records import Field, RecordShards, file_sha256

TOKENS: Final = "tokens"
TOKENIZER: Final = "tokenizer"
"""The folder of the tokenizer, beside the shards."""
TOKEN_BYTES: Final = "token-bytes.bin"
CARD: Final = "card.json"
PAGE: Final = "card.md"
"""The data card beside the shards, for programs and for people."""


def token_field(vocabulary: int) -> Field:
    """How tokens are written down where there are so many."""
    return Field(TOKENS, "uint16" if vocabulary <= 1 << 16 else "uint32")


class TokenShards:
    """Token shards that are complete.

    Args:
        records: the shards.
    """

    def __init__(self, records: RecordShards) -> None:
        facts = records.facts
        self.records = records
        self.vocabulary: int = facts["vocabulary"]
        """How many tokens the tokenizer has."""
        self.tokenizer_sha256: str = facts["tokenizer_sha256"]
        """Of its tokenizer.json."""
        self.end: int = facts["end"]
        """The token that ends a document."""
        self.sha256 = records.sha256
        """Identifies the data: tokens, splits and tokenizer."""

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> Self:
        """Open the shards of a folder; lengths are looked at.

        Args:
            folder: where they lie.
            verify: whether the digest of each file is computed too.

        Raises:
            ConfigError: there are none, they are not whole, or not what was written.
        """
        records = RecordShards.open(folder, verify=verify)
        if set(records.fields) != {TOKENS} or "tokenizer_sha256" not in records.facts:
            raise ConfigError(f"{folder} has no tokens, but {', '.join(records.fields)}; prepare texts for it")
        shards = cls(records)
        expected = records.facts["token_bytes_sha256"]
        for path, digest in (
            (shards.tokenizer / "tokenizer.json", shards.tokenizer_sha256),
            (folder / TOKEN_BYTES, expected),
        ):
            if not path.is_file() or file_sha256(path) != digest:
                raise ConfigError(f"{path} is missing or not what was written; prepare the data again")
        return shards

    @property
    def tokenizer(self) -> Path:
        """The folder of the tokenizer, as Hugging Face's libraries read it."""
        return self.records.folder / TOKENIZER

    @property
    def token_bytes(self) -> NDArray[np.int32]:
        """How many bytes of text each token is, 0 for special ones: [vocabulary]."""
        return np.fromfile(self.records.folder / TOKEN_BYTES, dtype="<i4").astype(np.int32)

    def tokens(self, split: str) -> int:
        """How many tokens a split has, those of ends among them."""
        return self.records.records(split)

    def bytes(self, split: str) -> int:
        """How many bytes of text a split has, as UTF-8."""
        return int(self.records.facts["bytes"].get(split, 0))

    def documents(self, split: str) -> int:
        """How many documents, or parts of one, a split has."""
        return int(self.records.facts["documents"].get(split, 0))

    def read(self, split: str, start: int, length: int) -> NDArray[Any]:
        """So many tokens from one on; a view where they lie in one file."""
        return self.records.read(split, TOKENS, start, length)
