"""Making a backup: what of a home goes into it, and in which order.

The database's copy, the secrets and the place where the journal is cut are of one moment (`freehold.backup.moment`):
what the database holds is useless without the pepper and the master key of that moment, and the journal cannot go on
without its signing key. The rest is read after it, without hurry:

- `admin.key` and the public keys, which a running server does not change.
- The journal: segments are only appended to, so what stood before the cut still does. Where a segment is retired before
  it is read, the backup fails: made again, it begins with the next one.
- The weights of models, if they are wanted: named by their digests, and verified by them while they are read.
- Not `usage.db`, which is made from the journal, nor `run/` and `lock`, which are a running server's.

The manifest comes last: an archive that was cut off has none.
"""

import io
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Final

from freehold import __version__
from freehold.backup.archive import CONFIGURATION, DATABASE, ArchiveWriter
from freehold.backup.manifest import JournalEnd, Manifest, ModelEntry
from freehold.backup.moment import Moment, Point
from freehold.backup.weights import blob_path, check_weights
from freehold.errors import CatalogError, Conflict, JournalDamaged
from freehold.journal.reader import Line, kind_and_seq, parse_line, read_last_line, segment_numbers, segment_path
from freehold.journal.records import Kind, Plain, utc
from freehold.store.home import Home
from freehold.store.snapshot import StoredModel, read_models

_FILES: Final = ("admin.key", "provenance/issuer.pem", "journal/public.pem")
"""What goes in, if it is there, beside the folders of secrets and of the journal."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to make a backup of.

    Args:
        home: the home.
        moment: what is to be shown.
        configuration: the configuration file that the home is served with.
        with_models: whether the weights of models go in.
    """

    home: Home
    moment: Moment
    configuration: Path | None = None
    with_models: bool = False


def write_backup(order: Order, sink: IO[bytes]) -> Manifest:
    """Write a backup.

    Args:
        order: of what.
        sink: where the archive goes; it is not closed.

    Raises:
        OSError: something cannot be read or written.
        HomeError: the database's copy cannot be read.
        Conflict: a segment of the journal was retired meanwhile.
        CatalogError: the weights of a model are missing or have changed.
        JournalDamaged: the journal does not end where the service said.
    """
    archive = ArchiveWriter(sink, int(order.moment.begun_s))
    archive.add_file(DATABASE, order.moment.database)
    for path, secret in order.moment.secrets.items():
        archive.add(path, io.BytesIO(secret), len(secret))
    for name in _FILES:
        if (order.home.root / name).exists():
            archive.add_file(name, order.home.root / name)
    if order.configuration is not None:
        archive.add_file(CONFIGURATION, order.configuration)
    models = _add_models(archive, order)
    _add_journal(archive, order)
    manifest = Manifest(
        version=__version__,
        made_at=utc(order.moment.begun_s),
        journal=_journal_end(order),
        models=models,
        configuration=CONFIGURATION if order.configuration is not None else None,
        files=tuple(archive.files),
    )
    archive.finish(manifest)
    return manifest


def _add_models(archive: ArchiveWriter, order: Order) -> tuple[ModelEntry, ...]:
    """Add the weights, if they are wanted; what is known of all models."""
    models = read_models(order.moment.database)
    added: set[str] = set()
    for model in models:
        if order.with_models and model.sha256 not in added:
            _add_weights(archive, order.home, model)
            added.add(model.sha256)
    return tuple(
        ModelEntry(
            name=model.name,
            source=model.source,
            source_sha256=model.source_sha256,
            sha256=model.sha256,
            size_bytes=model.size_bytes,
            included=model.sha256 in added,
        )
        for model in models
    )


def _add_weights(archive: ArchiveWriter, home: Home, model: StoredModel) -> None:
    path = blob_path(model.sha256)
    blob = home.root / path
    if not blob.exists():
        raise CatalogError(
            f"the weights of the model '{model.name}' are not in the home: fetch them with 'freehold pull "
            f"{model.source} --name {model.name}', delete the model, or leave out --with-models"
        )
    files = sorted(file for file in blob.rglob("*") if file.is_file()) if blob.is_dir() else [blob]
    added = [archive.add_file(file.relative_to(home.root).as_posix(), file) for file in files]
    check_weights(model.name, model.sha256, added)


def _add_journal(archive: ArchiveWriter, order: Order) -> None:
    """Add the segments, the newest one up to where the journal is cut."""
    folder = order.home.journal / order.moment.point.writer
    newest = order.moment.point.segment
    for number in range(order.moment.oldest_segment, newest + 1):
        path = segment_path(folder, number)
        try:
            with path.open("rb") as file:
                size = order.moment.point.offset if number == newest else path.stat().st_size
                archive.add(path.relative_to(order.home.root).as_posix(), file, size)
        except FileNotFoundError as exc:
            raise Conflict(
                f"the segment {path.name} of the journal was retired while the backup was made: make it again; if it "
                "is still missing then, 'freehold audit verify' tells more"
            ) from exc


def _journal_end(order: Order) -> JournalEnd:
    """The last record before the cut, and the newest checkpoint.

    Raises:
        JournalDamaged: the record is another one.
    """
    point = order.moment.point
    folder = order.home.journal / point.writer
    last = read_last_line(folder, point.segment, point.offset)
    if last.seq != point.seq:
        raise JournalDamaged(
            f"record {last.seq} of the journal stands where the service wrote record {point.seq}; 'freehold audit "
            "verify' tells more"
        )
    return JournalEnd(
        writer=point.writer,
        segment=point.segment,
        offset=point.offset,
        seq=point.seq,
        head=sha256(last.raw).hexdigest(),
        checkpoint=_newest_checkpoint(folder, point),
    )


def _newest_checkpoint(folder: Path, point: Point) -> Plain | None:
    """The body of the newest checkpoint before the cut: in the newest segment, or at the end of the one before."""
    found: Line | None = None
    path, offset = segment_path(folder, point.segment), 0
    with path.open("rb") as file:
        while offset < point.offset:
            raw = file.readline()
            known = kind_and_seq(raw[:-1])
            if known is not None and known[0] == Kind.CHECKPOINT:
                found = parse_line(path, point.segment, offset, raw)
            offset += len(raw)
    if found is None and point.segment - 1 in segment_numbers(folder):
        found = read_last_line(folder, point.segment - 1)
    return found.body if found is not None and found.kind == Kind.CHECKPOINT else None
