"""How often each table was written of which gateways have copies, so that each learns what another one has written.

A number goes up in the transaction that writes, whatever becomes of the message that tells of it: a gateway that was
cut off, or missed a message, reads exactly what has changed meanwhile.
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import BigInteger, Column, String, Table, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.store.tables import metadata

WATCHED: Final = frozenset(
    {
        "api_keys",
        "artifact_parents",
        "artifacts",
        "blocklists",
        "calibrations",
        "content_filters",
        "content_keys",
        "deployments",
        "invites",
        "limits",
        "members",
        "models",
        "organizations",
        "policies",
        "projects",
        "retention",
        "role_assignments",
        "sessions",
        "suspensions",
    }
)
"""The tables of which gateways have copies in memory."""

changes = Table(
    "changes",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
"""Only written on PostgreSQL: by the name of a table, how many transactions have written it."""


async def numbers(connection: AsyncConnection) -> dict[str, int]:
    """By table, how many transactions have written it."""
    return {row.name: row.number for row in await connection.execute(select(changes))}


async def bump(connection: AsyncConnection, names: Collection[str]) -> dict[str, int]:
    """Count a transaction that has written these tables; their numbers afterwards."""
    statement = insert(changes).values([{"name": name, "number": 1} for name in sorted(names)])
    counted = statement.on_conflict_do_update(index_elements=["name"], set_={"number": changes.c.number + 1})
    rows = await connection.execute(counted.returning(changes.c.name, changes.c.number))
    return {row.name: row.number for row in rows}
