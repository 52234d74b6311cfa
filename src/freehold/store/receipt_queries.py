"""Lists of receipts, newest first, as far as the usage database knows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Text, literal, select, tuple_

from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_tables import requests

_SECOND_US: Final = 1_000_000
_PLACE: Final = (requests.c.started_at, requests.c.writer, requests.c.seq)

Place = tuple[int, str, int]
"""Where a receipt stands in the order of all: when its request began, in microseconds, and its record."""


@dataclass(frozen=True, slots=True)
class ReceiptQuery:
    """Which receipts.

    Args:
        where: column → values of which it has one; columns are those of the table `requests`.
        where_not: column → values of which it has none.
        start_s: the first second in which their requests began, since the epoch; None for the first there is.
        end_s: the first second after them; None for no end.
        after: the place of the last one that the caller has seen.
        limit: how many at most.
    """

    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    where_not: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    start_s: int | None = None
    end_s: int | None = None
    after: Place | None = None
    limit: int = 20


async def list_receipts(database: UsageDatabase, query: ReceiptQuery) -> tuple[list[dict[str, Any]], bool]:
    """Rows of the table `requests`, newest first, and whether there are more.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    statement = select(requests).where(*_conditions(query)).order_by(*(column.desc() for column in _PLACE))
    async with database.read() as connection:
        rows = (await connection.execute(statement.limit(query.limit + 1))).mappings().all()
    return [dict(row) for row in rows[: query.limit]], len(rows) > query.limit


async def receipt_place(database: UsageDatabase, query: ReceiptQuery, request_id: str) -> Place | None:
    """Where a receipt stands; None if it is none of those that the query is about.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    statement = select(*_PLACE).where(requests.c.request_id.in_(_storable([request_id])), *_conditions(query))
    async with database.read() as connection:
        row = (await connection.execute(statement)).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


def _conditions(query: ReceiptQuery) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [requests.c[name].in_(_storable(each)) for name, each in query.where.items()]
    found += [requests.c[name].not_in(values) for name, values in query.where_not.items()]
    if query.start_s is not None:
        found.append(requests.c.started_at >= query.start_s * _SECOND_US)
    if query.end_s is not None:
        found.append(requests.c.started_at < query.end_s * _SECOND_US)
    if query.after is not None:
        at, writer, seq = query.after
        place = tuple_(literal(at, BigInteger), literal(writer, Text), literal(seq, BigInteger))
        found += [tuple_(*_PLACE) < place, requests.c.started_at <= at]  # the second for the index
    return found


def _storable(values: Sequence[str]) -> list[str]:
    """The values as they can stand in a row: PostgreSQL's texts hold no NUL, see `projection_rows`."""
    return [value.replace("\0", "\ufffd") for value in values]
