"""Homes to make backups of, made of their real parts without a server, and backups of them."""

import asyncio
import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from freehold.backup.checking import opened as opened_backup
from freehold.backup.encryption import EncryptingWriter, Secret
from freehold.backup.making import Order, write_backup
from freehold.backup.manifest import Manifest
from freehold.backup.moment import Moment, Point, read_secrets
from freehold.config import JournalSettings
from freehold.encryption.master_key import KeyFile
from freehold.journal.journal import Journal
from freehold.journal.records import Kind
from freehold.journal.signer import Signer
from freehold.store.database import Database
from freehold.store.home import Home, write_private
from freehold.store.models import put_model
from freehold.store.snapshot import Snapshot
from freehold.types.identity import Role
from freehold.types.model import ModelEntry
from tests.journal.journals import admitted, receipt
from tests.keys import open_keys

WEIGHTS = b"GGUF and so on" * 100
KEY = Secret.from_key_file(b"k" * 32)
MADE_AT_S = 1_795_478_400.0


@dataclass
class Made:
    """A home for tests.

    Args:
        home: it.
        moment: what a backup is to show.
    """

    home: Home
    moment: Moment

    def cut_at(self, segment: int, offset: int, seq: int) -> None:
        """Have a backup show another place of the journal."""
        self.moment = replace(self.moment, point=Point(0, 0, "main", segment, offset, seq))

    def order(self, **more: Any) -> Order:
        """What to make a backup of."""
        return Order(self.home, replace(self.moment, secrets=read_secrets(self.home)), **more)


def make_home(root: Path, *, requests: int = 5, running: int = 0, segment_bytes: int = 64 * 1024) -> Made:
    """A home with two keys, a model of one file, and a journal of so many requests, some of them still running."""
    return asyncio.run(_make_home(Home(root), requests, running, segment_bytes))


async def _make_home(home: Home, requests: int, running: int, segment_bytes: int) -> Made:
    with home.locked():
        database = await Database.open(home.database)
        KeyFile(home.master_key).key()
        keys = await open_keys(database, home.pepper())
        _, key = await keys.issue("admin", Role.OWNER)
        await keys.issue("app", Role.USER)
        write_private(home.admin_key, f"{key}\n".encode())
        await put_model(database, model_of(home, WEIGHTS))
        signer = Signer.load_or_create(home.journal_key, home.journal / "public.pem")
        journal = await Journal.open(home.journal, signer, JournalSettings(segment_bytes=segment_bytes))
        for begin in range(0, requests, 20):
            for number in range(begin, min(begin + 20, requests)):
                journal.submit(Kind.ADMITTED, admitted(number), durable=False)
                ended = journal.submit(Kind.RECEIPT, receipt(number), durable=True)
            await ended
        await journal.checkpoint()
        for number in range(requests, requests + running):
            await journal.submit(Kind.ADMITTED, admitted(number), durable=True)
        durable = journal.durable
        copy = home.root.with_name(f"{home.root.name}-copy.db")
        copy.unlink(missing_ok=True)
        with Snapshot(home.database) as snapshot:
            snapshot.copy_to(copy)
        for number in range(requests, requests + running):
            await journal.submit(Kind.RECEIPT, receipt(number), durable=True)
        await journal.close()
        await database.close()
    point = Point(0, 0, "main", durable.segment, durable.offset, durable.seq)
    return Made(home, Moment(MADE_AT_S, copy, read_secrets(home), 1, point))


def model_of(home: Home, weights: bytes, name: str = "tiny") -> ModelEntry:
    """A model whose weights are put into a home."""
    sha256 = hashlib.sha256(weights).hexdigest()
    blob = home.models / "blobs" / f"sha256-{sha256}"
    blob.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    blob.write_bytes(weights)
    return ModelEntry(name, "file:///models/tiny.gguf", sha256, sha256, len(weights), "gguf", {}, 1)


def change_keys(home: Home, *, revoke: str, create: str) -> None:
    """Revoke one key by its name and make another, as a server would."""

    async def change() -> None:
        database = await Database.open(home.database)
        keys = await open_keys(database, home.pepper())
        await keys.load()
        await keys.revoke(next(row.id for row in keys.rows() if row.name == revoke))
        await keys.issue(create, Role.USER)
        await database.close()

    asyncio.run(change())


def backed_up(order: Order, secret: Secret | None = None) -> bytes:
    """A backup, in memory."""
    return backed_up_with_manifest(order, secret)[0]


def backed_up_with_manifest(order: Order, secret: Secret | None = None) -> tuple[bytes, Manifest]:
    """A backup, in memory, and its manifest."""
    sink = io.BytesIO()
    if secret is None:
        manifest = write_backup(order, sink)
        return sink.getvalue(), manifest
    sealed: Any = EncryptingWriter(sink, secret)
    manifest = write_backup(order, sealed)
    sealed.finish()
    return sink.getvalue(), manifest


def archive_of(data: bytes, secret: Secret | None = None) -> Any:
    """What is read from a backup, decrypted."""
    source = io.BufferedReader(io.BytesIO(data))
    return opened_backup(source, lambda _kind: secret or KEY, encrypted=secret is not None)
