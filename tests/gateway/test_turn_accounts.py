"""Accounts of what is done for a response beside its first question: one receipt, whatever the block ends with."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import EngineFailed
from freehold.gateway.response_run import Accounts
from tests.gateway.remote import Trial, with_tools


async def given_up(accounts: Accounts, trial: Trial) -> None:
    """A stream whose reader goes away between two events."""

    async def events() -> AsyncGenerator[int]:
        async with accounts.open(trial.parent, "resp_1"):
            yield 1
            yield 2

    stream = events()
    assert await anext(stream) == 1
    await stream.aclose()


async def cancelled(accounts: Accounts, trial: Trial) -> None:
    """Work that is cancelled."""

    async def work() -> None:
        async with accounts.open(trial.parent, "resp_1"):
            await asyncio.sleep(3600)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def broken(accounts: Accounts, trial: Trial) -> None:
    """Work with a defect."""
    with pytest.raises(ZeroDivisionError):
        async with accounts.open(trial.parent, "resp_1"):
            _ = 1 / 0


async def failed(accounts: Accounts, trial: Trial) -> None:
    """Work whose engine fails."""
    with pytest.raises(EngineFailed):
        async with accounts.open(trial.parent, "resp_1"):
            raise EngineFailed("The engine failed.")


async def whole(accounts: Accounts, trial: Trial) -> None:
    """Work that comes to its end."""
    async with accounts.open(trial.parent, "resp_1"):
        pass


@pytest.mark.parametrize(
    ("work", "outcome", "status"),
    [
        (given_up, "cancelled", 499),
        (cancelled, "cancelled", 499),
        (broken, "failed", 500),
        (failed, "failed", EngineFailed.status),
        (whole, "finished", 200),
    ],
)
def test_a_receipt_says_how_the_work_ended(tmp_path: Path, work: Any, outcome: str, status: int) -> None:
    """Only what came to its end has finished; a defect has failed, and is not charged."""

    async def trial(here: Trial) -> None:
        await work(Accounts(here.books), here)
        (receipt,) = here.receipts()
        assert (receipt["outcome"], receipt["status"]) == (outcome, status)
        assert receipt["parameters"] == {"response": "resp_1"}

    with_tools(tmp_path / "home", trial)
