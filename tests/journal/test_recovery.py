"""What an unclean end leaves, and how the next start mends it."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.config import JournalSettings
from freehold.errors import HomeError, JournalDamaged
from freehold.journal.reader import Cursor
from freehold.journal.records import Kind
from freehold.journal.recovery import interrupted_receipt
from freehold.types.receipt import Outcome, Receipt
from tests.journal.disks import RecordingDisk
from tests.journal.journals import START_S, Clock, admitted, ids_of, kinds_of, opened, receipt, records_of

SEGMENT = "journal/main/00000001.jsonl"


async def _write(home: Path) -> tuple[Cursor, Path]:
    """Three settled requests on the disk, and one open and one settled that are only written.

    Returns the durable end, and a copy of the home as a crash leaves it.
    """
    async with opened(home) as journal:
        for number in range(3):
            journal.submit(Kind.ADMITTED, admitted(number), durable=False)
            await journal.submit(Kind.RECEIPT, receipt(number), durable=True)
        durable = journal.durable
        journal.submit(Kind.ADMITTED, admitted(3, end_user="user", service_tier="flex"), durable=False)
        journal.submit(Kind.ADMITTED, admitted(4), durable=False)
        await journal.submit(Kind.RECEIPT, receipt(4), durable=False)
        crashed = home / "crashed"
        shutil.copytree(home / "journal", crashed / "journal")
        shutil.copytree(home / "secrets", crashed / "secrets")
    return durable, crashed


@pytest.fixture(scope="module")
def crash(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cursor, Path]:
    return asyncio.run(_write(tmp_path_factory.mktemp("crash")))


def _copy(crash: tuple[Cursor, Path], home: Path) -> Path:
    """A copy of the crashed home; its one segment."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(crash[1], home)
    return home / SEGMENT


async def _reopen(home: Path) -> None:
    async with opened(home, clock=Clock(START_S + 100_000)):
        pass


def _closed_open(home: Path) -> None:
    asyncio.run(_reopen(home))


def test_a_line_of_a_batch_that_was_interrupted_is_free() -> None:
    """It is run again, or its batch ends without its answer: nothing is charged, and what was read is told."""
    admitted = {
        "request_id": "req_1",
        "started_at": "2026-01-31T09:30:00.000000Z",
        "prompt_tokens": 7,
        "prompt_micro": 70,
    }
    of_line, of_other = {"batch": "batch_1", "line": 3}, {"response": "resp_1"}
    for parameters, cost_micro in ((of_line, 0), (of_other, 70)):
        made = interrupted_receipt({**admitted, "parameters": parameters}, "2026-01-31T09:31:00.000000Z")
        assert (made["cost_micro"], made["prompt_tokens"]) == (cost_micro, 7)


def test_what_was_open_is_settled_once(crash: tuple[Cursor, Path], tmp_path: Path) -> None:
    """After a crash an admitted request without a receipt gets one: interrupted, estimated, charged for its prompt."""
    _copy(crash, tmp_path / "home")
    _closed_open(tmp_path / "home")
    _closed_open(tmp_path / "home")
    records = records_of(tmp_path / "home")
    end = ["closed", "checkpoint"]
    assert kinds_of(records)[-8:] == ["receipt", "recovered", "receipt", "checkpoint", *end, *end]
    recovered, settled = records[-7]["body"], records[-6]["body"]
    assert recovered == {"cut_bytes": 0, "interrupted": 1}
    made = Receipt(**{**settled, "outcome": Outcome(settled["outcome"])})
    assert (made.request_id, made.outcome, made.status) == ("req_3", Outcome.INTERRUPTED, 500)
    assert (made.error_code, made.estimated, made.duration_us) == ("interrupted", True, 0)
    assert (made.prompt_tokens, made.cost_micro, made.completion_tokens) == (7, 70, 0)
    assert (made.organization_id, made.project_id, made.key_id, made.principal) == (
        "org_1",
        "proj_1",
        "key_1",
        "user_1",
    )
    assert (made.end_user, made.service_tier, made.deployment, made.route) == (
        "user",
        "flex",
        "chat",
        "/v1/chat/completions",
    )
    assert (made.started_at, made.ended_at) == ("2026-11-24T08:00:00.000000Z", "2026-11-25T03:46:40.000000Z")


def test_the_settlement_counts_for_the_limits(crash: tuple[Cursor, Path], tmp_path: Path) -> None:
    """What recovery charges is in what the limits are rebuilt from, and nothing is open any more."""
    _copy(crash, tmp_path / "home")

    async def scenario() -> None:
        async with opened(tmp_path / "home") as journal:
            assert journal.carried.open == {}
            assert journal.carried.spent["2026-11-24"]["key:key_1"] == 4 * 120 + 70
            assert journal.durable.seq == json.loads((tmp_path / "home" / SEGMENT).read_bytes().splitlines()[-1])["seq"]

    asyncio.run(scenario())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cut_anywhere_behind_the_durable_end_loses_nothing_durable(
    crash: tuple[Cursor, Path], tmp_path: Path, data: st.DataObject
) -> None:
    """Whatever part of the tail a crash leaves, a prefix stays, with all that was on the disk and one receipt each."""
    home = tmp_path / "home"
    segment = _copy(crash, home)
    whole = segment.read_bytes()
    cut = data.draw(st.integers(crash[0].offset, len(whole)))
    segment.write_bytes(whole[:cut])
    _closed_open(home)
    kept = whole[: whole.rfind(b"\n", 0, cut) + 1]
    assert segment.read_bytes().startswith(kept)
    records = records_of(home)
    assert {"req_0", "req_1", "req_2"} <= ids_of(records, "receipt")
    assert ids_of(records, "admitted") == ids_of(records, "receipt")
    recovered = next(record for record in records if record["kind"] == "recovered")
    assert recovered["body"]["cut_bytes"] == cut - len(kept)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cut_before_the_durable_end_leaves_a_prefix(
    crash: tuple[Cursor, Path], tmp_path: Path, data: st.DataObject
) -> None:
    """A file that lost more than it may is opened with what is left, as long as its first line is whole."""
    home = tmp_path / "home"
    segment = _copy(crash, home)
    whole = segment.read_bytes()
    cut = data.draw(st.integers(0, crash[0].offset))
    segment.write_bytes(whole[:cut])
    if b"\n" not in whole[:cut]:
        with pytest.raises(JournalDamaged, match=r"00000001\.jsonl: line 1 is not whole"):
            _closed_open(home)
        assert segment.read_bytes() == whole[:cut]
    else:
        _closed_open(home)
        records = records_of(home)
        assert ids_of(records, "admitted") == ids_of(records, "receipt")


@pytest.mark.parametrize("zeros", [b"\0" * 4096, b"\0\0\n", b"\0" * 512 + b'rest of a line"}\n{"half'])
def test_zeros_at_the_end_are_a_torn_tail(crash: tuple[Cursor, Path], tmp_path: Path, zeros: bytes) -> None:
    """Zeros, which a power failure leaves where content was to come, are cut like half a line."""
    segment = _copy(crash, tmp_path / "home")
    whole = segment.read_bytes()
    segment.write_bytes(whole + zeros)
    _closed_open(tmp_path / "home")
    assert segment.read_bytes().startswith(whole + b'{"at"')
    recovered = next(record for record in records_of(tmp_path / "home") if record["kind"] == "recovered")
    assert recovered["body"]["cut_bytes"] == len(zeros)


def _zero_a_line(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([*lines[:3], b"\0" * len(lines[3]), *lines[4:]])


DAMAGES: list[tuple[Callable[[bytes], bytes], int, str]] = [
    (lambda data: data.replace(b'"cost_micro":120', b'"cost_micro":121', 1), 4, "prev is not the hash"),
    (
        lambda data: b"".join([*data.splitlines(keepends=True)[:3], *data.splitlines(keepends=True)[4:]]),
        4,
        "comes next",
    ),
    (lambda data: data + b"nonsense\n", 11, "is not what was written"),
    (lambda data: data + b"[]\n", 11, "is not what was written: it is no record"),
    (lambda data: data[data.index(b"\n") + 1 :], 1, "is not what was written"),
    (_zero_a_line, 4, "is not what was written"),
]


@pytest.mark.parametrize(("damage", "line", "message"), DAMAGES)
def test_a_whole_line_that_is_wrong_is_damage(
    crash: tuple[Cursor, Path], tmp_path: Path, damage: Callable[[bytes], bytes], line: int, message: str
) -> None:
    """An edited, lost or foreign line is an error that names file and line, and the file stays as it was."""
    segment = _copy(crash, tmp_path / "home")
    segment.write_bytes(damage(segment.read_bytes()))
    before = segment.read_bytes()
    with pytest.raises(JournalDamaged, match=rf"00000001\.jsonl: line {line} .*{message}"):
        _closed_open(tmp_path / "home")
    assert segment.read_bytes() == before


def test_a_wrong_checkpoint_is_damage(tmp_path: Path) -> None:
    """A last line that is a checkpoint over other lines than those before it is not taken for a good one."""
    _closed_open(tmp_path)
    segment = tmp_path / SEGMENT
    segment.write_bytes(segment.read_bytes().replace(b'"first":1', b'"first":2'))
    with pytest.raises(JournalDamaged, match=r"line 3 .* not over the lines before it"):
        _closed_open(tmp_path)


def test_another_key_is_refused(crash: tuple[Cursor, Path], tmp_path: Path) -> None:
    """A journal that was begun with another key than the home has is not continued."""
    home = tmp_path / "home"
    _copy(crash, home)
    (home / "secrets" / "journal.pem").unlink()
    (home / "journal" / "public.pem").unlink()
    with pytest.raises(JournalDamaged, match=r"signed with another key .* restore secrets/journal\.pem"):
        _closed_open(home)


def test_a_missing_segment_is_damage(tmp_path: Path) -> None:
    """A gap between segments is an error that names the missing one."""

    async def scenario() -> None:
        async with opened(tmp_path, JournalSettings(segment_bytes=64 * 1024)) as journal:
            for _ in range(3):
                await journal.submit(Kind.ADMIN, {"text": "x" * 70_000}, durable=True)

    asyncio.run(scenario())
    (tmp_path / "journal/main/00000002.jsonl").unlink()
    with pytest.raises(JournalDamaged, match=r"00000002\.jsonl is missing"):
        _closed_open(tmp_path)


def test_a_segment_that_does_not_follow_is_damage(tmp_path: Path) -> None:
    """The first line of the last segment must hold the hash of the last line of the one before."""

    async def scenario() -> None:
        async with opened(tmp_path, JournalSettings(segment_bytes=64 * 1024)) as journal:
            for _ in range(2):
                await journal.submit(Kind.ADMIN, {"text": "x" * 70_000}, durable=True)

    asyncio.run(scenario())
    first = tmp_path / SEGMENT
    first.write_bytes(first.read_bytes().replace(b'"writer":"main"},"kind"', b'"writer":"mane"},"kind"'))
    with pytest.raises(JournalDamaged, match=r"00000002\.jsonl: line 1 .*prev is not the hash"):
        _closed_open(tmp_path)


def test_an_orderly_end_needs_no_recovery(tmp_path: Path) -> None:
    """After an orderly end the file goes on as it is: nothing is rewritten, and no recovery is recorded."""
    _closed_open(tmp_path)
    disk = RecordingDisk()

    async def scenario() -> None:
        async with opened(tmp_path, disk=disk):
            disk.note("opened", "")

    asyncio.run(scenario())
    assert [operation for operation, _ in disk.done][:2] == ["open", "opened"]
    assert "recovered" not in kinds_of(records_of(tmp_path))


def test_the_mended_segment_is_on_the_disk_before_the_journal_opens(crash: tuple[Cursor, Path], tmp_path: Path) -> None:
    """Recovery writes the whole segment aside, syncs it, renames it over the old one and syncs the folder."""
    _copy(crash, tmp_path / "home")
    disk = RecordingDisk()

    async def scenario() -> None:
        async with opened(tmp_path / "home", disk=disk):
            disk.note("opened", "")

    asyncio.run(scenario())
    name = "00000001.jsonl"
    assert disk.done[:6] == [
        ("create", f"{name}.new"),
        ("write", f"{name}.new"),
        ("sync", f"{name}.new"),
        ("rename", f"{name}.new {name}"),
        ("sync_folder", "main"),
        ("opened", ""),
    ]


def test_leftovers_of_a_crash_are_cleared(crash: tuple[Cursor, Path], tmp_path: Path) -> None:
    """A segment that was being made when the machine stopped is deleted, and nothing else is."""
    home = tmp_path / "home"
    folder = _copy(crash, home).parent
    (folder / "00000002.jsonl.new").write_bytes(b"half a segm")
    (folder / "notes.new").write_bytes(b"somebody's")
    _closed_open(home)
    assert sorted(path.name for path in folder.iterdir()) == ["00000001.jsonl", "notes.new"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """Where the writer's folder cannot be there is an error that names it."""
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "main").write_text("a file")
    with pytest.raises(HomeError, match=r"the journal .*main cannot be opened"):
        _closed_open(tmp_path)
