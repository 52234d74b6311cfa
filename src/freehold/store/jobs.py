"""The tables of jobs. Every write of a worker names its lease, and does nothing where that is lost or over."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, and_, case, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.store.database import Database
from freehold.store.job_tables import job_events, jobs
from freehold.store.kept_items import Reader
from freehold.store.training_tables import training_jobs
from freehold.types.jobs import ENDED, Job, JobEvent, JobState, Lease, Wish

MOST_EVENTS: Final = 200
"""Of one job that are kept; the oldest go first."""
_AT_ONCE: Final = 500


async def add_job(connection: AsyncConnection, job: Job) -> None:
    """Add a job, within the caller's transaction."""
    values = {field.name: getattr(job, field.name) for field in fields(Job)}
    await connection.execute(insert(jobs).values(values))
    await add_event(connection, job.id, job.created_at, "queued")


async def count_waiting(database: Database, project_id: str, kind: str) -> int:
    """How many jobs of a project and a kind have not ended."""
    waiting = and_(jobs.c.project_id == project_id, jobs.c.kind == kind, jobs.c.state.not_in(ENDED))
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(jobs).where(waiting))).scalar_one())


async def delete_ended(database: Database, before_s: float) -> int:
    """Delete jobs that ended by then, with what happened to them; how many there were."""
    return await _delete_jobs(database, and_(jobs.c.finished_at.is_not(None), jobs.c.finished_at <= before_s))


async def erase_jobs(
    database: Database, organization_id: str, now_s: int, *, project_id: str = "", owner_id: str = ""
) -> int:
    """Delete the jobs of a project or of an owner; those at work are asked to end. How many were deleted."""
    assert project_id or owner_id, "an organization's jobs go project by project"
    which: ColumnElement[bool] = jobs.c.organization_id == organization_id
    which &= jobs.c.project_id == project_id if project_id else jobs.c.owner_id == owner_id
    async with database.write() as connection:
        ids = (await connection.execute(select(jobs.c.id).where(which, jobs.c.finished_at.is_(None)))).scalars().all()
        for job_id in ids:
            await cancel_job(connection, job_id, now_s)
    return await _delete_jobs(database, and_(which, jobs.c.state != JobState.RUNNING))


async def _delete_jobs(database: Database, which: ColumnElement[bool]) -> int:
    """Delete jobs, some at a time, so that no other writer waits long."""
    total = 0
    while True:
        async with database.write() as connection:
            ids = (await connection.execute(select(jobs.c.id).where(which).limit(_AT_ONCE))).scalars().all()
            for parts in (job_events, training_jobs):
                await connection.execute(delete(parts).where(parts.c.job_id.in_(ids)))
            await connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
        total += len(ids)
        if len(ids) < _AT_ONCE:
            return total


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
        per_project: how many jobs of a project and a kind run at most.
    """
    busy = jobs.alias("busy")
    running = (
        select(func.count())
        .where(busy.c.project_id == jobs.c.project_id, busy.c.kind == jobs.c.kind)
        .where(busy.c.state == JobState.RUNNING, busy.c.lease_until_ms > now_ms)
        .scalar_subquery()
    )
    ready = and_(jobs.c.state == JobState.QUEUED, jobs.c.not_before_ms <= now_ms)
    goes_on = and_(jobs.c.state == JobState.PAUSED, jobs.c.not_before_ms > 0, jobs.c.not_before_ms <= now_ms)
    dropped = and_(jobs.c.state == JobState.RUNNING, jobs.c.lease_until_ms <= now_ms)
    query = (
        select(jobs)
        .where(jobs.c.kind.in_(kinds), or_(ready, goes_on, dropped), running < per_project)
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
            "stage": "",
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
) -> Wish | None:
    """Change a job as the holder of its lease, with an event if one is named.

    Returns:
        What is asked of the holder; None where the lease is lost, and nothing has changed.
    """
    async with database.write() as connection:
        wish = await _wish(connection, lease, now_ms)
        if wish is None:
            return None
        if values:
            await connection.execute(update(jobs).where(holds(lease, now_ms)).values(dict(values)))
        if event:
            await add_event(connection, lease.job_id, now_ms // 1000, event, detail)
        return wish


async def give_back(
    database: Database, lease: Lease, now_ms: int, values: Mapping[str, Any], event: str, detail: str = ""
) -> Wish | None:
    """As `change_leased`, and let the job be taken again, or be paused where that is asked."""
    async with database.write() as connection:
        wish = await _wish(connection, lease, now_ms)
        if wish is None:
            return None
        if wish is Wish.PAUSE:
            values, event, detail = {"state": JobState.PAUSED}, "paused", ""
        changed = {**values, "pausing": False, "stage": ""}
        await connection.execute(update(jobs).where(holds(lease, now_ms)).values(changed))
        await add_event(connection, lease.job_id, now_ms // 1000, event, detail)
        return wish


async def go_forward(
    database: Database, lease: Lease, now_ms: int, *, done: int, total: int, failed: int
) -> Wish | None:
    """Write how far a job is, as the holder of its lease; going forward counts as a new beginning."""
    attempts = case((jobs.c.done < done, 1), else_=jobs.c.attempts)
    return await change_leased(
        database, lease, now_ms, {"done": done, "total": total, "failed": failed, "attempts": attempts}
    )


async def _wish(connection: AsyncConnection, lease: Lease, now_ms: int) -> Wish | None:
    """What is asked of the holder of a lease; None where it is lost."""
    query = select(jobs.c.cancelling, jobs.c.pausing).where(holds(lease, now_ms))
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    if row.cancelling:
        return Wish.CANCEL
    return Wish.PAUSE if row.pausing else Wish.GO_ON


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
    values: dict[str, Any] = {"cancelling": True, "pausing": False, "not_before_ms": 0}
    if state is JobState.PAUSED:
        state = JobState.QUEUED
    if state is JobState.QUEUED and not row["token"]:
        state = JobState.CANCELLED
        values["finished_at"] = now_s
    values["state"] = state
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    await add_event(connection, job_id, now_s, "cancelled" if state is JobState.CANCELLED else "cancelling")
    return state


async def is_unbegun(connection: AsyncConnection, job_id: str) -> bool:
    """Whether a job waits that nobody has ever had."""
    here = (jobs.c.id == job_id) & (jobs.c.state == JobState.QUEUED) & (jobs.c.token == 0)
    return (await connection.execute(select(jobs.c.id).where(here))).first() is not None


async def fail_unbegun(connection: AsyncConnection, job_id: str, now_s: int) -> None:
    """Write that a job has failed which nobody has ever had, within the caller's transaction."""
    values = {"state": JobState.FAILED, "finished_at": now_s}
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    await add_event(connection, job_id, now_s, JobState.FAILED.value)


async def pause_job(connection: AsyncConnection, job_id: str, now_ms: int, until_ms: int = 0) -> JobState | None:
    """Ask that nobody works on a job, within the caller's transaction; one that nobody has is paused at once.

    Args:
        connection: the caller's.
        job_id: names it.
        now_ms: the time, in milliseconds since the epoch.
        until_ms: when it goes on by itself; 0 is never.

    Returns:
        Its state afterwards: as it was where it has ended or is to end. None if there is no such job.
    """
    row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).mappings().first()
    if row is None:
        return None
    state = JobState(row["state"])
    if state in ENDED or state is JobState.PAUSED or row["cancelling"] or row["pausing"]:
        return state
    at_work = state is JobState.RUNNING and row["lease_until_ms"] > now_ms
    state = state if at_work else JobState.PAUSED
    values = {"state": state, "pausing": at_work, "not_before_ms": until_ms}
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    await add_event(connection, job_id, now_ms // 1000, "pausing" if at_work else "paused")
    return state


async def resume_job(connection: AsyncConnection, job_id: str, now_s: int) -> JobState | None:
    """Let a job that is paused, or is to be, go on, within the caller's transaction; result as `pause_job`."""
    row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).mappings().first()
    if row is None:
        return None
    state = JobState(row["state"])
    if state is not JobState.PAUSED and not row["pausing"]:
        return state
    state = JobState.QUEUED if state is JobState.PAUSED else state
    values = {"state": state, "pausing": False, "not_before_ms": 0, "attempts": 0}
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    await add_event(connection, job_id, now_s, "resumed")
    return state


def worker_name(gateway: str, name: str) -> str:
    """What a worker of a gateway is called in the queue; an empty gateway is the only one."""
    return f"{gateway}/{name}" if gateway else name


async def release_jobs(database: Database, kinds: Collection[str], now_ms: int) -> int:
    """Let jobs be taken again whose workers cannot live any more, those of this gateway; how many there were."""
    async with database.write() as connection:
        return await release_jobs_of(connection, database.gateway, now_ms, kinds)


async def release_jobs_of(
    connection: AsyncConnection, gateway: str, now_ms: int, kinds: Collection[str] | None = None
) -> int:
    """As `release_jobs`, for the workers of any gateway, within the caller's transaction; of all kinds if None."""
    which = update(jobs).where(jobs.c.state == JobState.RUNNING)
    which = which if kinds is None else which.where(jobs.c.kind.in_(kinds))
    if gateway:
        which = which.where(jobs.c.worker.startswith(worker_name(gateway, ""), autoescape=True))
    return (await connection.execute(which.values(lease_until_ms=now_ms))).rowcount


async def get_job(database: Database, job_id: str) -> Job | None:
    """A job; None if there is none."""
    async with database.read() as connection:
        row = (await connection.execute(select(jobs).where(jobs.c.id == job_id))).mappings().first()
        return None if row is None else _job(row)


async def find_job(database: Database, reader: Reader, name: str) -> Job | None:
    """A job that a reader may see, by its id or by that of what it is about: the newest; None if there is none."""
    query = select(jobs).where(or_(jobs.c.id == name, jobs.c.subject == name), _seen(reader))
    async with database.read() as connection:
        row = (await connection.execute(query.order_by(jobs.c.id.desc()).limit(1))).mappings().first()
        return None if row is None else _job(row)


async def list_jobs(
    database: Database,
    reader: Reader,
    *,
    kind: str | None = None,
    states: Collection[JobState] = (),
    after: str | None = None,
    limit: int,
) -> list[Job]:
    """The jobs that a reader may see, the newest first.

    Args:
        database: where they are.
        reader: who reads.
        kind: only those; all if None.
        states: only those that are shown in one of these; all if there is none.
        after: only those made before the job of this id.
        limit: how many at most.
    """
    query = select(jobs).where(_seen(reader))
    query = query if kind is None else query.where(jobs.c.kind == kind)
    query = query.where(or_(*map(_shown, states))) if states else query
    query = query if after is None else query.where(jobs.c.id < after)
    async with database.read() as connection:
        rows = (await connection.execute(query.order_by(jobs.c.id.desc()).limit(limit))).mappings()
        return [_job(row) for row in rows]


async def events_of(database: Database, job_id: str, after: int = 0, limit: int = MOST_EVENTS) -> list[JobEvent]:
    """What happened to a job, oldest first, from the event behind number `after` on."""
    table = job_events
    those = and_(table.c.job_id == job_id, table.c.number > after)
    columns = (table.c.number, table.c.created_at, table.c.event, table.c.detail)
    async with database.read() as connection:
        rows = await connection.execute(select(*columns).where(those).order_by(table.c.number).limit(limit))
        return [JobEvent(*row) for row in rows]


async def next_moment_ms(database: Database, kinds: Collection[str], now_ms: int) -> int | None:
    """When the next job can be begun that cannot be yet, in milliseconds since the epoch; None if there is none."""
    waits = and_(jobs.c.state.in_((JobState.QUEUED, JobState.PAUSED)), jobs.c.not_before_ms > now_ms)
    query = select(func.min(jobs.c.not_before_ms)).where(jobs.c.kind.in_(kinds), waits)
    async with database.read() as connection:
        found: int | None = (await connection.execute(query)).scalar_one()
        return found


def _shown(state: JobState) -> ColumnElement[bool]:
    """Whether a job is shown in a state; see `Job.shown`."""
    waits = and_(jobs.c.state == JobState.RUNNING, jobs.c.stage == state.value)
    if state is JobState.RUNNING:
        return and_(jobs.c.state == state, jobs.c.stage == "")
    return or_(jobs.c.state == state, waits)


def _seen(reader: Reader) -> ColumnElement[bool]:
    """Whether a job is there for the reader."""
    return and_(
        jobs.c.organization_id == reader.organization_id,
        jobs.c.project_id == reader.project_id,
        or_(jobs.c.private.is_(False), jobs.c.owner_id == reader.member_id),
    )


def _job(row: RowMapping | Mapping[str, Any]) -> Job:
    return Job(**{**row, "state": JobState(row["state"])})
