"""What only responses have in the store: states, and the events of their streams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.store.conversation_tables import kept_response_events, kept_responses
from freehold.store.database import Database
from freehold.store.kept_items import RESPONSE_TABLES, HolderRow, ItemRow, expiry, insert_items


@dataclass(frozen=True, slots=True)
class EventsRow:
    """Events in a row: the sequence number of the first, how many, and what they say, encrypted."""

    first: int
    count: int
    content: bytes


async def put_events(database: Database, events: Sequence[tuple[HolderRow, EventsRow]]) -> None:
    """Add events of several responses; of those that are gone meanwhile nothing is kept."""
    table = kept_responses
    wanted = select(table.c.id, table.c.expires_at).where(table.c.id.in_({response.id for response, _ in events}))
    async with database.write() as connection:
        there: dict[str, int] = {row.id: row.expires_at for row in await connection.execute(wanted)}
        rows = [_event_values(response, each, there[response.id]) for response, each in events if response.id in there]
        if rows:
            await connection.execute(insert(kept_response_events), rows)


async def finish_response(
    database: Database,
    response: HolderRow,
    values: Mapping[str, Any],
    items: Sequence[ItemRow],
    events: EventsRow | None,
) -> bool:
    """Write the end of a response: its columns, what it answered, and its last event; false if it is gone."""
    table = kept_responses
    async with database.write() as connection:
        expires_at = await expiry(connection, RESPONSE_TABLES, response.id)
        if expires_at is None:
            return False
        await connection.execute(update(table).where(table.c.id == response.id).values(dict(values)))
        added = [replace(item, expires_at=expires_at) for item in items]
        await insert_items(connection, RESPONSE_TABLES, response.id, added)
        if events is not None:
            await connection.execute(insert(kept_response_events).values(_event_values(response, events, expires_at)))
        return True


async def events_from(database: Database, response_id: str, number: int, limit: int) -> list[EventsRow]:
    """Events of a response in their order, from the rows that have this number or higher ones."""
    table = kept_response_events
    query = (
        select(table.c.first, table.c["count"], table.c.content)
        .where(table.c.holder_id == response_id, table.c.first + table.c["count"] > number)
        .order_by(table.c.first)
        .limit(limit)
    )
    async with database.read() as connection:
        return [EventsRow(*row) for row in await connection.execute(query)]


async def next_number(database: Database, response_id: str) -> int:
    """The sequence number that the next event of a response has; 0 where there are none yet."""
    table = kept_response_events
    query = select(func.max(table.c.first + table.c["count"])).where(table.c.holder_id == response_id)
    async with database.read() as connection:
        found: int | None = (await connection.execute(query)).scalar_one()
        return found or 0


async def end_interrupted(database: Database) -> int:
    """Let responses have failed that this gateway was making when it ended; how many there were."""
    async with database.write() as connection:
        return await end_interrupted_of(connection, database.gateway)


async def end_interrupted_of(connection: AsyncConnection, gateway: str) -> int:
    """As `end_interrupted`, for any gateway, within the caller's transaction."""
    table = kept_responses
    open_ones = update(table).where(table.c.status.in_(("queued", "in_progress")), table.c.gateway.in_({"", gateway}))
    return (await connection.execute(open_ones.values(status="failed"))).rowcount


def _event_values(response: HolderRow, events: EventsRow, expires_at: int) -> dict[str, Any]:
    return {
        "holder_id": response.id,
        "first": events.first,
        "count": events.count,
        "content": events.content,
        "organization_id": response.organization_id,
        "project_id": response.project_id,
        "owner_id": response.owner_id,
        "created_at": response.created_at,
        "expires_at": expires_at,
    }
