"""Making a backup: where the journal is cut, and what stands in the way."""

import asyncio
import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.backup.checking import check_archive
from freehold.backup.making import write_backup
from freehold.backup.manifest import FileEntry
from freehold.backup.weights import check_weights
from freehold.catalog.blobs import hash_folder
from freehold.config import JournalSettings
from freehold.errors import CatalogError, Conflict, DigestMismatch, JournalDamaged
from freehold.journal.journal import DAY_S
from freehold.journal.reader import Cursor
from tests.backup.homes import Made, archive_of, backed_up, backed_up_with_manifest, make_home, model_of
from tests.backup.test_archive import members_of
from tests.journal.journals import Clock, opened

pytestmark = pytest.mark.slow


def test_the_journal_is_cut_at_the_moment(tmp_path: Path) -> None:
    """Records after the moment are not in the backup, those before are all, over several segments."""
    made = make_home(tmp_path / "home", requests=200, running=3)
    assert made.moment.point.segment > 1
    data, manifest = backed_up_with_manifest(made.order())
    assert check_archive(archive_of(data)) == manifest
    written = b"".join(text for member, text in members_of(data) if member.name.endswith(".jsonl"))
    assert written.count(b"\n") == manifest.journal.seq == made.moment.point.seq
    assert hashlib.sha256(written.splitlines()[-1]).hexdigest() == manifest.journal.head
    assert len(written) < sum(path.stat().st_size for path in (made.home.journal / "main").iterdir())


def test_the_secrets_are_those_of_the_moment(tmp_path: Path) -> None:
    """A master key that is exchanged while a backup is made is in it as it was when the database was."""
    made = make_home(tmp_path / "home")
    secret = made.home.master_key.read_bytes()
    order = made.order()
    made.home.master_key.write_bytes(b"x" * 32)
    found = {member.name: data for member, data in members_of(backed_up(order))}
    assert found["secrets/content"] == secret


def test_the_newest_checkpoint_is_found_in_the_segment_before(tmp_path: Path) -> None:
    """Where the newest segment has no checkpoint yet, the manifest has the last one of the segment before."""
    made = make_home(tmp_path / "home", requests=200)
    second = (made.home.journal / "main" / "00000002.jsonl").read_bytes()
    line = second.split(b"\n")[0]
    seq = int(line.rpartition(b":")[2].rstrip(b"}"))
    made.cut_at(2, len(line) + 1, seq)
    manifest = backed_up_with_manifest(made.order())[1]
    assert manifest.journal.checkpoint is not None
    assert manifest.journal.checkpoint["last"] == seq - 2


def test_a_journal_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A journal that does not end where the service said is told, and no backup is made of it."""
    made = make_home(tmp_path / "home")
    point = made.moment.point
    for offset, seq, error in (
        (point.offset, point.seq + 1, JournalDamaged),
        (point.offset - 5, point.seq, JournalDamaged),
        (10**6, point.seq, OSError),
    ):
        made.cut_at(1, offset, seq)
        with pytest.raises(error):
            backed_up(made.order())


class Retiring:
    """Where a backup goes whose home retires a segment when so many bytes have come."""

    def __init__(self, segment: Path, when: int) -> None:
        self.segment = segment
        self.when = when
        self.size = 0

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self.size += len(data)
        if self.size > self.when:
            self.segment.unlink(missing_ok=True)
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""


def test_a_segment_that_goes_meanwhile_is_told(tmp_path: Path) -> None:
    """A backup from which a segment is retired while it is made is refused: its record would not be in it."""
    made = make_home(tmp_path / "home", requests=500)
    segments = sorted((made.home.journal / "main").iterdir())
    assert len(segments) > 3
    sink: Any = Retiring(segments[-2], len(backed_up(made.order())) // 3)
    with pytest.raises(Conflict, match="make it again"):
        write_backup(made.order(), sink)


def test_a_journal_may_begin_late(tmp_path: Path) -> None:
    """Where the oldest segments were retired before, the backup begins with the oldest that is left."""
    made = make_home(tmp_path / "home", requests=200)

    async def retire() -> Cursor:
        kept = JournalSettings(segment_bytes=64 * 1024, retention_days=62)
        async with opened(made.home.root, kept, clock=Clock(time.time() + 70 * DAY_S)) as journal:
            assert await journal.retire(projected_seq=200) == 1
            return journal.durable

    end = asyncio.run(retire())
    made.moment = replace(made.moment, oldest_segment=2)
    made.cut_at(end.segment, end.offset, end.seq)
    data, manifest = backed_up_with_manifest(made.order())
    assert next(entry.path for entry in manifest.files if "main" in entry.path).endswith("00000002.jsonl")
    assert check_archive(archive_of(data)) == manifest


def test_weights_go_in_when_they_are_wanted(tmp_path: Path) -> None:
    """With models their weights are in the backup, without only their names, sources and digests."""
    made = make_home(tmp_path / "home")
    without, with_models = backed_up(made.order()), backed_up(made.order(with_models=True))
    blobs = [name for data in (without, with_models) for m, _ in members_of(data) if "blobs" in (name := m.name)]
    model = check_archive(archive_of(with_models)).models[0]
    assert blobs == [f"models/blobs/sha256-{model.sha256}"]
    assert not check_archive(archive_of(without)).models[0].included


def test_weights_that_are_not_what_they_were_are_told(tmp_path: Path) -> None:
    """Weights that were changed or are gone stop a backup that should have them, and no other."""
    made = make_home(tmp_path / "home")
    blob = next((made.home.models / "blobs").iterdir())
    blob.write_bytes(b"other weights")
    with pytest.raises(DigestMismatch, match="pull it again"):
        backed_up(made.order(with_models=True))
    blob.unlink()
    with pytest.raises(CatalogError, match=r"freehold pull file:///models/tiny\.gguf --name tiny"):
        backed_up(made.order(with_models=True))
    assert backed_up(made.order())


def test_a_folder_of_weights_has_the_digest_of_its_files(tmp_path: Path) -> None:
    """A model that is a folder is verified as the catalog made its name, and a changed file is found."""
    made = make_home(tmp_path / "home")
    folder = tmp_path / "pipeline"
    for name in ("model_index.json", "unet/a.safetensors", "unet.txt", "unet/b.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    sha256 = hash_folder(folder)
    entries = [
        FileEntry(
            path=f"models/blobs/sha256-{sha256}/{file.relative_to(folder).as_posix()}",
            size=file.stat().st_size,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        )
        for file in folder.rglob("*")
        if file.is_file()
    ]
    check_weights("pipe", sha256, entries)
    with pytest.raises(DigestMismatch, match="'pipe'"):
        check_weights("pipe", sha256, entries[1:])
    assert model_of(made.home, b"x").sha256 == hashlib.sha256(b"x").hexdigest()


def test_the_configuration_goes_in(tmp_path: Path) -> None:
    """The configuration file that is given is in the backup under one name, whatever it is called."""
    made: Made = make_home(tmp_path / "home")
    file = tmp_path / "my settings.toml"
    file.write_text("[server]\nport = 1\n")
    data, manifest = backed_up_with_manifest(made.order(configuration=file))
    assert manifest.configuration == "freehold.toml"
    assert {m.name: d for m, d in members_of(data)}["freehold.toml"] == file.read_bytes()
