"""The table of suspensions."""

from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from freehold.store.database import Database
from freehold.store.tables import suspensions


@dataclass(frozen=True, slots=True)
class SuspensionRow:
    """One suspension.

    Args:
        id: names it.
        organization_id: in which organization.
        project_id: in which project of it; empty for all.
        kind: `end_user` or `principal`.
        subject_id: the digest of an end user, or the id of a member.
        reason: why, as whoever suspended wrote it.
        tell: whether the caller is told the reason.
        until: when it ends by itself, in seconds since the epoch; None if it does not.
        created_by: the member who suspended.
        created_at: when, in seconds since the epoch.
    """

    id: str
    organization_id: str
    project_id: str
    kind: str
    subject_id: str
    reason: str
    tell: bool
    until: int | None
    created_by: str
    created_at: int


async def all_suspensions(database: Database) -> list[SuspensionRow]:
    """All of them, also those that have ended, oldest first."""
    async with database.read() as connection:
        rows = await connection.execute(select(suspensions).order_by(suspensions.c.created_at, suspensions.c.id))
        return [SuspensionRow(**row) for row in rows.mappings()]


async def put_suspension(database: Database, row: SuspensionRow) -> None:
    """Add a suspension in the place of the same subject's, if it has one there."""
    whose = ("organization_id", "project_id", "kind", "subject_id")
    async with database.write() as connection:
        same = [suspensions.c[name] == getattr(row, name) for name in whose]
        await connection.execute(delete(suspensions).where(*same))
        values = {name: getattr(row, name) for name in SuspensionRow.__slots__}
        await connection.execute(insert(suspensions).values(values))


async def delete_suspension(database: Database, suspension_id: str) -> None:
    """Remove a suspension, if it is there."""
    async with database.write() as connection:
        await connection.execute(delete(suspensions).where(suspensions.c.id == suspension_id))
