"""The archive: a tar, compressed, with the manifest as its last member; written and read as a stream.

Only files go in, under the paths that they have in a home. What is read is trusted in nothing: a member that is no file
(a link, a device, a folder), has a path that no backup has, or comes twice, ends the reading.
"""

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from freehold.backup.manifest import MANIFEST, MAX_BYTES, FileEntry, Manifest
from freehold.errors import BackupDamaged

CONFIGURATION: Final = "freehold.toml"
DATABASE: Final = "freehold.db"
REQUIRED: Final = (DATABASE, "journal/public.pem", "secrets/journal.pem", "secrets/pepper")
"""Without these a home does not go on where it was. (The master key of content may be elsewhere than in the home.)"""

_LEVEL: Final = 3
"""Of the compression: more costs several times the time and saves little."""
_READ_BYTES: Final = 256 * 1024
_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_PATHS: Final = re.compile(
    rf"{re.escape(DATABASE)}|{re.escape(CONFIGURATION)}|admin\.key|secrets/{_NAME}|provenance/issuer\.pem"
    rf"|journal/public\.pem|journal/{_NAME}/[0-9]{{8,}}\.jsonl|models/blobs/sha256-[0-9a-f]{{64}}(?:/[^/\\\0]+)*",
    re.ASCII,
)


class HashingReader(io.RawIOBase):
    """Passes on what another file gives, and knows its digest and size.

    Args:
        source: what is read.
    """

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__()
        self._source = source
        self._digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1, /) -> bytes:
        """Read on."""
        data = self._source.read(size)
        self._digest.update(data)
        self.size += len(data)
        return data

    @property
    def sha256(self) -> str:
        """The digest, in hex, of what was read so far."""
        return self._digest.hexdigest()


class ArchiveWriter:
    """Writes an archive.

    Args:
        sink: where it goes; it is not closed.
        made_at_s: the time of all members, in seconds since the epoch.
    """

    def __init__(self, sink: IO[bytes], made_at_s: int) -> None:
        self._compressed = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=sink, mtime=0)
        self._tar = tarfile.open(fileobj=self._compressed, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._made_at_s = made_at_s
        self.files: list[FileEntry] = []

    def add(self, path: str, source: IO[bytes], size: int) -> FileEntry:
        """Add a file.

        Args:
            path: in the home.
            source: its content.
            size: how many bytes of that.

        Raises:
            OSError: it cannot be read or written, or has fewer bytes.
        """
        reader = HashingReader(source)
        self._add(path, reader, size)
        entry = FileEntry(path=path, size=size, sha256=reader.sha256)
        self.files.append(entry)
        return entry

    def add_file(self, path: str, file: Path) -> FileEntry:
        """Add a file as it is on the disk.

        Raises:
            OSError: as `add`.
        """
        with file.open("rb") as source:
            return self.add(path, source, source.seek(0, io.SEEK_END) - source.seek(0))

    def finish(self, manifest: Manifest) -> None:
        """Add the manifest, and make the end."""
        data = manifest.encoded()
        self._add(MANIFEST, io.BytesIO(data), len(data))
        self._tar.close()
        self._compressed.close()

    def _add(self, path: str, source: Any, size: int) -> None:
        member = tarfile.TarInfo(path)
        member.size, member.mode, member.mtime = size, 0o600, self._made_at_s
        self._tar.addfile(member, source)


def read_archive(source: IO[bytes], take: Callable[[str, IO[bytes]], None]) -> Manifest:
    """Read a whole archive, and see that it holds exactly what its manifest says.

    Args:
        source: the archive, decrypted.
        take: is given each file by its path, to read to its end or not; it may be a file of a damaged archive, so what
            was made of it counts only when this returns.

    Raises:
        BackupDamaged: it is not what was written.
        OSError: what `take` raises.
    """
    found: list[FileEntry] = []
    seen: set[str] = set()
    manifest: Manifest | None = None
    with _told(), gzip.GzipFile(fileobj=source, mode="rb") as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
        for member in tar:
            if manifest is not None or member.name in seen:
                raise BackupDamaged(f"the backup is damaged: '{member.name}' stands where it must not")
            seen.add(member.name)
            file = _checked(tar, member)
            if member.name == MANIFEST:
                manifest = Manifest.decoded(file.read(MAX_BYTES))
                continue
            reader = HashingReader(file)
            take(member.name, reader)  # type: ignore[arg-type]  # it reads
            while reader.read(_READ_BYTES):
                pass
            found.append(FileEntry(path=member.name, size=reader.size, sha256=reader.sha256))
        while plain.read(_READ_BYTES):
            pass  # to the end, where the digest of all stands
    if manifest is None:
        raise BackupDamaged("the backup is cut off: it has no manifest at its end")
    _compare(found, manifest)
    return manifest


def _checked(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """The content of a member, if it is one that a backup has.

    Raises:
        BackupDamaged: it is none.
    """
    if member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or member.issparse():
        raise BackupDamaged(f"the backup holds '{member.name}', which is no file; it was not made by Freehold")
    steps = member.name.split("/")
    known = member.name == MANIFEST or _PATHS.fullmatch(member.name)
    if not known or "." in steps or ".." in steps:
        raise BackupDamaged(f"the backup holds '{member.name}', which no backup has; it was not made by Freehold")
    file = tar.extractfile(member)
    assert file is not None, "it is a file"
    return file


def _compare(found: list[FileEntry], manifest: Manifest) -> None:
    """See that the archive has the files of its manifest, and those that a home needs."""
    expected = {entry.path: entry for entry in manifest.files}
    for entry in found:
        if expected.pop(entry.path, None) != entry:
            raise BackupDamaged(f"the backup is damaged: {entry.path} is not what its manifest says")
    missing = [*expected, *(set(REQUIRED) - {entry.path for entry in found})]
    if missing:
        raise BackupDamaged(f"the backup is not whole: {missing[0]} is missing")


@contextmanager
def _told() -> Iterator[None]:
    """What the libraries say of a damaged archive."""
    try:
        yield
    except (gzip.BadGzipFile, zlib.error, EOFError, tarfile.TarError) as exc:
        raise BackupDamaged(f"the backup is damaged or cut off, or no backup: {exc}") from exc
