"""A copy of a database that is written to meanwhile."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from freehold.errors import HomeError
from freehold.store.database import Database
from freehold.store.models import put_model
from freehold.store.snapshot import Snapshot, StoredModel, check_database, read_keys, read_models
from freehold.types.identity import Role
from freehold.types.model import ModelEntry
from tests.keys import open_keys

PEPPER = b"p" * 32
SHA = "ab" * 32


async def _while_written(path: Path, target: Path) -> tuple[int, int]:
    """Copy a database of three keys while two more are made; how many were there before and after the copy."""
    database = await Database.open(path)
    keys = await open_keys(database, PEPPER)
    for number in range(3):
        await keys.issue(f"key {number}", Role.USER)
    with Snapshot(path) as snapshot:
        await keys.issue("late", Role.USER)
        await asyncio.to_thread(snapshot.copy_to, target)
        await keys.issue("later", Role.USER)
    before, after = len(read_keys(target)), len(read_keys(path))
    await database.close()
    return before, after


def test_a_copy_shows_the_moment_it_was_begun(tmp_path: Path) -> None:
    """What is committed after the block was entered is not in the copy, and the writer did not wait."""
    target = tmp_path / "copy.db"
    assert asyncio.run(_while_written(tmp_path / "freehold.db", target)) == (3, 5)
    assert target.stat().st_mode & 0o777 == 0o600
    check_database(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "freehold.db"]


def test_models_and_keys_are_read(tmp_path: Path) -> None:
    """The models and the keys, with their revocations, are read without a server."""

    async def fill() -> str:
        database = await Database.open(tmp_path / "freehold.db")
        keys = await open_keys(database, PEPPER)
        kept, _ = await keys.issue("kept", Role.OWNER)
        gone, _ = await keys.issue("gone", Role.USER)
        await keys.revoke(gone.id)
        await put_model(database, ModelEntry("m", "file:///m", SHA, SHA, 5, "gguf", {}, 1))
        await database.close()
        return kept.id

    kept_id = asyncio.run(fill())
    keys = {key.name: key for key in read_keys(tmp_path / "freehold.db")}
    assert (keys["kept"].id, keys["kept"].roles, keys["kept"].revoked_at) == (kept_id, ("owner",), None)
    assert keys["gone"].revoked_at is not None
    assert read_models(tmp_path / "freehold.db") == [StoredModel("m", "file:///m", SHA, SHA, 5)]


def test_a_damaged_or_newer_database_is_told(tmp_path: Path) -> None:
    """A file that is cut short, is none, or has an unknown schema is refused, and says which."""
    path = tmp_path / "freehold.db"

    async def create() -> None:
        await (await Database.open(path)).close()

    asyncio.run(create())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HomeError, match=r"freehold\.db"):
        check_database(path)
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(HomeError, match="cannot be used"):
        check_database(path)
    path.write_bytes(whole)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(HomeError, match="newer Freehold"):
        check_database(path)
    with pytest.raises(HomeError), Snapshot(tmp_path / "none.db"):
        pass
