"""What the content filter found, by whose requests they were, or by day."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Float, Select, Table, and_, case, cast, func, literal_column, select

from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_tables import DAY_US, filter_flags, requests
from freehold.types.content_filter import Severity

WEIGHTS: Final[Mapping[Severity, int]] = {Severity.LOW: 1, Severity.MEDIUM: 3, Severity.HIGH: 9}
"""What a flagged request counts by its most severe finding."""
LEAST_REQUESTS: Final = 20
"""Whoever sent fewer requests is scored as if it had sent so many: one of one is no pattern yet."""
DAY: Final = "day"
_SECOND_US: Final = 1_000_000

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class FlagQuery:
    """Which requests to look at, and what to keep apart.

    Args:
        organization_id: whose.
        start_s: the first second in which they started, since the epoch.
        end_s: the first second after them.
        group_by: columns by which to keep them apart, or `DAY`; what has none of a column is left out.
        where: column → values of which it has one.
        limit: how many groups at most; the highest score comes first, of days the first day.
        offset: how many groups to leave out before.
    """

    organization_id: str
    start_s: int
    end_s: int
    group_by: tuple[str, ...]
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """In how many requests of a group one thing was found with one severity, and in how many of them it blocked."""

    side: str
    name: str
    severity: int
    requests: int
    blocked: int


@dataclass(frozen=True, slots=True)
class FlagSum:
    """One group.

    Args:
        key: the values of `group_by`; a day as its beginning in seconds.
        requests: all requests of the group in that time, flagged or not.
        flagged: those in which something was found; `blocked` those of them that were.
        points: the sum of `WEIGHTS` over the flagged ones.
        first_s: when the first flagged one started, in seconds since the epoch; `last_s` the last.
        findings: what was found.
    """

    key: Key
    requests: int
    flagged: int
    blocked: int
    points: int
    first_s: int
    last_s: int
    findings: tuple[Finding, ...] = ()

    @property
    def score(self) -> float:
        """How much of what it sent was harmful, and how severely: 0 to 100. See docs/reference/abuse.md."""
        most = max(WEIGHTS.values()) * max(self.requests, LEAST_REQUESTS)
        return round(100 * self.points / most, 1)


async def sum_flags(database: UsageDatabase, query: FlagQuery) -> tuple[list[FlagSum], bool]:
    """The groups with something flagged in them, and whether there are more.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    width = len(query.group_by)
    async with database.read() as connection:
        rows = (await connection.execute(_groups(query))).all()
        more, rows = len(rows) > query.limit, rows[: query.limit]
        shown = {tuple(row[:width]) for row in rows}
        found: dict[Key, list[Finding]] = {key: [] for key in shown}
        for row in await connection.execute(_findings(query, shown)) if shown else ():
            if tuple(row[:width]) in found:
                found[tuple(row[:width])].append(Finding(*row[width:]))
    return [_sum(query, tuple(row[:width]), row[width:], found) for row in rows], more


async def count_requests(database: UsageDatabase, query: FlagQuery) -> int:
    """How many requests there were in that time, flagged or not, whatever `group_by` says.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    statement = select(func.count()).select_from(requests).where(*_in_question(query, requests), _to_models())
    async with database.read() as connection:
        return int((await connection.execute(statement)).scalar_one())


def _sum(query: FlagQuery, key: Key, figures: Any, found: Mapping[Key, list[Finding]]) -> FlagSum:
    shown = tuple(part // _SECOND_US if name == DAY else part for name, part in zip(query.group_by, key, strict=True))
    sent, flagged, blocked, points, first_us, last_us = figures
    first_s, last_s = first_us // _SECOND_US, last_us // _SECOND_US
    return FlagSum(shown, sent, flagged, blocked, points, first_s, last_s, tuple(found[key]))


def _groups(query: FlagQuery) -> Select[Any]:
    """The groups, one more than are asked for."""
    keys = [_key(filter_flags, name) for name in query.group_by]
    each = [filter_flags.c.writer, filter_flags.c.seq]
    flagged = (
        select(
            *keys,
            func.max(filter_flags.c.severity).label("severity"),
            func.max(filter_flags.c.blocked).label("blocked"),
            func.max(filter_flags.c.started_at).label("started_at"),
        )
        .where(*_in_question(query, filter_flags))
        .group_by(*keys, *each)
        .subquery()
    )
    weight = case(*((flagged.c.severity == level.value, points) for level, points in WEIGHTS.items()), else_=0)
    named = [flagged.c[name] for name in query.group_by]
    groups = (
        select(
            *named,
            func.count().label("flagged"),
            cast(func.sum(flagged.c.blocked), BigInteger).label("blocked"),
            cast(func.sum(weight), BigInteger).label("points"),
            func.min(flagged.c.started_at).label("first_us"),
            func.max(flagged.c.started_at).label("last_us"),
        )
        .group_by(*named)
        .subquery()
    )
    of_all = [_key(requests, name) for name in query.group_by]
    known = [column.in_(select(groups.c[column.name])) for column in of_all if column.name != DAY]
    totals = (
        select(*of_all, func.count().label("requests"))
        .where(*_in_question(query, requests), _to_models(), *known)
        .group_by(*of_all)
        .subquery()
    )
    same = and_(*(groups.c[name] == totals.c[name] for name in query.group_by))
    sent = func.coalesce(totals.c.requests, groups.c.flagged)
    columns = (groups.c[name] for name in (*query.group_by, "flagged", "blocked", "points", "first_us", "last_us"))
    head = list(columns)
    width = len(query.group_by)
    statement = select(*head[:width], sent, *head[width:]).outerjoin_from(groups, totals, same)
    order: list[ColumnElement[Any]] = [groups.c[name] for name in query.group_by]
    if DAY not in query.group_by:
        enough = case((sent > LEAST_REQUESTS, sent), else_=LEAST_REQUESTS)
        order = [(cast(groups.c.points, Float) / enough).desc(), groups.c.flagged.desc(), *order]
    return statement.order_by(*order).limit(query.limit + 1).offset(query.offset)


def _findings(query: FlagQuery, shown: set[Key]) -> Select[Any]:
    """What was found in some groups; in others too, where they have a part of the key in common."""
    keys = [_key(filter_flags, name) for name in query.group_by]
    kinds = [filter_flags.c.side, filter_flags.c.name, filter_flags.c.severity]
    chosen = [
        column.in_({key[place] for key in shown}) for place, column in enumerate(keys) if query.group_by[place] != DAY
    ]
    blocked = cast(func.sum(filter_flags.c.blocked), BigInteger)
    statement = select(*keys, *kinds, func.count(), blocked).where(*_in_question(query, filter_flags), *chosen)
    return statement.group_by(*keys, *kinds).order_by(*keys, filter_flags.c.side.desc(), *kinds[1:])


def _key(table: Table, name: str) -> ColumnElement[Any]:
    if name != DAY:
        return table.c[name]
    # A literal, not a parameter: PostgreSQL takes two parameters for two different expressions.
    return (table.c.started_at - table.c.started_at % literal_column(str(DAY_US))).label(DAY)


def _in_question(query: FlagQuery, table: Table) -> list[ColumnElement[bool]]:
    return [
        table.c.organization_id == query.organization_id,
        table.c.started_at >= query.start_s * _SECOND_US,
        table.c.started_at < query.end_s * _SECOND_US,
        *(table.c[name].in_(_storable(values)) for name, values in query.where.items()),
        *(table.c[name] != "" for name in query.group_by if name != DAY),
    ]


def _storable(values: tuple[str, ...]) -> list[str]:
    """The values as they can stand in a row: PostgreSQL's texts hold no NUL, see `projection_flags`."""
    return [value.replace("\0", "\ufffd") for value in values]


def _to_models() -> ColumnElement[bool]:
    """Requests that could have been flagged: not those that only read."""
    return requests.c.route_kind != "other"
