"""Segments: when they change, how they are read across, and when they go."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from freehold.config import JournalSettings
from freehold.errors import AuditUnavailable
from freehold.journal.disk import OsDisk
from freehold.journal.journal import Journal
from freehold.journal.reader import Cursor, read_last_line, read_lines, segment_numbers
from freehold.journal.records import Kind
from tests.journal.disks import FailingDisk
from tests.journal.journals import START_S, Clock, admitted, kinds_of, lines_of, opened, receipt, records_of

DAY_S = 86_400
SETTINGS = JournalSettings(segment_bytes=64 * 1024, retention_days=62)
KEEPING_ALL = JournalSettings(segment_bytes=64 * 1024)


async def _fill(journal: Journal, segments: int) -> None:
    """Records that fill so many segments, each with one."""
    for _ in range(segments):
        await journal.submit(Kind.ADMIN, {"text": "x" * 70_000}, durable=True)


def test_every_segment_is_whole(tmp_path: Path) -> None:
    """Each segment begins with its header, ends with a checkpoint, and is not much longer than it may be."""

    async def scenario() -> None:
        async with opened(tmp_path, KEEPING_ALL) as journal:
            for number in range(500):
                await journal.submit(Kind.RECEIPT, receipt(number), durable=False)

    asyncio.run(scenario())
    records_of(tmp_path)
    paths = sorted((tmp_path / "journal" / "main").iterdir())
    assert len(paths) > 2
    for path in paths:
        kinds = [line.split(b'"kind":"')[-1].split(b'"')[0] for line in path.read_bytes().splitlines()]
        assert (kinds[0], kinds[-1]) == (b"segment", b"checkpoint")
        assert path.stat().st_size < 64 * 1024 + 4096


def test_a_long_header_begins_no_endless_row_of_segments(tmp_path: Path) -> None:
    """A segment whose first line alone is longer than the limit still takes records up to the limit."""

    async def scenario() -> None:
        async with opened(tmp_path, KEEPING_ALL) as journal:
            for number in range(100):
                journal.submit(Kind.ADMITTED, admitted(number, end_user="x" * 1000), durable=False)
            await journal.submit(Kind.ADMIN, {"action": "a"}, durable=True)
            before = len(segment_numbers(journal.folder))
            for _ in range(20):
                await journal.submit(Kind.ADMIN, {"text": "y" * 3000}, durable=True)
            assert len(segment_numbers(journal.folder)) <= before + 1
            for number in range(100):
                await journal.submit(Kind.RECEIPT, receipt(number), durable=True)

    asyncio.run(scenario())
    records_of(tmp_path)


def test_reading_crosses_segments(tmp_path: Path) -> None:
    """Reading with any limit goes from segment to segment and stops where it is told."""

    async def scenario() -> None:
        async with opened(tmp_path, KEEPING_ALL) as journal:
            await _fill(journal, 4)
            middle = read_lines(journal.folder, Cursor(), journal.durable, 5)[-1].after
            until = journal.durable
            await _fill(journal, 1)
            for limit in (1, 2, 3, 100):
                cursor, seqs = middle, []
                while lines := read_lines(journal.folder, cursor, until, limit):
                    seqs += [line.seq for line in lines]
                    cursor = lines[-1].after
                assert seqs == list(range(6, until.seq + 1))
                assert cursor == until

    asyncio.run(scenario())


def test_the_last_line_of_a_segment_is_found_from_its_end(tmp_path: Path) -> None:
    """The last line of a segment is found whether it is short or longer than a block."""

    async def scenario() -> None:
        async with opened(tmp_path, KEEPING_ALL) as journal:
            await _fill(journal, 2)
            lines = read_lines(journal.folder, Cursor(), journal.durable, 100)
            assert read_last_line(journal.folder, 1) == [line for line in lines if line.segment == 1][-1]
            await journal.submit(Kind.ADMIN, {"text": "z" * 200_000}, durable=True)
            lines = read_lines(journal.folder, Cursor(), journal.durable, 100)
            assert read_last_line(journal.folder, 3) == lines[-1]
            assert len(lines[-1].raw) > 200_000

    asyncio.run(scenario())


def test_old_segments_are_retired(tmp_path: Path) -> None:
    """Closed segments that are old and projected are deleted, after a record that says what stood in them."""
    clock = Clock()

    async def scenario() -> None:
        async with opened(tmp_path, SETTINGS, clock=clock) as journal:
            await _fill(journal, 3)
            clock.now_s = START_S + 30 * DAY_S
            await _fill(journal, 2)
            clock.now_s = START_S + 63 * DAY_S
            heads = [hashlib.sha256(read_last_line(journal.folder, number).raw).hexdigest() for number in (1, 2)]
            before = lines_of(tmp_path)
            second = read_last_line(journal.folder, 2)
            assert await journal.retire(projected_seq=second.seq) == 2
            assert segment_numbers(journal.folder) == [3, 4, 5, 6]
            assert await journal.retire(projected_seq=second.seq) == 0
            lines = read_lines(journal.folder, Cursor(), journal.durable, 1000)
            assert lines[0].seq == second.seq + 1
            retired = [line.body for line in lines if line.kind == "retired"]
            assert [body["head"] for body in retired] == heads
            assert [(body["number"], body["reason"]) for body in retired] == [(1, "retention"), (2, "retention")]
            assert (retired[0]["first"], retired[1]["last"]) == (1, second.seq)
            assert retired[1]["first"] == retired[0]["last"] + 1
            assert lines[0].raw == before[second.seq]
            assert await journal.retire(projected_seq=10**9) == 0
            clock.now_s = START_S + 93 * DAY_S
            assert await journal.retire(projected_seq=second.seq) == 0
            assert await journal.retire(projected_seq=10**9) == 2

    asyncio.run(scenario())
    records = records_of(tmp_path)
    assert records[0]["seq"] > 1

    async def reopen() -> None:
        async with opened(tmp_path, SETTINGS, clock=clock) as journal:
            await _fill(journal, 1)

    asyncio.run(reopen())
    assert "recovered" not in kinds_of(records_of(tmp_path))


def test_one_segment_that_was_begun_late_is_opened(tmp_path: Path) -> None:
    """A journal of which all but the newest segment is retired goes on."""
    clock = Clock()

    async def scenario() -> None:
        async with opened(tmp_path, SETTINGS, clock=clock) as journal:
            await _fill(journal, 2)
            clock.now_s = START_S + 63 * DAY_S
            await journal.retire(projected_seq=10**9)
        async with opened(tmp_path, SETTINGS, clock=clock) as journal:
            assert len(segment_numbers(journal.folder)) == 2
            assert await journal.retire(projected_seq=10**9) == 0

    asyncio.run(scenario())
    (tmp_path / "journal/main/00000002.jsonl").unlink()

    async def reopen() -> None:
        async with opened(tmp_path, SETTINGS, clock=clock) as journal:
            await journal.submit(Kind.ADMIN, {"action": "a"}, durable=True)

    asyncio.run(reopen())
    assert records_of(tmp_path)[0]["body"]["number"] == 3


def test_all_segments_are_kept_by_default(tmp_path: Path) -> None:
    """Without a setting nothing is deleted, however old."""
    clock = Clock()

    async def scenario() -> None:
        async with opened(tmp_path, KEEPING_ALL, clock=clock) as journal:
            await _fill(journal, 3)
            clock.now_s = START_S + 10_000 * DAY_S
            assert await journal.retire(projected_seq=10**9) == 0

    asyncio.run(scenario())


class _UndeletingDisk(OsDisk):
    """A disk on which nothing can be deleted at first."""

    failing = True

    def unlink(self, path: Path) -> None:
        if self.failing:
            raise OSError(1, "Operation not permitted")
        super().unlink(path)


def test_a_deletion_that_fails_is_done_again(tmp_path: Path) -> None:
    """A segment that could not be deleted is not counted, and the next call deletes it."""
    clock, disk = Clock(), _UndeletingDisk()

    async def scenario() -> None:
        async with opened(tmp_path, SETTINGS, clock=clock, disk=disk) as journal:
            await _fill(journal, 2)
            clock.now_s = START_S + 63 * DAY_S
            assert await journal.retire(projected_seq=10**9) == 0
            assert 1 in segment_numbers(journal.folder)
            disk.failing = False
            assert await journal.retire(projected_seq=10**9) >= 1
            assert 1 not in segment_numbers(journal.folder)

    asyncio.run(scenario())
    records_of(tmp_path)


def test_nothing_is_deleted_unrecorded(tmp_path: Path) -> None:
    """If that a segment is deleted cannot be written, it stays."""
    clock = Clock()

    async def fill() -> None:
        async with opened(tmp_path, SETTINGS, clock=clock) as journal:
            await _fill(journal, 2)

    async def scenario() -> None:
        async with opened(tmp_path, SETTINGS, clock=clock, disk=FailingDisk(2, 10**6)) as journal:
            with pytest.raises(AuditUnavailable):
                await journal.retire(projected_seq=10**9)
            assert 1 in segment_numbers(journal.folder)

    asyncio.run(fill())
    clock.now_s = START_S + 63 * DAY_S
    asyncio.run(scenario())
