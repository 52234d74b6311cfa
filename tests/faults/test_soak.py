"""A mixed load with callers who leave, slow readers and engines that are killed leaves nothing behind."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.soak.run import Plan, soak

pytestmark = pytest.mark.slow


def check(plan: Plan, folder: Path) -> None:
    """Soak, and hold what must be so; there was something to get over."""
    report = asyncio.run(soak(plan, folder))
    assert report.failures == []
    assert report.harm.killed
    assert report.tally.left
    assert report.outcomes["cancelled"]
    assert report.outcomes["finished"] > 100


@pytest.mark.long
def test_nothing_leaks_in_a_short_soak(tmp_path: Path) -> None:
    """After a minute of load no memory, socket, grant or slot is lost, and receipts equal requests."""
    check(Plan(minutes=1.2, seed=20261128, kill_s=6, warm_s=6), tmp_path)


@pytest.mark.long
def test_nothing_leaks_in_a_long_soak(tmp_path: Path) -> None:
    """The same after half an hour."""
    check(Plan(), tmp_path)
