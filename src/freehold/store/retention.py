"""The table of what was set on how long content is kept."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from freehold.store.database import Database
from freehold.store.tables import retention


@dataclass(frozen=True, slots=True)
class RetentionRow:
    """What is set for a project, or for an organization where the project's id is empty."""

    organization_id: str
    project_id: str
    settings: dict[str, Any]


async def all_retention(database: Database) -> list[RetentionRow]:
    """Everything that is set."""
    columns = [retention.c[name] for name in RetentionRow.__slots__]
    async with database.read() as connection:
        rows = await connection.execute(select(*columns).order_by(*columns[:2]))
        return [RetentionRow(**row) for row in rows.mappings()]


async def put_retention(database: Database, row: RetentionRow) -> None:
    """Set it, or replace what was set."""
    now = int(time.time())
    names = ["organization_id", "project_id"]
    statement = insert(retention).values(
        organization_id=row.organization_id, project_id=row.project_id, settings=row.settings, updated_at=now
    )
    async with database.write() as connection:
        await connection.execute(
            statement.on_conflict_do_update(index_elements=names, set_={"settings": row.settings, "updated_at": now})
        )
