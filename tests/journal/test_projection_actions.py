"""The way of administrative records into the usage database, in SQLite and in PostgreSQL."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from freehold.journal.records import Kind
from freehold.store.audit_queries import AuditQuery
from tests.usage import Usage, open_usage, receipt

EVERYTHING = AuditQuery(("org", ""), with_event=False, limit=1000)


def action(number: int, **changes: Any) -> dict[str, Any]:
    """The body of an administrative record."""
    body = {
        "request_id": f"req_{number}",
        "organization_id": "org",
        "principal": "user-1",
        "event": "project.created",
        "resource_id": f"proj-{number}",
        "resource_project_id": "proj",
    }
    return body | changes


async def bodies(usage: Usage) -> list[dict[str, Any]]:
    """The actions in the database, newest first."""
    rows, more = await usage.reports.actions(EVERYTHING)
    assert not more
    return [row.body for row in rows]


@pytest.mark.slow
def test_every_action_arrives_once(usage_url: str | None, tmp_path: Path) -> None:
    """Actions between receipts arrive as they were recorded, after restarts and after a rebuild each of them once."""

    async def scenario() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        for start in (0, 10):
            async with open_usage(tmp_path, usage_url) as usage:
                for number in range(start, start + 10):
                    usage.journal.submit(Kind.ADMIN, action(number), durable=False)
                    await usage.record([receipt(number)])
                before = await bodies(usage)
        async with open_usage(tmp_path, usage_url) as usage:
            await usage.projection.rebuild()
            return before, await bodies(usage)

    before, rebuilt = asyncio.run(scenario())
    assert before == [action(number) for number in reversed(range(20))]
    assert rebuilt == before


@pytest.mark.slow
def test_odd_records_are_stored_all_the_same(usage_url: str | None, tmp_path: Path) -> None:
    """A record of nobody, such as that of a restore, and a text with NUL stop nothing."""

    async def scenario() -> list[dict[str, Any]]:
        async with open_usage(tmp_path, usage_url) as usage:
            await usage.journal.submit(Kind.ADMIN, {"action": "restore", "last": 7}, durable=True)
            await usage.journal.submit(Kind.ADMIN, action(1, resource_id="a\0b"), durable=True)
            return await bodies(usage)

    assert asyncio.run(scenario()) == [action(1, resource_id="a\ufffdb"), {"action": "restore", "last": 7}]


@pytest.mark.slow
def test_a_database_of_an_older_version_gets_its_actions_by_a_rebuild(usage_url: str | None, tmp_path: Path) -> None:
    """A database that had no actions is migrated and goes on; what was read before comes in by a rebuild."""

    async def scenario() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with open_usage(tmp_path, usage_url) as usage:
            await usage.journal.submit(Kind.ADMIN, action(1), durable=True)
            await usage.caught_up()
        async with open_usage(tmp_path, usage_url, started=False) as usage, usage.database.write() as connection:
            for later in ("training_stretches", "filter_flags", "admin_actions"):
                await connection.execute(text(f"DROP TABLE {later}"))
            await connection.execute(text("UPDATE freehold_usage_version SET version_num = '0001'"))
        async with open_usage(tmp_path, usage_url) as usage:
            await usage.journal.submit(Kind.ADMIN, action(2), durable=True)
            upgraded = await bodies(usage)
            await usage.projection.rebuild()
            return upgraded, await bodies(usage)

    upgraded, rebuilt = asyncio.run(scenario())
    assert upgraded == [action(2)]
    assert rebuilt == [action(2), action(1)]
