"""Copies of items under another holder, which come page by page and are there for readers all at once.

Until the holder is there, its items are nobody's: no reader finds them, and what a copy that broke off has left expires
soon.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import func, insert, select, update

from freehold.store.database import Database
from freehold.store.kept_items import HolderRow, ItemRow, ItemTables, insert_items, item_row

UNFINISHED_S = 3600
"""How long items stay whose holder does not come."""


async def place_of(database: Database, tables: ItemTables, holder_id: str, item_id: str | None) -> int | None:
    """The place of an item, or of the last one if none is named; None if there is no such item."""
    table = tables.items
    query = select(func.max(table.c.place)).where(table.c.holder_id == holder_id)
    if item_id is not None:
        query = query.where(table.c.id == item_id)
    async with database.read() as connection:
        found: int | None = (await connection.execute(query)).scalar_one()
        return found


async def items_between(
    database: Database,
    tables: ItemTables,
    holder_id: str,
    places: tuple[int, int],
    *,
    now_s: float,
    limit: int,
    most_bytes: int,
) -> tuple[list[ItemRow], int]:
    """Items from one place up to another in their order, and the place behind the last of them.

    They are at most `limit`; those behind the first come only as long as all together are no larger than `most_bytes`.
    """
    table = tables.items
    query = (
        select(table)
        .where(table.c.holder_id == holder_id, table.c.place.between(*places), table.c.expires_at > now_s)
        .order_by(table.c.place)
    )
    sizes = query.with_only_columns(table.c.place, func.length(table.c.content)).limit(limit)
    async with database.read() as connection:
        count, size, behind = 0, 0, places[1] + 1
        for place, length in (await connection.execute(sizes)).all():
            size += length
            if count and size > most_bytes:
                break
            count, behind = count + 1, place + 1
        rows = (await connection.execute(query.where(table.c.place < behind))).mappings()
        return [item_row(row) for row in rows], behind


async def add_unheld(database: Database, tables: ItemTables, holder_id: str, items: Sequence[ItemRow]) -> None:
    """Add items behind the last of a thing that is not there yet."""
    async with database.write() as connection:
        soon = [replace(item, expires_at=item.created_at + UNFINISHED_S) for item in items]
        await insert_items(connection, tables, holder_id, soon)


async def hold(database: Database, tables: ItemTables, row: HolderRow) -> None:
    """Add the thing itself: from now on it is there with all of its items."""
    async with database.write() as connection:
        await connection.execute(insert(tables.holders).values(row.values()))
        table = tables.items
        await connection.execute(update(table).where(table.c.holder_id == row.id).values(expires_at=row.expires_at))
