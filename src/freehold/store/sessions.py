"""The table of sessions. Holds digests of cookies, never cookies."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select, update

from freehold.store.database import Database
from freehold.store.tables import sessions


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session. `digest` is SHA-256 of the cookie's value; times are seconds since the epoch."""

    digest: bytes
    id: str
    member_id: str
    project_id: str | None
    method: str
    user_agent: str
    created_at: int
    seen_at: int
    expires_at: int


async def all_sessions(database: Database) -> list[SessionRow]:
    """Every session, oldest first."""
    async with database.read() as connection:
        rows = await connection.execute(select(sessions).order_by(sessions.c.created_at, sessions.c.id))
        return [SessionRow(**row) for row in rows.mappings()]


async def insert_session(database: Database, row: SessionRow) -> None:
    """Add a session."""
    async with database.write() as connection:
        await connection.execute(insert(sessions).values({name: getattr(row, name) for name in SessionRow.__slots__}))


async def set_project(database: Database, digest: bytes, project_id: str) -> None:
    """Note the project that a person chose."""
    async with database.write() as connection:
        await connection.execute(update(sessions).where(sessions.c.digest == digest).values(project_id=project_id))


async def set_seen(database: Database, seen: Mapping[bytes, int]) -> None:
    """Note when sessions were last used, by their digests, unless a later moment stands there."""
    here = sessions.c.digest == bindparam("which"), sessions.c.seen_at < bindparam("at")
    statement = update(sessions).where(*here).values(seen_at=bindparam("at"))
    async with database.write() as connection:
        await connection.execute(statement, [{"which": digest, "at": at} for digest, at in seen.items()])


async def delete_sessions(database: Database, digests: Collection[bytes]) -> None:
    """Remove sessions, if they are there."""
    async with database.write() as connection:
        await connection.execute(delete(sessions).where(sessions.c.digest.in_(list(digests))))
