"""Who syncs: the event loop where that is a matter of a moment and keeps nobody waiting, else the thread."""

import asyncio
import threading
from pathlib import Path

import pytest

from freehold.journal.journal import Journal
from freehold.journal.records import Kind
from tests.journal.disks import PacedDisk
from tests.journal.journals import admitted, opened, receipt

pytestmark = pytest.mark.slow

MOST = 5000
"""Requests after which the disk must have been found to be fast, also on a machine that is busy with other things."""


async def _serve(journal: Journal, number: int) -> None:
    journal.submit(Kind.ADMITTED, admitted(number), durable=False)
    await journal.submit(Kind.RECEIPT, receipt(number), durable=True)


async def _until_fast(journal: Journal, disk: PacedDisk) -> int:
    """Serve one request after the other until the loop syncs; how many there were."""
    for number in range(MOST):
        await _serve(journal, number)
        if disk.threads[-1] == threading.get_ident():
            return number + 1
    raise AssertionError(f"the loop has not synced within {MOST} requests")


def test_a_fast_disk_is_synced_in_the_loop_until_it_is_slow_once(tmp_path: Path) -> None:
    """The loop syncs only after many quick syncs, and one slow sync sends the next ones back to the thread."""

    async def scenario() -> None:
        disk = PacedDisk()
        async with opened(tmp_path, disk=disk) as journal:
            count = await _until_fast(journal, disk)
            assert count > 30
            disk.sync_s = 0.05
            await _serve(journal, count)
            disk.sync_s = 0.0
            before = len(disk.threads)
            for number in range(count + 1, count + 31):
                await _serve(journal, number)
            assert len(disk.threads) == before + 30
            assert threading.get_ident() not in disk.threads[before:]

    asyncio.run(scenario())


def test_whoever_is_being_served_is_not_kept_waiting(tmp_path: Path) -> None:
    """While another request is in progress the thread syncs, however fast the disk is."""

    async def scenario() -> None:
        disk = PacedDisk()
        async with opened(tmp_path, disk=disk) as journal:
            count = await _until_fast(journal, disk)
            journal.submit(Kind.ADMITTED, admitted(count), durable=False)
            before = len(disk.threads)
            for number in range(count + 1, count + 21):
                await _serve(journal, number)
            assert len(disk.threads) >= before + 20
            assert threading.get_ident() not in disk.threads[before:]

    asyncio.run(scenario())
