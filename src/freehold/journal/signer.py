"""The key that checkpoints are signed with: Ed25519 (RFC 8032)."""

from pathlib import Path
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from freehold.errors import HomeError
from freehold.store.home import write_private


class Signer:
    """Signs with a private key that never leaves the object.

    Args:
        key: the private key.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key: bytes = key.public_key().public_bytes_raw()
        """The 32 raw bytes of the public key."""

    @classmethod
    def load_or_create(cls, private: Path, public: Path) -> Self:
        """The key of a home; a new pair where there is neither file.

        Args:
            private: the PEM file of the private key (PKCS #8), which only its owner can read.
            public: the PEM file of the public key; written again if it is missing.

        Raises:
            HomeError: a file cannot be read, written or understood, the two do not belong together, or only the public
                one is there: a new key could not continue what the old one signed.
        """
        if private.exists():
            signer = cls(_private_key(_read(private), private))
        elif public.exists():
            raise HomeError(
                f"{private} is missing, and {public} shows that there is a journal signed with it: restore the key "
                f"from a backup, or move the folder {public.parent} away to begin a new journal"
            )
        else:
            signer = cls(Ed25519PrivateKey.generate())
            write_private(private, signer._private_pem())
        if not public.exists():
            write_private(public, signer._public_pem())
        elif _public_key(_read(public), public).public_bytes_raw() != signer.public_key:
            raise HomeError(
                f"{public} is not the public key of {private}: restore the one that was replaced from a backup"
            )
        return signer

    def sign(self, message: bytes) -> bytes:
        """The signature of a message: 64 bytes."""
        return self._key.sign(message)

    def _private_pem(self) -> bytes:
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def _public_pem(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise HomeError(f"{path} cannot be read: {exc.strerror}") from exc


def _private_key(pem: bytes, path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise HomeError(f"{path} holds no private key that can be read: restore it from a backup") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise HomeError(f"{path} holds a key that is not Ed25519: restore it from a backup")
    return key


def _public_key(pem: bytes, path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise HomeError(f"{path} holds no public key that can be read: delete it, and it is written again") from exc
    if not isinstance(key, Ed25519PublicKey):
        raise HomeError(f"{path} holds a key that is not Ed25519: delete it, and it is written again")
    return key
