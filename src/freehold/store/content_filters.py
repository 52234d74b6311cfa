"""The tables of content-filter policies and blocklists that were set through the API."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.store.database import Database
from freehold.store.tables import blocklists, content_filters


@dataclass(frozen=True, slots=True)
class FilterRow:
    """One content-filter policy or one blocklist: its name, the settings as JSON values."""

    name: str
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class FilterRows:
    """All stored policies and all stored blocklists, by name."""

    policies: list[FilterRow]
    lists: list[FilterRow]


async def all_content_filters(database: Database) -> FilterRows:
    """Whatever is stored, of one moment."""
    async with database.read() as connection:
        return FilterRows(await _all(connection, content_filters), await _all(connection, blocklists))


async def put_content_filters(database: Database, policies: Iterable[FilterRow], lists: Iterable[FilterRow]) -> None:
    """Set policies and lists, or replace them: all or none."""
    async with database.write() as connection:
        for row in policies:
            await _put(connection, content_filters, row)
        for row in lists:
            await _put(connection, blocklists, row)


async def delete_content_filter(database: Database, name: str) -> None:
    """Remove a policy, if it is there."""
    async with database.write() as connection:
        await connection.execute(delete(content_filters).where(content_filters.c.name == name))


async def delete_blocklist(database: Database, name: str) -> None:
    """Remove a list, if it is there."""
    async with database.write() as connection:
        await connection.execute(delete(blocklists).where(blocklists.c.name == name))


async def _all(connection: AsyncConnection, table: Table) -> list[FilterRow]:
    rows = await connection.execute(select(table.c.name, table.c.settings).order_by(table.c.name))
    return [FilterRow(**row) for row in rows.mappings()]


async def _put(connection: AsyncConnection, table: Table, row: FilterRow) -> None:
    now = int(time.time())
    statement = insert(table).values(name=row.name, settings=row.settings, created_at=now, updated_at=now)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"settings": row.settings, "updated_at": now})
    )
