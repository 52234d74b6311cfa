"""The encrypted form of a backup: nothing in it can be changed, moved, left out or cut off unseen."""

import io
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.backup.encryption import (
    CHUNK_BYTES,
    MAGIC,
    DecryptingReader,
    EncryptingWriter,
    Secret,
    SecretKind,
    secret_kind,
)
from freehold.errors import BackupDamaged, InvalidRequest

KEY = Secret.from_key_file(bytes(range(32)))
SEALED_BYTES = CHUNK_BYTES + 16
HEADER_BYTES = len(MAGIC) + 4 + 32 + 32
TEXT = random.Random(20261126).randbytes(3 * CHUNK_BYTES + 1000)
SMALL = b"a short text"


def sealed(text: bytes, secret: Secret = KEY, pieces: int = 50_000) -> bytes:
    """The encrypted form of a text that is written in pieces."""
    sink = io.BytesIO()
    writer = EncryptingWriter(sink, secret)
    for begin in range(0, len(text), pieces):
        writer.write(text[begin : begin + pieces])
    writer.finish()
    return sink.getvalue()


def unsealed(data: bytes, secret: Secret = KEY) -> bytes:
    """The text again."""
    reader: Any = DecryptingReader(io.BytesIO(data), secret)
    return bytes(reader.read())


BIG = sealed(TEXT)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, len(TEXT)])
@pytest.mark.parametrize("pieces", [1000, CHUNK_BYTES, 10**6])
def test_a_text_comes_back(size: int, pieces: int) -> None:
    """Whatever its length and however it is written, what was encrypted is read again."""
    assert unsealed(sealed(TEXT[:size], pieces=pieces)) == TEXT[:size]


@pytest.mark.slow
def test_a_passphrase_opens_what_it_closed() -> None:
    """A passphrase works in either Unicode form; another one, a key file, or a changed cost does not."""
    data = sealed(SMALL, Secret.from_passphrase("correct horse b\u00e9ttery"))
    assert unsealed(data, Secret.from_passphrase("correct horse be\u0301ttery")) == SMALL
    with pytest.raises(InvalidRequest, match="passphrase is not the one"):
        unsealed(data, Secret.from_passphrase("correct horse battery"))
    with pytest.raises(InvalidRequest, match="encrypted with a passphrase"):
        unsealed(data, KEY)
    for place, value in ((17, 0), (17, 21), (18, 0), (18, 9), (19, 0), (19, 5)):
        with pytest.raises(BackupDamaged, match="cost"):
            unsealed(
                data[:place] + bytes((value,)) + data[place + 1 :], Secret.from_passphrase("correct horse battery")
            )


def test_another_key_file_is_told_from_damage() -> None:
    """A wrong key is said to be wrong; it is not called damage of the backup."""
    with pytest.raises(InvalidRequest, match="key file is not the one"):
        unsealed(BIG, Secret.from_key_file(b"x" * 32))


def test_short_secrets_are_refused() -> None:
    """Passphrases of fewer than 12 characters and key files of fewer than 32 bytes are refused, with what to do."""
    with pytest.raises(InvalidRequest, match="at least 12"):
        Secret.from_passphrase("elevenchars")
    with pytest.raises(InvalidRequest, match="head -c 32"):
        Secret.from_key_file(b"x" * 31)
    with pytest.raises(InvalidRequest):
        Secret.from_key_file(b"x" * 100_000)


def test_a_secret_is_not_printed() -> None:
    """The representation of a secret does not show it."""
    assert "horse" not in repr(Secret.from_passphrase("correct horse battery"))


def test_no_two_backups_are_alike() -> None:
    """The same text under the same key gives bytes that have nothing in common but the magic, and no plain text."""
    first, second = sealed(TEXT), sealed(TEXT)
    assert first[20:52] != second[20:52]
    assert first[HEADER_BYTES : HEADER_BYTES + 64] != second[HEADER_BYTES : HEADER_BYTES + 64]
    assert SMALL not in sealed(SMALL)


def test_every_byte_of_a_small_backup_counts() -> None:
    """Whichever byte of a backup of one chunk is changed, reading it fails."""
    data = sealed(SMALL)
    assert unsealed(data) == SMALL
    for place in range(len(data)):
        for change in (1, 0x20, 0x80, 0xFF):
            changed = bytearray(data)
            changed[place] ^= change
            with pytest.raises((BackupDamaged, InvalidRequest)):
                unsealed(bytes(changed))


@given(place=st.integers(0, len(BIG) - 1), change=st.integers(1, 255))
@settings(deadline=None, max_examples=200)
def test_any_changed_byte_is_found(place: int, change: int) -> None:
    """Whichever byte of a backup of several chunks is changed to whatever, reading it fails."""
    changed = bytearray(BIG)
    changed[place] ^= change
    with pytest.raises((BackupDamaged, InvalidRequest)):
        unsealed(bytes(changed))


@given(size=st.integers(0, len(BIG) - 1) | st.sampled_from([HEADER_BYTES + i * SEALED_BYTES for i in range(4)]))
@settings(deadline=None, max_examples=200)
def test_a_cut_off_end_is_found(size: int) -> None:
    """Wherever a backup is cut off, between chunks too, reading it fails."""
    with pytest.raises((BackupDamaged, InvalidRequest)):
        unsealed(BIG[:size])


@given(order=st.lists(st.integers(0, 3), max_size=6).filter(lambda order: order != [0, 1, 2, 3]))
@settings(deadline=None, max_examples=200)
def test_chunks_stay_where_they_are(order: list[int]) -> None:
    """Chunks that are moved, doubled or left out are found, however they are arranged."""
    chunks = [BIG[begin : begin + SEALED_BYTES] for begin in range(HEADER_BYTES, len(BIG), SEALED_BYTES)]
    assert len(chunks) == 4
    with pytest.raises(BackupDamaged):
        unsealed(BIG[:HEADER_BYTES] + b"".join(chunks[place] for place in order))


def test_chunks_of_another_backup_are_found() -> None:
    """A chunk or a header of another backup with the same key does not fit, nor does anything after the end."""
    other = sealed(TEXT)
    middle = slice(HEADER_BYTES + SEALED_BYTES, HEADER_BYTES + 2 * SEALED_BYTES)
    mixed = bytearray(BIG)
    mixed[middle] = other[middle]
    for data in (bytes(mixed), other[:HEADER_BYTES] + BIG[HEADER_BYTES:], BIG + b"\0", BIG + other):
        with pytest.raises(BackupDamaged):
            unsealed(data)


def test_what_was_not_finished_is_not_whole() -> None:
    """What a writer leaves that was killed before its end cannot be read as a backup."""
    sink = io.BytesIO()
    EncryptingWriter(sink, KEY).write(TEXT)
    with pytest.raises(BackupDamaged, match="damaged or cut off"):
        unsealed(sink.getvalue())


def test_the_kind_of_secret_is_told() -> None:
    """From its first bytes one knows whether a backup is encrypted, and with what."""
    assert secret_kind(BIG[:17]) is SecretKind.KEY_FILE
    assert secret_kind(b"\x1f\x8b\x08" + b"\0" * 14) is None
    with pytest.raises(BackupDamaged, match="newer Freehold"):
        secret_kind(MAGIC + b"\x09")
    with pytest.raises(BackupDamaged):
        secret_kind(MAGIC)
