"""Where the kernel syncs by itself: who waits is told, what comes meanwhile is written, and a failure is the end."""

import asyncio
import errno
import os
import select
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from freehold.config import JournalSettings
from freehold.errors import AuditUnavailable
from freehold.journal.journal import Journal
from freehold.journal.kernel_sync import KernelDisk, KernelSync
from freehold.journal.records import Kind
from freehold.journal.waiting import State
from tests.journal.disks import FailingDisk, HeldKernel, NotedKernel, RecordingDisk
from tests.journal.journals import admitted, ids_of, kinds_of, opened, receipt, records_of


class _Disk(RecordingDisk):
    """A disk with a kernel that syncs by itself."""

    def __init__(self, kernel: KernelSync | None = None) -> None:
        super().__init__()
        self._kernel = kernel

    def kernel_sync(self) -> KernelSync:
        return self._kernel or NotedKernel(self)


class _SilentKernel(KernelSync):
    """The kernel's own syncs, of none of which it says how it ended."""

    def end(self) -> int | None:
        if super().end() is not None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return None


def _failing() -> None:
    raise ZeroDivisionError


def test_the_kernel_tells_how_it_ended(tmp_path: Path) -> None:
    """A sync ends with 0, one of what is no open file does not begin, and the next one goes well again."""
    kernel = KernelSync()
    file = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    try:
        for _ in range(3):
            os.write(file, b"some data")
            kernel.begin(file)
            assert select.select([kernel.event], [], [], 10)[0]
            assert kernel.end() == 0
            assert kernel.end() is None
            with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
                kernel.begin(99_999)
    finally:
        os.close(file)
        kernel.close()


def test_a_home_has_it(tmp_path: Path) -> None:
    """A journal that is opened without a disk of its own has the kernel sync."""
    kernel = KernelDisk().kernel_sync()
    assert kernel is not None
    kernel.close()

    async def scenario() -> int:
        async with opened(tmp_path) as journal:
            await asyncio.gather(*(journal.submit(Kind.RECEIPT, receipt(n), durable=True) for n in range(50)))
            return journal.durable.seq

    assert asyncio.run(scenario()) >= 51
    assert kinds_of(records_of(tmp_path)).count("receipt") == 50


async def _request(journal: Journal, number: int) -> None:
    await journal.submit(Kind.ADMITTED, admitted(number), durable=False)
    await asyncio.sleep(0.0005 * (number % 3))
    await journal.submit(Kind.RECEIPT, receipt(number), durable=True)


def test_no_thread_syncs_what_requests_wait_for(tmp_path: Path) -> None:
    """Of many requests at once every receipt is synced by the kernel, many at a time, over checkpoints and segments."""
    disk = _Disk()
    settings = JournalSettings(segment_bytes=64 * 1024, checkpoint_records=97)

    async def scenario() -> None:
        async with opened(tmp_path, settings, disk=disk) as journal:
            await asyncio.gather(*(_request(journal, number) for number in range(300)))

    asyncio.run(scenario())
    records = records_of(tmp_path)
    assert ids_of(records, "receipt") == ids_of(records, "admitted") == {f"req_{n}" for n in range(300)}
    operations = [operation for operation, _ in disk.done]
    assert 0 < operations.count("kernel_sync") < 150
    assert operations.count("sync_data") < 30


def test_what_comes_during_a_sync_is_written_at_once(tmp_path: Path) -> None:
    """While the kernel syncs, records are appended; those that wait for the disk wait for the next sync."""
    kernel = HeldKernel()
    disk = _Disk(kernel)

    async def scenario() -> None:
        async with opened(tmp_path, disk=disk) as journal:
            first = journal.submit(Kind.RECEIPT, receipt(0), durable=True)
            await asyncio.sleep(0.02)
            assert kernel.held
            await asyncio.gather(*(journal.submit(Kind.ADMITTED, admitted(n), durable=False) for n in range(1, 4)))
            others = [journal.submit(Kind.RECEIPT, receipt(n), durable=True) for n in range(1, 4)]
            await asyncio.sleep(0.02)
            assert not any(waiter.done() for waiter in (first, *others))
            kernel.let_go()
            assert (await first).seq == journal.durable.seq
            assert not any(waiter.done() for waiter in others)
            await asyncio.sleep(0.02)
            kernel.let_go()
            await asyncio.gather(*others)

    asyncio.run(scenario())
    assert kinds_of(records_of(tmp_path)).count("receipt") == 4


def test_the_end_waits_for_a_sync(tmp_path: Path) -> None:
    """A journal that is closed while the kernel syncs tells all who wait, also who came after the sync had begun."""
    kernel = HeldKernel()

    async def scenario() -> None:
        async with opened(tmp_path, disk=_Disk(kernel)) as journal:
            waiters = [journal.submit(Kind.RECEIPT, receipt(0), durable=True)]
            await asyncio.sleep(0.02)
            waiters.append(journal.submit(Kind.RECEIPT, receipt(1), durable=True))
            await asyncio.sleep(0.02)
            closing = asyncio.create_task(journal.close())
            await asyncio.sleep(0.05)
            assert not closing.done()
            kernel.let_go()
            await asyncio.gather(closing, *waiters)

    asyncio.run(scenario())
    assert kinds_of(records_of(tmp_path))[-4:] == ["receipt", "receipt", "closed", "checkpoint"]


def test_a_sync_that_fails_in_the_kernel_is_the_end(tmp_path: Path) -> None:
    """Who waited for it, who came meanwhile, and who comes later is told that nothing is sure until a restart."""
    disk = FailingDisk(1_000_000, kernel=True)

    async def scenario() -> None:
        async with opened(tmp_path, disk=disk) as journal:
            await journal.submit(Kind.RECEIPT, receipt(0), durable=True)
            disk.fail_from_now()
            waiter = journal.submit(Kind.RECEIPT, receipt(1), durable=True)
            with pytest.raises(AuditUnavailable, match="restart the server"):
                await journal.checkpoint()
            with pytest.raises(AuditUnavailable, match="restart the server"):
                await waiter
            assert journal.state is State.DEAD
            with pytest.raises(AuditUnavailable):
                journal.submit(Kind.ADMITTED, admitted(2), durable=False)

    asyncio.run(scenario())

    async def again() -> None:
        async with opened(tmp_path):
            pass

    asyncio.run(again())
    assert "receipt" in kinds_of(records_of(tmp_path))


def test_being_told_of_no_end_is_borne(tmp_path: Path) -> None:
    """A loop that tells of an event though the sync has not ended changes nothing: its end is heard of all the same."""
    kernel = HeldKernel()

    async def scenario() -> None:
        async with opened(tmp_path, disk=_Disk(kernel)) as journal:
            waiter = journal.submit(Kind.RECEIPT, receipt(0), durable=True)
            await asyncio.sleep(0.02)
            os.eventfd_write(kernel.event, 1)
            await asyncio.sleep(0.02)
            assert not waiter.done()
            kernel.let_go()
            await waiter
            again = journal.submit(Kind.RECEIPT, receipt(1), durable=True)
            await asyncio.sleep(0.02)
            kernel.let_go()
            await again

    asyncio.run(scenario())
    assert kinds_of(records_of(tmp_path)).count("receipt") == 2


def test_an_end_that_nobody_tells_of_is_found(tmp_path: Path) -> None:
    """Where the event of a sync's end is lost, the loop finds that it has ended, and says so in the log."""
    kernel = HeldKernel()

    async def scenario() -> None:
        async with opened(tmp_path, disk=_Disk(kernel)) as journal:
            waiter = journal.submit(Kind.RECEIPT, receipt(0), durable=True)
            await asyncio.sleep(0.02)
            kernel.let_go()
            assert select.select([kernel.event], [], [], 10)[0]
            os.eventfd_read(kernel.event)
            assert journal.waits_s > 0
            async with asyncio.timeout(60):
                await waiter
            assert journal.waits_s == 0

    with capture_logs() as logs:
        asyncio.run(scenario())
    assert [line["told"] for line in logs if line["event"] == "journal.sync_slow"] == [False]


def test_a_sync_whose_end_is_unknown_is_the_end(tmp_path: Path) -> None:
    """Where the system does not say how a sync ended, those who wait for it are told that nothing is sure."""
    kernel = _SilentKernel()

    async def scenario() -> None:
        async with opened(tmp_path, disk=_Disk(kernel)) as journal:
            waiter = journal.submit(Kind.RECEIPT, receipt(0), durable=True)
            async with asyncio.timeout(60):
                with pytest.raises(AuditUnavailable, match="restart the server"):
                    await waiter
            assert journal.state is State.DEAD

    asyncio.run(scenario())


def test_a_listener_that_fails_keeps_nobody_waiting(tmp_path: Path) -> None:
    """What came during a sync is written after it, though what is called at its end fails."""
    kernel = HeldKernel()

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        async with opened(tmp_path, disk=_Disk(kernel)) as journal:
            journal.on_durable(_failing)
            waiters = [journal.submit(Kind.RECEIPT, receipt(0), durable=True)]
            await asyncio.sleep(0.02)
            waiters.append(journal.submit(Kind.RECEIPT, receipt(1), durable=True))
            await asyncio.sleep(0.02)
            for _ in waiters:
                kernel.let_go()
                await asyncio.sleep(0.02)
            async with asyncio.timeout(60):
                await asyncio.gather(*waiters)

    asyncio.run(scenario())
    assert kinds_of(records_of(tmp_path)).count("receipt") == 2
