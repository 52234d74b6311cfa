"""The table of erasures: the certificates, as they were given."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select

from freehold.store.database import Database
from freehold.store.tables import erasures


@dataclass(frozen=True, slots=True)
class ErasureRow:
    """One erasure.

    Args:
        id: names it.
        organization_id: whose user or project was erased.
        certificate: the signed certificate.
        created_at: in seconds since the epoch.
    """

    id: str
    organization_id: str
    certificate: dict[str, Any]
    created_at: int


async def add_erasure(database: Database, row: ErasureRow) -> None:
    """Add an erasure."""
    values = {name: getattr(row, name) for name in ErasureRow.__slots__}
    async with database.write() as connection:
        await connection.execute(insert(erasures).values(values))


async def list_erasures(database: Database, organization_id: str) -> list[ErasureRow]:
    """An organization's erasures, oldest first."""
    query = select(erasures).where(erasures.c.organization_id == organization_id)
    async with database.read() as connection:
        rows = await connection.execute(query.order_by(erasures.c.created_at, erasures.c.id))
        return [ErasureRow(**row) for row in rows.mappings()]
