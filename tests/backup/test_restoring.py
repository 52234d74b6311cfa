"""Restoring: whole or not at all, and what is said of what is lost."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.backup.restoring import Restored, restore
from freehold.backup.staging import staging
from freehold.errors import BackupDamaged, Conflict, HomeError
from freehold.journal.records import Kind
from freehold.journal.verify import verify
from freehold.store.database import Database
from freehold.store.home import Home
from tests.backup.homes import KEY, archive_of, backed_up, change_keys, make_home
from tests.backup.test_archive import members_of, named, packed
from tests.disk import small_disk
from tests.journal.journals import admitted, kinds_of, opened, receipt, records_of
from tests.keys import open_keys

pytestmark = pytest.mark.slow

SLOW_RESTORE = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run with it ignored
from freehold.backup.checking import opened
from freehold.backup.restoring import restore
from freehold.backup.encryption import Secret

class Slow:
    def __init__(self, file):
        self.file, self.left = file, int(sys.argv[3])
    def peek(self, size):
        return self.file.peek(size)
    def read(self, size=-1):
        self.left -= 1
        if self.left < 0:
            print("reading", flush=True)
            time.sleep(60)
        return self.file.read(size)

with open(sys.argv[1], "rb") as file:
    source = opened(Slow(file), lambda kind: Secret.from_key_file(b"k" * 32), encrypted=True)
    restore(source, Path(sys.argv[2]), replace=True)
"""


def restored(data: bytes, target: Path, *, replace: bool = False) -> Restored:
    """Restore a plain backup."""
    return restore(archive_of(data), target, replace=replace)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything under a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def test_a_home_comes_back(tmp_path: Path) -> None:
    """Keys, secrets and the journal are what they were; files are their owner's, and nothing else is left behind."""
    made = make_home(tmp_path / "home")
    files = members_of(backed_up(made.order(with_models=True)))
    target = tmp_path / "new" / "home"
    found = restored(packed(files), target)
    for member, data in files[:-1]:
        if not member.name.startswith("journal/main"):
            assert (target / member.name).read_bytes() == data
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.rglob("*") if path.is_file()} == {0o600}
    folders = [target, *(path for path in target.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert [path.name for path in target.parent.iterdir()] == ["home"]
    assert ({key.name for key in found.keys}, found.missing, found.aside) == ({"admin", "app"}, (), None)

    async def authenticate() -> str:
        database = await Database.open(target / "freehold.db")
        keys = await open_keys(database, Home(target).pepper())
        await keys.load()
        name = keys.authenticate((target / "admin.key").read_text().strip()).key_name
        await database.close()
        return name

    assert asyncio.run(authenticate()) == "admin"


def test_the_chain_goes_on(tmp_path: Path) -> None:
    """What ran is settled, the restoring is recorded, all verifies, and the next start goes on without a recovery."""
    made = make_home(tmp_path / "home", running=2)
    target = tmp_path / "new"
    found = restored(backed_up(made.order()), target)
    assert found.interrupted == 2
    records = records_of(target)
    after = records[found.manifest.journal.seq :]
    assert kinds_of(after) == ["recovered", "receipt", "receipt", "checkpoint", "admin", "closed", "checkpoint"]
    assert after[0]["body"] == {"cut_bytes": 0, "interrupted": 2}
    assert {record["body"]["outcome"] for record in after[1:3]} == {"interrupted"}
    assert after[4]["body"]["action"] == "restore"
    assert after[4]["body"]["last"] == found.manifest.journal.seq
    assert after[4]["body"]["head"] == found.manifest.journal.head == after[0]["prev"]
    assert [report.damage for report in verify(target / "journal")] == [None]

    async def reopen() -> int:
        async with opened(target) as journal:
            return journal.durable.seq

    assert asyncio.run(reopen()) == len(records)


def test_a_checkpoint_that_was_kept_later_tells_what_is_missing(tmp_path: Path) -> None:
    """Against one from before the backup the restored journal verifies, against later ones it does not."""
    made = make_home(tmp_path / "home", running=3)
    target = tmp_path / "new"
    manifest = restored(backed_up(made.order()), target).manifest
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps(manifest.journal.checkpoint))
    assert [report.damage for report in verify(target / "journal", earlier)] == [None]

    async def go_on() -> None:
        async with opened(made.home.root) as journal:
            for number in range(100, 120):
                journal.submit(Kind.ADMITTED, admitted(number), durable=False)
                await journal.submit(Kind.RECEIPT, receipt(number), durable=True)

    def damage_by_newest() -> str:
        newest = [record["body"] for record in records_of(made.home.root) if record["kind"] == "checkpoint"][-1]
        later = tmp_path / "later.json"
        later.write_text(json.dumps(newest))
        damage = verify(target / "journal", later)[0].damage
        return damage.kind if damage else "none"

    assert damage_by_newest() == "rewritten"  # other records stand where those stood
    asyncio.run(go_on())
    assert damage_by_newest() == "truncated"  # there are fewer


def test_a_home_that_is_not_empty_stays(tmp_path: Path) -> None:
    """A folder with anything in it is refused and unchanged; one that is empty is taken."""
    data = backed_up(make_home(tmp_path / "home").order())
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").write_text("mine")
    with pytest.raises(Conflict, match="--replace"):
        restored(data, target)
    assert tree(target) == {"mine": b"mine"}
    (target / "mine").unlink()
    restored(data, target)
    assert (target / "freehold.db").exists()
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(HomeError, match="no folder"):
        restored(data, file, replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "home", "home-copy.db", "target"]


def test_what_is_replaced_is_moved_aside(tmp_path: Path) -> None:
    """With `replace` the old home is beside the new one, unchanged, and what the backup does not know is told."""
    made = make_home(tmp_path / "home", running=1)
    data = backed_up(made.order())
    change_keys(made.home, revoke="app", create="newcomer")
    before = tree(made.home.root)
    found = restored(data, made.home.root, replace=True)
    assert found.aside is not None
    assert found.aside.name.startswith("home.replaced-")
    assert tree(found.aside) == before
    comparison = found.comparison
    assert comparison is not None
    assert comparison.same_journal is True
    assert comparison.lost_records == len(records_of(found.aside)) - found.manifest.journal.seq > 0
    assert [key.name for key in comparison.revived] == ["app"]
    assert [key.name for key in comparison.forgotten] == ["newcomer"]


def test_a_backup_of_another_home_is_told(tmp_path: Path) -> None:
    """Where the backup is no earlier state of what it replaces, that is said; so is a home that cannot be read."""
    data = backed_up(make_home(tmp_path / "home").order())
    other = make_home(tmp_path / "other", requests=9).home.root
    comparison = restored(data, other, replace=True).comparison
    assert comparison is not None
    assert comparison.same_journal is False
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "freehold.db").write_bytes(b"no database" * 100)
    found = restored(data, broken, replace=True)
    assert found.comparison is None
    assert "cannot be used" in str(found.incomparable)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes").write_text("")
    assert restored(data, empty, replace=True).incomparable == "it has no database"


def test_a_home_in_use_is_refused(tmp_path: Path) -> None:
    """While a process holds the home's lock it is not replaced, and nothing is changed."""
    made = make_home(tmp_path / "home")
    data = backed_up(made.order())
    before = tree(tmp_path)
    with made.home.locked(), pytest.raises(HomeError, match="stop it"):
        restored(data, made.home.root, replace=True)
    assert tree(tmp_path) == before


def test_a_damaged_backup_changes_nothing(tmp_path: Path) -> None:
    """Damage that is found late, in the last file or by what it says, leaves the old home and nothing else."""
    made = make_home(tmp_path / "home")
    data = backed_up(made.order())
    before = tree(tmp_path)
    members = members_of(data)
    key = [(named(m.name), b"x" * len(d)) if m.name == "secrets/journal.pem" else (m, d) for m, d in members]
    for broken in (data[: len(data) * 9 // 10], packed(members[:-1]), packed(key)):
        with pytest.raises(BackupDamaged):
            restored(broken, made.home.root, replace=True)
        assert tree(tmp_path) == before


def test_keys_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    """A backup of a home with another home's signing key would be a journal that cannot go on: it is refused."""
    made, other = make_home(tmp_path / "home"), make_home(tmp_path / "other")
    made.home.journal_key.write_bytes(other.home.journal_key.read_bytes())
    with pytest.raises(BackupDamaged, match="do not belong together"):
        restored(backed_up(made.order()), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (made.home.journal / "public.pem").write_bytes((other.home.journal / "public.pem").read_bytes())
    with pytest.raises(BackupDamaged, match=r"damaged: .*key"):
        restored(backed_up(made.order()), tmp_path / "new")


def test_one_restore_at_a_time(tmp_path: Path) -> None:
    """While a backup is restored into a home that is not there yet, another restore into it is refused."""
    data = backed_up(make_home(tmp_path / "home").order())
    with staging(tmp_path / "new") as place:
        (place / "mine").write_text("")
        with pytest.raises(Conflict, match="another process restores"):
            restored(data, tmp_path / "new")
        assert (place / "mine").exists()
    restored(data, tmp_path / "new")


@pytest.mark.slow
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A backup that does not fit is told in a word, and the disk is as it was."""
    data = backed_up(make_home(tmp_path / "home", requests=2000).order(with_models=True))
    with small_disk(tmp_path / "disk", megabytes=1) as place:
        with pytest.raises(HomeError, match="No space left"):
            restored(data, place / "home")
        assert list(place.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("reads", [2, 6])
def test_an_interrupted_restore_leaves_the_old_home(tmp_path: Path, reads: int) -> None:
    """Interrupted, nothing is left; killed, a hidden folder, which the next restore clears away."""
    made = make_home(tmp_path / "home", requests=50)
    file = tmp_path / "backup"
    (made.home.root / "secrets" / "noise").write_bytes(os.urandom(1 << 20))
    file.write_bytes(backed_up(made.order(), KEY))
    before = tree(made.home.root)
    argv = [sys.executable, "-c", SLOW_RESTORE, str(file), str(made.home.root), str(reads)]
    hidden = tmp_path / ".home.restoring"
    for number in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        assert hidden.exists()
        with pytest.raises(HomeError, match="process uses the home"):
            restore(archive_of(file.read_bytes(), KEY), made.home.root, replace=True)
        process.send_signal(number)
        process.wait(60)
        process.stdout.close()
        assert tree(made.home.root) == before
        assert hidden.exists() is (number is signal.SIGKILL)
    restore(archive_of(file.read_bytes(), KEY), made.home.root, replace=True)
    assert not hidden.exists()


def test_a_mounted_file_system_is_told(tmp_path: Path) -> None:
    """A home that is itself a mount point cannot be renamed: that is said before anything is read."""
    with small_disk(tmp_path / "disk", megabytes=1) as place, pytest.raises(HomeError, match="give a folder in it"):
        restored(b"\x1f\x8b", place)


def test_a_target_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """Where the folder above is a file, the error says so."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="cannot be made"):
        restored(b"\x1f\x8b", tmp_path / "file" / "home")
