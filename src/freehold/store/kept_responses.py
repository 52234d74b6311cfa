"""What only responses have in the store: states, and the events of their streams."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.store.conversation_tables import kept_response_events, kept_responses
from freehold.store.database import Database
from freehold.store.gateway_rows import living_gateways
from freehold.store.kept_items import RESPONSE_TABLES, HolderRow, ItemRow, expiry, insert_items

_IS_OPEN: Final = kept_responses.c.status.in_(("queued", "in_progress"))


@dataclass(frozen=True, slots=True)
class LostResponse:
    """A response that nobody makes any more: whose it was, and which gateway's."""

    id: str
    organization_id: str
    project_id: str
    gateway: str


@dataclass(frozen=True, slots=True)
class EventsRow:
    """Events in a row: the sequence number of the first, how many, and what they say, encrypted."""

    first: int
    count: int
    content: bytes


async def put_events(database: Database, events: Sequence[tuple[HolderRow, EventsRow]]) -> None:
    """Add events of several responses; of those that are gone meanwhile, or have ended, nothing is kept."""
    table, ids = kept_responses, {response.id for response, _ in events}
    wanted = select(table.c.id, table.c.expires_at).where(table.c.id.in_(ids), _IS_OPEN)
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
    """Write the end of a response: its columns, what it answered, and its last event.

    False if it is gone, or has an end already: other gateways thought that this one was gone.
    """
    table = kept_responses
    async with database.write() as connection:
        expires_at = await expiry(connection, RESPONSE_TABLES, response.id)
        ended = update(table).where(table.c.id == response.id, _IS_OPEN).values(dict(values))
        if expires_at is None or not (await connection.execute(ended)).rowcount:
            return False
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


async def mark_begun(database: Database, response_id: str) -> None:
    """Let other gateways know that a response is being made."""
    queued = (kept_responses.c.id == response_id) & (kept_responses.c.status == "queued")
    async with database.aside() as connection:
        await connection.execute(update(kept_responses).where(queued).values(status="in_progress"))


async def ask_to_stop(database: Database, response_id: str) -> None:
    """Have the gateway stop a response that makes it."""
    wanted = (kept_responses.c.id == response_id) & _IS_OPEN
    async with database.aside() as connection:
        await connection.execute(update(kept_responses).where(wanted).values(cancelling=True))


async def to_stop(database: Database, ids: Collection[str]) -> dict[str, bool]:
    """Which of these responses are not to go on: by id, whether that was asked; else they have ended already."""
    table = kept_responses.c
    query = select(table.id, table.cancelling).where(table.id.in_(ids), or_(table.cancelling, ~_IS_OPEN))
    async with database.read() as connection:
        return {row.id: row.cancelling for row in await connection.execute(query)}


async def any_lost(database: Database, live: Collection[str], before_s: float) -> bool:
    """Whether there are responses that nobody makes any more; arguments as `end_lost`."""
    query = select(kept_responses.c.id).where(_lost(database, live, before_s)).limit(1)
    async with database.read() as connection:
        return (await connection.execute(query)).first() is not None


async def end_lost(
    connection: AsyncConnection, database: Database, live: Collection[str], before_s: float
) -> list[LostResponse]:
    """Let responses have failed that nobody makes any more, within the caller's transaction: each once.

    Args:
        connection: the caller's.
        database: as this gateway has it.
        live: what it is making.
        before_s: when this gateway began at the latest what it is not making any more.
    """
    table = kept_responses.c
    ended = update(kept_responses).where(_lost(database, live, before_s)).values(status="failed")
    rows = await connection.execute(ended.returning(table.id, table.organization_id, table.project_id, table.gateway))
    return [LostResponse(*row) for row in rows]


def _lost(database: Database, live: Collection[str], before_s: float) -> ColumnElement[bool]:
    table, living = kept_responses.c, living_gateways(judges=database.judges)
    own = and_(table.gateway == database.gateway, table.id.not_in(live), table.created_at < before_s)
    others = and_(table.gateway != database.gateway, table.gateway.not_in(living))
    return and_(_IS_OPEN, or_(own, others))


async def end_interrupted(database: Database) -> int:
    """Let responses have failed that this gateway was making when it ended; how many there were."""
    async with database.write() as connection:
        return await end_interrupted_of(connection, database.gateway)


async def end_interrupted_of(connection: AsyncConnection, gateway: str) -> int:
    """As `end_interrupted`, for any gateway, within the caller's transaction."""
    open_ones = update(kept_responses).where(_IS_OPEN, kept_responses.c.gateway.in_({"", gateway}))
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
