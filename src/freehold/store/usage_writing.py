"""Writing the usage database: receipts, their sums, what was flagged, administrative actions and how far it is read.

All of it in one transaction.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from functools import lru_cache
from itertools import chain
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Table, and_, bindparam, delete, func, literal_column, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_tables import (
    DAY_US,
    HOUR_US,
    KEYS,
    SUMS,
    admin_actions,
    filter_flags,
    projection,
    requests,
    training_stretches,
    usage_daily,
    usage_hourly,
)

ROW: Final = tuple(str(name) for name in requests.c.keys())  # noqa: SIM118  # a collection of columns is no mapping
"""The order of a row's values."""
ACTION: Final = tuple(str(name) for name in admin_actions.c.keys())  # noqa: SIM118
"""The order of the values of an administrative action's row."""
FLAG: Final = tuple(str(name) for name in filter_flags.c.keys())  # noqa: SIM118
"""The order of the values of the row of one thing that the content filter found."""
STRETCH: Final = tuple(str(name) for name in training_stretches.c.keys())  # noqa: SIM118
"""The order of the values of the row of a stretch of a training."""

Row: TypeAlias = tuple[Any, ...]

_ROWS_PER_STATEMENT: Final = (200, 20, 1)
"""SQLite takes at most 32,766 values in a statement."""
_ROLLUPS: Final = ((usage_hourly, HOUR_US), (usage_daily, DAY_US))
_HERE: Final = and_(
    requests.c.writer == bindparam("of_writer"), requests.c.seq.between(bindparam("first"), bindparam("last"))
)
_PRESENT: Final = select(requests.c.seq).where(_HERE)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a writer's journal is read.

    `segment`, `offset` and `seq` are as in a reader's cursor, the place behind the last record; then come the place
    of that record and the SHA-256 of its line, in hex.
    """

    segment: int = 1
    offset: int = 0
    seq: int = 0
    last_segment: int = 0
    last_offset: int = 0
    head: str = ""


_COLUMNS: Final = [projection.c[field.name] for field in fields(Progress)]


async def load_progress(database: UsageDatabase, writer: str) -> Progress:
    """How far the database has got with a writer's journal.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.write`.
    """
    async with database.write() as connection:
        await connection.execute(
            _insert(database.dialect, projection)
            .values(_values(writer, Progress()))
            .on_conflict_do_nothing(index_elements=["writer"])
        )
        found = (await connection.execute(select(*_COLUMNS).where(projection.c.writer == writer))).one()
        return Progress(*found)


async def write_batch(
    database: UsageDatabase,
    writer: str,
    before: Progress,
    after: Progress,
    rows: Sequence[Row],
    actions: Sequence[Row] = (),
    flags: Sequence[Row] = (),
    stretches: Sequence[Row] = (),
) -> bool:
    """Add what stands between two places of a journal: each record once, however often this is called.

    Args:
        database: where to.
        writer: whose journal.
        before: how far it was read.
        after: how far it is read with these rows.
        rows: the receipts, values in the order of `ROW`.
        actions: the administrative records, values in the order of `ACTION`.
        flags: what the content filter found in the requests of these receipts, values in the order of `FLAG`.
        stretches: of trainings, values in the order of `STRETCH`; one that is there already is left out.

    Returns:
        False if the database is not at `before`; then nothing was changed.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.write`.
    """
    async with database.write() as connection:
        # First, so that it takes the lock: what follows sees everything that others wrote.
        moved = await connection.execute(
            update(projection)
            .where(projection.c.writer == writer, projection.c.seq == before.seq, projection.c.head == before.head)
            .values(_values(writer, after))
        )
        if moved.rowcount != 1:
            return False
        if rows:
            await _add(connection, database, writer, before.seq + 1, after.seq, rows)
        for table, more in ((admin_actions, actions), (filter_flags, flags), (training_stretches, stretches)):
            if more:
                await _insert_rows(connection, database.dialect, table, more)
        return True


async def _add(
    connection: AsyncConnection, database: UsageDatabase, writer: str, first: int, last: int, rows: Sequence[Row]
) -> None:
    """Insert those rows that are new, and add exactly those to the rollups."""
    place = {"of_writer": writer, "first": first, "last": last}
    there = (await connection.execute(_PRESENT, place)).scalars().all()
    await _insert_rows(connection, database.dialect, requests, rows)
    for statement in _new_rolled_up(database.dialect):
        await connection.execute(statement, {**place, "there": there or [0]})


async def _insert_rows(connection: AsyncConnection, dialect: str, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that are not there yet, in the transaction of the connection.

    They go to the driver as they are, past SQLAlchemy: no value needs a conversion. SQLite gets many in a statement,
    since its driver contends for the interpreter once a statement with the threads that serve requests.
    """
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None, "the connection is open"
    if dialect == "postgresql":
        await driver.executemany(_row_statement(dialect, table), rows)
        return
    begin = 0
    for size in _ROWS_PER_STATEMENT:
        while len(rows) - begin >= size:
            chunk = rows[begin : begin + size]
            await driver.execute(_row_statement(dialect, table, size), tuple(chain.from_iterable(chunk)))
            begin += size


async def clear(database: UsageDatabase, writer: str, first: int) -> None:
    """Begin anew: forget what came from a writer's journal, from a record on.

    What is older stays, because the journal no longer has it; the sums are made again from the rows that stay.

    Args:
        database: which one.
        writer: whose journal.
        first: the oldest record that the journal still has; 0 to forget everything of all writers.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.write`.
    """
    stays = or_(requests.c.writer != writer, requests.c.seq < first)
    async with database.write() as connection:
        for table in (admin_actions, filter_flags, training_stretches):
            goes = and_(table.c.writer == writer, table.c.seq >= first)
            await connection.execute(delete(table) if first == 0 else delete(table).where(goes))
        await connection.execute(delete(projection) if first == 0 else _forget(writer))
        if first == 0 or (await connection.execute(select(requests.c.seq).where(stays).limit(1))).first() is None:
            for table in (requests, usage_hourly, usage_daily):
                await connection.execute(_emptied(database, table))
        else:
            await connection.execute(delete(requests).where(~stays))
            for table, width_us in _ROLLUPS:
                await connection.execute(_emptied(database, table))
                await connection.execute(_rolled_up(database.dialect, table, width_us, requests.c.seq > 0))


async def forget_flags(database: UsageDatabase, writer: str, first: int) -> int:
    """Delete what the content filter found in requests whose receipts the journal no longer has; how many rows.

    Args:
        database: which one.
        writer: whose journal.
        first: the oldest record that the journal still has.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.write`.
    """
    gone = delete(filter_flags).where(filter_flags.c.writer == writer, filter_flags.c.seq < first)
    async with database.write() as connection:
        return (await connection.execute(gone)).rowcount


def _forget(writer: str) -> Any:
    return delete(projection).where(projection.c.writer == writer)


def _emptied(database: UsageDatabase, table: Table) -> Any:
    """A statement that empties a table without looking at its rows, which both databases have, each in its way."""
    return text(f"TRUNCATE {table.name}") if database.dialect == "postgresql" else delete(table)


@lru_cache
def _new_rolled_up(dialect: str) -> tuple[Any, ...]:
    """The statements that add new rows to the rollups: built once, for they cost more than what they do."""
    new = and_(_HERE, requests.c.seq.not_in(bindparam("there", expanding=True)))
    return tuple(_rolled_up(dialect, table, width_us, new) for table, width_us in _ROLLUPS)


def _rolled_up(dialect: str, table: Table, width_us: int, chosen: ColumnElement[bool]) -> Any:
    """A statement that adds the sums of chosen rows to a rollup."""
    # A literal, not a parameter: PostgreSQL takes two parameters for two different expressions.
    begin = requests.c.started_at - requests.c.started_at % literal_column(str(width_us))
    keys = [requests.c[name] for name in KEYS]
    sums = [func.sum(requests.c[name]) for name in SUMS]
    selected = select(begin, *keys, *sums).where(chosen).group_by(begin, *keys)
    statement = _insert(dialect, table).from_select(["started_at", *KEYS, *SUMS], selected)
    return statement.on_conflict_do_update(
        index_elements=["started_at", *KEYS],
        set_={name: table.c[name] + statement.excluded[name] for name in SUMS},
    )


def _insert(dialect: str, table: Table) -> Any:
    """An `INSERT` that knows `ON CONFLICT`, which SQLAlchemy has for each dialect separately."""
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)


@lru_cache
def _row_statement(dialect: str, table: Table, rows: int = 1) -> str:
    """The statement that inserts rows unless they are there, as the driver takes it."""
    columns = [str(name) for name in table.c.keys()]  # noqa: SIM118  # a collection of columns is no mapping
    marks = ", ".join(f"${n}" if dialect == "postgresql" else "?" for n in range(1, len(columns) + 1))
    names = ", ".join(f'"{name}"' for name in columns)
    # The names are constants of this program.
    values = ", ".join([f"({marks})"] * rows)
    return f"INSERT INTO {table.name} ({names}) VALUES {values} ON CONFLICT DO NOTHING"  # noqa: S608


def _values(writer: str, progress: Progress) -> dict[str, Any]:
    names = [field.name for field in fields(Progress)]
    return {"writer": writer, **dict(zip(names, astuple(progress), strict=True))}
