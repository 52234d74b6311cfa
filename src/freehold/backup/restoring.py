"""Restoring a backup: unpacked beside the home, verified there, and put in place as the last step.

Before that the journal goes on: what ran when it was cut is settled as `interrupted`, as after any unclean end, and an
`admin` record says that this home was restored, from a backup of when, up to which record. The chain continues in the
same segment, so it verifies from its first record; against a checkpoint that was kept after the backup was made it does
not, and must not: what came after the backup is not in it. `freehold audit verify --checkpoint` calls it `truncated`,
and `rewritten` once as many new records stand in its place.

A restored home is as old as its backup: a key that was revoked since is valid again. Where the backup takes the place
of a home that can still be read, both are compared (`freehold.backup.comparison`); otherwise nobody here can know.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from freehold.backup.archive import DATABASE
from freehold.backup.checking import check_unpacked, sync_folders, unpack
from freehold.backup.comparison import Comparison, told
from freehold.backup.manifest import Manifest, ModelEntry
from freehold.backup.staging import put_in_place, staging, unused
from freehold.config import JournalSettings
from freehold.errors import AuditUnavailable, BackupDamaged, HomeError, JournalDamaged
from freehold.journal.journal import Journal
from freehold.journal.reader import Cursor, read_on
from freehold.journal.records import Kind
from freehold.journal.signer import Signer
from freehold.store.home import Home
from freehold.store.snapshot import StoredKey, read_keys


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored.

    Args:
        manifest: the backup's.
        interrupted: how many requests ran when it was made, and are settled now.
        keys: the API keys that are valid.
        missing: the models whose weights are not there.
        aside: where what was there before is now.
        comparison: with that; `incomparable` says why there is none.
    """

    manifest: Manifest
    interrupted: int
    keys: tuple[StoredKey, ...]
    missing: tuple[ModelEntry, ...]
    aside: Path | None
    comparison: Comparison | None
    incomparable: str | None


def restore(archive: IO[bytes], target: Path, *, replace: bool) -> Restored:
    """Make a home of a backup, whole or not at all.

    Args:
        archive: the backup, decrypted.
        target: the home.
        replace: whether to move aside what is there.

    Raises:
        BackupDamaged: the backup is not whole.
        Conflict: there is something already, or another process is restoring there.
        HomeError: a process uses the home, or the disk is full or cannot be written.
    """
    target = target.resolve()
    with unused(target, replace=replace), staging(target) as place:
        try:
            manifest = unpack(archive, place)
            check_unpacked(place, manifest)
            home = Home(place)
            keys = read_keys(home.root / DATABASE)
            interrupted = _go_on(home, manifest)
            sync_folders(place)
        except OSError as exc:
            raise HomeError(f"the backup cannot be unpacked beside {target}: {exc.strerror or exc}") from exc
        replaced = Home(target) if target.exists() and any(target.iterdir()) else None
        comparison, why = told(replaced, manifest.journal, keys) if replaced else (None, None)
        aside = put_in_place(place, target, datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"))
    return Restored(
        manifest=manifest,
        interrupted=interrupted,
        keys=tuple(key for key in keys if key.revoked_at is None),
        missing=tuple(model for model in manifest.models if not model.included),
        aside=aside,
        comparison=comparison,
        incomparable=why,
    )


def _go_on(home: Home, manifest: Manifest) -> int:
    """Have the journal go on, with a record of the restoring; how many requests were settled.

    Raises:
        BackupDamaged: the journal and its keys do not belong together.
        HomeError: the disk is full.
    """
    end = manifest.journal
    try:
        signer = Signer.load_or_create(home.journal_key, home.journal / "public.pem")
    except HomeError as exc:
        raise BackupDamaged(f"the keys in the backup do not belong together: {exc.message}") from exc
    try:
        asyncio.run(_record(home, signer, manifest))
    except JournalDamaged as exc:
        raise BackupDamaged(f"the backup's journal cannot go on: {exc.message}") from exc
    except AuditUnavailable as exc:
        raise HomeError("the journal cannot go on: see that the disk has room") from exc
    after = read_on(home.journal / end.writer, Cursor(end.segment, end.offset, end.seq))
    return sum(record.body["interrupted"] for record in after if record.kind == Kind.RECOVERED)


async def _record(home: Home, signer: Signer, manifest: Manifest) -> None:
    journal = await Journal.open(home.journal, signer, JournalSettings(), writer=manifest.journal.writer)
    try:
        body = {
            "action": "restore",
            "made_at": manifest.made_at,
            "last": manifest.journal.seq,
            "head": manifest.journal.head,
            "version": manifest.version,
        }
        await journal.submit(Kind.ADMIN, body, durable=True)
    finally:
        await journal.close()
