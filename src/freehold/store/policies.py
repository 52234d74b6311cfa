"""The table of policies that were set through the API."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from freehold.store.database import Database
from freehold.store.tables import policies


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """One policy: its name, the settings as JSON values."""

    name: str
    settings: dict[str, Any]


async def all_policies(database: Database) -> list[PolicyRow]:
    """All stored policies by name."""
    async with database.read() as connection:
        rows = await connection.execute(select(policies.c.name, policies.c.settings).order_by(policies.c.name))
        return [PolicyRow(**row) for row in rows.mappings()]


async def put_policies(database: Database, rows: Sequence[PolicyRow]) -> None:
    """Set policies, or replace them: all or none."""
    now = int(time.time())
    async with database.write() as connection:
        for row in rows:
            statement = insert(policies).values(name=row.name, settings=row.settings, created_at=now, updated_at=now)
            await connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["name"], set_={"settings": row.settings, "updated_at": now}
                )
            )


async def delete_policy(database: Database, name: str) -> None:
    """Remove a policy, if it is there."""
    async with database.write() as connection:
        await connection.execute(delete(policies).where(policies.c.name == name))
