"""Whether a backup is whole: its bytes are what was written, and what they say fits together."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from freehold.backup.archive import DATABASE, read_archive
from freehold.backup.encryption import MAGIC, DecryptingReader, Secret, SecretKind, secret_kind
from freehold.backup.manifest import Manifest
from freehold.backup.weights import blob_path, check_weights
from freehold.errors import BackupDamaged, DigestMismatch, HomeError, InvalidRequest
from freehold.journal.reader import read_last_line
from freehold.journal.verify import Unusable, verify
from freehold.store.snapshot import check_database

Ask = Callable[[SecretKind], Secret]
"""Gives the secret that a backup is encrypted with."""

_COPY_BYTES: Final = 256 * 1024


def opened(source: IO[bytes], ask: Ask, *, encrypted: bool) -> IO[bytes]:
    """The archive in a file, decrypted where it is encrypted.

    Args:
        source: the file, at its beginning; it can look ahead (`peek`).
        ask: gives the secret; called where there is one.
        encrypted: whether it must be, so that nobody can put an archive of their own in the place of an encrypted one.

    Raises:
        InvalidRequest: the secret is the wrong one, or there is none though one was expected, or this is no backup.
        BackupDamaged: the header is damaged.
    """
    head = source.peek(len(MAGIC) + 1)[: len(MAGIC) + 1]  # type: ignore[attr-defined]  # it can
    kind = secret_kind(head)
    if kind is None:
        if encrypted:
            raise InvalidRequest(
                "this is no encrypted backup, though a key or a passphrase was given: leave that out only if you know "
                "that the file is yours"
            )
        if not head.startswith(b"\x1f\x8b"):
            raise InvalidRequest("this is no backup, neither encrypted nor plain")
        return source
    reader: Any = DecryptingReader(source, ask(kind))
    return reader  # type: ignore[no-any-return]  # a file for reading


def unpack(archive: IO[bytes], folder: Path, wanted: Callable[[str], bool] = lambda _path: True) -> Manifest:
    """Write the files of an archive into a folder, for its owner only and on the disk when this returns.

    Args:
        archive: as `opened` gives it.
        folder: an empty folder.
        wanted: whether to write a file; those that are not are read and verified all the same.

    Raises:
        BackupDamaged: the archive is not what was written; what is in the folder then is worth nothing.
        OSError: a file cannot be written.
    """

    def take(path: str, source: IO[bytes]) -> None:
        if wanted(path):
            for above in reversed(PurePosixPath(path).parents):
                (folder / above).mkdir(mode=0o700, exist_ok=True)
            _write(folder / path, source)

    return read_archive(archive, take)


def check_archive(archive: IO[bytes]) -> Manifest:
    """Read a backup to its end and see that it is whole; no secret of it is written to the disk.

    Raises:
        BackupDamaged: it is not.
        OSError: the temporary folder has no room for its database and its journal.
    """
    with tempfile.TemporaryDirectory(prefix="freehold-verify-") as name:  # mode 0700
        folder = Path(name)
        manifest = unpack(archive, folder, lambda path: path == DATABASE or path.startswith("journal/"))
        check_unpacked(folder, manifest)
        return manifest


def check_unpacked(folder: Path, manifest: Manifest) -> None:
    """See that a backup's database, journal and weights are whole, and that the journal ends where its manifest says.

    Raises:
        BackupDamaged: they are not.
    """
    try:
        check_database(folder / DATABASE)
        for model in manifest.models:
            if model.included:
                place = blob_path(model.sha256)
                files = [e for e in manifest.files if e.path == place or e.path.startswith(f"{place}/")]
                check_weights(model.name, model.sha256, files)
    except (HomeError, DigestMismatch) as exc:
        raise BackupDamaged(f"the backup is not whole: {exc.message}") from exc
    _check_journal(folder / "journal", manifest)


def _check_journal(folder: Path, manifest: Manifest) -> None:
    end = manifest.journal
    try:
        reports = verify(folder)
    except Unusable as exc:
        raise BackupDamaged(f"the backup's journal cannot be verified: {exc}") from exc
    for report in reports:
        if report.damage is not None:
            raise BackupDamaged(f"the backup's journal is damaged: {report.damage}")
    if [(report.writer, report.last) for report in reports] != [(end.writer, end.seq)]:
        raise BackupDamaged(f"the backup's journal does not end with record {end.seq}, as its manifest says")
    if sha256(read_last_line(folder / end.writer, end.segment).raw).hexdigest() != end.head:
        raise BackupDamaged(f"the backup's journal ends with another record {end.seq} than its manifest says")


def _write(path: Path, source: IO[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while data := source.read(_COPY_BYTES):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folders(root: Path) -> None:
    """Have the names of all files under a folder on the disk."""
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with suppress(OSError):  # some file systems cannot, and need not
            os.fsync(descriptor)
        os.close(descriptor)
