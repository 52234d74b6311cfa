"""Backups of gateways whose database is on PostgreSQL."""

import asyncio
import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect

from freehold.errors import HomeError, Unavailable
from freehold.store.database import Database
from freehold.store.deployments import put_fact
from freehold.store.migrate import HOME_SCHEMA
from freehold.store.moving import copy_tables, home_tables
from freehold.store.shared_snapshot import shared_snapshot
from tests.cluster.gateways import gateway
from tests.forked import run_forked
from tests.postgres import PostgreSQL
from tests.service import Service

TABLES = home_tables()
OF_GATEWAYS = {
    *("answer_claims", "changes", "cluster_leads", "cluster_replicas", "cluster_wants"),
    *("gateways", "lease_accounts", "lease_holders", "lease_slices"),
}
KEY_BYTES = b"k" * 32
ALONE = """
[server]
starter = false

[gateway]
name = "a"

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
"""


def test_every_table_is_copied(tmp_path: Path) -> None:
    """The tables that are copied are all that a home's database has, but those of the gateways that run."""

    async def scenario() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        async with database.read() as connection:
            there = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
        await database.close()
        assert {table.name for table in TABLES} | OF_GATEWAYS | {HOME_SCHEMA.version_table} == there

    asyncio.run(scenario())


def _fill(path: Path) -> None:
    """A row of odd values in tables of every kind of column."""
    with closing(sqlite3.connect(path)) as connection:
        columns = {
            table.name: [(column.name, str(column.type), bool(column.nullable)) for column in table.columns]
            for table in TABLES
        }
        for table, found in columns.items():
            for number in (1, 2):
                values = [_odd(name, kind, number, nullable=nullable) for name, kind, nullable in found]
                marks = ", ".join("?" * len(values))
                names = ", ".join(f'"{name}"' for name, _, _ in found)
                connection.execute(f'DELETE FROM "{table}"' if number == 1 else "SELECT 1")  # noqa: S608
                connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', values)  # noqa: S608
        connection.commit()


def _odd(name: str, kind: str, number: int, *, nullable: bool) -> Any:
    if nullable and number == 2:
        return None
    if kind == "JSON":
        return json.dumps({"b": [number, None, "ä\u2028"], "a": 1.5}) if number == 1 else "null"
    if kind == "BOOLEAN":
        return number % 2
    if kind in {"INTEGER", "BIGINT"}:
        return 2**40 + number
    if kind.startswith(("BLOB", "BINARY")):
        return bytes(range(256)) + bytes([number])
    return f"{name} {number} ä😀'\""


def _rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that a file has, as it is stored."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            table.name: sorted(connection.execute(f'SELECT * FROM "{table.name}"').fetchall(), key=repr)  # noqa: S608
            for table in TABLES
        }


@pytest.mark.slow
def test_a_copy_has_every_row_to_the_letter(postgres_server: PostgreSQL, tmp_path: Path) -> None:
    """From a file to PostgreSQL and back every value of every table is the same, empty ones and JSON included."""
    url = postgres_server.new_database()

    async def there(path: Path) -> None:
        first, second = await Database.open(path), await Database.open(path, url=url)
        async with first.read() as source, second.write() as target:
            moved = await copy_tables(source, target, TABLES)
        assert {each.rows for each in moved} == {2}
        await first.close()
        await second.close()

    async def back(path: Path) -> None:
        async with shared_snapshot(url) as snapshot:
            await snapshot.copy_to(path)

    async def made() -> None:
        await (await Database.open(tmp_path / "a.db")).close()

    asyncio.run(made())
    _fill(tmp_path / "a.db")
    asyncio.run(there(tmp_path / "a.db"))
    asyncio.run(back(tmp_path / "b.db"))
    assert _rows(tmp_path / "b.db") == _rows(tmp_path / "a.db")
    assert (tmp_path / "b.db").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob("b.db*")] == ["b.db"]


@pytest.mark.slow
def test_a_snapshot_is_of_one_moment(postgres_server: PostgreSQL, tmp_path: Path) -> None:
    """What is written after the block was entered is not in the copy."""
    url = postgres_server.new_database()

    async def scenario() -> None:
        database = await Database.open(tmp_path / "unused", url=url)
        try:
            await put_fact(database, "before", {})
            async with shared_snapshot(url) as snapshot:
                await put_fact(database, "after", {})
                await snapshot.copy_to(tmp_path / "copy.db")
        finally:
            await database.close()

    asyncio.run(scenario())
    names = {row[0] for row in _rows(tmp_path / "copy.db")["home"]}
    assert "before" in names
    assert "after" not in names


@pytest.mark.slow
def test_another_schema_is_not_copied(postgres_server: PostgreSQL) -> None:
    """A database that another version has made, or nobody, is refused; one that is not there is unavailable."""
    url = postgres_server.new_database()

    async def scenario(where: str) -> None:
        async with shared_snapshot(where):
            pass

    with pytest.raises(HomeError, match="of schema none"):
        asyncio.run(scenario(url))
    with pytest.raises(Unavailable, match="missing"):
        asyncio.run(scenario(url.replace("/usage_", "/missing_")))


def _freehold(*argv: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"FREEHOLD_TEST_DATABASE": url} if url else {})}
    return run_forked(argv, environment, "", timeout_s=300)


@pytest.mark.slow
def test_a_gateway_on_postgresql_is_restored(postgres_server: PostgreSQL, tmp_path: Path) -> None:
    """A backup of a serving gateway has the shared database: what is restored knows its keys, alone and moved back."""
    url = postgres_server.new_database()
    key_file, backup = tmp_path / "backup.key", tmp_path / "one.backup"
    key_file.write_bytes(KEY_BYTES)
    with gateway(tmp_path, "a", url) as service:
        made = service.post("/admin/keys", {"name": "app", "role": "user"}).json()
        chat = {"model": "echo", "messages": [{"role": "user", "content": "one two"}]}
        assert service.post("/v1/chat/completions", chat, key=made["key"]).status == 200
        home = str(service.home.root)
        config = str(service.home.root / "test-config.toml")
        blind = _freehold("backup", str(backup), "--key-file", str(key_file), "--home", home)
        assert blind.returncode != 0
        assert "--config FILE" in blind.stderr
        done = _freehold(
            "backup", str(backup), "--key-file", str(key_file), "--home", home, "--config", config, url=url
        )
        assert done.returncode == 0, done.stderr
    whole = _freehold("backup", "--verify", str(backup), "--key-file", str(key_file))
    assert whole.returncode == 0, whole.stderr
    restored = tmp_path / "restored"
    told = _freehold("restore", str(backup), "--key-file", str(key_file), "--home", str(restored))
    assert told.returncode == 0, told.stderr
    with Service(restored, ALONE) as service:
        assert service.post("/v1/chat/completions", chat, key=made["key"]).status == 200
        verified = _freehold("audit", "verify", "--home", str(restored))
        assert verified.returncode == 0, verified.stdout + verified.stderr
    empty = postgres_server.new_database()
    moved = _freehold("database", "move", "--config", config, "--home", str(restored), url=empty)
    assert moved.returncode == 0, moved.stdout + moved.stderr
    with gateway(tmp_path, "restored", empty) as service:
        assert service.post("/v1/chat/completions", chat, key=made["key"]).status == 200
