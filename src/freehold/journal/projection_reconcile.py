"""Reconciliation: whether the journal, the usage database and the engines agree, record by record."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from freehold.journal.projection_fold import (
    EngineUse,
    Expected,
    Fold,
    Gaps,
    add_row,
    day_figures,
    differences,
    engine_gaps,
    read_rows,
    receipts_of,
)
from freehold.journal.projection_reports import UsageReports
from freehold.journal.reader import Cursor
from freehold.store.usage_checks import DaySum, day_sums, flags_between, places_of, rows_between
from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_training import stretches_of
from freehold.store.usage_writing import FLAG, ROW, STRETCH, Row

PATIENCE_S: Final = 60.0
"""How long the database may take to catch up."""
_REQUEST_ID: Final = ROW.index("request_id")
_FLAG_KEY: Final = FLAG.index("name") + 1
"""How many values at the beginning of a flag's row name it."""
_PLACE: Final = STRETCH.index("stretch_id")
"""How many values at the beginning of a stretch's row say where it stands."""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was compared.

    Args:
        records: how many records of the journal were read, of them `receipts`, and `stretches` of trainings.
        running: how many requests have no receipt because they still run.
        days: the sums of each day and deployment, and whether database and rollups have the same.
        engines: what each engine counts, beside its receipts.
        gaps: what does not agree; empty if all does. `gap_count` is how many there are, named here or not.
    """

    records: int
    receipts: int
    stretches: int
    running: int
    days: list[dict[str, Any]]
    engines: list[dict[str, Any]]
    gaps: list[str]
    gap_count: int

    def wire(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"object": "reconciliation", **asdict(self)}


async def reconcile(reports: UsageReports, report: Callable[[int, int], None]) -> Reconciliation:
    """Compare everything that is durable now. Requests go on meanwhile.

    Args:
        reports: what to compare.
        report: told of the progress: records that were read, and all.

    Raises:
        Unavailable, HomeError: the database cannot be used.
        JournalDamaged: a line of the journal is no record.
    """
    journal, database = reports.journal, reports.database
    asked = journal.durable.seq
    counters = await reports.counters()
    # In this order: whatever an engine has counted has ended by now, or runs; and what has ended is durable then.
    running = set(reports.running())
    await journal.checkpoint()
    until = journal.durable
    running |= set(reports.running())
    since = {replica: EngineUse(round(made.since * 1_000_000)) for _, replica, made in counters}
    fold = Fold(asked, since)
    if not await reports.projection.caught_up(PATIENCE_S):
        state = reports.projection.state
        behind = f"the usage database lacks the last {reports.projection.lag} records of the journal"
        fold.gaps.add(f"{behind}: {state.reason}" if state.reason else behind)
    stored: dict[tuple[int, str], list[int]] = {}
    cursor = Cursor()
    while cursor.seq < until.seq:
        after, expected = await asyncio.to_thread(read_rows, journal.folder, fold, cursor, until)
        if after == cursor:
            break
        between = (max(cursor.seq + 1, fold.first), after.seq)
        await _compare(database, journal.folder.name, fold, expected.rows, between, stored)
        await _compare_flags(database, journal.folder.name, fold.gaps, expected, between)
        await _compare_stretches(database, journal.folder.name, fold.gaps, expected.stretches, between)
        cursor = after
        report(cursor.seq, until.seq)
    engines = engine_gaps(counters, fold, {name for _, name in fold.open.values()})
    await _settled(reports, fold, running, until)
    days = _days(day_figures(fold.days), day_figures(stored), await day_sums(database), fold.gaps)
    still = len(running & fold.open.keys())
    counts = (fold.records, fold.receipts, len(fold.stretches), still)
    return Reconciliation(*counts, days, engines, fold.gaps.named, fold.gaps.count)


async def _compare(
    database: UsageDatabase,
    writer: str,
    fold: Fold,
    expected: Mapping[int, Row],
    between: tuple[int, int],
    stored: dict[tuple[int, str], list[int]],
) -> None:
    """Compare the rows of some records with those in the database, and add the latter up."""
    found = await rows_between(database, writer, *between)
    for row in found.values():
        add_row(stored, row)
    missing = {seq: expected[seq][_REQUEST_ID] for seq in sorted(expected.keys() - found.keys())}
    elsewhere = await places_of(database, set(missing.values())) if missing else {}
    for seq, request_id in missing.items():
        other = elsewhere.get(request_id)
        fold.gaps.add(
            f"the usage database lacks the receipt of {request_id} (record {seq})"
            if other is None
            else f"request {request_id} has two receipts: records {other} and {seq}"
        )
    for seq in sorted(found.keys() - expected.keys()):
        fold.gaps.add(f"the usage database has a receipt in record {seq}, and the journal has none there")
    for seq in sorted(found.keys() & expected.keys()):
        names = differences(expected[seq], found[seq])
        if names:
            request_id = expected[seq][_REQUEST_ID]
            fold.gaps.add(f"the usage database has another {', '.join(names)} of {request_id} (record {seq})")


async def _compare_flags(
    database: UsageDatabase, writer: str, gaps: Gaps, expected: Expected, between: tuple[int, int]
) -> None:
    """Compare what was flagged in the requests of some records with what the database has of them."""
    found = {flag[:_FLAG_KEY]: flag for flag in await flags_between(database, writer, *between)}
    wanted = {flag[:_FLAG_KEY]: flag for flag in expected.flags}
    for key in sorted(found.keys() | wanted.keys()):
        _, seq, side, name = key
        flag = f"'{side}:{name}' of the content filter in record {seq}"
        if key not in found:
            gaps.add(f"the usage database lacks the finding {flag}")
        elif key not in wanted:
            gaps.add(f"the usage database has the finding {flag}, and the journal has none there")
        elif found[key] != wanted[key]:
            gaps.add(f"the usage database has another finding {flag} than the journal")


async def _compare_stretches(
    database: UsageDatabase, writer: str, gaps: Gaps, expected: Mapping[str, Row], between: tuple[int, int]
) -> None:
    """Compare the stretches of trainings in some records with those in the database.

    One that was recorded twice stands at the first of its records, which the journal may no longer have.
    """
    found, here = await stretches_of(database, writer, expected.keys(), between)
    for stretch_id in sorted(expected.keys() - found.keys()):
        gaps.add(f"the usage database lacks the training {stretch_id}")
    for stretch_id in sorted(here - expected.keys()):
        gaps.add(f"the usage database has the training {stretch_id}, and the journal has none there")
    for stretch_id in sorted(expected.keys() & found.keys()):
        if expected[stretch_id][_PLACE:] != found[stretch_id][_PLACE:]:
            gaps.add(f"the usage database has other figures of the training {stretch_id}")


async def _settled(reports: UsageReports, fold: Fold, running: set[str], until: Cursor) -> None:
    """See that every request that was admitted runs or has a receipt."""
    left = fold.open.keys() - running
    if left:
        # One that was admitted and ended since the running ones were asked for has its receipt further on.
        await reports.journal.checkpoint()
        cursor, end = until, reports.journal.durable
        while cursor.seq < end.seq:
            cursor, ended = await asyncio.to_thread(receipts_of, reports.journal.folder, cursor, end)
            left -= ended
    for each in sorted(left):
        fold.gaps.add(f"request {each} was admitted (record {fold.open[each][0]}) and has no receipt")


def _days(
    journal: Mapping[tuple[int, str], DaySum],
    stored: Mapping[tuple[int, str], DaySum],
    sums: Mapping[str, list[DaySum]],
    gaps: Gaps,
) -> list[dict[str, Any]]:
    """The sums side by side, and a gap for each rollup that differs from the rows that it sums up."""
    tables = {name: {(each.day_us, each.deployment): each for each in found} for name, found in sums.items()}
    rows = tables.pop("requests")
    days = []
    for key in sorted(journal.keys() | rows.keys() | tables["usage_hourly"].keys() | tables["usage_daily"].keys()):
        day = datetime.fromtimestamp(key[0] // 1_000_000, UTC).date().isoformat()
        agree = {name: table.get(key) == rows.get(key) for name, table in tables.items()}
        for name in (name for name, same in agree.items() if not same):
            there, here = _shown(tables[name].get(key)), _shown(rows.get(key))
            gaps.add(f"{name} has {there} for {day}, deployment '{key[1]}', and the rows have {here}")
        days.append(
            {
                "day": day,
                "deployment": key[1],
                "journal": _figures(journal.get(key)),
                "database": _figures(stored.get(key)),
                "hourly_agrees": agree["usage_hourly"],
                "daily_agrees": agree["usage_daily"],
            }
        )
    return days


def _figures(found: DaySum | None) -> dict[str, int]:
    if found is None:
        return {"requests": 0, "tokens": 0, "cost_micro": 0}
    return {"requests": found.requests, "tokens": found.tokens, "cost_micro": found.cost_micro}


def _shown(found: DaySum | None) -> str:
    figures = _figures(found)
    return f"{figures['requests']} requests, {figures['tokens']} tokens and {figures['cost_micro']} micro-units"
