"""What requests to models came to, minute by minute: sums, and percentiles of durations, from single requests.

Nothing is sorted for percentiles: durations are counted in classes of a hundredth of their decade, and read from the
counts, with an error of at most a tenth.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import BigInteger, Column, ColumnElement, Select, case, cast, func, literal_column, select

from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_tables import requests
from freehold.types.receipt import Outcome

_SECOND_US: Final = 1_000_000
_STEPS: Final = 100
"""Classes in a decade."""
_DECADES: Final = 7
"""The first ends at a millisecond, the last at a thousand seconds."""
_FIRST_US: Final = 1000


@dataclass(frozen=True, slots=True)
class OverviewQuery:
    """Which requests, and in how wide buckets.

    Args:
        start_s: the first second in which they started, since the epoch; the beginning of a bucket.
        end_s: the first second after them.
        width_s: of a bucket.
        where: column → values of which it has one.
    """

    start_s: int
    end_s: int
    width_s: int
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OverviewSum:
    """The sums of one bucket, deployment and outcome.

    Args:
        start_s: the beginning of the bucket.
        deployment: that served; empty where none did.
        outcome: how the requests ended.
        requests: how many there were. The rest is as on receipts.
    """

    start_s: int
    deployment: str
    outcome: str
    requests: int
    model_requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    images: int
    cost_micro: int


@dataclass(frozen=True, slots=True)
class Durations:
    """How long finished requests of one bucket or one deployment took: how many are in each class."""

    key: int | str
    counts: tuple[tuple[int, int], ...]


async def overview_sums(database: UsageDatabase, query: OverviewQuery) -> list[OverviewSum]:
    """The sums, by bucket; what had no request is left out.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    keys = [_bucket(query), requests.c.deployment, requests.c.outcome]
    # PostgreSQL adds up to a `numeric`, which would come back as a Decimal.
    sums = [cast(func.sum(requests.c[name]), BigInteger) for name in OverviewSum.__slots__[3:]]
    statement = _of(query, select(*keys, *sums)).group_by(*keys).order_by(keys[0])
    async with database.read() as connection:
        return [OverviewSum(*row) for row in (await connection.execute(statement)).all()]


async def overview_durations(
    database: UsageDatabase, query: OverviewQuery, *, first_token: bool, by_deployment: bool
) -> list[Durations]:
    """How long finished requests took, by bucket or by deployment.

    Args:
        database: where the requests are.
        query: which of them.
        first_token: until the first piece of the answer, instead of to its end.
        by_deployment: kept apart by the deployment that served, instead of by the bucket.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    column = requests.c.first_token_us if first_token else requests.c.duration_us
    key: ColumnElement[Any] = requests.c.deployment if by_deployment else _bucket(query)
    kind = _class(column)
    statement = _of(query, select(key, kind, func.count()))
    statement = statement.where(requests.c.outcome == Outcome.FINISHED.value, column.is_not(None))
    found: dict[int | str, list[tuple[int, int]]] = {}
    async with database.read() as connection:
        for name, number, count in (await connection.execute(statement.group_by(key, kind))).all():
            found.setdefault(name, []).append((number, count))
    return [Durations(name, tuple(counts)) for name, counts in found.items()]


async def recent_tokens(database: UsageDatabase, query: OverviewQuery, since_s: float) -> dict[str, int]:
    """How many tokens each deployment has completed in requests that ended since a time.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    tokens = cast(func.sum(requests.c.completion_tokens), BigInteger)
    statement = _of(query, select(requests.c.deployment, tokens))
    statement = statement.where(requests.c.ended_at >= int(since_s * _SECOND_US)).group_by(requests.c.deployment)
    async with database.read() as connection:
        return {row[0]: row[1] for row in (await connection.execute(statement)).all()}


def percentiles(durations: Iterable[Durations], *shares: float) -> list[float | None]:
    """Percentiles in seconds, of all of these together; None where there was no request.

    Args:
        durations: of which buckets or deployments.
        shares: of the requests that took no longer, from 0 to 1.
    """
    counts: dict[int, int] = {}
    for each in durations:
        for number, count in each.counts:
            counts[number] = counts.get(number, 0) + count
    ordered = sorted(counts.items())
    return [_percentile(ordered, share) for share in shares]


def _percentile(counts: Sequence[tuple[int, int]], share: float) -> float | None:
    """Where within its class a percentile is, if those of a class lie evenly in it."""
    wanted, seen = share * sum(count for _, count in counts), 0
    for number, count in counts:
        if seen + count >= wanted:
            low, width = _bounds(number)
            return (low + width * max(0.0, wanted - seen) / count) / _SECOND_US
        seen += count
    return None


def _bounds(number: int) -> tuple[int, int]:
    """Where a class begins, and how wide it is, in microseconds."""
    decade, step = divmod(number, _STEPS)
    width = _FIRST_US * 10**decade // _STEPS
    return step * width, width


def _class(column: Column[int]) -> ColumnElement[int]:
    """The number of a duration's class: a hundred for each decade, and the last one for all that is longer."""
    tops = [_FIRST_US * 10**decade for decade in range(_DECADES)]
    return case(
        *((column < top, decade * _STEPS + column // _number(top // _STEPS)) for decade, top in enumerate(tops)),
        else_=_DECADES * _STEPS - 1,
    )


def _bucket(query: OverviewQuery) -> ColumnElement[int]:
    """The second in which a request's bucket begins."""
    behind = requests.c.started_at - _number(query.start_s * _SECOND_US)
    return (requests.c.started_at - behind % _number(query.width_s * _SECOND_US)) // _number(_SECOND_US)


def _number(value: int) -> ColumnElement[int]:
    """A number in the statement itself, so that equal expressions are equal to the database."""
    return literal_column(str(value), BigInteger)


def _of(query: OverviewQuery, statement: Select[Any]) -> Select[Any]:
    """Only the requests that are asked for; those that go to no model are never."""
    return statement.where(
        requests.c.started_at >= query.start_s * _SECOND_US,
        requests.c.started_at < query.end_s * _SECOND_US,
        requests.c.route_kind != "other",
        *(requests.c[name].in_(values) for name, values in query.where.items()),
    )
