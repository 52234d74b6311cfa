"""The table of kept texts that the content filter blocked. Holds ciphertext, never a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.dialects.postgresql import insert

from freehold.store.database import Database
from freehold.store.tables import kept_flagged


@dataclass(frozen=True, slots=True)
class KeptFlaggedRow:
    """One request that was blocked.

    Args:
        request_id: names it.
        organization_id: with the next two, whose it is.
        end_user: the digest of the end user; empty where the caller named none.
        deployment: the one that was asked for.
        found: what the receipt's `filter` says.
        content: the encrypted prompt and completion.
        created_at: when it was kept, in seconds since the epoch.
        expires_at: from when on it counts as absent.
    """

    request_id: str
    organization_id: str
    project_id: str
    owner_id: str
    end_user: str
    deployment: str
    found: dict[str, Any]
    content: bytes
    created_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class FlaggedQuery:
    """Which rows to read.

    Args:
        organization_id: whose.
        now_s: what has expired by then is left out.
        projects: of these projects; None for all of the organization.
        end_users: of these end users, by their digests; None for all.
        after: the row after which to go on, towards older ones.
        limit: how many at most.
    """

    organization_id: str
    now_s: float
    projects: Sequence[str] | None = None
    end_users: Sequence[str] | None = None
    after: KeptFlaggedRow | None = None
    limit: int = 100


async def put_kept_flagged(database: Database, row: KeptFlaggedRow) -> None:
    """Add a row, unless there is one of that request."""
    values = {name: getattr(row, name) for name in KeptFlaggedRow.__slots__}
    async with database.write() as connection:
        await connection.execute(insert(kept_flagged).values(values).on_conflict_do_nothing())


async def get_kept_flagged(database: Database, request_id: str) -> KeptFlaggedRow | None:
    """The row of a request, expired or not; None if there is none."""
    async with database.read() as connection:
        found = await connection.execute(select(kept_flagged).where(kept_flagged.c.request_id == request_id))
        row = found.mappings().first()
        return None if row is None else KeptFlaggedRow(**row)


async def find_kept_flagged(database: Database, query: FlaggedQuery) -> tuple[list[KeptFlaggedRow], bool]:
    """The rows, newest first, and whether there are more."""
    table = kept_flagged.c
    conditions = [table.organization_id == query.organization_id, table.expires_at > query.now_s]
    if query.projects is not None:
        conditions.append(table.project_id.in_(query.projects))
    if query.end_users is not None:
        conditions.append(table.end_user.in_(query.end_users))
    if query.after is not None:
        at, name = query.after.created_at, query.after.request_id
        conditions.append(or_(table.created_at < at, and_(table.created_at == at, table.request_id < name)))
    statement = select(kept_flagged).where(*conditions).limit(query.limit + 1)
    async with database.read() as connection:
        rows = await connection.execute(statement.order_by(table.created_at.desc(), table.request_id.desc()))
        found = [KeptFlaggedRow(**row) for row in rows.mappings()]
    return found[: query.limit], len(found) > query.limit


async def delete_kept_flagged(database: Database, request_id: str) -> None:
    """Remove a row, if it is there."""
    async with database.write() as connection:
        await connection.execute(delete(kept_flagged).where(kept_flagged.c.request_id == request_id))
