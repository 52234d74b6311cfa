"""Rows of conversations, responses and stored completions, and of their items. What they hold is ciphertext.

Every read names who reads: a row of another project, one that has expired, or one that is its owner's alone is not
there for anybody else, unless the owner shares it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, Select, Table, case, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.store.conversation_tables import (
    kept_completion_labels,
    kept_completion_messages,
    kept_completions,
    kept_conversation_items,
    kept_conversations,
    kept_response_events,
    kept_response_items,
    kept_responses,
)
from freehold.store.database import Database


@dataclass(frozen=True, slots=True)
class ItemTables:
    """The tables of one kind.

    Args:
        holders: of the things that have items.
        items: of the items.
        parts: of what else belongs to a holder.
    """

    holders: Table
    items: Table
    parts: tuple[Table, ...] = ()

    def all(self) -> tuple[Table, ...]:
        """All of them, the holders first."""
        return (self.holders, self.items, *self.parts)


CONVERSATION_TABLES: Final = ItemTables(kept_conversations, kept_conversation_items)
RESPONSE_TABLES: Final = ItemTables(kept_responses, kept_response_items, (kept_response_events,))
COMPLETION_TABLES: Final = ItemTables(kept_completions, kept_completion_messages, (kept_completion_labels,))


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: a member in a project, and when, in seconds since the epoch."""

    organization_id: str
    project_id: str
    member_id: str
    now_s: float


@dataclass(frozen=True, slots=True)
class HolderRow:
    """One thing that has items.

    Args:
        id: names it.
        organization_id: with the next two, whose it is.
        private: whether it is its owner's alone.
        header: encrypted: what there is to say of it beside its items.
        created_at: in seconds since the epoch.
        expires_at: from when on it counts as absent.
        more: the columns that only its kind has.
    """

    id: str
    organization_id: str
    project_id: str
    owner_id: str
    private: bool
    header: bytes
    created_at: int
    expires_at: int
    more: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """As columns."""
        return {name: getattr(self, name) for name in _HOLDER} | dict(self.more)


_HOLDER: Final = (
    "id",
    "organization_id",
    "project_id",
    "owner_id",
    "private",
    "header",
    "created_at",
    "expires_at",
)


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item, before it has its place.

    Args:
        id: names it within its holder.
        side: `input`, `output`, or empty.
        organization_id: with the next two, whose it is.
        content: encrypted.
        created_at: in seconds since the epoch.
        expires_at: from when on it counts as absent.
    """

    id: str
    side: str
    organization_id: str
    project_id: str
    owner_id: str
    content: bytes
    created_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows of a list.

    Args:
        limit: how many at most.
        newest_first: the order.
        after: the id of the last row that the caller has seen.
    """

    limit: int = 20
    newest_first: bool = True
    after: str | None = None


async def add_holder(database: Database, tables: ItemTables, row: HolderRow, items: Sequence[ItemRow]) -> None:
    """Add a thing and its first items."""
    async with database.write() as connection:
        await connection.execute(insert(tables.holders).values(row.values()))
        await insert_items(connection, tables, row.id, items)


async def get_holder(database: Database, tables: ItemTables, reader: Reader, holder_id: str) -> HolderRow | None:
    """A thing that is there for the reader; None if it is not."""
    query = select(tables.holders).where(tables.holders.c.id == holder_id, *visible(tables.holders, reader))
    async with database.read() as connection:
        row = (await connection.execute(query)).mappings().first()
        return None if row is None else holder_row(row)


async def list_holders(
    database: Database, tables: ItemTables, reader: Reader, page: Page, *conditions: ColumnElement[bool]
) -> list[HolderRow]:
    """Things that are there for the reader and meet the conditions, by their ids, which are in the order of time."""
    query = page_of_holders(tables, reader, page, *conditions)
    async with database.read() as connection:
        return [holder_row(row) for row in (await connection.execute(query)).mappings()]


def page_of_holders(tables: ItemTables, reader: Reader, page: Page, *conditions: ColumnElement[bool]) -> Select[Any]:
    """The query for a list of things."""
    column = tables.holders.c.id
    query = select(tables.holders).where(*visible(tables.holders, reader), *conditions)
    if page.after is not None:
        query = query.where(column < page.after if page.newest_first else column > page.after)
    return query.order_by(column.desc() if page.newest_first else column).limit(page.limit)


async def update_holder(database: Database, tables: ItemTables, holder_id: str, values: Mapping[str, Any]) -> bool:
    """Change columns of a thing; false if it is gone."""
    async with database.write() as connection:
        done = await connection.execute(
            update(tables.holders).where(tables.holders.c.id == holder_id).values(dict(values))
        )
        return done.rowcount == 1


async def delete_holder(database: Database, tables: ItemTables, holder_id: str) -> bool:
    """Remove a thing and all that belongs to it; false if it is gone."""
    async with database.write() as connection:
        done = await connection.execute(delete(tables.holders).where(tables.holders.c.id == holder_id))
        for table in tables.all()[1:]:
            await connection.execute(delete(table).where(table.c.holder_id == holder_id))
        return done.rowcount == 1


async def add_items(database: Database, tables: ItemTables, holder_id: str, items: Sequence[ItemRow]) -> bool:
    """Add items behind the last; false if what they belong to is gone."""
    async with database.write() as connection:
        expires_at = await expiry(connection, tables, holder_id)
        if expires_at is None:
            return False
        await insert_items(connection, tables, holder_id, [replace(item, expires_at=expires_at) for item in items])
        return True


async def expiry(connection: AsyncConnection, tables: ItemTables, holder_id: str) -> int | None:
    """Until when a thing stays by now, and so what is added to it, within a transaction; None if it is gone."""
    query = select(tables.holders.c.expires_at).where(tables.holders.c.id == holder_id)
    found: int | None = (await connection.execute(query)).scalar_one_or_none()
    return found


async def insert_items(
    connection: AsyncConnection, tables: ItemTables, holder_id: str, items: Sequence[ItemRow]
) -> None:
    """Add items behind the last, within a transaction."""
    if not items:
        return
    table = tables.items
    place: int | None = (await connection.execute(last_place(tables, holder_id))).scalar_one()
    first = 0 if place is None else place + 1
    rows = [
        {name: getattr(item, name) for name in ItemRow.__slots__} | {"holder_id": holder_id, "place": first + number}
        for number, item in enumerate(items)
    ]
    await connection.execute(insert(table), rows)


def last_place(tables: ItemTables, holder_id: str) -> Select[Any]:
    """The query for the place of the last item."""
    return select(func.max(tables.items.c.place)).where(tables.items.c.holder_id == holder_id)


async def list_items(
    database: Database,
    tables: ItemTables,
    holder_id: str,
    page: Page,
    *,
    now_s: float,
    side: str | None = None,
    most_bytes: int | None = None,
) -> tuple[list[ItemRow], bool] | None:
    """Items of a thing in their order, and whether there are more; None if it has no item `page.after`.

    Where `most_bytes` are given, those behind the first come only as long as all together are no larger.
    """
    table = tables.items
    query = _items(table, holder_id, now_s)
    if side is not None:
        query = query.where(table.c.side == side)
    async with database.read() as connection:
        if page.after is not None:
            behind = select(table.c.place).where(table.c.holder_id == holder_id, table.c.id == page.after)
            place = (await connection.execute(behind)).scalar_one_or_none()
            if place is None:
                return None
            query = query.where(table.c.place < place if page.newest_first else table.c.place > place)
        query = query.order_by(table.c.place.desc() if page.newest_first else table.c.place)
        sizes = query.with_only_columns(func.length(table.c.content)).limit(page.limit + 1)
        there = list((await connection.execute(sizes)).scalars())
        count = _fitting(there[: page.limit], most_bytes)
        rows = (await connection.execute(query.limit(count))).mappings()
        return [item_row(row) for row in rows], len(there) > count


def _fitting(sizes: Sequence[int], most_bytes: int | None) -> int:
    """How many come, of items of these sizes."""
    if most_bytes is None:
        return len(sizes)
    sums = accumulate(sizes)
    return sum(1 for number, size in enumerate(sums) if number == 0 or size <= most_bytes)


async def get_item(
    database: Database, tables: ItemTables, holder_id: str, item_id: str, *, now_s: float
) -> ItemRow | None:
    """An item of a thing; None if there is none."""
    query = _items(tables.items, holder_id, now_s).where(tables.items.c.id == item_id)
    async with database.read() as connection:
        row = (await connection.execute(query)).mappings().first()
        return None if row is None else item_row(row)


async def find_item(database: Database, tables: ItemTables, reader: Reader, item_id: str) -> tuple[str, ItemRow] | None:
    """An item of anything that is there for the reader, and the id of that; None if there is none."""
    items, holders = tables.items, tables.holders
    query = (
        select(items)
        .join(holders, holders.c.id == items.c.holder_id)
        .where(items.c.id == item_id, items.c.expires_at > reader.now_s, *visible(holders, reader))
        # Copies have the ids of what they were made of: one's own come first, and what is shared by others last.
        .order_by(case((holders.c.owner_id == reader.member_id, 0), (holders.c.private.is_(False), 1), else_=2))
        .limit(1)
    )
    async with database.read() as connection:
        row = (await connection.execute(query)).mappings().first()
        return None if row is None else (row["holder_id"], item_row(row))


async def delete_item(database: Database, tables: ItemTables, holder_id: str, item_id: str) -> bool:
    """Remove an item; false if there is none."""
    table = tables.items
    async with database.write() as connection:
        done = await connection.execute(delete(table).where(table.c.holder_id == holder_id, table.c.id == item_id))
        return done.rowcount == 1


def visible(table: Table, reader: Reader) -> tuple[ColumnElement[bool], ...]:
    """What holds for the rows of a table of holders that are there for a reader."""
    there = table.c.private.is_(False) | (table.c.owner_id == reader.member_id)
    if "shared" in table.c:
        there |= table.c.shared.is_(True)
    return (
        table.c.organization_id == reader.organization_id,
        table.c.project_id == reader.project_id,
        table.c.expires_at > reader.now_s,
        there,
    )


def holder_row(row: RowMapping) -> HolderRow:
    """A row of a table of holders."""
    own = {name: row[name] for name in _HOLDER}
    return HolderRow(**own, more={name: value for name, value in row.items() if name not in own})


def _items(table: Table, holder_id: str, now_s: float) -> Select[Any]:
    return select(table).where(table.c.holder_id == holder_id, table.c.expires_at > now_s)


def item_row(row: RowMapping) -> ItemRow:
    """A row of a table of items."""
    return ItemRow(**{name: row[name] for name in ItemRow.__slots__})
