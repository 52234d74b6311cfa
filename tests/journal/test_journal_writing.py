"""The journal in order: what is written, when it is acknowledged, and what is proved of it."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from freehold.config import JournalSettings
from freehold.errors import AuditUnavailable, JournalDamaged
from freehold.journal.journal import Journal, Position
from freehold.journal.merkle import leaf_hash, root_from_path
from freehold.journal.proofs import prove
from freehold.journal.reader import Cursor, Line, read_line, read_lines
from freehold.journal.records import Kind
from freehold.journal.waiting import State
from tests.journal.disks import RecordingDisk
from tests.journal.journals import admitted, kinds_of, lines_of, opened, receipt, records_of


async def _submit_many(journal: Journal, count: int, *, after: int = 0) -> list[Position]:
    """Requests with both records, all at once; where their receipts are."""
    waiters = []
    for number in range(after, after + count):
        journal.submit(Kind.ADMITTED, admitted(number), durable=False)
        waiters.append(journal.submit(Kind.RECEIPT, receipt(number), durable=True))
    return await asyncio.gather(*waiters)


def _read_all(journal: Journal, limit: int) -> list[Line]:
    found: list[Line] = []
    cursor = Cursor()
    while lines := read_lines(journal.folder, cursor, journal.durable, limit):
        assert len(lines) <= limit
        found += lines
        cursor = lines[-1].after
    assert cursor == journal.durable
    return found


def test_records_stand_in_one_signed_chain(tmp_path: Path) -> None:
    """What was submitted stands in the files, in order, canonical, chained and covered by checkpoints."""

    async def scenario() -> list[Position]:
        async with opened(tmp_path, JournalSettings(checkpoint_records=4)) as journal:
            return await _submit_many(journal, 5)

    positions = asyncio.run(scenario())
    records = records_of(tmp_path)
    first = ["segment", "admitted", "admitted", "admitted", "checkpoint"]  # who waits for no sync goes first
    assert kinds_of(records)[:5] == first
    assert kinds_of(records)[-2:] == ["closed", "checkpoint"]
    by_seq = {record["seq"]: record for record in records}
    assert [by_seq[position.seq]["body"] for position in positions] == [receipt(number) for number in range(5)]


def test_a_record_is_found_where_its_position_says(tmp_path: Path) -> None:
    """A position leads to the line, and reading in small steps gives every line once."""

    async def scenario() -> None:
        async with opened(tmp_path, JournalSettings(checkpoint_records=7)) as journal:
            positions = await _submit_many(journal, 20)
            for number, position in enumerate(positions):
                line = read_line(journal.folder, position.segment, position.offset)
                assert (line.seq, line.kind, line.body) == (position.seq, "receipt", receipt(number))
            assert [line.raw for line in _read_all(journal, 3)] == lines_of(tmp_path)

    asyncio.run(scenario())


def test_a_place_inside_of_a_record_is_damage(tmp_path: Path) -> None:
    """Reading from a place where no record begins, or behind the end, is an error that names the file."""

    async def scenario() -> None:
        async with opened(tmp_path) as journal:
            await _submit_many(journal, 1)
            with pytest.raises(JournalDamaged, match=r"00000001\.jsonl: what begins at byte 5 is no record"):
                read_line(journal.folder, 1, 5)
            with pytest.raises(JournalDamaged, match="it is not the journal that was read before"):
                read_lines(journal.folder, Cursor(1, 10**9, 9), Cursor(1, 2 * 10**9, 10), 5)

    asyncio.run(scenario())


def test_a_record_is_synced_before_it_is_acknowledged(tmp_path: Path) -> None:
    """A durable record's waiter hears of it after write and fdatasync; one that is not, after the write."""
    disk = RecordingDisk()

    async def scenario() -> None:
        async with opened(tmp_path, disk=disk) as journal:
            disk.done.clear()
            await journal.submit(Kind.ADMITTED, admitted(1), durable=False)
            disk.note("acknowledged", "admitted")
            await journal.submit(Kind.RECEIPT, receipt(1), durable=True)
            disk.note("acknowledged", "receipt")

    asyncio.run(scenario())
    name = "00000001.jsonl"
    expected = [("write", name), ("acknowledged", "admitted")]
    expected += [("write", name), ("sync_data", name), ("acknowledged", "receipt")]
    assert disk.done[:5] == expected


def test_a_new_segment_is_on_the_disk_before_its_first_record(tmp_path: Path) -> None:
    """The old segment is synced; the new one is written aside, synced, renamed and its folder synced before use."""
    disk = RecordingDisk()

    async def scenario() -> None:
        settings = JournalSettings(segment_bytes=64 * 1024)
        async with opened(tmp_path, settings, disk=disk) as journal:
            await journal.submit(Kind.ADMIN, {"text": "x" * 70_000}, durable=True)
            disk.done.clear()
            position = await journal.submit(Kind.ADMIN, {"text": "y"}, durable=True)
            disk.note("acknowledged", "record")
            assert position.segment == 2

    asyncio.run(scenario())
    old, new, second = "00000001.jsonl", "00000002.jsonl.new", "00000002.jsonl"
    assert disk.done[:11] == [
        ("write", old),
        ("sync_data", old),
        ("create", new),
        ("write", new),
        ("sync", new),
        ("rename", f"{new} {second}"),
        ("sync_folder", "main"),
        ("close", old),
        ("write", second),
        ("sync_data", second),
        ("acknowledged", "record"),
    ]
    assert kinds_of(records_of(tmp_path)) == [
        *("segment", "admin", "checkpoint"),
        *("segment", "admin", "closed", "checkpoint"),
    ]


def test_a_new_journal_is_on_the_disk_before_it_is_used(tmp_path: Path) -> None:
    """The first segment is written aside, synced and renamed, and its folder and those above it are synced."""
    disk = RecordingDisk()

    async def scenario() -> None:
        async with opened(tmp_path, disk=disk):
            disk.note("opened", "")

    asyncio.run(scenario())
    operations = [operation for operation, _ in disk.done]
    assert operations[: operations.index("opened")] == [
        *("make_folder", "sync_folder", "sync_folder"),
        *("create", "write", "sync", "rename", "sync_folder"),
    ]


def test_a_thousand_records_share_a_commit(tmp_path: Path) -> None:
    """A thousand records that come at once are written and synced a few times, not a thousand."""
    disk = RecordingDisk()

    async def scenario() -> None:
        async with opened(tmp_path, disk=disk) as journal:
            disk.done.clear()
            waiters = [journal.submit(Kind.RECEIPT, receipt(number), durable=True) for number in range(1000)]
            positions = await asyncio.gather(*waiters)
            assert [position.seq for position in positions[:998]] == list(range(2, 1000))

    asyncio.run(scenario())
    assert sum(operation == "sync_data" for operation, _ in disk.done) < 100
    records_of(tmp_path)


def test_what_comes_in_one_turn_is_one_write(tmp_path: Path) -> None:
    """Admissions that come at once share a write; of one alone, nobody waits for another."""
    disk = RecordingDisk()

    async def scenario() -> None:
        async with opened(tmp_path, disk=disk) as journal:
            disk.done.clear()
            waiters = [journal.submit(Kind.ADMITTED, admitted(number), durable=False) for number in range(20)]
            assert waiters[0].done()
            await asyncio.gather(*waiters)
            assert [operation for operation, _ in disk.done] == ["write", "write"]
            await asyncio.gather(*(journal.submit(Kind.RECEIPT, receipt(n), durable=True) for n in range(20)))

    asyncio.run(scenario())
    assert kinds_of(records_of(tmp_path)).count("receipt") == 20


class WaitingDisk(RecordingDisk):
    """A disk whose next sync waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may_end = threading.Event(), threading.Event()

    def sync_data(self, file: int) -> None:
        self.begun.set()
        assert self.may_end.wait(10)
        super().sync_data(file)


def test_what_comes_during_a_sync_is_written_after_it(tmp_path: Path) -> None:
    """The loop does not wait while the disk is waited for; what has come meanwhile is written at its end, at once."""
    disk = WaitingDisk()

    async def scenario() -> None:
        async with opened(tmp_path, disk=disk) as journal:
            first = journal.submit(Kind.RECEIPT, receipt(0), durable=True)
            await asyncio.to_thread(disk.begun.wait, 10)
            disk.done.clear()
            others = [journal.submit(Kind.ADMITTED, admitted(number), durable=False) for number in range(1, 6)]
            others += [journal.submit(Kind.RECEIPT, receipt(number), durable=True) for number in range(1, 6)]
            await asyncio.sleep(0.05)
            assert not any(waiter.done() for waiter in (first, *others))
            disk.may_end.set()
            await asyncio.gather(first, *others)
            operations = [operation for operation, _ in disk.done]
            assert operations == ["sync_data", "write", "sync_data"]

    asyncio.run(scenario())
    assert kinds_of(records_of(tmp_path)).count("receipt") == 6


def test_cancelling_takes_nothing_back(tmp_path: Path) -> None:
    """A record whose waiter is cancelled is written all the same, and disturbs no other."""

    async def scenario() -> None:
        async with opened(tmp_path) as journal:
            cancelled = journal.submit(Kind.RECEIPT, receipt(1), durable=True)
            cancelled.cancel()
            await journal.submit(Kind.RECEIPT, receipt(2), durable=True)

    asyncio.run(scenario())
    assert kinds_of(records_of(tmp_path)).count("receipt") == 2


def test_a_body_is_taken_as_it_was(tmp_path: Path) -> None:
    """What the caller does to a body after it was submitted changes no record."""

    async def scenario() -> None:
        async with opened(tmp_path) as journal:
            body = admitted(1)
            waiter = journal.submit(Kind.ADMITTED, body, durable=True)
            body["request_id"] = "another"
            await waiter
            await journal.submit(Kind.RECEIPT, receipt(1), durable=True)

    asyncio.run(scenario())
    assert records_of(tmp_path)[1]["body"] == admitted(1)


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (Kind.CHECKPOINT, {}, "only the journal itself"),
        (Kind.RECEIPT, {}, "has no request_id"),
        (Kind.ADMITTED, {"request_id": "req_1"}, "started_at is no time"),
        (Kind.RECEIPT, receipt(1, ended_at="now"), "ended_at is no time"),
    ],
)
def test_a_wrong_body_is_refused_at_once(tmp_path: Path, kind: Kind, body: dict[str, Any], message: str) -> None:
    """A record of the journal's own kinds, or one without id or times, is refused, and nothing is written."""

    async def scenario() -> None:
        async with opened(tmp_path) as journal:
            with pytest.raises(ValueError, match=message):
                journal.submit(kind, body, durable=True)

    asyncio.run(scenario())
    assert kinds_of(records_of(tmp_path)) == ["segment", "closed", "checkpoint"]


def test_a_checkpoint_comes_in_time(tmp_path: Path) -> None:
    """A record is covered, and on the disk, soon after it was written, though nobody asks for it."""

    async def scenario() -> None:
        async with opened(tmp_path, JournalSettings(checkpoint_s=0.05)) as journal:
            reached = asyncio.Event()
            journal.on_durable(reached.set)
            position = await journal.submit(Kind.ADMITTED, admitted(1), durable=False)
            while journal.durable.seq <= position.seq:
                reached.clear()
                await reached.wait()
            assert _read_all(journal, 100)[-1].kind == "checkpoint"
            await journal.submit(Kind.RECEIPT, receipt(1), durable=True)

    asyncio.run(scenario())


def test_a_checkpoint_covers_nothing_twice(tmp_path: Path) -> None:
    """A checkpoint that is asked for is on the disk afterwards, and a second request for it writes nothing."""

    async def scenario() -> None:
        async with opened(tmp_path) as journal:
            await journal.submit(Kind.ADMIN, {"action": "a"}, durable=False)
            await journal.checkpoint()
            covered = journal.durable
            await journal.checkpoint()
            assert journal.durable == covered
            assert _read_all(journal, 100)[-1].kind == "checkpoint"

    asyncio.run(scenario())


def test_every_covered_record_can_be_proved(tmp_path: Path) -> None:
    """The path of a record leads to the root of the checkpoint that covers it; a checkpoint and a new one have none."""

    async def scenario() -> None:
        settings = JournalSettings(checkpoint_records=6, segment_bytes=64 * 1024)
        async with opened(tmp_path, settings) as journal:
            for start in range(0, 120, 20):
                await _submit_many(journal, 20, after=start)
            await journal.checkpoint()
            newest = await journal.submit(Kind.ADMIN, {"kind": "checkpoint"}, durable=True)
            assert prove(journal.folder, newest.segment, newest.offset) is None
            await journal.checkpoint()
            lines = _read_all(journal, 100)
            assert lines[-1].segment > 1
            for line in lines:
                proof = prove(journal.folder, line.segment, line.offset)
                assert (proof is None) == (line.kind == "checkpoint")
                if proof is not None:
                    _check_proof(proof, line)

    asyncio.run(scenario())


def _check_proof(proof: dict[str, Any], line: Line) -> None:
    covering = proof["checkpoint"]
    assert (proof["format"], proof["line"].encode()) == (1, line.raw)
    assert covering["first"] <= line.seq <= covering["last"]
    size = covering["last"] - covering["first"] + 1
    siblings = [bytes.fromhex(sibling) for sibling in proof["path"]]
    found = root_from_path(leaf_hash(line.raw), line.seq - covering["first"], size, siblings)
    assert found.hex() == covering["root"]


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    """After the end no work may begin, a receipt's future fails, and closing again does nothing."""

    async def scenario() -> None:
        async with opened(tmp_path) as journal:
            journal.check()
            await journal.close()
            await journal.close()
            assert journal.state is State.CLOSED
            for attempt in (journal.check, lambda: journal.submit(Kind.ADMITTED, admitted(1), durable=False)):
                with pytest.raises(AuditUnavailable, match="shutting down"):
                    attempt()
            with pytest.raises(AuditUnavailable):
                await journal.submit(Kind.RECEIPT, receipt(1), durable=True)
            with pytest.raises(AuditUnavailable):
                await journal.checkpoint()

    asyncio.run(scenario())
    assert kinds_of(records_of(tmp_path)) == ["segment", "closed", "checkpoint"]
