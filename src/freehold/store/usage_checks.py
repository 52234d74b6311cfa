"""What reconciliation reads of the usage database: the rows themselves, and the same sums made in three ways."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Select, Table, cast, func, literal, literal_column, select, union_all

from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_tables import DAY_US, filter_flags, requests, usage_daily, usage_hourly
from freehold.store.usage_writing import FLAG, ROW, Row

_SOURCES: Final = {"requests": requests, "usage_hourly": usage_hourly, "usage_daily": usage_daily}


@dataclass(frozen=True, slots=True)
class DaySum:
    """Sums of one day and deployment: `day_us` is its beginning, in microseconds since the epoch."""

    day_us: int
    deployment: str
    requests: int
    tokens: int
    cost_micro: int


async def rows_between(database: UsageDatabase, writer: str, first: int, last: int) -> dict[int, Row]:
    """The rows of a writer's records from `first` to `last`, by their number, values in the order of `ROW`.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    columns = [requests.c[name] for name in ROW]
    chosen = select(*columns).where(requests.c.writer == writer, requests.c.seq.between(first, last))
    at = ROW.index("seq")
    async with database.read() as connection:
        return {row[at]: tuple(row) for row in await connection.execute(chosen)}


async def flags_between(database: UsageDatabase, writer: str, first: int, last: int) -> set[Row]:
    """What was flagged in the requests of a writer's records from `first` to `last`, values in the order of `FLAG`.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    columns = [filter_flags.c[name] for name in FLAG]
    chosen = select(*columns).where(filter_flags.c.writer == writer, filter_flags.c.seq.between(first, last))
    async with database.read() as connection:
        return {tuple(row) for row in await connection.execute(chosen)}


async def places_of(database: UsageDatabase, request_ids: Collection[str]) -> dict[str, int]:
    """For requests that the database has, the number of the record.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    chosen = select(requests.c.request_id, requests.c.seq).where(requests.c.request_id.in_(request_ids))
    async with database.read() as connection:
        return {row[0]: row[1] for row in await connection.execute(chosen)}


async def day_sums(database: UsageDatabase) -> dict[str, list[DaySum]]:
    """The sums of all days and deployments, from the rows and from both rollups, as they were at one moment.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    # One statement, so that all see the same state while the projection goes on.
    statement = union_all(*(_by_day(name, table) for name, table in _SOURCES.items()))
    found: dict[str, list[DaySum]] = {name: [] for name in _SOURCES}
    async with database.read() as connection:
        for name, *values in await connection.execute(statement):
            found[name].append(DaySum(*values))
    return found


def _by_day(name: str, table: Table) -> Select[Any]:
    day = table.c.started_at - table.c.started_at % literal_column(str(DAY_US))
    tokens = table.c.prompt_tokens + table.c.completion_tokens
    sums = (cast(func.sum(each), BigInteger) for each in (table.c.requests, tokens, table.c.cost_micro))
    return select(literal(name), day.label("day"), table.c.deployment, *sums).group_by(day, table.c.deployment)
