"""Master keys: what the keys of kept content are encrypted under, and where such a key may be.

A master key of the home's own file or of a secret (an environment variable, a file elsewhere) is 32 bytes in this
process; one of an external key service never is (`freehold.encryption.key_service`). Each has a name that is written
beside what it encrypted, so that several can be known while one takes the place of another.
"""

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from freehold.errors import ConfigError, ContentUnreadable, HomeError
from freehold.store.home import write_private

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_FINGERPRINT_HEX: Final = 16


class MasterKey(Protocol):
    """Encrypts keys, and decrypts them again. What is wrapped in one context is not unwrapped in another."""

    @property
    def name(self) -> str:
        """Names the key for ever: no two keys have the same."""

    async def wrap(self, plaintext: bytes, context: bytes) -> bytes:
        """Encrypt a key, bound to a context.

        Raises:
            KeyServiceUnavailable: the service that has the master key cannot be reached or refuses.
        """

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt a key.

        Raises:
            ContentUnreadable: it was wrapped under another master key or in another context, or is damaged.
            KeyServiceUnavailable: as `wrap`.
        """


class LocalMasterKey:
    """A master key of 32 bytes in this process: AES-256-GCM (NIST SP 800-38D) under a key derived from it.

    Args:
        secret: the 32 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        assert len(secret) == KEY_BYTES, "whoever reads a key sees that it is one"
        self._cipher = AESGCM(hmac.digest(secret, b"freehold master key: wrapping", "sha256"))
        self._name = f"local:{hmac.digest(secret, b'freehold master key: name', 'sha256').hex()[:_FINGERPRINT_HEX]}"

    @property
    def name(self) -> str:
        """`local:` and a fingerprint; the same wherever the key is kept."""
        return self._name

    async def wrap(self, plaintext: bytes, context: bytes) -> bytes:
        """Nonce and ciphertext."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plaintext, context)

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key.

        Raises:
            ContentUnreadable: as in the protocol.
        """
        try:
            return self._cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise ContentUnreadable("A content key cannot be decrypted: it is damaged or was moved.") from None


class MasterKeys:
    """The master keys that are known: the one in use, and those that something may still be encrypted under.

    Args:
        current: what new keys are encrypted under.
        earlier: the others.
        file: the key file of the home, whose key is among them; None where the home has none.
    """

    def __init__(self, current: MasterKey, earlier: Sequence[MasterKey] = (), *, file: "KeyFile | None" = None) -> None:
        self.current = current
        self._file = file
        self._known = {key.name: key for key in (*earlier, current)}

    def named(self, name: str) -> MasterKey:
        """The master key of a name.

        Raises:
            ContentUnreadable: it is not known here.
        """
        try:
            return self._known[name]
        except KeyError:
            raise ContentUnreadable(
                f"A content key is encrypted under the master key '{name}', which this service does not have: give it "
                "in 'encryption.previous_master_keys', or restore HOME/secrets/content."
            ) from None

    def names(self) -> list[str]:
        """The names of all that are known, the one in use last."""
        return [name for name in self._known if name != self.current.name] + [self.current.name]

    @property
    def is_homes_own(self) -> bool:
        """Whether the one in use is in a file of the home."""
        file = self._file
        return file is not None and file.exists and self.current.name in {file.key().name, *self._next_name(file)}

    def begin_rotation(self) -> None:
        """Where the key in use is the home's own: make the next one, unless there is one, and use it from now on.

        Raises:
            HomeError: it cannot be written.
        """
        if self._file is not None and self._file.exists and self.current.name == self._file.key().name:
            self.current = self._file.next_key()
            self._known[self.current.name] = self.current

    def end_rotation(self) -> None:
        """Nothing is encrypted under the earlier keys any more: the home's own earlier key is deleted for good.

        Raises:
            HomeError: it cannot be.
        """
        if self._file is None or not self._file.exists:
            return
        earlier = self._file.key().name
        if earlier == self.current.name:
            return
        if self._file.has_next and self._file.next_key().name == self.current.name:
            self._file.take_next()
        else:
            self._file.delete()
        self._known.pop(earlier, None)

    @staticmethod
    def _next_name(file: "KeyFile") -> set[str]:
        return {file.next_key().name} if file.has_next else set()


class KeyFile:
    """A master key in a file of the home and, while it is exchanged, the next one in a second file beside it.

    Until everything is encrypted under the next key both files are there, whatever happens in between; then the second
    takes the place of the first by one rename.

    Args:
        path: the file, which only its owner can read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = path.with_name(f"{path.name}.next")

    @property
    def exists(self) -> bool:
        """Whether the home has such a key."""
        return self._path.exists()

    @property
    def has_next(self) -> bool:
        """Whether the key is being exchanged."""
        return self._next.exists()

    def key(self) -> LocalMasterKey:
        """The key; made on first use.

        Raises:
            HomeError: the file cannot be read or written, or holds no key.
        """
        if not self._path.exists():
            write_private(self._path, secrets.token_bytes(KEY_BYTES))
        return LocalMasterKey(_read(self._path))

    def next_key(self) -> LocalMasterKey:
        """The next key; made on first use.

        Raises:
            HomeError: as `key`.
        """
        if not self._next.exists():
            write_private(self._next, secrets.token_bytes(KEY_BYTES))
        return LocalMasterKey(_read(self._next))

    def take_next(self) -> None:
        """The next key becomes the key; the one before is overwritten and gone.

        Raises:
            HomeError: the files cannot be changed.
        """
        with self._told():
            _overwrite(self._path)
            self._next.replace(self._path)
            _sync_folder(self._path.parent)

    def delete(self) -> None:
        """The key is overwritten and gone, and so is a next one: another master key is in use.

        Raises:
            HomeError: the files cannot be changed.
        """
        with self._told():
            for path in (self._path, self._next):
                if path.exists():
                    _overwrite(path)
                    path.unlink()
            _sync_folder(self._path.parent)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the system says of a file that cannot be changed, as an error of the home."""
        try:
            yield
        except OSError as exc:
            raise HomeError(f"the master key in {self._path} cannot be replaced: {exc.strerror}") from exc


def parse_master_key(text: str, param: str) -> LocalMasterKey:
    """A master key as a secret gives it: 32 bytes in Base64 or in hexadecimal digits.

    Raises:
        ConfigError: it is none.
    """
    try:
        secret = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise ConfigError(
            f"{param}: is no master key: give 32 random bytes in Base64, such as 'openssl rand -base64 32' prints",
            param=param,
        )
    return LocalMasterKey(secret)


def _overwrite(path: Path) -> None:
    """Write over a key: its very blocks, where the file system writes in place."""
    with path.open("r+b") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> bytes:
    try:
        secret = path.read_bytes()
    except OSError as exc:
        raise HomeError(f"{path} cannot be read: {exc.strerror}") from exc
    if len(secret) != KEY_BYTES:
        raise HomeError(f"{path} holds no key of {KEY_BYTES} bytes: restore it from a backup")
    return secret
