"""What is the same for every kind of kept content."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy import func, select

from freehold.store.database import Database
from freehold.store.kept_answers import KeptAnswerRow, get_kept_answer, put_kept_answer
from freehold.store.kept_content import BATCH, KEPT, delete_expired, delete_of, holders, shorten
from freehold.store.tables import kept_answers
from freehold.types.content import ANSWERS, KINDS

ROW = KeptAnswerRow("proj_a", b"k" * 32, "org", "user", b"b" * 32, "req_1", b"sealed", 500, 1000)


def _with_database(folder: Path, url: str | None, scenario: Callable[[Database], Awaitable[None]]) -> None:
    async def main() -> None:
        database = await Database.open(folder / "freehold.db", url=url)
        try:
            await scenario(database)
        finally:
            await database.close()

    asyncio.run(main())


async def _count(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(kept_answers))).scalar_one())


def test_every_kind_has_a_table_with_the_columns_of_all() -> None:
    """Whose content is, when it was made and when it ends stands in the tables of every kind."""
    assert set(KEPT) == set(KINDS)
    wanted = {"organization_id", "project_id", "owner_id", "created_at", "expires_at"}
    assert all(wanted <= set(table.columns.keys()) for tables in KEPT.values() for table in tables)


def test_expired_rows_are_deleted(tmp_path: Path, home_url: str | None) -> None:
    """A row goes at the second that it names and not before; the number of rows is told."""

    async def scenario(database: Database) -> None:
        await put_kept_answer(database, ROW)
        await put_kept_answer(database, replace(ROW, project_id="proj_b", expires_at=1001))
        assert await delete_expired(database, ANSWERS, 999.9) == 0
        assert await delete_expired(database, ANSWERS, 1000.0) == 1
        assert await get_kept_answer(database, ROW.project_id, ROW.key_digest) is None
        assert await delete_expired(database, ANSWERS, 5000.0) == 1

    _with_database(tmp_path, home_url, scenario)


def test_more_than_a_batch_goes_all_the_same(tmp_path: Path, home_url: str | None) -> None:
    """However many rows have expired, all go, and none of the others."""

    async def scenario(database: Database) -> None:
        rows = [
            {**_values(ROW), "key_digest": number.to_bytes(32, "big"), "expires_at": number % 2}
            for number in range(2 * BATCH + 10)
        ]
        async with database.write() as connection:
            await connection.execute(kept_answers.insert(), rows)
        assert await delete_expired(database, ANSWERS, 0) == BATCH + 5
        assert await _count(database) == BATCH + 5

    _with_database(tmp_path, home_url, scenario)


def test_a_projects_and_an_owners_rows_are_deleted(tmp_path: Path, home_url: str | None) -> None:
    """Of a project all owners' rows go, of an owner those in all projects, and never another organization's."""

    async def scenario(database: Database) -> None:
        rows = [
            replace(ROW, organization_id=organization, project_id=f"{organization}-{project}", owner_id=owner)
            for organization in ("org", "org-2")
            for project in ("a", "b")
            for owner in ("user", "other")
        ]
        for number, row in enumerate(rows):
            await put_kept_answer(database, replace(row, key_digest=number.to_bytes(32, "big")))
        assert set(await holders(database, ANSWERS)) == {(row.organization_id, row.project_id) for row in rows}
        assert await delete_of(database, ANSWERS, "org", owner_id="user") == 2
        assert await delete_of(database, ANSWERS, "org", project_id="org-a") == 1
        assert await delete_of(database, ANSWERS, "org", project_id="org-2-a") == 0
        assert await _count(database) == 5

    _with_database(tmp_path, home_url, scenario)


def test_a_shorter_time_holds_for_what_is_there(tmp_path: Path, home_url: str | None) -> None:
    """A row's end is moved so far that it stays no longer than allowed; never later, and of no other project."""

    async def scenario(database: Database) -> None:
        other = replace(ROW, project_id="proj_b")
        for row in (ROW, other):
            await put_kept_answer(database, row)
        assert await shorten(database, ANSWERS, "org", "proj_a", 600) == 0
        assert await shorten(database, ANSWERS, "org", "proj_a", 100) == 1
        assert await shorten(database, ANSWERS, "org-2", "proj_b", 100) == 0
        found = await get_kept_answer(database, "proj_a", ROW.key_digest)
        assert found == replace(ROW, expires_at=600)
        assert await get_kept_answer(database, "proj_b", ROW.key_digest) == other

    _with_database(tmp_path, home_url, scenario)


def _values(row: KeptAnswerRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in KeptAnswerRow.__slots__}
