"""Moving tables from one database to another: all rows or none, and every one compared.

What is compared are the rows as Python has them, in the order of their primary keys; that order is one of bytes in
SQLite and on PostgreSQL alike.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.errors import HomeError
from freehold.store.answer_claims import answer_claims
from freehold.store.artifact_tables import artifacts
from freehold.store.calibration_rows import calibrations
from freehold.store.changes import changes
from freehold.store.copying import copy_rows
from freehold.store.gateway_rows import gateways
from freehold.store.kept_content import KEPT
from freehold.store.lease_tables import lease_accounts, lease_holders, lease_slices
from freehold.store.sharing_tables import cluster_leads, cluster_replicas, cluster_wants
from freehold.store.tables import metadata
from freehold.store.training_tables import training_jobs

_AT_ONCE: Final = 100
_OWN: Final = frozenset(
    table.name
    for table in (
        answer_claims,
        changes,
        gateways,
        lease_holders,
        lease_accounts,
        lease_slices,
        cluster_leads,
        cluster_replicas,
        cluster_wants,
    )
)
"""What only says something of the database that it stands in, and of the gateways that run on it: each tells anew what
it has spent, from its journal."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What was moved of a table: how many rows, and a digest of all that stands in them."""

    name: str
    rows: int
    sha256: str


def home_tables() -> list[Table]:
    """The tables of a home that are moved, by name."""
    assert artifacts.metadata is calibrations.metadata is training_jobs.metadata is metadata, "all tables are known"
    assert all(table.metadata is metadata for tables in KEPT.values() for table in tables), "likewise"
    return [table for name, table in sorted(metadata.tables.items()) if name not in _OWN]


async def are_empty(connection: AsyncConnection, tables: Iterable[Table]) -> bool:
    """Whether there is nothing in any of these tables."""
    for table in tables:
        if (await connection.execute(select(func.count()).select_from(table))).scalar_one():
            return False
    return True


async def copy_tables(source: AsyncConnection, target: AsyncConnection, tables: Iterable[Table]) -> list[Moved]:
    """Copy all rows of these tables, within the target's transaction, and see that they have arrived as they were.

    Raises:
        HomeError: they have not: roll the transaction back.
    """
    moved = []
    for table in tables:
        await copy_rows(source, target, [table])
        before, after = await digest_of(source, table), await digest_of(target, table)
        if before != after:
            raise HomeError(
                f"the table '{table.name}' has not arrived as it was: {before.rows} rows with the digest "
                f"{before.sha256[:16]}, and there {after.rows} with {after.sha256[:16]}; nothing was moved"
            )
        moved.append(after)
    return moved


async def digest_of(connection: AsyncConnection, table: Table) -> Moved:
    """How many rows a table has, and a digest of them."""
    digest, count = hashlib.sha256(), 0
    async for rows in _pages(connection, table):
        for row in rows:
            digest.update(_canonical(row))
            count += 1
    return Moved(table.name, count, digest.hexdigest())


async def _pages(connection: AsyncConnection, table: Table) -> AsyncIterator[Sequence[dict[str, Any]]]:
    """The rows in the order of their primary keys, some at a time."""
    rows = await connection.stream(select(table).order_by(*table.primary_key.columns))
    async for page in rows.mappings().partitions(_AT_ONCE):
        yield [dict(row) for row in page]


def _canonical(row: Mapping[str, Any]) -> bytes:
    """A row as bytes; the same wherever it was read."""
    values = {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode() + b"\n"
