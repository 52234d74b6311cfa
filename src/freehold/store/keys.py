"""The table of API keys. Holds keyed hashes, never keys."""

from dataclasses import dataclass

from sqlalchemy import insert, select, update

from freehold.store.database import Database
from freehold.store.tables import api_keys


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One API key. `digest` is HMAC-SHA256 of the key; times are seconds since the epoch."""

    id: str
    name: str
    digest: bytes
    last4: str
    organization_id: str
    project_id: str
    roles: tuple[str, ...]
    created_at: int
    revoked_at: int | None = None


async def insert_key(database: Database, row: KeyRow) -> None:
    """Add a key."""
    values = {name: getattr(row, name) for name in KeyRow.__slots__}
    async with database.write() as connection:
        await connection.execute(insert(api_keys).values({**values, "roles": list(row.roles)}))


async def all_keys(database: Database) -> list[KeyRow]:
    """Every key, revoked ones included, oldest first."""
    async with database.read() as connection:
        rows = await connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
        return [KeyRow(**{**row, "roles": tuple(row["roles"])}) for row in rows.mappings()]


async def set_revoked(database: Database, key_id: str, at: int) -> None:
    """Mark a key as revoked; the first time counts."""
    async with database.write() as connection:
        await connection.execute(
            update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=at)
        )
