"""The tables of jobs. Every write of a worker names its lease, and does nothing where that is lost or over."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.store.database import Database
from freehold.store.job_tables import job_events, jobs
from freehold.types.jobs import Job, JobEvent, JobState, Lease

MOST_EVENTS: Final = 200
"""Of one job that are kept; the oldest go first."""


async def add_job(connection: AsyncConnection, job: Job) -> None:
    """Add a job, within the caller's transaction."""
    values = {field.name: getattr(job, field.name) for field in fields(Job)}
    await connection.execute(insert(jobs).values(values))
    await add_event(connection, job.id, job.created_at, "queued")


async def add_event(connection: AsyncConnection, job_id: str, now_s: int, event: str, detail: str = "") -> None:
    """Note what happened to a job, within the caller's transaction."""
    table = job_events
    newest = select(func.coalesce(func.max(table.c.number), 0)).where(table.c.job_id == job_id)
    number = int((await connection.execute(newest)).scalar_one()) + 1
    values = {"job_id": job_id, "number": number, "created_at": now_s, "event": event, "detail": detail[:200]}
    await connection.execute(insert(table).values(values))
    old = (table.c.job_id == job_id) & (table.c.number <= number - MOST_EVENTS)
    await connection.execute(delete(table).where(old))


async def take_job(
    database: Database, kinds: Collection[str], worker: str, now_ms: int, lease_ms: int, *, per_project: int
) -> Job | None:
    """Lease the next job: the highest priority first, within one who came first; None if there is nothing to do.

    Args:
        database: where the jobs are.
        kinds: what the worker can do.
        worker: names it.
        now_ms: the time, in milliseconds since the epoch.
        lease_ms: how long the lease holds.
        per_project: how many jobs of a project run at most.
    """
    busy = jobs.alias("busy")
    running = (
        select(func.count())
        .where(busy.c.project_id == jobs.c.project_id, busy.c.state == JobState.RUNNING, busy.c.lease_until_ms > now_ms)
        .scalar_subquery()
    )
    ready = and_(jobs.c.state == JobState.QUEUED, jobs.c.not_before_ms <= now_ms)
    dropped = and_(jobs.c.state == JobState.RUNNING, jobs.c.lease_until_ms <= now_ms)
    query = (
        select(jobs)
        .where(jobs.c.kind.in_(kinds), or_(ready, dropped), running < per_project)
        .order_by(jobs.c.priority.desc(), jobs.c.id)
        .limit(1)
    )
    async with database.write() as connection:
        row = (await connection.execute(query)).mappings().first()
        if row is None:
            return None
        values = {
            "state": JobState.RUNNING,
            "worker": worker,
            "token": row["token"] + 1,
            "attempts": row["attempts"] + 1,
            "lease_until_ms": now_ms + lease_ms,
            "started_at": row["started_at"] or now_ms // 1000,
        }
        await connection.execute(update(jobs).where(jobs.c.id == row["id"]).values(values))
        lost = row["state"] == JobState.RUNNING
        await add_event(connection, row["id"], now_ms // 1000, "taken_over" if lost else "started", worker)
        return _job({**row, **values})


def holds(lease: Lease, now_ms: int) -> ColumnElement[bool]:
    """Whether the job of a lease is still its holder's."""
    return and_(
        jobs.c.id == lease.job_id,
        jobs.c.token == lease.token,
        jobs.c.state == JobState.RUNNING,
        jobs.c.lease_until_ms > now_ms,
    )


async def write_leased(
    connection: AsyncConnection, lease: Lease, now_ms: int, values: Mapping[str, Any]
) -> bool | None:
    """Change a job, within the caller's transaction, as the holder of its lease.

    Returns:
        Whether it is to end soon; None where the lease is lost, and nothing has changed.
    """
    if not (await connection.execute(update(jobs).where(holds(lease, now_ms)).values(dict(values)))).rowcount:
        return None
    query = select(jobs.c.cancelling).where(jobs.c.id == lease.job_id)
    return bool((await connection.execute(query)).scalar_one())


async def change_leased(
    database: Database, lease: Lease, now_ms: int, values: Mapping[str, Any], event: str = "", detail: str = ""
) -> bool | None:
    """As `write_leased`, in a transaction of its own, and with an event if one is named."""
    async with database.write() as connection:
        found = await write_leased(connection, lease, now_ms, values)
        if found is not None and event:
            await add_event(connection, lease.job_id, now_ms // 1000, event, detail)
        return found


async def cancel_job(connection: AsyncConnection, job_id: str, now_s: int) -> JobState | None:
    """Ask a job to end, within the caller's transaction; one that was never begun ends at once.

    Returns:
        Its state afterwards; None if there is no such job.
    """
    row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).mappings().first()
    if row is None:
        return None
    state = JobState(row["state"])
    if row["finished_at"] is not None or row["cancelling"]:
        return state
    values: dict[str, Any] = {"cancelling": True, "not_before_ms": 0}
    if state is JobState.QUEUED and not row["token"]:
        state = JobState.CANCELLED
        values |= {"state": state, "finished_at": now_s}
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    await add_event(connection, job_id, now_s, "cancelled" if state is JobState.CANCELLED else "cancelling")
    return state


async def release_jobs(database: Database, kinds: Collection[str], now_ms: int) -> int:
    """Let jobs be taken again whose workers cannot live any more; how many there were."""
    async with database.write() as connection:
        done = await connection.execute(
            update(jobs).where(jobs.c.kind.in_(kinds), jobs.c.state == JobState.RUNNING).values(lease_until_ms=now_ms)
        )
        return done.rowcount


async def get_job(database: Database, job_id: str) -> Job | None:
    """A job; None if there is none."""
    async with database.read() as connection:
        row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).mappings().first()
        return None if row is None else _job(row)


async def events_of(database: Database, job_id: str) -> list[JobEvent]:
    """What happened to a job, oldest first."""
    table = job_events
    columns = (table.c.number, table.c.created_at, table.c.event, table.c.detail)
    async with database.read() as connection:
        rows = await connection.execute(select(*columns).where(table.c.job_id == job_id).order_by(table.c.number))
        return [JobEvent(*row) for row in rows]


async def next_moment_ms(database: Database, kinds: Collection[str], now_ms: int) -> int | None:
    """When the next job can be begun that cannot be yet, in milliseconds since the epoch; None if there is none."""
    waits = and_(jobs.c.state == JobState.QUEUED, jobs.c.not_before_ms > now_ms)
    query = select(func.min(jobs.c.not_before_ms)).where(jobs.c.kind.in_(kinds), waits)
    async with database.read() as connection:
        found: int | None = (await connection.execute(query)).scalar_one()
        return found


def _job(row: RowMapping | Mapping[str, Any]) -> Job:
    return Job(**{**row, "state": JobState(row["state"])})
