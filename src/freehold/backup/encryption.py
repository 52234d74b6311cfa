"""The encrypted form of a backup: a header, then chunks that are sealed one by one, so that it is read as a stream.

    header   magic (16 bytes) | kind of secret (1) | log2 N, r, p of scrypt (3) | salt (32) | check (32)
    chunk    at most 64 KiB of the archive, sealed with AES-256-GCM, and its tag (16)

A passphrase is stretched with scrypt (RFC 7914); the contents of a key file, which are random, are taken as they are.
HKDF-SHA256 (RFC 5869) under the salt makes two keys of that. The first makes the header's check, an HMAC-SHA256 of all
bytes before it, which tells a wrong secret from damage. The second seals the chunks in the manner of STREAM (Hoang,
Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance, 2015): the nonce is
the chunk's number (11 bytes) and whether it is the last (1 byte), and the header is authenticated with every chunk. So
no byte can be changed, no chunk moved, left out, doubled or taken from another backup, and the end not be cut off,
unseen. No two backups share a key, since each has a salt of its own.

It does not hide how large a backup is, and whoever has the secret can make another one: it proves no author.
"""

import hashlib
import hmac
import io
import secrets
import unicodedata
from dataclasses import dataclass, field
from enum import IntEnum
from typing import IO, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from freehold.errors import BackupDamaged, InvalidRequest

MAGIC: Final = b"FREEHOLD-BACKUP\x01"
CHUNK_BYTES: Final = 64 * 1024
MIN_PASSPHRASE: Final = 12
MIN_KEY_BYTES: Final = 32
MAX_KEY_BYTES: Final = 64 * 1024

_TAG_BYTES: Final = 16
_SALT_BYTES: Final = 32
_CHECK_BYTES: Final = 32
_COST: Final = (17, 8, 1)
"""log2 N, r and p of scrypt: 128 MiB and a good part of a second for each guess."""
_MOST_COST: Final = (20, 8, 4)
"""A header that asks for more is not believed: it could take the machine's memory before it can be checked."""


class SecretKind(IntEnum):
    """What a backup is encrypted with."""

    PASSPHRASE = 1
    KEY_FILE = 2


@dataclass(frozen=True, slots=True)
class Secret:
    """What a backup is encrypted with. Build it with `from_passphrase` or `from_key_file`."""

    kind: SecretKind
    value: bytes = field(repr=False)

    @classmethod
    def from_passphrase(cls, text: str) -> "Secret":
        """A passphrase that people can remember.

        Raises:
            InvalidRequest: it is too short.
        """
        if len(text) < MIN_PASSPHRASE:
            raise InvalidRequest(f"a passphrase has at least {MIN_PASSPHRASE} characters", param="passphrase")
        return cls(SecretKind.PASSPHRASE, unicodedata.normalize("NFC", text).encode("utf-8", "surrogateescape"))

    @classmethod
    def from_key_file(cls, data: bytes) -> "Secret":
        """The contents of a file with random bytes.

        Raises:
            InvalidRequest: they are too few, or so many that it must be another file.
        """
        if not MIN_KEY_BYTES <= len(data) <= MAX_KEY_BYTES:
            raise InvalidRequest(
                f"a key file has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} random bytes, not {len(data)}; make one with: "
                "head -c 32 /dev/urandom > FILE",
                param="key_file",
            )
        return cls(SecretKind.KEY_FILE, data)


class EncryptingWriter(io.RawIOBase):
    """Seals what is written to it. Only `finish` makes the end; a file without it counts as truncated.

    Args:
        sink: where the encrypted form goes; it is not closed.
        secret: what it is encrypted with.
    """

    def __init__(self, sink: IO[bytes], secret: Secret) -> None:
        super().__init__()
        self._sink = sink
        cost = _COST if secret.kind is SecretKind.PASSPHRASE else (0, 0, 0)
        salt = secrets.token_bytes(_SALT_BYTES)
        head = MAGIC + bytes((secret.kind, *cost)) + salt
        check_key, chunk_key = _keys(secret, cost, salt)
        self._header = head + hmac.digest(check_key, head, "sha256")
        self._cipher = AESGCM(chunk_key)
        self._number = 0
        self._waiting = bytearray()
        sink.write(self._header)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int:
        """Take bytes in; they leave in whole chunks, the last one when it is known not to be the last."""
        self._waiting += data
        whole = max(0, (len(self._waiting) - 1) // CHUNK_BYTES) * CHUNK_BYTES
        for begin in range(0, whole, CHUNK_BYTES):
            self._seal(bytes(self._waiting[begin : begin + CHUNK_BYTES]), last=False)
        del self._waiting[:whole]
        return memoryview(data).nbytes

    def finish(self) -> None:
        """Seal the last chunk."""
        self._seal(bytes(self._waiting), last=True)
        self._waiting.clear()

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        self._sink.write(self._cipher.encrypt(_nonce(self._number, last=last), chunk, self._header))
        self._number += 1


class DecryptingReader(io.RawIOBase):
    """Reads what `EncryptingWriter` wrote; every byte that it gives is authenticated.

    Args:
        source: the encrypted form, from its first byte on.
        secret: what it was encrypted with.

    Raises:
        InvalidRequest: the secret is the wrong one, or of the wrong kind.
        BackupDamaged: what is read is not what was written; also while reading.
    """

    def __init__(self, source: IO[bytes], secret: Secret) -> None:
        super().__init__()
        self._source = source
        self._header, self._cipher = _open(source, secret)
        self._number = 0
        self._ahead = source.read(CHUNK_BYTES + _TAG_BYTES)
        self._ended = False
        self._chunk = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Give bytes of the archive, none at its end."""
        while not self._chunk and not self._ended:
            self._unseal()
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._chunk))
        target[:size] = self._chunk[:size]
        self._chunk = self._chunk[size:]
        return size

    def _unseal(self) -> None:
        sealed, self._ahead = self._ahead, self._source.read(CHUNK_BYTES + _TAG_BYTES)
        last = not self._ahead
        try:
            chunk = self._cipher.decrypt(_nonce(self._number, last=last), sealed, self._header)
        except (InvalidTag, ValueError) as exc:
            raise BackupDamaged(
                f"the backup is damaged or cut off: its part {self._number + 1} is not what was written"
            ) from exc
        self._number += 1
        self._ended = last
        self._chunk = memoryview(chunk)


def secret_kind(head: bytes) -> SecretKind | None:
    """What a backup that begins with these bytes is encrypted with; None if it is not encrypted.

    Args:
        head: the first 17 bytes.

    Raises:
        BackupDamaged: it is encrypted in a way that this version does not know.
    """
    if not head.startswith(MAGIC):
        return None
    try:
        return SecretKind(head[len(MAGIC)])
    except (IndexError, ValueError) as exc:
        raise BackupDamaged("the backup's header is damaged, or of a newer Freehold") from exc


def _open(source: IO[bytes], secret: Secret) -> tuple[bytes, AESGCM]:
    """The header, and the cipher of the chunks that follow it."""
    header = source.read(len(MAGIC) + 4 + _SALT_BYTES + _CHECK_BYTES)
    head, check = header[:-_CHECK_BYTES], header[-_CHECK_BYTES:]
    kind = secret_kind(head)
    if kind is None or len(head) != len(MAGIC) + 4 + _SALT_BYTES:
        raise BackupDamaged("the backup's header is damaged or cut off")
    if kind is not secret.kind:
        wanted = "a passphrase" if kind is SecretKind.PASSPHRASE else "a key file"
        raise InvalidRequest(f"the backup is encrypted with {wanted}; give that", param="secret")
    cost, salt = (head[17], head[18], head[19]), head[20:]
    floor = 1 if kind is SecretKind.PASSPHRASE else 0
    if any(not floor <= asked <= (most if floor else 0) for asked, most in zip(cost, _MOST_COST, strict=True)):
        raise BackupDamaged("the backup's header is damaged: the cost of its passphrase is out of range")
    check_key, chunk_key = _keys(secret, cost, salt)
    if not hmac.compare_digest(hmac.digest(check_key, head, "sha256"), check):
        what = "passphrase" if kind is SecretKind.PASSPHRASE else "key file"
        raise InvalidRequest(f"the {what} is not the one of this backup, or the backup's header is damaged", param=what)
    return header, AESGCM(chunk_key)


def _keys(secret: Secret, cost: tuple[int, int, int], salt: bytes) -> tuple[bytes, bytes]:
    """The keys of the header's check and of the chunks."""
    log_n, r, p = cost
    value = secret.value
    if secret.kind is SecretKind.PASSPHRASE:
        most = 128 * r * ((1 << log_n) + p + 2)
        value = hashlib.scrypt(value, salt=salt, n=1 << log_n, r=r, p=p, maxmem=most, dklen=32)
    return _derived(value, salt, b"freehold backup header"), _derived(value, salt, b"freehold backup chunks")


def _derived(value: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, purpose).derive(value)


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes((last,))
