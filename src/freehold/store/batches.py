"""The tables of batches and of what became of their lines. What callers wrote or were answered is ciphertext.

Whatever a worker writes goes with the lease of its job: where that is lost, nothing is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import case, delete, func, insert, select, update

from freehold.store.database import Database
from freehold.store.job_tables import jobs, kept_batch_results, kept_batches
from freehold.store.jobs import add_job, cancel_job, write_leased
from freehold.store.kept_items import Reader
from freehold.store.owned_rows import get_owned, list_owned, load_owned
from freehold.types.batches import BATCH_ENDED, BatchStatus, LineUsage
from freehold.types.jobs import Job, JobState, Lease


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One batch; the fields are the columns of its table."""

    id: str
    organization_id: str
    project_id: str
    owner_id: str
    private: bool
    job_id: str
    key_id: str
    auth_method: str
    dialect: str
    endpoint: str
    input_file_id: str
    status: str
    enqueued_tokens: int
    header: bytes
    ends_at: int
    created_at: int
    expires_at: int
    model: str = ""
    total: int = 0
    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    output_file_id: str = ""
    error_file_id: str = ""
    problems: bytes = b""
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    cancelling_at: int | None = None
    ended_at: int | None = None


@dataclass(frozen=True, slots=True)
class ResultRow:
    """What became of a line: `size` is that of the content before it was encrypted, in bytes."""

    line: int
    failed: bool
    size: int
    content: bytes


async def add_batch(database: Database, row: BatchRow, job: Job, *, most_tokens: int) -> int:
    """Add a batch and its job, if the batches of its project that have not ended come to no more tokens then.

    Returns:
        What they come to with it; it was not added where that is more.
    """
    table = kept_batches
    query = select(func.coalesce(func.sum(table.c.enqueued_tokens), 0)).where(
        table.c.organization_id == row.organization_id,
        table.c.project_id == row.project_id,
        table.c.status.not_in(BATCH_ENDED),
    )
    async with database.write() as connection:
        together = int((await connection.execute(query)).scalar_one()) + row.enqueued_tokens
        if together <= most_tokens:
            values = {field.name: getattr(row, field.name) for field in fields(BatchRow)}
            await connection.execute(insert(table).values(values))
            await add_job(connection, job)
    return together


async def get_batch(database: Database, reader: Reader, batch_id: str) -> BatchRow | None:
    """A batch that a reader may see; None if there is none."""
    return await get_owned(database, kept_batches, BatchRow, reader, batch_id)


async def list_batches(database: Database, reader: Reader, *, after: str | None, limit: int) -> list[BatchRow]:
    """The batches that a reader may see, the newest first."""
    return await list_owned(database, kept_batches, BatchRow, reader, after=after, limit=limit)


async def load_batch(database: Database, batch_id: str, now_s: float) -> BatchRow | None:
    """A batch, for whoever works on it; None if it is gone."""
    return await load_owned(database, kept_batches, BatchRow, batch_id, now_s)


async def cancel_batch(database: Database, row: BatchRow, now_s: int) -> None:
    """Have a batch end soon; one that was never begun ends now. One that is about to end goes on."""
    table = kept_batches
    going = table.c.status.in_((BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS))
    async with database.write() as connection:
        values: dict[str, Any] = {"status": BatchStatus.CANCELLING, "cancelling_at": now_s}
        changed = update(table).where(table.c.id == row.id, going)
        if not (await connection.execute(changed.values(values))).rowcount:
            return
        if await cancel_job(connection, row.job_id, now_s) in {JobState.CANCELLED, None}:
            values = {"status": BatchStatus.CANCELLED, "ended_at": now_s}
            await connection.execute(update(table).where(table.c.id == row.id).values(values))


async def change_batch(
    database: Database, lease: Lease, now_ms: int, batch_id: str, values: Mapping[str, Any], *, total: int | None = None
) -> bool | None:
    """Change a batch as the holder of its job's lease; one that is being cancelled stays so until it ends.

    Args:
        database: where it is.
        lease: of its job.
        now_ms: the time, in milliseconds since the epoch.
        batch_id: names it.
        values: its columns. A last state takes the results of its lines with it.
        total: how many lines it has, where that has become known.

    Returns:
        Whether it is to end soon; None where the lease is lost, or the batch gone.
    """
    table, values = kept_batches, dict(values)
    status = values.get("status")
    if status is not None and status not in BATCH_ENDED:
        cancelling = BatchStatus.CANCELLING.value
        values["status"] = case((table.c.status == cancelling, cancelling), else_=status.value)
    progress = {"attempts": 1} if total is None else {"attempts": 1, "total": total}
    values |= {} if total is None else {"total": total}
    async with database.write() as connection:
        stopping = await write_leased(connection, lease, now_ms, progress)
        if stopping is None:
            return None
        if not (await connection.execute(update(table).where(table.c.id == batch_id).values(values))).rowcount:
            return None
        if status in BATCH_ENDED:
            await connection.execute(delete(kept_batch_results).where(kept_batch_results.c.batch_id == batch_id))
        return stopping


async def put_results(
    database: Database, lease: Lease, now_ms: int, batch: BatchRow, results: Sequence[ResultRow], usage: LineUsage
) -> bool | None:
    """Write what became of lines, and count them, all in one transaction; arguments and result as `change_batch`."""
    table, failed = kept_batches, sum(result.failed for result in results)
    whose = {name: getattr(batch, name) for name in ("organization_id", "project_id", "owner_id", "expires_at")}
    rows = [
        {
            "batch_id": batch.id,
            "line": result.line,
            "failed": result.failed,
            "size": result.size,
            "content": result.content,
            "created_at": batch.created_at,
            **whose,
        }
        for result in results
    ]
    counted: dict[str, Any] = {
        field.name: table.c[field.name] + getattr(usage, field.name) for field in fields(LineUsage)
    }
    counted |= {"completed": table.c.completed + len(results) - failed, "failed": table.c.failed + failed}
    here = table.c.id == batch.id
    progress = {
        "done": select(table.c.completed + table.c.failed).where(here).scalar_subquery(),
        "failed": select(table.c.failed).where(here).scalar_subquery(),
    }
    async with database.write() as connection:
        stopping = await write_leased(connection, lease, now_ms, {"attempts": 1})
        if stopping is None or not (await connection.execute(update(table).where(here).values(counted))).rowcount:
            return None
        await connection.execute(insert(kept_batch_results), rows)
        await connection.execute(update(jobs).where(jobs.c.id == lease.job_id).values(progress))
        return stopping


async def finished_lines(database: Database, batch_id: str) -> set[int]:
    """The numbers of the lines that are done."""
    table = kept_batch_results
    async with database.read() as connection:
        rows = await connection.execute(select(table.c.line).where(table.c.batch_id == batch_id))
        return {row[0] for row in rows}


async def list_results(database: Database, batch_id: str, *, failed: bool, after: int, limit: int) -> list[ResultRow]:
    """What became of lines, in their order, from the one behind `after` on."""
    table = kept_batch_results
    query = (
        select(table.c.line, table.c.failed, table.c.size, table.c.content)
        .where(table.c.batch_id == batch_id, table.c.failed.is_(failed), table.c.line > after)
        .order_by(table.c.line)
        .limit(limit)
    )
    async with database.read() as connection:
        return [ResultRow(*row) for row in await connection.execute(query)]


async def result_bytes(database: Database, batch_id: str, *, failed: bool) -> int:
    """How long a file of these results is, each with the end of its line; 0 if there are none."""
    table = kept_batch_results
    query = select(func.coalesce(func.sum(table.c.size + 1), 0)).where(
        table.c.batch_id == batch_id, table.c.failed.is_(failed)
    )
    async with database.read() as connection:
        return int((await connection.execute(query)).scalar_one())
