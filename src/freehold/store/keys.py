"""The table of API keys. Holds keyed hashes, never keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, insert, or_, select, update

from freehold.store.database import Database
from freehold.store.tables import api_keys


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One API key.

    Args:
        id: names the key.
        name: what it is for.
        digest: HMAC-SHA256 of the key.
        last4: its last characters.
        organization_id: whose it is.
        project_id: in which project it acts; empty for a key of the organization.
        owner_id: the member whose key it is.
        scope: what it is cut down to: `models`, `operations`, `ip_ranges`, each a list where it is given.
        created_at: in seconds since the epoch, as all times.
        expires_at: from when on it is refused.
        last_used_at: not exact: it is written now and then.
        revoked_at: since when it is refused.
    """

    id: str
    name: str
    digest: bytes
    last4: str
    organization_id: str
    project_id: str
    owner_id: str
    created_at: int
    scope: Mapping[str, Any] = field(default_factory=dict)
    expires_at: int | None = None
    last_used_at: int | None = None
    revoked_at: int | None = None


async def insert_key(database: Database, row: KeyRow) -> None:
    """Add a key."""
    values = {name: getattr(row, name) for name in KeyRow.__slots__}
    async with database.write() as connection:
        await connection.execute(insert(api_keys).values({**values, "scope": dict(row.scope)}))


async def all_keys(database: Database) -> list[KeyRow]:
    """Every key, revoked ones included, oldest first."""
    async with database.read() as connection:
        rows = await connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
        return [KeyRow(**row) for row in rows.mappings()]


async def update_key(database: Database, key_id: str, **values: Any) -> None:
    """Write some of a key's values anew."""
    async with database.write() as connection:
        await connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(**values))


async def set_revoked(database: Database, key_ids: list[str], at: int) -> None:
    """Mark keys as revoked; the first time counts."""
    async with database.write() as connection:
        await connection.execute(
            update(api_keys).where(api_keys.c.id.in_(key_ids), api_keys.c.revoked_at.is_(None)).values(revoked_at=at)
        )


async def set_last_used(database: Database, moments: Mapping[str, int]) -> None:
    """Write down when keys were last used, unless a later moment stands there."""
    newer = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < bindparam("at"))
    statement = update(api_keys).where(api_keys.c.id == bindparam("key"), newer).values(last_used_at=bindparam("at"))
    async with database.write() as connection:
        await connection.execute(statement, [{"key": key, "at": at} for key, at in moments.items()])
