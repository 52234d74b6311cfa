"""The archive: what it must hold, and what it may not."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from freehold.backup.archive import read_archive
from freehold.backup.checking import check_archive, unpack
from freehold.backup.manifest import MANIFEST
from freehold.errors import BackupDamaged, InvalidRequest
from tests.backup.homes import KEY, Made, archive_of, backed_up, make_home

Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_home(tmp_path_factory.mktemp("archived") / "home")


@pytest.fixture(scope="module")
def plain(made: Made) -> bytes:
    return backed_up(made.order(with_models=True))


def members_of(data: bytes) -> Members:
    """What is in an archive."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        return [(member, file.read() if (file := tar.extractfile(member)) else b"") for member in tar]


def packed(members: Members) -> bytes:
    """An archive of what may be anything."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return sink.getvalue()


def named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """A member."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def test_an_archive_is_an_ordinary_tar(made: Made, plain: bytes) -> None:
    """A plain backup is a .tar.gz of files for their owner, the manifest last, that any tar reads."""
    members = members_of(plain)
    assert [member.name for member, _ in members][-1] == MANIFEST
    assert {member.mode for member, _ in members} == {0o600}
    files = {member.name: data for member, data in members}
    for name in ("secrets/pepper", "secrets/content", "secrets/journal.pem", "admin.key", "journal/public.pem"):
        assert files[name] == (made.home.root / name).read_bytes()
    assert not [name for name in files if name.startswith(("usage.db", "run/", "lock"))]


def test_a_whole_archive_is_whole(plain: bytes) -> None:
    """What was just made is verified, and its manifest tells where the journal ends."""
    manifest = check_archive(archive_of(plain))
    assert manifest.journal.seq == 12
    assert manifest.journal.checkpoint is not None
    assert manifest.journal.checkpoint["last"] <= manifest.journal.seq
    assert [(model.name, model.included) for model in manifest.models] == [("tiny", True)]


HOSTILE = [
    named("../escaped"),
    named("/etc/escaped"),
    named("secrets/../../escaped"),
    named("secrets/./pepper"),
    named("secrets/.hidden"),
    named("models/blobs/sha256-" + "a" * 64 + "/../../../escaped"),
    named("journal/main/../../escaped.jsonl"),
    named("lock"),
    named("run/server.json"),
    named("secrets"),
    named("secrets/folder", tarfile.DIRTYPE),
    named("secrets/link", tarfile.SYMTYPE, "/etc/passwd"),
    named("secrets/hard", tarfile.LNKTYPE, "secrets/pepper"),
    named("secrets/device", tarfile.CHRTYPE),
    named("secrets/block", tarfile.BLKTYPE),
    named("secrets/pipe", tarfile.FIFOTYPE),
    named("secrets/new\nline"),
]


@pytest.mark.parametrize("member", HOSTILE, ids=lambda member: repr(member.name))
def test_what_no_backup_holds_ends_the_reading(plain: bytes, tmp_path: Path, member: tarfile.TarInfo) -> None:
    """A path out of the home, a link, a device or a folder is refused; nothing is made of it, outside or inside."""
    folder = tmp_path / "inner" / "folder"
    folder.mkdir(parents=True)
    for members in ([(member, b""), *members_of(plain)], [*members_of(plain)[:2], (member, b"")]):
        with pytest.raises(BackupDamaged, match="not made by Freehold"):
            unpack(archive_of(packed(members)), folder, lambda path: path == member.name)
    assert [path for path in tmp_path.rglob("*") if path not in {folder, folder.parent}] == []


def damaged(members: Members) -> Iterator[tuple[str, Members]]:
    """What may have happened to an archive whose manifest is untouched, and how that is told."""
    yield "must not", [members[0], *members]
    yield "no manifest", members[:-1]
    yield "must not", [*members, members[0]]
    yield "is missing", [members[0], *members[2:]]
    yield "not what its manifest says", [(named("secrets/new"), b"x"), *members]
    for place in (0, 1, len(members) - 2):
        member, data = members[place]
        changed = bytes((data[0] ^ 1,)) + data[1:]
        yield "not what its manifest says", [*members[:place], (named(member.name), changed), *members[place + 1 :]]


def test_a_changed_archive_is_found_out(plain: bytes) -> None:
    """A file that is missing, added, doubled or changed is found by the manifest, without reading what it says."""
    for told, members in damaged(members_of(plain)):
        with pytest.raises(BackupDamaged, match=told):
            read_archive(archive_of(packed(members)), lambda _path, _source: None)


def with_manifest(data: bytes, change: dict[str, Any]) -> bytes:
    """The archive with another manifest."""
    *members, (last, manifest) = members_of(data)
    return packed([*members, (last, json.dumps(json.loads(manifest) | change).encode())])


def test_a_manifest_of_the_wrong_form_is_told(plain: bytes) -> None:
    """A newer format says so; a manifest with too much, too little or none is damaged."""

    def told(data: bytes) -> str:
        with pytest.raises(BackupDamaged) as caught:
            check_archive(archive_of(data))
        return caught.value.message

    assert "newer Freehold" in told(with_manifest(plain, {"format": 2}))
    assert "damaged: more" in told(with_manifest(plain, {"more": 1}))
    assert "damaged: version" in told(with_manifest(plain, {"version": 1}))
    *members, (last, _) = members_of(plain)
    assert "manifest is damaged" in told(packed([*members, (last, b"{}")]))
    assert "manifest is damaged" in told(packed([*members, (last, b"no JSON")]))
    secret = [(m, d) for m, d in members if m.name != "secrets/pepper"]
    manifest = json.loads(members_of(plain)[-1][1])
    manifest["files"] = [entry for entry in manifest["files"] if entry["path"] != "secrets/pepper"]
    assert "secrets/pepper is missing" in told(packed([*secret, (last, json.dumps(manifest).encode())]))


def test_a_journal_that_does_not_fit_its_manifest_is_told(made: Made, plain: bytes) -> None:
    """The journal must verify, and end with the record that the manifest names, even if all digests agree."""
    manifest = json.loads(members_of(plain)[-1][1])
    end = manifest["journal"]
    for change, told in (({"seq": end["seq"] - 1}, "does not end with record"), ({"head": "0" * 64}, "another record")):
        with pytest.raises(BackupDamaged, match=told):
            check_archive(archive_of(with_manifest(plain, {"journal": end | change})))
    segment = made.home.journal / "main" / "00000001.jsonl"
    whole = segment.read_bytes()
    segment.write_bytes(whole.replace(b'"cost_micro":120', b'"cost_micro":121', 1))
    forged = backed_up(made.order())
    segment.write_bytes(whole)
    with pytest.raises(BackupDamaged, match=r"journal is damaged: .*edited"):
        check_archive(archive_of(forged))


def test_a_cut_off_archive_is_told(plain: bytes) -> None:
    """Wherever a plain archive is cut off, it is not whole."""
    for size in range(2, len(plain), 211):
        with pytest.raises(BackupDamaged):
            check_archive(archive_of(plain[:size]))


def test_a_changed_plain_archive_is_told(plain: bytes) -> None:
    """Whichever byte is changed, the archive is not whole, unless it decompresses to the very same bytes."""
    content = gzip.decompress(plain)
    found = 0
    for place in range(len(plain) % 61, len(plain), 61):
        changed = bytearray(plain)
        changed[place] ^= 0x10
        try:
            check_archive(archive_of(bytes(changed)))
        except (BackupDamaged, InvalidRequest):
            found += 1
        else:
            assert gzip.decompress(changed) == content
    assert found > len(plain) // 61 * 0.8


def test_what_is_no_backup_is_told(made: Made) -> None:
    """Another file, an empty one and another archive are no backups; neither is a plain one where a key was given."""
    for data in (b"", b"hello, this is no backup", b"PK\x03\x04" + b"\0" * 100):
        with pytest.raises(InvalidRequest, match="no backup"):
            archive_of(data)
    with pytest.raises(BackupDamaged, match="no backup"):
        check_archive(archive_of(gzip.compress(b"something else" * 100)))
    with pytest.raises(InvalidRequest, match="though a key or a passphrase was given"):
        archive_of(backed_up(made.order()), KEY)


def test_verifying_writes_no_secret(plain: bytes, tmp_path: Path) -> None:
    """What is not wanted is read and verified, but not written."""

    def wanted(path: str) -> bool:
        return path.startswith("journal/")

    unpack(archive_of(plain), tmp_path, wanted)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"journal/public.pem", "journal/main/00000001.jsonl"}


def test_the_reader_may_leave_files_unread(plain: bytes) -> None:
    """Digests are of whole files, whether who takes them reads them to their ends or not."""
    seen: list[str] = []

    def take(path: str, source: IO[bytes]) -> None:
        seen.append(path)
        source.read(3)

    manifest = read_archive(archive_of(plain), take)
    assert [entry.path for entry in manifest.files] == seen
