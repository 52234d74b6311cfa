"""Items of several things at once."""

from collections.abc import Sequence

from sqlalchemy import func, select

from freehold.store.database import Database
from freehold.store.kept_items import ItemRow, ItemTables, item_row


async def item_sizes(
    database: Database, tables: ItemTables, holder_ids: Sequence[str], *, now_s: float
) -> dict[str, int]:
    """How many bytes the items of each of these things have together; 0 for one without."""
    table = tables.items
    query = (
        select(table.c.holder_id, func.sum(func.length(table.c.content)))
        .where(table.c.holder_id.in_(holder_ids), table.c.expires_at > now_s)
        .group_by(table.c.holder_id)
    )
    async with database.read() as connection:
        found = {row[0]: int(row[1]) for row in (await connection.execute(query)).all()}
    return {name: found.get(name, 0) for name in holder_ids}


async def items_of(
    database: Database, tables: ItemTables, holder_ids: Sequence[str], *, now_s: float
) -> list[tuple[str, ItemRow]]:
    """All items of these things, each with the id of what it belongs to."""
    table = tables.items
    query = select(table).where(table.c.holder_id.in_(holder_ids), table.c.expires_at > now_s)
    async with database.read() as connection:
        rows = (await connection.execute(query)).mappings()
        return [(row["holder_id"], item_row(row)) for row in rows]
