"""The way of receipts into the usage database, in SQLite and in PostgreSQL."""

import asyncio
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from freehold.config import JournalSettings
from freehold.journal.projection import BATCH_RECORDS, Projection
from freehold.journal.records import Kind
from freehold.store.usage_checks import rows_between
from freehold.store.usage_queries import UsageQuery, UsageSum, sum_usage
from freehold.store.usage_writing import ROW
from freehold.types.receipt import Outcome
from tests.postgres import PostgreSQL
from tests.usage import NOON_S, Usage, open_usage, receipt

EVERYTHING = UsageQuery(0, 2 * NOON_S)


async def total(usage: Usage) -> UsageSum:
    """The sums over all."""
    await usage.caught_up()
    (found,) = await sum_usage(usage.database, EVERYTHING)
    return found


async def failing(projection: Projection) -> str:
    """Wait until the projection fails; why."""
    for _ in range(600):
        if projection.state.name == "failing":
            return str(projection.state.reason)
        await asyncio.sleep(0.05)
    raise AssertionError(projection.state)


@pytest.mark.slow
def test_every_receipt_arrives(usage_url: str | None, tmp_path: Path) -> None:
    """Receipts of several batches and segments are all in the table and in the sums, and nothing lags behind."""
    count = BATCH_RECORDS + 7

    async def scenario() -> tuple[UsageSum, int, int]:
        settings = JournalSettings(segment_bytes=64 * 1024)
        async with open_usage(tmp_path, usage_url, settings=settings) as usage:
            for begin in range(0, count, 100):
                await usage.record(receipt(n, at_s=NOON_S + n) for n in range(begin, min(begin + 100, count)))
            assert usage.journal.durable.segment > 3
            found = await total(usage)
            assert usage.projection.projected == usage.journal.durable
            assert usage.projection.state.name == "ok"
            rows = await rows_between(usage.database, "main", 1, usage.journal.durable.seq)
            return found, len(rows), usage.projection.lag

    found, rows, lag = asyncio.run(scenario())
    assert (found.requests, found.prompt_tokens, found.cost_micro) == (count, 10 * count, 30 * count)
    assert (rows, lag) == (count, 0)


@pytest.mark.slow
def test_it_goes_on_where_it_stopped(usage_url: str | None, tmp_path: Path) -> None:
    """After each of several restarts only what is new is read, and everything counts once."""

    async def scenario() -> tuple[list[int], UsageSum]:
        begins = []
        for start in range(4):
            async with open_usage(tmp_path, usage_url) as usage:
                assert await usage.projection.caught_up(60)
                begins.append(usage.projection.projected.seq)
                await usage.record(receipt(10 * start + n) for n in range(10))
                found = await total(usage)
        return begins, found

    begins, found = asyncio.run(scenario())
    assert begins == sorted(set(begins))
    assert found.requests == 40


@pytest.mark.slow
def test_a_row_holds_what_the_receipt_says(usage_url: str | None, tmp_path: Path) -> None:
    """Fields arrive unchanged; texts that a database cannot hold or index are made so that they can be stored."""
    odd = receipt(
        1,
        principal="x" * 5000,
        requested="a\0b",
        end_user="eu_1",
        route="/openai/deployments/{deployment}/embeddings",
        error_code="boom",
        outcome=Outcome.FAILED,
        estimated=True,
        first_token_us=7,
    )
    picture = receipt(2, route="/v1/images/edits", parameters={"size": "512x512"}, images=2, project_id=None)
    asks = receipt(3, route="/v1/organization/usage/completions", attempt=0)

    async def scenario() -> list[dict[str, object]]:
        async with open_usage(tmp_path, usage_url) as usage:
            await usage.record([odd, picture, asks])
            await usage.caught_up()
            rows = await rows_between(usage.database, "main", 1, 100)
            return [dict(zip(ROW, row, strict=True)) for _, row in sorted(rows.items())]

    first, second, third = asyncio.run(scenario())
    assert first["principal"] == "x" * 256
    assert first["requested"] == "a\ufffdb"
    assert (first["end_user"], first["route_kind"], first["outcome"]) == ("eu_1", "embeddings", "failed")
    assert (first["error_code"], first["estimated"], first["first_token_us"]) == ("boom", True, 7)
    assert (first["started_at"], first["ended_at"]) == (NOON_S * 1_000_000, NOON_S * 1_000_000 + 500_000)
    assert (second["route_kind"], second["image_source"], second["image_size"]) == ("images", "image.edit", "512x512")
    assert (second["project_id"], second["images"]) == ("", 2)
    assert (third["route_kind"], third["model_requests"]) == ("other", 0)


@pytest.mark.slow
def test_a_database_that_is_down_is_waited_for(postgres: PostgreSQL, tmp_path: Path) -> None:
    """While PostgreSQL is down records are taken and the state says why; when it is back, all of them arrive once."""

    async def scenario() -> tuple[str, int, UsageSum, str]:
        url = postgres.new_database()
        await asyncio.to_thread(postgres.stop)
        async with open_usage(tmp_path, url) as usage:
            await usage.record(receipt(n) for n in range(50))
            reason = await failing(usage.projection)
            assert not await usage.projection.caught_up(0.1)
            lag = usage.projection.lag
            await asyncio.to_thread(postgres.start)
            await usage.caught_up()
            await asyncio.to_thread(postgres.stop)
            await usage.record(receipt(n) for n in range(50, 100))
            await failing(usage.projection)
            await asyncio.to_thread(postgres.start)
            found = await total(usage)
            return reason, lag, found, usage.projection.state.name

    reason, lag, found, state = asyncio.run(scenario())
    assert "cannot be used" in reason
    assert lag >= 100
    assert found.requests == 100
    assert state == "ok"


@pytest.mark.slow
def test_another_journals_database_is_refused_until_it_is_rebuilt(usage_url: str | None, tmp_path: Path) -> None:
    """A database that was made from another journal is left alone and told; rebuilt, it is this journal's."""

    async def scenario() -> tuple[str, UsageSum]:
        async with open_usage(tmp_path / "first", usage_url) as usage:
            await usage.record(receipt(n) for n in range(3))
            await usage.caught_up()
        (tmp_path / "second").mkdir()
        if usage_url is None:
            for path in (tmp_path / "first").glob("usage.db*"):
                shutil.copy(path, tmp_path / "second")
        async with open_usage(tmp_path / "second", usage_url, started=False) as usage:
            await usage.record(receipt(100 + n, cost_micro=1) for n in range(20))
            usage.projection.start()
            reason = await failing(usage.projection)
            await usage.projection.rebuild()
            return reason, await total(usage)

    reason, found = asyncio.run(scenario())
    assert "another journal" in reason
    assert "freehold usage rebuild" in reason
    assert (found.requests, found.cost_micro) == (20, 20)


@pytest.mark.slow
def test_a_journal_from_a_backup_is_told(usage_url: str | None, tmp_path: Path) -> None:
    """A database that is ahead of its journal is told, also when the journal has grown past that place again."""

    async def scenario() -> list[str]:
        async with open_usage(tmp_path, usage_url) as usage:
            await usage.record(receipt(n) for n in range(3))
            await usage.caught_up()
        shutil.copytree(tmp_path / "journal", tmp_path / "backup")
        async with open_usage(tmp_path, usage_url) as usage:
            await usage.record(receipt(10 + n) for n in range(30))
            await usage.caught_up()
        shutil.rmtree(tmp_path / "journal")
        shutil.copytree(tmp_path / "backup", tmp_path / "journal")
        reasons = []
        for count in (1, 100):
            async with open_usage(tmp_path, usage_url) as usage:
                await usage.record(receipt(1000 * count + n) for n in range(count))
                reasons.append(await failing(usage.projection))
        return reasons

    ahead, grown = asyncio.run(scenario())
    assert "the journal only" in ahead
    assert "restored from a backup" in grown


@pytest.mark.slow
def test_a_rebuild_gives_the_same(usage_url: str | None, tmp_path: Path) -> None:
    """Rebuilding while records come gives every receipt once."""

    async def scenario() -> UsageSum:
        async with open_usage(tmp_path, usage_url) as usage:
            for start in range(0, 300, 100):
                await usage.record(receipt(start + n) for n in range(100))
                await asyncio.gather(usage.projection.rebuild(), usage.record([receipt(1000 + start)]))
            return await total(usage)

    assert asyncio.run(scenario()).requests == 303


def test_records_that_are_no_receipts_only_move_the_place(tmp_path: Path) -> None:
    """Administrative records are read past."""

    async def scenario() -> tuple[bool, list[UsageSum]]:
        async with open_usage(tmp_path) as usage:
            await usage.journal.submit(Kind.ADMIN, {"action": "keys.create"}, durable=True)
            await usage.caught_up()
            found = await sum_usage(usage.database, EVERYTHING)
            return usage.projection.projected.seq >= 2, found

    assert asyncio.run(scenario()) == (True, [])


def test_it_ends_while_its_database_is_down(tmp_path: Path) -> None:
    """Closing does not wait for a database that does not answer."""

    async def scenario() -> str:
        async with AsyncExitStack() as stack:
            url = "postgresql://me:secret@127.0.0.1:1/usage"
            usage = await stack.enter_async_context(open_usage(tmp_path, url))
            await usage.record([receipt(1)])
            return await failing(usage.projection)

    assert "secret" not in asyncio.run(scenario())
