"""Sums of usage: over the rollups where they suffice, over single requests where a range cuts an hour or a day."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import BigInteger, Select, Subquery, Table, cast, func, literal_column, select, union_all

from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_tables import DAY_US, HOUR_US, KEYS, SUMS, requests, usage_daily, usage_hourly

MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which requests to add up, and how to keep them apart.

    Args:
        start_s: the first second in which they started, since the epoch.
        end_s: the first second after them.
        width_s: `MINUTE_S`, `HOUR_S` or `DAY_S`: sums for each of these, in UTC; None for one sum over all.
        where: column → values of which it has one; columns are those of the table `requests`.
        where_not: column → values of which it has none.
        group_by: columns by which they are kept apart.
        most: how many sums are told at most; None for all.
    """

    start_s: int
    end_s: int
    width_s: int | None = None
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    where_not: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    group_by: tuple[str, ...] = ()
    most: int | None = None


@dataclass(frozen=True, slots=True)
class UsageSum:
    """One group's sums in one bucket.

    Args:
        start_s: the beginning of the bucket, in seconds since the epoch; of the query without a width.
        keys: the values of `group_by`, in its order; the empty text where a request has none.
        requests: how many there were; of them `model_requests` called an engine. The rest is as on receipts.
    """

    start_s: int
    keys: tuple[str, ...]
    requests: int
    model_requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    images: int
    cost_micro: int
    duration_us: int


async def sum_usage(database: UsageDatabase, query: UsageQuery) -> list[UsageSum]:
    """The sums, by bucket and then by keys; groups without a request are left out.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    if query.start_s >= query.end_s:
        return []
    statement = _statement(query)
    begin = 1 + len(query.group_by)
    async with database.read() as connection:
        found = (await connection.execute(statement)).all()
    return [UsageSum(row[0] // _SECOND_US, tuple(row[1:begin]), *row[begin:]) for row in found]


def _statement(query: UsageQuery) -> Select[Any]:
    parts = [_part(query, *part) for part in _parts(query)]
    rows: Subquery = (union_all(*parts) if len(parts) > 1 else parts[0]).subquery()
    keys = [rows.c.bucket, *(rows.c[name] for name in query.group_by)]
    # PostgreSQL adds up to a `numeric`, which would come back as a Decimal.
    sums = [cast(func.sum(rows.c[name]), BigInteger) for name in SUMS]
    return select(*keys, *sums).group_by(*keys).order_by(*keys).limit(query.most)


def _part(query: UsageQuery, table: Table, start_us: int, end_us: int) -> Select[Any]:
    """The rows of one table within a range of time."""
    started_at = table.c.started_at
    bucket = (
        started_at - started_at % literal_column(str(query.width_s * _SECOND_US))
        if query.width_s is not None
        else literal_column(str(query.start_s * _SECOND_US), BigInteger)
    )
    columns = (table.c[name] for name in (*query.group_by, *SUMS))
    return select(bucket.label("bucket"), *columns).where(
        started_at >= start_us,
        started_at < end_us,
        *(table.c[name].in_(values) for name, values in query.where.items()),
        *(table.c[name].not_in(values) for name, values in query.where_not.items()),
    )


def _parts(query: UsageQuery) -> list[tuple[Table, int, int]]:
    """Which table to read for which part of the range: whole hours or days from a rollup, the edges from requests."""
    start_us, end_us = query.start_s * _SECOND_US, query.end_s * _SECOND_US
    used = {*query.group_by, *query.where, *query.where_not}
    if not used <= set(KEYS) or query.width_s == MINUTE_S:
        return [(requests, start_us, end_us)]
    table, unit_us = (usage_hourly, HOUR_US) if query.width_s == HOUR_S else (usage_daily, DAY_US)
    inner_start, inner_end = -(-start_us // unit_us) * unit_us, end_us // unit_us * unit_us
    if inner_start >= inner_end:
        return [(requests, start_us, end_us)]
    parts = [(requests, start_us, inner_start), (table, inner_start, inner_end), (requests, inner_end, end_us)]
    return [part for part in parts if part[1] < part[2]]
