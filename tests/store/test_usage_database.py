"""The usage database itself, in SQLite and in PostgreSQL."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Connection, MetaData, inspect, text

from freehold.errors import ConfigError, HomeError, Unavailable
from freehold.store.migrate import USAGE_SCHEMA, known_revisions
from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_tables import usage_metadata
from tests.postgres import PostgreSQL

Indexes = dict[str, dict[str | None, tuple[list[str | None], bool]]]


def indexes_of(connection: Connection) -> Indexes:
    """The indexes of all tables: their columns, and whether they are unique."""
    inspector = inspect(connection)
    return {
        name: {each["name"]: (each["column_names"], bool(each["unique"])) for each in inspector.get_indexes(name)}
        for name in usage_metadata.tables
    }


def test_head_is_the_newest_revision() -> None:
    """The revision that the code expects is the newest migration of the usage database."""
    assert max(known_revisions(USAGE_SCHEMA)) == USAGE_SCHEMA.head


@pytest.mark.slow
def test_migrations_make_the_tables_that_the_code_uses(usage_url: str | None, tmp_path: Path) -> None:
    """A migrated database has exactly the tables, columns, keys and indexes of `usage_tables.py`."""

    async def scenario() -> tuple[MetaData, Indexes]:
        database = UsageDatabase.at(tmp_path / "usage.db", usage_url)
        found = MetaData()
        async with database.read() as connection:
            await connection.run_sync(found.reflect)
            indexes = await connection.run_sync(indexes_of)
        await database.close()
        return found, indexes

    found, indexes = asyncio.run(scenario())
    made = {name: [(c.name, bool(c.nullable)) for c in table.columns] for name, table in found.tables.items()}
    del made[USAGE_SCHEMA.version_table]
    wanted = {
        name: [(c.name, bool(c.nullable)) for c in table.columns] for name, table in usage_metadata.tables.items()
    }
    assert made == wanted
    for name, table in usage_metadata.tables.items():
        assert [c.name for c in found.tables[name].primary_key] == [c.name for c in table.primary_key]
        assert indexes[name] == {i.name: ([c.name for c in i.columns], i.unique) for i in table.indexes}


def test_every_commit_is_synced(tmp_path: Path) -> None:
    """Connections to SQLite use the write-ahead log with `synchronous=FULL` (2)."""

    async def scenario() -> tuple[object, object]:
        database = UsageDatabase.at(tmp_path / "usage.db")
        async with database.read() as connection:
            mode = (await connection.execute(text("PRAGMA journal_mode"))).scalar()
            synchronous = (await connection.execute(text("PRAGMA synchronous"))).scalar()
        await database.close()
        return mode, synchronous

    assert asyncio.run(scenario()) == ("wal", 2)


@pytest.mark.slow
def test_a_newer_database_is_refused(usage_url: str | None, tmp_path: Path) -> None:
    """A database of an unknown, newer revision is left alone and told."""

    async def scenario() -> None:
        database = UsageDatabase.at(tmp_path / "usage.db", usage_url)
        async with database.write() as connection:
            await connection.execute(text("UPDATE freehold_usage_version SET version_num = '9999'"))
            if usage_url is not None:  # where a version would say which older code it works with
                await connection.execute(text("COMMENT ON TABLE freehold_usage_version IS 'nothing'"))
        await database.drop_connections()
        with pytest.raises(HomeError, match="newer Freehold"):
            async with database.read():
                pass
        await database.close()

    asyncio.run(scenario())


@pytest.mark.slow
def test_two_servers_may_make_the_tables_at_once(postgres_server: PostgreSQL, tmp_path: Path) -> None:
    """Two servers that find an empty PostgreSQL both succeed, one of them making the tables."""
    url = postgres_server.new_database()

    async def scenario() -> list[int]:
        first, second = (UsageDatabase.at(tmp_path / "usage.db", url) for _ in range(2))

        async def tables(database: UsageDatabase) -> int:
            async with database.read() as connection:
                return len(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))

        found = list(await asyncio.gather(tables(first), tables(second)))
        await first.close()
        await second.close()
        return found

    assert asyncio.run(scenario()) == [len(usage_metadata.tables) + 1] * 2


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    """Naming a database makes no file and reaches for no server."""
    UsageDatabase.at(tmp_path / "usage.db")
    UsageDatabase.at(tmp_path / "usage.db", "postgresql://u:secret@nowhere.invalid/usage")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://u:secret@host/usage", "must begin with postgresql://"),
        ("postgresql://u:secret@host", "must name a database"),
        ("postgresql://u:secret@host/a/b", "must name a database"),
        ("postgresql://u:se/cret@host/usage", "percent-encoded"),
        ("postgresql://u:secret@[::1/usage", "percent-encoded"),
        ("secret", "must begin with postgresql://"),
    ],
)
def test_a_wrong_url_is_told_without_its_password(url: str, problem: str, tmp_path: Path) -> None:
    """A URL that is not PostgreSQL's is refused by naming the setting and what is wrong, but nothing of the URL."""
    with pytest.raises(ConfigError, match=f"^usage.database: .*{problem}") as caught:
        UsageDatabase.at(tmp_path / "usage.db", url)
    assert "secret" not in str(caught.value)
    assert "cret" not in caught.value.message


def test_a_server_that_is_down_is_unavailable(tmp_path: Path) -> None:
    """A PostgreSQL that nobody answers for is a 503 that names the database and keeps the password."""

    async def scenario() -> str:
        database = UsageDatabase.at(tmp_path / "usage.db", "postgresql://me:secret@127.0.0.1:1/usage")
        assert "secret" not in database.shown
        with pytest.raises(Unavailable) as caught:
            async with database.read():
                pass
        await database.close()
        return caught.value.message

    message = asyncio.run(scenario())
    assert "usage at 127.0.0.1:1" in message
    assert "secret" not in message


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    """A file that is no database is a 503 that says what to do."""
    (tmp_path / "usage.db").write_bytes(b"not a database" * 1000)

    async def scenario() -> None:
        database = UsageDatabase.at(tmp_path / "usage.db")
        with pytest.raises(Unavailable, match=r"usage\.db.*made anew from the journal"):
            async with database.read():
                pass
        await database.close()

    asyncio.run(scenario())
