"""Rows that belong to a member in a project, one table a kind, for whoever may see them and whoever works on them."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Table, select

from freehold.store.database import Database
from freehold.store.kept_items import Reader, visible

RowT = TypeVar("RowT")


async def get_owned(
    database: Database, table: Table, make: Callable[..., RowT], reader: Reader, row_id: str
) -> RowT | None:
    """A row that a reader may see; None if there is none. `make` takes the table's columns by name."""
    query = select(table).where(table.c.id == row_id, *visible(table, reader))
    return await _first(database, query, make)


async def list_owned(
    database: Database, table: Table, make: Callable[..., RowT], reader: Reader, *, after: str | None, limit: int
) -> list[RowT]:
    """The rows that a reader may see, the newest first."""
    query = select(table).where(*visible(table, reader))
    if after is not None:
        query = query.where(table.c.id < after)
    async with database.read() as connection:
        rows = (await connection.execute(query.order_by(table.c.id.desc()).limit(limit))).mappings()
        return [make(**row) for row in rows]


async def load_owned(
    database: Database, table: Table, make: Callable[..., RowT], row_id: str, now_s: float
) -> RowT | None:
    """A row, for whoever works on it; None if it is gone."""
    query = select(table).where(table.c.id == row_id, table.c.expires_at > now_s)
    return await _first(database, query, make)


async def _first(database: Database, query: Any, make: Callable[..., RowT]) -> RowT | None:
    async with database.read() as connection:
        row = (await connection.execute(query)).mappings().first()
        return None if row is None else make(**row)
