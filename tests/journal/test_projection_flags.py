"""What the content filter found, on its way into the usage database, in SQLite and in PostgreSQL."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from freehold.config import JournalSettings
from freehold.errors import JournalDamaged
from freehold.journal.projection_flags import flags_of
from freehold.journal.projection_reconcile import reconcile
from freehold.journal.reader import Line
from freehold.journal.records import Kind
from freehold.store.usage_checks import flags_between
from freehold.store.usage_writing import FLAG, Row
from freehold.types.receipt import Receipt
from tests.usage import Usage, open_usage, receipt

FOUND: Mapping[str, Any] = {
    "policy": "default",
    "sha256": "00",
    "mode": "blocking",
    "scanned": ["prompt", "completion"],
    "prompt": {"hate": "high", "jailbreak": "detected", "violence": "safe"},
    "completion": {"blocklist:fruit": "detected", "personal_data:email": "detected", "sexual": "low"},
    "blocked": ["prompt:hate", "completion:blocklist:fruit"],
}


def flagged(number: int, **changes: Any) -> Receipt:
    """A receipt of a request in which something was found."""
    return receipt(number, **{"filter": FOUND, "end_user": "eu_1", **changes})


def line_of(body: Mapping[str, Any]) -> Line:
    """A receipt as it is read from a journal."""
    return Line(7, 1, 0, b"", "2026-11-24T12:00:00.000000Z", Kind.RECEIPT, dict(body))


def short(rows: list[Row] | set[Row]) -> list[tuple[object, ...]]:
    """Of each row the side, the name, the severity, and whether it blocked."""
    places = [FLAG.index(name) for name in ("side", "name", "severity", "blocked")]
    return sorted(tuple(row[place] for place in places) for row in rows)


async def flags(usage: Usage) -> set[Row]:
    """All flags in the database."""
    await usage.caught_up()
    return await flags_between(usage.database, usage.journal.folder.name, 1, 2**31)


def test_each_finding_is_a_flag_with_its_severity() -> None:
    """A category has its own severity, what is only there that of its kind; what is safe is no flag."""
    assert short(flags_of(line_of(flagged(1).body()), "main")) == [
        ("completion", "blocklist:fruit", 2, 1),
        ("completion", "personal_data:email", 1, 0),
        ("completion", "sexual", 1, 0),
        ("prompt", "hate", 3, 1),
        ("prompt", "jailbreak", 3, 0),
    ]


@pytest.mark.parametrize(
    ("name", "blocked"),
    [
        ("personal_data:email", "personal_data"),
        ("secret:github_token", "secrets"),
        ("blocklist:fruit", "fruit"),
        ("blocklist:fruit", "blocklist:fruit"),
    ],
)
def test_a_kind_that_blocked_blocked_by_all_its_findings(name: str, blocked: str) -> None:
    """Where a receipt says that a list, personal data or secrets blocked, their flags say so too."""
    body = flagged(1, filter={"prompt": {name: "detected"}, "blocked": [f"prompt:{blocked}"]}).body()
    (row,) = flags_of(line_of(body), "main")
    assert row[FLAG.index("blocked")] == 1
    body = flagged(1, filter={"prompt": {name: "detected"}, "blocked": [f"completion:{blocked}"]}).body()
    (row,) = flags_of(line_of(body), "main")
    assert row[FLAG.index("blocked")] == 0


def test_a_filter_that_is_none_is_told() -> None:
    """A record whose findings are no findings is named with its number."""
    for wrong in ({"prompt": ["hate"]}, {"prompt": {"hate": ["high"]}}, "hate"):
        with pytest.raises(JournalDamaged, match="record 7"):
            flags_of(line_of({**flagged(1).body(), "filter": wrong}), "main")


@pytest.mark.slow
def test_flags_arrive_once(usage_url: str | None, tmp_path: Path) -> None:
    """Flags arrive with their receipts, after a restart and after a rebuild each of them once, with whose they are."""

    async def scenario() -> tuple[set[Row], set[Row]]:
        for start in (0, 2):
            async with open_usage(tmp_path, usage_url) as usage:
                await usage.record([flagged(start), receipt(start + 1), receipt(start + 100, filter={"prompt": {}})])
                before = await flags(usage)
        async with open_usage(tmp_path, usage_url) as usage:
            await usage.projection.rebuild()
            return before, await flags(usage)

    before, rebuilt = asyncio.run(scenario())
    assert len(before) == 10
    assert rebuilt == before
    whose = {tuple(row[FLAG.index("organization_id") :]) for row in before}
    assert whose == {("org", "proj", "user", "key", "eu_1", "chat")}


@pytest.mark.slow
def test_a_database_of_an_older_version_gets_the_table(usage_url: str | None, tmp_path: Path) -> None:
    """A database from before flags is upgraded in place: it keeps its rows, and takes flags from then on."""

    async def scenario() -> tuple[int, set[Row]]:
        async with open_usage(tmp_path, usage_url) as usage:
            await usage.record([receipt(1)])
            await usage.caught_up()
        async with open_usage(tmp_path, usage_url, started=False) as usage, usage.database.write() as connection:
            for later in ("training_stretches", "filter_flags"):
                await connection.execute(text(f"DROP TABLE {later}"))
            await connection.execute(text("UPDATE freehold_usage_version SET version_num = '0002'"))
        async with open_usage(tmp_path, usage_url) as usage:
            await usage.record([flagged(2)])
            found = await flags(usage)
            async with usage.database.read() as connection:
                rows = (await connection.execute(text("SELECT count(*) FROM requests"))).scalar_one()
            assert not (await reconcile(usage.reports, lambda _done, _of: None)).gaps
            return int(rows), found

    rows, found = asyncio.run(scenario())
    assert rows == 2
    assert len(found) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "gap"),
    [
        ("DELETE FROM filter_flags WHERE name = 'hate'", "lacks the finding 'prompt:hate'"),
        ("UPDATE filter_flags SET severity = 1 WHERE name = 'hate'", "another finding 'prompt:hate'"),
        ("UPDATE filter_flags SET name = 'love' WHERE name = 'hate'", "has the finding 'prompt:love'"),
    ],
)
def test_a_spoilt_flag_is_found(statement: str, gap: str, usage_url: str | None, tmp_path: Path) -> None:
    """Reconciliation names a flag that is gone, changed, or none of the journal's; without that there is no gap."""

    async def scenario() -> tuple[list[str], list[str]]:
        async with open_usage(tmp_path, usage_url) as usage:
            await usage.record([flagged(1)])
            good = await reconcile(usage.reports, lambda _done, _of: None)
            async with usage.database.write() as connection:
                await connection.execute(text(statement))
            bad = await reconcile(usage.reports, lambda _done, _of: None)
            return good.gaps, bad.gaps

    good, bad = asyncio.run(scenario())
    assert good == []
    assert any(gap in each for each in bad), bad


def test_flags_go_with_the_segments_of_the_journal(tmp_path: Path) -> None:
    """When the journal's oldest segments are retired, what was flagged in them is deleted, and nothing else."""

    async def scenario() -> None:
        settings = JournalSettings(segment_bytes=100_000)
        async with open_usage(tmp_path, settings=settings) as usage:
            for number in range(200):
                await usage.record([flagged(number)])
            await usage.caught_up()
            assert len(await flags(usage)) == 1000
            assert await usage.projection.forget_retired() == 0
            first = min(usage.journal.folder.glob("*.jsonl"))
            gone = first.read_bytes().count(b'"kind":"receipt"')
            first.unlink()
            assert 0 < gone < 200
            assert await usage.projection.forget_retired() == 5 * gone
            assert len(await flags(usage)) == 5 * (200 - gone)

    asyncio.run(scenario())
