"""The cipher of kept content: AES-256-GCM (NIST SP 800-38D) under the content key of its owner.

What is sealed is bound to what it is: the version of this format, organization, project, owner, purpose and row stand
in the associated data, each with its length. Moved to another row, project, owner or purpose it does not open. Nonces
are random, 96 bits, so a key may seal 2^32 texts; a key is one owner's in one project.

    sealed = version (1 byte, 1) | nonce (12 bytes) | ciphertext with its tag
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from freehold.encryption.content_keys import ContentKeys
from freehold.encryption.framing import framed
from freehold.encryption.master_key import NONCE_BYTES
from freehold.errors import ContentUnreadable
from freehold.types.content import Tenant

VERSION: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class Piece:
    """What one row holds.

    Args:
        tenant: whose it is.
        row: names the row.
        content: in the clear or sealed.
    """

    tenant: Tenant
    row: str
    content: bytes


class ContentCipher:
    """Seals and opens content.

    Args:
        keys: gives the key of each owner.
    """

    def __init__(self, keys: ContentKeys) -> None:
        self._keys = keys

    async def seal(self, tenant: Tenant, purpose: str, row: str, content: bytes) -> bytes:
        """Content as it may be stored.

        Args:
            tenant: whose it is.
            purpose: what it is, such as the name of its kind.
            row: names the row in which it will stand, for ever.
            content: the bytes.

        Raises:
            ProjectKeyRevoked: the project's key is revoked.
            ContentUnreadable: the owner or the project was erased, or the key cannot be decrypted.
            KeyServiceUnavailable: the service that has the master key is not available.
            HomeError: the database cannot be used.
        """
        return _sealed(await self._keys.key_for(tenant), purpose, Piece(tenant, row, content))

    async def open(self, tenant: Tenant, purpose: str, row: str, sealed: bytes) -> bytes:
        """The content of a row.

        Raises:
            ContentUnreadable: it is damaged, or was sealed for another owner, purpose or row, or its key is gone.
            ProjectKeyRevoked, KeyServiceUnavailable, HomeError: as `seal`.
        """
        return _opened(await self._keys.key_of(tenant), purpose, Piece(tenant, row, sealed))

    async def seal_all(self, purpose: str, pieces: Sequence[Piece]) -> list[bytes]:
        """Contents as they may be stored, in their order; the work is done in a thread. Raises as `seal`."""
        keys = [await self._keys.key_for(piece.tenant) for piece in pieces]
        return await asyncio.to_thread(_each, _sealed, keys, purpose, pieces)

    async def open_all(self, purpose: str, pieces: Sequence[Piece]) -> list[bytes]:
        """The contents of rows, in their order; the work is done in a thread. Raises as `open`."""
        keys = [await self._keys.key_of(piece.tenant) for piece in pieces]
        return await asyncio.to_thread(_each, _opened, keys, purpose, pieces)


def _each(
    work: Callable[[bytes, str, Piece], bytes], keys: Sequence[bytes], purpose: str, pieces: Sequence[Piece]
) -> list[bytes]:
    return [work(key, purpose, piece) for key, piece in zip(keys, pieces, strict=True)]


def _sealed(key: bytes, purpose: str, piece: Piece) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    bound = associated_data(piece.tenant, purpose, piece.row)
    return VERSION + nonce + AESGCM(key).encrypt(nonce, piece.content, bound)


def _opened(key: bytes, purpose: str, piece: Piece) -> bytes:
    sealed = piece.content
    if sealed[:1] != VERSION:
        raise ContentUnreadable("The content cannot be decrypted: it has another format.")
    nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, associated_data(piece.tenant, purpose, piece.row))
    except (InvalidTag, ValueError):
        raise ContentUnreadable("The content cannot be decrypted: it is damaged or was moved.") from None


def associated_data(tenant: Tenant, purpose: str, row: str) -> bytes:
    """What a ciphertext is bound to; no two different sets of fields give the same bytes."""
    fields = (tenant.organization_id, tenant.project_id, tenant.owner_id, purpose, row)
    return b"freehold content" + VERSION + framed(*fields)
