"""The table of calibrations: what the replicas of deployments were measured to do, by where that was.

All gateways of a database have copies of it (`freehold.store.changes`), so that a request's work weighs the same at
each.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Column, String, Table, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from freehold.store.database import Database
from freehold.store.tables import metadata

MOST: Final = 200
"""Calibrations that are kept; the oldest go."""

calibrations = Table(
    "calibrations",
    metadata,
    Column("deployment", String(256), primary_key=True),
    Column("machine", String(512), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("body", JSON, nullable=False),
)
"""The last of each deployment on each machine. `number` tells their order, whatever the clocks of gateways say."""


async def all_calibrations(database: Database) -> list[dict[str, Any]]:
    """Every calibration as JSON values, in the order in which they were measured."""
    async with database.read() as connection:
        rows = await connection.execute(select(calibrations.c.body).order_by(calibrations.c.number))
        return list(rows.scalars())


async def put_calibration(database: Database, body: Mapping[str, Any]) -> None:
    """Keep a calibration in place of that of the same deployment on the same machine."""
    table = calibrations
    newest = select(table.c.number).order_by(table.c.number.desc()).limit(MOST)
    async with database.write() as connection:
        number = (await connection.execute(select(func.coalesce(func.max(table.c.number), 0) + 1))).scalar_one()
        values = {"number": number, "body": dict(body)}
        names = {"deployment": body["deployment"], "machine": body["machine"]}
        statement = insert(table).values(**names, **values)
        await connection.execute(statement.on_conflict_do_update(index_elements=list(names), set_=values))
        await connection.execute(delete(table).where(table.c.number.not_in(newest)))
