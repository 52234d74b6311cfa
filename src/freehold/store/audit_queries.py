"""Reading administrative actions, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import BigInteger, ColumnElement, Text, and_, literal, or_, select, tuple_

from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_tables import admin_actions

PREFIX = ".*"
"""What ends the name of a whole family of events, such as `project.*`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an action stands in the order of all: its time in microseconds, and its record."""

    recorded_at: int
    writer: str
    seq: int


@dataclass(frozen=True, slots=True)
class ActionRow:
    """One administrative action; `body` is that of its record."""

    place: Place
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which actions to read. An empty sequence, or None, chooses nothing out.

    Args:
        organizations: whose; an empty text for actions of nobody that is known.
        events: what happened, by name or, as `project.*`, by family; where empty, `with_event` says whether there
            must be one.
        projects: of what was changed.
        actors: ids of members or keys.
        resources: ids of what was changed.
        since_us, until_us: the first moment, and the first one after the last, in microseconds.
        after: the action after which to go on, towards older ones.
        before: the action before which to end: the newer ones next to it.
        limit: how many at most.
        with_event: only what changed something.
    """

    organizations: Sequence[str]
    events: Sequence[str] = ()
    projects: Sequence[str] = ()
    actors: Sequence[str] | None = None
    resources: Sequence[str] = ()
    since_us: int | None = None
    until_us: int | None = None
    after: Place | None = None
    before: Place | None = None
    limit: int = 20
    with_event: bool = True


async def find_actions(database: UsageDatabase, query: AuditQuery) -> tuple[list[ActionRow], bool]:
    """The actions, newest first, and whether there are more in the direction of reading.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    table = admin_actions.c
    order = (table.recorded_at, table.writer, table.seq)
    backwards = query.before is not None and query.after is None
    columns = (*order, table.body)
    statement = select(*columns).where(*_conditions(query)).limit(query.limit + 1)
    statement = statement.order_by(*order) if backwards else statement.order_by(*(each.desc() for each in order))
    async with database.read() as connection:
        found = (await connection.execute(statement)).all()
    rows = [ActionRow(Place(*row[:3]), orjson.loads(row[3])) for row in found[: query.limit]]
    return rows[::-1] if backwards else rows, len(found) > query.limit


async def find_action(database: UsageDatabase, organizations: Sequence[str], writer: str, seq: int) -> ActionRow | None:
    """One action by its record; None if there is none, or it is another organization's.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    table = admin_actions.c
    statement = select(table.recorded_at, table.body).where(
        table.writer == writer, table.seq == seq, table.organization_id.in_(organizations)
    )
    async with database.read() as connection:
        row = (await connection.execute(statement)).first()
    return None if row is None else ActionRow(Place(row[0], writer, seq), orjson.loads(row[1]))


def _conditions(query: AuditQuery) -> list[ColumnElement[bool]]:
    table = admin_actions.c
    found: list[ColumnElement[bool]] = [table.organization_id.in_(query.organizations)]
    if query.events:
        found.append(_named(_storable(query.events)))
    elif query.with_event:
        found.append(table.event != "")
    if query.projects:
        found.append(table.project_id.in_(_storable(query.projects)))
    if query.actors is not None:
        actors = _storable(query.actors)
        found.append(or_(table.principal.in_(actors), table.key_id.in_(actors)))
    if query.resources:
        found.append(table.resource_id.in_(_storable(query.resources)))
    if query.since_us is not None:
        found.append(table.recorded_at >= query.since_us)
    if query.until_us is not None:
        found.append(table.recorded_at < query.until_us)
    place = tuple_(table.recorded_at, table.writer, table.seq)
    if query.after is not None:
        found.append(place < _tuple(query.after))
    if query.before is not None:
        found.append(place > _tuple(query.before))
    return found


def _named(events: Sequence[str]) -> ColumnElement[bool]:
    """Whether an action's event is one of these, or of these families."""
    event = admin_actions.c.event
    families = [name.removesuffix("*") for name in events if name.endswith(PREFIX)]
    return or_(
        and_(event != "", event.in_([name for name in events if not name.endswith(PREFIX)])),
        *(event.startswith(family, autoescape=True) for family in families),
    )


def _storable(values: Sequence[str]) -> list[str]:
    """The values as they can stand in a row: PostgreSQL's texts hold no NUL, see `projection_rows`."""
    return [value.replace("\0", "\ufffd") for value in values]


def _tuple(place: Place) -> Any:
    return tuple_(literal(place.recorded_at, BigInteger), literal(place.writer, Text), literal(place.seq, BigInteger))
