"""Rows of evaluations, of their runs, and of what became of items.

Whatever a worker writes goes with the lease of its job: where that is lost, nothing is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.store.database import Database
from freehold.store.evaluation_tables import kept_eval_items, kept_eval_runs, kept_evals
from freehold.store.jobs import add_job, cancel_job, write_leased
from freehold.store.kept_items import Page, Reader, visible
from freehold.store.owned_rows import get_owned
from freehold.types.evaluations import RUN_ENDED, ItemResult, ItemStatus, ModelUsage, RunStatus
from freehold.types.jobs import Job, JobState, Lease


@dataclass(frozen=True, slots=True)
class EvalRow:
    """One evaluation; the fields are the columns of its table."""

    id: str
    organization_id: str
    project_id: str
    owner_id: str
    private: bool
    header: bytes
    updated_at: int
    created_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run; the fields are the columns of its table."""

    id: str
    eval_id: str
    organization_id: str
    project_id: str
    owner_id: str
    private: bool
    job_id: str
    key_id: str
    auth_method: str
    status: str
    header: bytes
    created_at: int
    expires_at: int
    model: str = ""
    deployment: str = ""
    catalog_model: str = ""
    total: int = 0
    passed: int = 0
    failed: int = 0
    errored: int = 0
    tally: Sequence[Sequence[int]] = ()
    usage: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    plan: bytes = b""
    problem: bytes = b""
    started_at: int | None = None
    ended_at: int | None = None


@dataclass(frozen=True, slots=True)
class ItemRow:
    """What became of an item; the fields are columns of its table."""

    number: int
    status: str
    scores: Sequence[float | None]
    content: bytes
    created_at: int


async def add_eval(database: Database, row: EvalRow) -> None:
    """Add an evaluation."""
    async with database.write() as connection:
        await connection.execute(insert(kept_evals).values(asdict(row)))


async def get_eval(database: Database, reader: Reader, eval_id: str) -> EvalRow | None:
    """An evaluation that a reader may see; None if there is none."""
    return await get_owned(database, kept_evals, EvalRow, reader, eval_id)


async def list_evals(database: Database, reader: Reader, page: Page, *, by_update: bool) -> list[EvalRow]:
    """The evaluations that a reader may see, in the order of their making or of their last change."""
    table = kept_evals
    query = select(table).where(*visible(table, reader))
    columns = (table.c.updated_at, table.c.id) if by_update else (table.c.id,)
    if page.after is not None and not by_update:  # ids are in the order of time, whether or not it is still there
        query = query.where(_beyond(columns, (page.after,), newest_first=page.newest_first))
    elif page.after is not None:
        last = await get_eval(database, reader, page.after)
        if last is not None:
            values = (last.updated_at, last.id)
            query = query.where(_beyond(columns, values, newest_first=page.newest_first))
    ordered = [column.desc() if page.newest_first else column for column in columns]
    async with database.read() as connection:
        rows = (await connection.execute(query.order_by(*ordered).limit(page.limit))).mappings()
        return [EvalRow(**row) for row in rows]


async def change_eval(database: Database, row: EvalRow, header: bytes, now_s: int) -> bool:
    """Give an evaluation another header; false if it is gone."""
    changed = update(kept_evals).where(kept_evals.c.id == row.id).values(header=header, updated_at=now_s)
    async with database.write() as connection:
        return (await connection.execute(changed)).rowcount == 1


async def delete_eval(database: Database, row: EvalRow, now_s: int) -> bool:
    """Remove an evaluation with its runs, those of others too; false if it is gone."""
    async with database.write() as connection:
        runs = (await connection.execute(_runs_of(row))).mappings().all()
        for run in runs:
            await _delete_run(connection, run["id"], run["job_id"], now_s)
        return (await connection.execute(delete(kept_evals).where(kept_evals.c.id == row.id))).rowcount == 1


async def add_run(database: Database, row: RunRow, job: Job) -> None:
    """Add a run and its job."""
    values = {each.name: getattr(row, each.name) for each in fields(RunRow)}
    async with database.write() as connection:
        await connection.execute(insert(kept_eval_runs).values(values))
        await add_job(connection, job)


async def get_run(database: Database, reader: Reader, eval_id: str | None, run_id: str) -> RunRow | None:
    """A run, of a certain evaluation if one is named, for a reader; None if there is none."""
    table = kept_eval_runs
    query = select(table).where(table.c.id == run_id, *visible(table, reader))
    if eval_id is not None:
        query = query.where(table.c.eval_id == eval_id)
    async with database.read() as connection:
        row = (await connection.execute(query)).mappings().first()
        return None if row is None else RunRow(**row)


async def list_runs(database: Database, reader: Reader, eval_id: str, page: Page, status: str | None) -> list[RunRow]:
    """The runs of an evaluation that a reader may see, in the order of time."""
    table = kept_eval_runs
    query = select(table).where(table.c.eval_id == eval_id, *visible(table, reader))
    if status is not None:
        query = query.where(table.c.status == status)
    if page.after is not None:
        query = query.where(_beyond((table.c.id,), (page.after,), newest_first=page.newest_first))
    order = table.c.id.desc() if page.newest_first else table.c.id
    async with database.read() as connection:
        rows = (await connection.execute(query.order_by(order).limit(page.limit))).mappings()
        return [RunRow(**row) for row in rows]


async def completed_runs(
    database: Database, organization_id: str, project_id: str, model: str, now_s: float
) -> list[tuple[EvalRow, RunRow]]:
    """The finished runs in a project in which a model was asked, with their evaluations, the newest first.

    A run whose answers were brought along says nothing of a model, whatever its caller says; nor does one that somebody
    else made than whose the evaluation is, for who makes a run chooses its items.
    """
    table, parents = kept_eval_runs, kept_evals
    query = (
        select(table)
        .join(parents, and_(parents.c.id == table.c.eval_id, parents.c.owner_id == table.c.owner_id))
        .where(
            table.c.organization_id == organization_id,
            table.c.project_id == project_id,
            table.c.status == RunStatus.COMPLETED,
            table.c.expires_at > now_s,
            table.c.catalog_model == model,
        )
        .order_by(table.c.ended_at.desc(), table.c.id.desc())
    )
    async with database.read() as connection:
        runs = [RunRow(**row) for row in (await connection.execute(query)).mappings()]
    evals = {row.id: row for row in await evals_of(database, organization_id, project_id, now_s)}
    return [(evals[run.eval_id], run) for run in runs if run.eval_id in evals]


async def evals_of(database: Database, organization_id: str, project_id: str, now_s: float) -> list[EvalRow]:
    """The evaluations of a project and of all its members."""
    table = kept_evals
    query = select(table).where(
        table.c.organization_id == organization_id, table.c.project_id == project_id, table.c.expires_at > now_s
    )
    async with database.read() as connection:
        return [EvalRow(**row) for row in (await connection.execute(query)).mappings()]


async def load_run(database: Database, run_id: str, now_s: float) -> tuple[EvalRow, RunRow] | None:
    """A run and its evaluation, for whoever works on it; None if one is gone."""
    table = kept_eval_runs
    query = select(table).where(table.c.id == run_id, table.c.expires_at > now_s)
    async with database.read() as connection:
        run = (await connection.execute(query)).mappings().first()
        if run is None:
            return None
        parent = select(kept_evals).where(kept_evals.c.id == run["eval_id"])
        row = (await connection.execute(parent)).mappings().first()
        return None if row is None else (EvalRow(**row), RunRow(**run))


async def cancel_run(database: Database, row: RunRow, now_s: int) -> None:
    """Have a run end soon; one that was never begun ends now."""
    table = kept_eval_runs
    async with database.write() as connection:
        if await cancel_job(connection, row.job_id, now_s) in {JobState.CANCELLED, None}:
            ended = update(table).where(table.c.id == row.id, table.c.status.not_in(RUN_ENDED))
            await connection.execute(ended.values(status=RunStatus.CANCELED, ended_at=now_s))


async def delete_run(database: Database, row: RunRow, now_s: int) -> bool:
    """Remove a run with its items; one that is at work ends. False if it is gone."""
    async with database.write() as connection:
        return await _delete_run(connection, row.id, row.job_id, now_s)


async def change_run(
    database: Database, lease: Lease, now_ms: int, run_id: str, values: Mapping[str, Any]
) -> bool | None:
    """Change a run as the holder of its job's lease.

    Returns:
        Whether it is to end soon; None where the lease is lost, or the run gone.
    """
    progress = {"attempts": 1, **({"total": values["total"]} if "total" in values else {})}
    changed = update(kept_eval_runs).where(kept_eval_runs.c.id == run_id).values(dict(values))
    async with database.write() as connection:
        stopping = await write_leased(connection, lease, now_ms, progress)
        return stopping if stopping is not None and (await connection.execute(changed)).rowcount else None


async def put_items(
    database: Database, lease: Lease, now_ms: int, run: RunRow, results: Sequence[tuple[ItemResult, bytes]]
) -> bool | None:
    """Write what became of items, and count them, in one transaction; arguments and result as `change_run`.

    Each result comes with its content as it is stored.
    """
    table = kept_eval_runs
    whose = {name: getattr(run, name) for name in ("organization_id", "project_id", "owner_id", "expires_at")}
    rows = [
        {
            "run_id": run.id,
            "number": result.number,
            "status": result.status,
            "scores": list(result.scores),
            "content": content,
            "created_at": now_ms // 1000,
            **whose,
        }
        for result, content in results
    ]
    async with database.write() as connection:
        stopping = await write_leased(connection, lease, now_ms, {"attempts": 1})
        query = select(table).where(table.c.id == run.id)
        found = None if stopping is None else (await connection.execute(query)).mappings().first()
        if found is None:
            return None
        counts = counted(RunRow(**found), [result for result, _ in results])
        await connection.execute(update(table).where(table.c.id == run.id).values(counts))
        await connection.execute(insert(kept_eval_items), rows)
        done, failed = counts["passed"] + counts["failed"] + counts["errored"], counts["errored"]
        return await write_leased(connection, lease, now_ms, {"done": done, "failed": failed})


def counted(run: RunRow, results: Sequence[ItemResult]) -> dict[str, Any]:
    """The counts of a run with more items."""
    tally = [list(each) for each in run.tally]
    usage = {name: ModelUsage(**each) for name, each in run.usage.items()}
    for result in results:
        for place, passed in enumerate(result.passed):
            if passed is not None:
                tally[place][0 if passed else 1] += 1
        for name, used in result.usage.items():
            usage[name] = usage.get(name, ModelUsage()) + used
    statuses = [result.status for result in results]
    return {
        "passed": run.passed + statuses.count(ItemStatus.PASSED),
        "failed": run.failed + statuses.count(ItemStatus.FAILED),
        "errored": run.errored + statuses.count(ItemStatus.ERRORED),
        "tally": tally,
        "usage": {name: asdict(used) for name, used in usage.items()},
    }


async def finished_items(database: Database, run_id: str) -> set[int]:
    """The numbers of the items that are done."""
    table = kept_eval_items
    async with database.read() as connection:
        rows = await connection.execute(select(table.c.number).where(table.c.run_id == run_id))
        return {row[0] for row in rows}


async def scores_of(database: Database, run_id: str) -> dict[int, list[float | None]]:
    """The scores of every item by its number, for each criterion."""
    table = kept_eval_items
    query = select(table.c.number, table.c.scores).where(table.c.run_id == run_id).order_by(table.c.number)
    async with database.read() as connection:
        return {row[0]: list(row[1]) for row in await connection.execute(query)}


async def list_run_items(
    database: Database, run_id: str, *, after: int | None, page: Page, status: str | None
) -> list[ItemRow]:
    """What became of items, in their order, from the one behind `after` on."""
    table = kept_eval_items
    query = _items(run_id)
    if status is not None:
        query = query.where(table.c.status == status)
    if after is not None:
        query = query.where(table.c.number < after if page.newest_first else table.c.number > after)
    order = table.c.number.desc() if page.newest_first else table.c.number
    async with database.read() as connection:
        return [ItemRow(*row) for row in await connection.execute(query.order_by(order).limit(page.limit))]


async def get_run_item(database: Database, run_id: str, number: int) -> ItemRow | None:
    """What became of one item; None if there is none of that number, or it is not done."""
    async with database.read() as connection:
        query = _items(run_id).where(kept_eval_items.c.number == number)
        row = (await connection.execute(query)).first()
        return None if row is None else ItemRow(*row)


def _items(run_id: str) -> Any:
    table = kept_eval_items
    columns = (table.c.number, table.c.status, table.c.scores, table.c.content, table.c.created_at)
    return select(*columns).where(table.c.run_id == run_id)


def _runs_of(row: EvalRow) -> Any:
    table: Table = kept_eval_runs
    return select(table.c.id, table.c.job_id).where(table.c.eval_id == row.id)


async def _delete_run(connection: AsyncConnection, run_id: str, job_id: str, now_s: int) -> bool:
    await cancel_job(connection, job_id, now_s)
    await connection.execute(delete(kept_eval_items).where(kept_eval_items.c.run_id == run_id))
    return (await connection.execute(delete(kept_eval_runs).where(kept_eval_runs.c.id == run_id))).rowcount == 1


def _beyond(columns: Sequence[ColumnElement[Any]], values: Sequence[Any], *, newest_first: bool) -> ColumnElement[bool]:
    """Whether a row comes behind one with these values."""
    first, value = columns[0], values[0]
    strictly: ColumnElement[bool] = first < value if newest_first else first > value
    if len(columns) == 1:
        return strictly
    return or_(strictly, and_(first == value, _beyond(columns[1:], values[1:], newest_first=newest_first)))
