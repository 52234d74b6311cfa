"""What is kept of a file beside its content, encrypted; and how much encryption adds to a piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import orjson

from freehold.encryption.master_key import NONCE_BYTES
from freehold.types.files import ExpiresAfter

SEAL_BYTES: Final = 1 + NONCE_BYTES + 16
"""By which a sealed piece is longer: version, nonce and tag."""


@dataclass(frozen=True, slots=True)
class Header:
    """Of a file that is there, or is to come.

    Args:
        filename: as the caller called it.
        sha256: of the content, in hex; empty of one that is to come.
        parts: what it is made of, in order: the id of each part, and how many pieces that has.
        expires_after: what the caller asked for, of one that is to come.
    """

    filename: str
    sha256: str = ""
    parts: Sequence[tuple[str, int]] = ()
    expires_after: ExpiresAfter | None = None

    def encoded(self) -> bytes:
        """As it is sealed."""
        ends = None if self.expires_after is None else self.expires_after.seconds
        return orjson.dumps({"filename": self.filename, "sha256": self.sha256, "parts": self.parts, "ends": ends})

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """What `encoded` wrote."""
        found = orjson.loads(data)
        ends = None if found["ends"] is None else ExpiresAfter(anchor="created_at", seconds=found["ends"])
        return cls(found["filename"], found["sha256"], [(part, pieces) for part, pieces in found["parts"]], ends)
