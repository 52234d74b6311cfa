"""The database file."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import create_async_engine

from freehold.errors import HomeError
from freehold.store import (
    answer_claims,
    artifact_tables,
    calibration_rows,
    conversation_tables,
    evaluation_tables,
    job_tables,
    lease_tables,
    sharing_tables,
    training_tables,
    tuning_tables,
)
from freehold.store.database import Database
from freehold.store.deployments import DeploymentRow, all_deployments, delete_deployment, put_deployment
from freehold.store.migrate import HEAD, HOME_SCHEMA, known_revisions, upgrade
from freehold.store.tables import metadata


def test_head_is_the_newest_revision() -> None:
    """The revision that the code expects is the newest migration there is."""
    assert max(known_revisions()) == HEAD


def test_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    """A migrated file has exactly the tables and columns of `tables.py`."""

    async def scenario() -> MetaData:
        database = await Database.open(tmp_path / "freehold.db")
        found = MetaData()
        async with database.read() as connection:
            await connection.run_sync(found.reflect)
        await database.close()
        return found

    tables = (
        answer_claims.answer_claims,
        artifact_tables.artifacts,
        calibration_rows.calibrations,
        conversation_tables.kept_conversations,
        evaluation_tables.kept_evals,
        job_tables.jobs,
        lease_tables.lease_holders,
        sharing_tables.cluster_leads,
        training_tables.training_jobs,
        tuning_tables.kept_tuning_jobs,
    )
    assert all(table.metadata is metadata for table in tables), "all tables are known"
    found = asyncio.run(scenario())
    made = {name: {str(c.name): str(c.type) for c in table.columns} for name, table in found.tables.items()}
    del made["alembic_version"]
    wanted = {name: {str(c.name): _sqlite_type(c) for c in table.columns} for name, table in metadata.tables.items()}
    assert made == wanted


def _sqlite_type(column: Column[object]) -> str:
    """How SQLite shows the column's type."""
    return column.type.compile(sqlite.dialect())


def test_keys_from_before_owners_get_service_accounts(tmp_path: Path) -> None:
    """A home of schema 0003 keeps its keys, and each has an owner with the roles that the key had."""

    async def scenario() -> list[tuple[str, str, str, str]]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'freehold.db'}")
        async with engine.begin() as connection:
            await connection.run_sync(upgrade, replace(HOME_SCHEMA, head="0003"))
            for number, role in enumerate(("owner", "user")):
                values = (
                    f"'key_{number}', '{role}', x'0{number}', 'abcd', 'org-default', 'proj-default', '[\"{role}\"]', 7"
                )
                columns = "id, name, digest, last4, organization_id, project_id, roles, created_at"
                await connection.execute(text(f"INSERT INTO api_keys ({columns}) VALUES ({values})"))  # noqa: S608
        await engine.dispose()
        database = await Database.open(tmp_path / "freehold.db")
        statement = """
            SELECT api_keys.id, members.name, role_assignments.project_id, role_assignments.role FROM api_keys
            JOIN members ON members.id = owner_id JOIN role_assignments ON member_id = owner_id ORDER BY 1
        """
        async with database.read() as connection:
            rows = (await connection.execute(text(statement))).all()
        await database.close()
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    assert asyncio.run(scenario()) == [
        ("key_0", "owner", "", "owner"),
        ("key_1", "user", "proj-default", "user"),
    ]


def test_what_was_kept_under_the_keys_of_before_goes(tmp_path: Path) -> None:
    """A home of schema 0004 loses the answers that were kept for a day, which no key could open, and keeps the rest."""

    async def scenario() -> tuple[object, object]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'freehold.db'}")
        async with engine.begin() as connection:
            await connection.run_sync(upgrade, replace(HOME_SCHEMA, head="0004"))
            await connection.execute(text("INSERT INTO kept_answers VALUES ('proj', x'01', x'02', 'req', x'03', 9)"))
            await connection.execute(text("INSERT INTO home VALUES ('a fact', '1')"))
        await engine.dispose()
        database = await Database.open(tmp_path / "freehold.db")
        async with database.read() as connection:
            answers = (await connection.execute(text("SELECT count(*) FROM kept_answers"))).scalar()
            facts = (await connection.execute(text("SELECT count(*) FROM home"))).scalar()
        await database.close()
        return answers, facts

    assert asyncio.run(scenario()) == (0, 1)


def test_every_commit_is_synced(tmp_path: Path) -> None:
    """Connections use the write-ahead log with `synchronous=FULL` (2)."""

    async def scenario() -> tuple[object, object]:
        database = await Database.open(tmp_path / "freehold.db")
        async with database.read() as connection:
            mode = (await connection.execute(text("PRAGMA journal_mode"))).scalar()
            synchronous = (await connection.execute(text("PRAGMA synchronous"))).scalar()
        await database.close()
        return mode, synchronous

    assert asyncio.run(scenario()) == ("wal", 2)


def test_a_newer_home_is_refused(tmp_path: Path) -> None:
    """A file of an unknown, newer revision is left alone and told."""

    async def scenario() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        async with database.write() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await database.close()
        with pytest.raises(HomeError, match="newer Freehold"):
            await Database.open(tmp_path / "freehold.db")

    asyncio.run(scenario())


def test_writers_take_turns(tmp_path: Path) -> None:
    """Many writers at once all succeed, and a replaced row keeps its place."""

    async def scenario() -> list[DeploymentRow]:
        database = await Database.open(tmp_path / "freehold.db")
        rows = [DeploymentRow(f"d{i:02}", "api", {"n": i}, created_at=i) for i in range(30)]
        await asyncio.gather(*(put_deployment(database, row) for row in rows))
        await put_deployment(database, DeploymentRow("d00", "api", {"n": 100}, created_at=0))
        await delete_deployment(database, "d29")
        found = await all_deployments(database)
        await database.close()
        return found

    found = asyncio.run(scenario())
    assert [row.name for row in found] == [f"d{i:02}" for i in range(29)]
    assert found[0].settings == {"n": 100}
