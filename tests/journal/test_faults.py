"""A disk that fails, fills up or lies: nothing acknowledged is lost, nothing is written twice."""

import asyncio
import resource
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from freehold.config import JournalSettings
from freehold.errors import AuditUnavailable, FreeholdError, HomeError
from freehold.journal.journal import Journal
from freehold.journal.records import Kind
from freehold.journal.waiting import State
from tests.journal.disks import FailingDisk, RecordingDisk, SmallDisk
from tests.journal.journals import admitted, ids_of, kinds_of, opened, receipt, records_of

SETTINGS = JournalSettings(segment_bytes=64 * 1024, checkpoint_records=5, retention_days=62)
FILLING = "x" * 30_000
"""Three such records fill a segment."""


@dataclass
class Told:
    """What a scenario was told."""

    admitted: set[str] = field(default_factory=set)
    """Requests whose admission was acknowledged."""
    ended: set[str] = field(default_factory=set)
    """Requests whose receipt was acknowledged as being on the disk."""
    refused: set[str] = field(default_factory=set)
    """Requests that may not have begun."""


async def _request(journal: Journal, number: int, told: Told) -> None:
    """One request as the gateway runs it: it begins if its admission is written, and then ends with a receipt."""
    name = f"req_{number}"
    try:
        await journal.submit(Kind.ADMITTED, admitted(number, end_user=FILLING), durable=False)
    except AuditUnavailable:
        told.refused.add(name)
        return
    told.admitted.add(name)
    with suppress(AuditUnavailable):
        await journal.submit(Kind.RECEIPT, receipt(number), durable=True)
        told.ended.add(name)


async def _scenario(home: Path, disk: RecordingDisk, told: Told) -> None:
    """Requests one after the other and at once, over some segments, with all else that a journal does."""
    try:
        async with opened(home, SETTINGS, disk=disk, retry_s=0.005) as journal:
            for number in range(4):
                await _request(journal, number, told)
            await asyncio.gather(*(_request(journal, number, told) for number in range(4, 12)))
            with suppress(AuditUnavailable):
                await journal.checkpoint()
            for number in range(12, 15):
                await _request(journal, number, told)
                await _until_settled(journal)
    except HomeError:
        assert not told.admitted


async def _until_settled(journal: Journal) -> None:
    """Wait until the journal is no longer stalled."""
    while journal.state is State.STALLED:  # noqa: ASYNC110 - nobody is told of a disk that is lost meanwhile
        await asyncio.sleep(0.002)


def _assert_nothing_lost(home: Path, told: Told) -> None:
    """Open the home with a healthy disk, and compare what is there with what was told."""

    async def scenario() -> None:
        async with opened(home, SETTINGS):
            pass

    asyncio.run(scenario())
    records = records_of(home)
    settled, begun = ids_of(records, "receipt"), ids_of(records, "admitted")
    assert told.ended <= settled
    assert told.admitted <= settled
    assert begun == settled
    interrupted = {
        record["body"]["request_id"]
        for record in records
        if record["kind"] == "receipt" and record["body"]["outcome"] == "interrupted"
    }
    assert not interrupted & told.ended


def _operations(home: Path) -> int:
    """How many operations the scenario does when none fails."""
    disk, told = RecordingDisk(), Told()
    asyncio.run(_scenario(home, disk, told))
    assert len(told.ended) == 15
    _assert_nothing_lost(home, told)
    return len(disk.done)


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    ("times", "kernel"), [(1, False), (2, False), (3, False), (1_000_000, False), (1, True), (1_000_000, True)]
)
def test_any_operation_may_fail(tmp_path: Path, times: int, *, half: bool, kernel: bool) -> None:
    """Whichever operation of the disk fails, once, for some time or for good, nothing is lost and nothing doubled."""
    nth = 1
    while True:
        disk, told = FailingDisk(nth, times, half=half, kernel=kernel), Told()
        home = tmp_path / str(nth)
        asyncio.run(_scenario(home, disk, told))
        _assert_nothing_lost(home, told)
        if not disk.has_failed:
            break
        nth += 1
    assert nth > _operations(tmp_path / "healthy") // 2
    assert len(told.ended) == 15


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2, 1_000_000])
def test_any_operation_of_a_recovery_may_fail(tmp_path: Path, times: int) -> None:
    """A recovery that fails changes nothing that counts: the next one settles what was open, once."""
    nth = 1
    while True:
        home = tmp_path / str(nth)
        told = Told()
        crashing = FailingDisk(14, 1_000_000)
        asyncio.run(_scenario(home, crashing, told))
        disk = FailingDisk(nth, times)
        asyncio.run(_reopen(home, disk))
        _assert_nothing_lost(home, told)
        if not disk.has_failed:
            break
        nth += 1
    assert nth > 6


async def _reopen(home: Path, disk: RecordingDisk) -> None:
    try:
        async with opened(home, SETTINGS, disk=disk):
            pass
    except FreeholdError as exc:
        assert isinstance(exc, HomeError)  # noqa: PT017 - whether it fails depends on the operation


def test_a_failed_write_stalls_and_heals(tmp_path: Path) -> None:
    """While nothing can be written receipts are kept in order, nothing begins, and all goes on when there is room."""
    disk = SmallDisk(10**9)

    async def scenario() -> None:
        async with opened(tmp_path, disk=disk) as journal:
            for number in range(3):
                await journal.submit(Kind.ADMITTED, admitted(number), durable=False)
            disk.room_bytes = 100
            waiter = journal.submit(Kind.RECEIPT, receipt(0), durable=True)
            with pytest.raises(AuditUnavailable, match="try later"):
                await journal.submit(Kind.ADMITTED, admitted(9), durable=False)
            with pytest.raises(AuditUnavailable, match="try later"):
                await journal.submit(Kind.ADMIN, {"action": "a"}, durable=True)
            with pytest.raises(AuditUnavailable, match="try later"):
                await waiter
            assert journal.state is State.STALLED
            for number in (1, 2):
                with pytest.raises(AuditUnavailable):
                    await journal.submit(Kind.RECEIPT, receipt(number), durable=True)
            with pytest.raises(AuditUnavailable):
                journal.submit(Kind.ADMITTED, admitted(8), durable=False)
            with pytest.raises(AuditUnavailable):
                journal.check()
            disk.room_bytes = 10**9
            await _until_settled(journal)
            journal.check()
            await journal.submit(Kind.ADMIN, {"action": "b"}, durable=True)

    asyncio.run(scenario())
    records = records_of(tmp_path)
    assert [record["body"]["request_id"] for record in records if record["kind"] == "receipt"] == [
        *("req_0", "req_1", "req_2")
    ]
    assert [record["body"] for record in records if record["kind"] == "admin"] == [{"action": "b"}]
    assert ids_of(records, "admitted") == {"req_0", "req_1", "req_2"}
    assert kinds_of(records)[-2:] == ["closed", "checkpoint"]


def test_a_stalled_journal_heals_without_a_record(tmp_path: Path) -> None:
    """A journal in which nothing waits finds out by itself that there is room again, and leaves no trace of trying."""
    disk = SmallDisk(10**9)

    async def scenario() -> None:
        async with opened(tmp_path, disk=disk) as journal:
            await journal.checkpoint()
            before = journal.durable
            disk.room_bytes = 10
            with pytest.raises(AuditUnavailable):
                await journal.submit(Kind.ADMITTED, admitted(1), durable=False)
            disk.room_bytes = 10**9
            await _until_settled(journal)
            assert journal.durable == before

    asyncio.run(scenario())
    assert kinds_of(records_of(tmp_path)) == ["segment", "checkpoint", "closed", "checkpoint"]


class _UnsyncableDisk(RecordingDisk):
    """A disk whose fdatasync fails from some time on."""

    broken = False

    def sync_data(self, file: int) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")
        super().sync_data(file)


def test_a_failed_sync_is_the_end(tmp_path: Path) -> None:
    """After a failed fdatasync nothing is acknowledged any more, and only a restart, which rewrites the tail, helps."""
    disk = _UnsyncableDisk()

    async def scenario() -> None:
        async with opened(tmp_path, disk=disk) as journal:
            await journal.submit(Kind.ADMITTED, admitted(1), durable=True)
            disk.broken = True
            with pytest.raises(AuditUnavailable, match="restart the server"):
                await journal.submit(Kind.RECEIPT, receipt(1), durable=True)
            disk.broken = False
            assert journal.state is State.DEAD
            with pytest.raises(AuditUnavailable):
                await journal.submit(Kind.RECEIPT, receipt(2), durable=True)
            with pytest.raises(AuditUnavailable):
                await journal.checkpoint()
            with pytest.raises(AuditUnavailable):
                journal.submit(Kind.ADMITTED, admitted(3), durable=False)

    asyncio.run(scenario())
    _assert_nothing_lost(tmp_path, Told(admitted={"req_1"}))


def test_an_end_that_cannot_be_synced_is_no_orderly_end(tmp_path: Path) -> None:
    """If the last fdatasync fails, the next start finds no orderly end and rewrites the tail."""
    disk = _UnsyncableDisk()

    async def scenario() -> None:
        async with opened(tmp_path, disk=disk):
            disk.broken = True

    asyncio.run(scenario())
    _assert_nothing_lost(tmp_path, Told())
    assert kinds_of(records_of(tmp_path))[:2] == ["segment", "recovered"]


FILLER = """
import asyncio, resource, signal, sys
from pathlib import Path
from freehold.errors import AuditUnavailable
from freehold.journal.records import Kind
from tests.journal.journals import admitted, opened, receipt
from tests.journal.test_faults import _until_settled

async def main(home, limit):
    async with opened(home) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        number = 0
        while True:
            try:
                await journal.submit(Kind.ADMITTED, admitted(number), durable=False)
                print("admitted", number)
                await journal.submit(Kind.RECEIPT, receipt(number), durable=True)
                print("ended", number)
            except AuditUnavailable:
                break
            number += 1
        print("full")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await _until_settled(journal)
        await journal.submit(Kind.RECEIPT, receipt(10**6), durable=True)
        print("healed")

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("limit_bytes", [20_000, 20_001, 20_377, 20_500, 21_000])
def test_a_file_that_may_not_grow_loses_nothing(tmp_path: Path, limit_bytes: int) -> None:
    """Under a real limit of the file's size the journal stalls, and goes on where it was when the limit is lifted."""
    found = subprocess.run(
        [sys.executable, "-c", FILLER, str(tmp_path), str(limit_bytes)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    said = [line.split() for line in found.stdout.splitlines()]
    assert ["full"] in said
    assert said[-1] == ["healed"]
    records = records_of(tmp_path)
    assert {f"req_{number}" for what, *rest in said if what == "admitted" for number in rest} <= ids_of(
        records, "receipt"
    )
    assert "recovered" not in kinds_of(records)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
