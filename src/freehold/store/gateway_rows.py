"""The table of gateways: who uses the database, since when, and with which code."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Connection, Select, String, Table, delete, func, inspect, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.errors import HomeError
from freehold.store.migrate import Schema
from freehold.store.tables import metadata

GONE_S: Final = 30
"""A gateway that has not been seen for so long counts as gone."""

gateways = Table(
    "gateways",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("home", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("schema", String(16), nullable=False),
    Column("url", String(512), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("left_at", BigInteger, nullable=True),
)
"""`home` is a fingerprint of the key that signs the gateway's journal; times are the database's own."""


@dataclass(frozen=True, slots=True)
class GatewayRow:
    """A gateway.

    Args:
        name: names it and its journal.
        home: a fingerprint of the key that signs its journal.
        version: of its Freehold.
        schema: the newest schema that it knows.
        url: where it is reached; empty where nobody has said.
        started_at: in seconds since the epoch, as the other times.
        seen_at: when it last showed that it lives.
        left_at: when it ended in order; None while it runs, or where it did not.
    """

    name: str
    home: str
    version: str
    schema: str
    url: str
    started_at: int = 0
    seen_at: int = 0
    left_at: int | None = None

    def lives(self, now_s: float) -> bool:
        """Whether it runs, as far as the database knows."""
        return self.left_at is None and self.seen_at > now_s - GONE_S


async def database_time(connection: AsyncConnection) -> int:
    """The time of PostgreSQL's machine, in seconds since the epoch."""
    return int((await connection.execute(select(func.extract("epoch", func.clock_timestamp())))).scalar_one())


def living_gateways(*, judges: bool) -> Select[tuple[str]]:
    """The query for the names of those that run, as far as the database knows.

    Args:
        judges: whether those count as gone that have not been seen for long; see `Database.judges`.
    """
    there = select(gateways.c.name).where(gateways.c.left_at.is_(None))
    if not judges:
        return there
    return there.where(gateways.c.seen_at > func.extract("epoch", func.clock_timestamp()) - GONE_S)


async def all_gateways(connection: AsyncConnection) -> list[GatewayRow]:
    """Every gateway that was not removed, by name."""
    rows = await connection.execute(select(gateways).order_by(gateways.c.name))
    return [_row(row) for row in rows.mappings()]


async def find_gateway(connection: AsyncConnection, name: str) -> GatewayRow | None:
    """The gateway of a name; None if there is none."""
    row = (await connection.execute(select(gateways).where(gateways.c.name == name))).mappings().first()
    return None if row is None else _row(row)


async def put_gateway(connection: AsyncConnection, row: GatewayRow) -> None:
    """Write a gateway that starts now."""
    values = asdict(row)
    changed = {name: value for name, value in values.items() if name != "name"}
    await connection.execute(
        insert(gateways).values(values).on_conflict_do_update(index_elements=["name"], set_=changed)
    )


async def mark_gateway(connection: AsyncConnection, name: str, home: str, values: Mapping[str, Any]) -> bool:
    """Change what is known of a gateway; false if it was removed, or its name is another home's now."""
    here = (gateways.c.name == name) & (gateways.c.home == home)
    return bool((await connection.execute(update(gateways).where(here).values(dict(values)))).rowcount)


async def delete_gateway(connection: AsyncConnection, name: str) -> None:
    """Forget a gateway."""
    await connection.execute(delete(gateways).where(gateways.c.name == name))


def refuse_older_gateways(connection: Connection, schema: Schema) -> None:
    """See that no gateway runs whose code does not work with the schema to which the database is to be brought.

    Raises:
        HomeError: one does.
    """
    if not inspect(connection).has_table(gateways.name):
        return
    oldest = schema.compatible_from or schema.head
    now = select(func.extract("epoch", func.clock_timestamp()) - GONE_S).scalar_subquery()
    which = select(gateways.c.name, gateways.c.version).where(gateways.c.schema < oldest, gateways.c.left_at.is_(None))
    found = connection.execute(which.where(gateways.c.seen_at > now)).all() if _is_shared(connection) else []
    if found:
        names = ", ".join(f"'{row.name}' (Freehold {row.version})" for row in found)
        raise HomeError(
            f"the database must be changed in a way that gateways which run now cannot bear: {names}. Stop them, start "
            "this version, and then the others with it"
        )


def _is_shared(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _row(values: Mapping[Any, Any]) -> GatewayRow:
    return GatewayRow(**values)
