"""The table of limits that were set through the API."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from freehold.store.database import Database
from freehold.store.tables import limits


@dataclass(frozen=True, slots=True)
class LimitRow:
    """The limits of one subject: its scope, its id, the settings as JSON values."""

    scope: str
    id: str
    settings: dict[str, Any]


async def all_limits(database: Database) -> list[LimitRow]:
    """All stored limits, oldest first."""
    async with database.read() as connection:
        columns = [limits.c[name] for name in LimitRow.__slots__]
        order = (limits.c.created_at, limits.c.scope, limits.c.id)
        rows = await connection.execute(select(*columns).order_by(*order))
        return [LimitRow(**row) for row in rows.mappings()]


async def put_limit(database: Database, row: LimitRow) -> None:
    """Set a subject's limits, or replace them."""
    now = int(time.time())
    statement = insert(limits).values(scope=row.scope, id=row.id, settings=row.settings, created_at=now, updated_at=now)
    async with database.write() as connection:
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=["scope", "id"], set_={"settings": row.settings, "updated_at": now}
            )
        )


async def delete_limit(database: Database, scope: str, limit_id: str) -> None:
    """Remove a subject's limits, if it has any."""
    async with database.write() as connection:
        await connection.execute(delete(limits).where(limits.c.scope == scope, limits.c.id == limit_id))
