"""Reconciliation finds what does not agree, and only that."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from freehold.journal.projection_reconcile import Reconciliation, reconcile
from freehold.journal.projection_reports import UsageReports
from freehold.journal.records import Kind
from freehold.types.engine import EngineCounters
from freehold.types.receipt import Outcome, Receipt
from tests.usage import NOON_S, Usage, admitted, open_usage, receipt

COUNT = 600
"""More than are compared at once."""


async def compared(
    usage: Usage, counters: Sequence[tuple[str, str, EngineCounters]] = (), running: Collection[str] = ()
) -> Reconciliation:
    """What reconciliation finds, with engines that say this and requests that run."""

    async def ask() -> Sequence[tuple[str, str, EngineCounters]]:
        return counters

    reports = UsageReports(
        usage.journal, usage.database, usage.projection, counters=ask, running=lambda: frozenset(running)
    )
    seen: list[int] = []
    found = await reconcile(reports, lambda done, _of: seen.append(done))
    assert seen == sorted(seen)
    return found


@asynccontextmanager
async def filled(home: Path, url: str | None, receipts: Sequence[Receipt]) -> AsyncIterator[Usage]:
    """A home with these receipts, all projected."""
    async with open_usage(home, url) as usage:
        await usage.record(receipts)
        await usage.caught_up()
        yield usage


async def change(usage: Usage, statement: str) -> None:
    """Spoil the database."""
    async with usage.database.write() as connection:
        await connection.execute(text(statement))


@pytest.mark.slow
def test_what_agrees_has_no_gap(usage_url: str | None, tmp_path: Path) -> None:
    """Several days, deployments and outcomes that were projected agree, with their sums by day and deployment."""
    receipts = [
        receipt(n, at_s=NOON_S + 3600 * n, deployment=("chat", "embed", None)[n % 3], cost_micro=n)
        for n in range(COUNT)
    ]

    async def scenario() -> Reconciliation:
        async with filled(tmp_path, usage_url, receipts) as usage:
            return await compared(usage)

    found = asyncio.run(scenario())
    assert found.gaps == []
    assert found.receipts == COUNT
    assert sum(day["journal"]["cost_micro"] for day in found.days) == sum(range(COUNT))
    assert all(day["journal"] == day["database"] for day in found.days)
    assert all(day["hourly_agrees"] and day["daily_agrees"] for day in found.days)
    assert {day["deployment"] for day in found.days} == {"chat", "embed", ""}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "gap"),
    [
        ("DELETE FROM requests WHERE request_id LIKE '%0005'", "lacks the receipt of req_"),
        ("UPDATE requests SET cost_micro = 31 WHERE request_id LIKE '%0005'", "another cost_micro of req_"),
        ("UPDATE requests SET deployment = 'x' WHERE request_id LIKE '%0005'", "another deployment of req_"),
        ("UPDATE usage_hourly SET cost_micro = cost_micro + 1", "usage_hourly has 10 requests"),
        ("DELETE FROM usage_daily", "usage_daily has 0 requests"),
        ("UPDATE requests SET seq = 1, started_at = 0 WHERE request_id LIKE '%0005'", "has two receipts"),
    ],
)
def test_a_spoilt_database_is_found(statement: str, gap: str, usage_url: str | None, tmp_path: Path) -> None:
    """A row that is gone, changed or moved, and a sum that is wrong, is each named."""

    async def scenario() -> Reconciliation:
        async with filled(tmp_path, usage_url, [receipt(n) for n in range(10)]) as usage:
            await change(usage, statement)
            return await compared(usage)

    found = asyncio.run(scenario())
    assert found.gap_count == len(found.gaps) >= 1
    assert any(gap in each for each in found.gaps), found.gaps


def test_a_receipt_that_the_journal_has_not_is_found(tmp_path: Path) -> None:
    """A row whose record is none of a receipt is named."""

    async def scenario() -> Reconciliation:
        async with filled(tmp_path, None, [receipt(n) for n in range(3)]) as usage:
            await change(usage, "UPDATE requests SET seq = 1, request_id = 'made up' WHERE request_id LIKE '%0001'")
            return await compared(usage)

    found = asyncio.run(scenario())
    assert any("has a receipt in record 1, and the journal has none" in gap for gap in found.gaps)
    assert any("lacks the receipt of req_00000000000000000000000000000001" in gap for gap in found.gaps)


def test_a_request_without_a_receipt_is_found_unless_it_runs(tmp_path: Path) -> None:
    """A request that was admitted, does not run and has no receipt is named; one that runs is only counted."""
    lost, runs = receipt(100), receipt(101)

    async def scenario() -> Reconciliation:
        async with filled(tmp_path, None, [receipt(1)]) as usage:
            for each in (lost, runs):
                usage.journal.submit(Kind.ADMITTED, admitted(each).body(), durable=False)
            return await compared(usage, running={runs.request_id})

    found = asyncio.run(scenario())
    assert found.running == 1
    assert len(found.gaps) == 1
    assert f"request {lost.request_id} was admitted" in found.gaps[0]


def test_two_receipts_of_one_request_are_found(tmp_path: Path) -> None:
    """A request with two receipts in the journal is named with the numbers of both records."""

    async def scenario() -> Reconciliation:
        async with filled(tmp_path, None, [receipt(1), receipt(2)]) as usage:
            usage.journal.submit(Kind.RECEIPT, receipt(1).body(), durable=False)
            await usage.journal.checkpoint()
            return await compared(usage)

    found = asyncio.run(scenario())
    assert any("00001 has two receipts: records 3 and " in gap for gap in found.gaps), found.gaps


def counts(prompt: int, completion: int, requests: int | None = 2) -> EngineCounters:
    """What an engine says that began a minute before noon."""
    return EngineCounters(NOON_S - 60, requests, prompt, completion)


BEFORE = receipt(0, at_s=NOON_S - 3600)
"""Another process of the replica made it."""
WAITED = receipt(9, at_s=NOON_S - 70, ended_at=receipt(9).ended_at)
"""It came before the engine ran, and was answered by it."""


@pytest.mark.parametrize(
    ("receipts", "counted", "gap"),
    [
        ([BEFORE, receipt(1), receipt(2)], counts(20, 40), None),
        ([WAITED], counts(10, 20, 1), None),
        ([receipt(1), receipt(2)], counts(19, 40), "counts 19 prompt tokens, and its receipts 20"),
        ([receipt(1), receipt(2)], counts(20, 39), "counts 39 completion tokens, and its receipts 40"),
        ([receipt(1), receipt(2)], counts(20, 41), "counts 41 completion tokens, and its receipts only 40"),
        ([receipt(1), receipt(2)], counts(20, 40, 1), "counts 1 requests, and 2 receipts are finished"),
        ([receipt(1), receipt(2)], counts(20, 40, None), None),
        ([receipt(1), receipt(2, outcome=Outcome.CANCELLED)], counts(99, 99), None),
        ([receipt(1), receipt(2, outcome=Outcome.FAILED)], counts(20, 39), "39 completion tokens"),
        ([receipt(1), receipt(2, estimated=True)], counts(10, 20), None),
        ([receipt(1), receipt(2, attempt=2, replica="chat-2")], counts(50, 50), None),
        ([receipt(1), receipt(2, replay_of="req_1")], counts(10, 20, 1), None),
        ([receipt(1, replica="chat-2")], counts(0, 0, 0), None),
        ([], counts(5, 0, 1), "counts 5 prompt tokens, and its receipts only 0"),
    ],
)
def test_engines_are_held_to_their_receipts(
    receipts: list[Receipt], counted: EngineCounters, gap: str | None, tmp_path: Path
) -> None:
    """An engine has made no less than its receipts say, and no more unless something was cut off."""

    async def scenario() -> Reconciliation:
        async with filled(tmp_path, None, receipts) as usage:
            return await compared(usage, [("chat", "chat-1", counted)])

    found = asyncio.run(scenario())
    assert len(found.gaps) == (gap is not None), found.gaps
    assert gap is None or gap in found.gaps[0]


def test_an_engine_with_a_running_request_may_be_ahead(tmp_path: Path) -> None:
    """While a request of its deployment runs, an engine may have made more than the receipts say."""
    runs = receipt(7)

    async def scenario() -> Reconciliation:
        async with filled(tmp_path, None, [receipt(1)]) as usage:
            usage.journal.submit(Kind.ADMITTED, admitted(runs).body(), durable=False)
            return await compared(usage, [("chat", "chat-1", counts(20, 25, 1))], {runs.request_id})

    assert asyncio.run(scenario()).gaps == []
