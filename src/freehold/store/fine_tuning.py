"""The tables of fine-tuning jobs, their events and checkpoints. What callers wrote is ciphertext.

Whatever a worker writes goes with the lease of its job: where that is lost, nothing is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

from sqlalchemy import and_, insert, select, update

from freehold.store.database import Database
from freehold.store.jobs import add_job, cancel_job, fail_unbegun, is_unbegun, write_leased
from freehold.store.kept_items import Reader
from freehold.store.owned_rows import get_owned, list_owned, load_owned
from freehold.store.tuning_tables import kept_tuning_checkpoints, kept_tuning_events, kept_tuning_jobs
from freehold.types.fine_tuning import TUNING_ENDED, Level, TuningStatus
from freehold.types.jobs import Job, Lease

_OF_THE_END: Final = frozenset({"status", "ended_at", "error", "fine_tuned_model", "result_files"})
"""The columns that say how a job ended."""
_OF_THE_JOB: Final = (("step", "done"), ("steps", "total"), ("stage", "stage"))
"""The columns that the queue has too, and what they are called there."""


@dataclass(frozen=True, slots=True)
class TuningRow:
    """One fine-tuning job; the fields are the columns of its table.

    `tokens` are those that were trained so far, `charged_tokens` those of them that have a receipt. `stage` is what a
    job waits for in the hands of its worker, as that of `freehold.types.jobs.Job`.
    """

    id: str
    organization_id: str
    project_id: str
    owner_id: str
    private: bool
    job_id: str
    key_id: str
    auth_method: str
    dialect: str
    model: str
    method: str
    seed: int
    export: str
    training_file: str
    validation_file: str
    status: str
    header: bytes
    created_at: int
    expires_at: int
    error: bytes = b""
    resolved: Mapping[str, Any] = field(default_factory=dict)
    fine_tuned_model: str = ""
    result_files: Sequence[str] = ()
    steps: int = 0
    step: int = 0
    tokens: int = 0
    charged_tokens: int = 0
    crashes: int = 0
    estimated_finish: int | None = None
    ended_at: int | None = None
    stage: str = ""
    preemptions: int = 0
    stretch: int = 0
    stretch_step: int = 0
    stretch_began_us: int | None = None
    stretch_seen_us: int | None = None
    room: Mapping[str, Any] | None = None
    device_us: int = 0
    core_us: int = 0


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened to a job; `content` is what is told."""

    id: str
    level: Level
    type: Literal["message", "metrics"]
    content: bytes
    created_at: int


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A saved state: the step after which it was, the digest of its files, the model made of it, and its metrics.

    `model` is empty where none was made.
    """

    id: str
    step: int
    sha256: str
    model: str
    metrics: Mapping[str, Any]
    created_at: int


async def add_tuning(database: Database, row: TuningRow, job: Job) -> None:
    """Add a job, to this table and to the queue."""
    values = {each.name: getattr(row, each.name) for each in fields(TuningRow)}
    async with database.write() as connection:
        await connection.execute(insert(kept_tuning_jobs).values({**values, "result_files": list(row.result_files)}))
        await add_job(connection, job)


async def get_tuning(database: Database, reader: Reader, tuning_id: str) -> TuningRow | None:
    """A job that a reader may see; None if there is none."""
    return await get_owned(database, kept_tuning_jobs, TuningRow, reader, tuning_id)


async def list_tunings(database: Database, reader: Reader, *, after: str | None, limit: int) -> list[TuningRow]:
    """The jobs that a reader may see, the newest first."""
    return await list_owned(database, kept_tuning_jobs, TuningRow, reader, after=after, limit=limit)


async def load_tuning(database: Database, tuning_id: str, now_s: float) -> TuningRow | None:
    """A job, for whoever works on it; None if it is gone."""
    return await load_owned(database, kept_tuning_jobs, TuningRow, tuning_id, now_s)


async def running_tunings(database: Database, now_s: float) -> set[str]:
    """The ids of the jobs that have not ended."""
    table = kept_tuning_jobs
    query = select(table.c.id).where(table.c.status.not_in(TUNING_ENDED), table.c.expires_at > now_s)
    async with database.read() as connection:
        return {row[0] for row in await connection.execute(query)}


async def cancel_tuning(database: Database, row: TuningRow, now_s: int) -> None:
    """Have a job end as cancelled; what works on it stops at its next step.

    For its callers it has ended at once, as with OpenAI: nothing that still comes of it is kept.
    """
    table = kept_tuning_jobs
    values: dict[str, Any] = {"status": TuningStatus.CANCELLED, "ended_at": now_s, "estimated_finish": None}
    async with database.write() as connection:
        changed = update(table).where(table.c.id == row.id, table.c.status.not_in(TUNING_ENDED)).values(values)
        if (await connection.execute(changed)).rowcount:
            await cancel_job(connection, row.job_id, now_s)


async def set_status(database: Database, tuning_id: str, status: TuningStatus, *before: TuningStatus) -> None:
    """Say of a job that no worker has, and that is in one of the states `before`, how far it is."""
    table = kept_tuning_jobs
    async with database.write() as connection:
        here = (table.c.id == tuning_id) & table.c.status.in_(before)
        await connection.execute(update(table).where(here).values(status=status))


async def change_tuning(
    database: Database, lease: Lease, now_ms: int, row: TuningRow, values: Mapping[str, Any], *events: EventRow
) -> bool:
    """Change a job as the holder of its lease, and add events; one that has ended stays as it ended.

    Args:
        database: where it is.
        lease: of its job.
        now_ms: the time, in milliseconds since the epoch.
        row: the job.
        values: its columns.
        events: what happened; of one that has ended none is added together with another state.

    Returns:
        False where the lease is lost, or the job gone; nothing is written then.
    """
    table = kept_tuning_jobs
    progress: dict[str, Any] = {"attempts": 1} if "step" in values else {"attempts": lease.attempts}
    progress |= {there: values[here] for here, there in _OF_THE_JOB if here in values}
    async with database.write() as connection:
        if await write_leased(connection, lease, now_ms, progress) is None:
            return False
        status = values.get("status")
        here = table.c.id == row.id
        found = (await connection.execute(select(table.c.status).where(here))).scalar_one_or_none()
        if found is None:
            return False
        kept = dict(values)
        if found in TUNING_ENDED and status is not None:
            kept = {name: value for name, value in values.items() if name not in _OF_THE_END}
            events = ()
        if kept:
            await connection.execute(update(table).where(here).values(kept))
        if events:
            await connection.execute(insert(kept_tuning_events), [_of(row, event) for event in events])
        return True


async def settle_waiting(
    database: Database, row: TuningRow, now_s: int, values: Mapping[str, Any], *events: EventRow
) -> bool:
    """Say of a job that no worker has taken yet whether its files can be used; a failed one ends in the queue too.

    Args:
        database: where it is.
        row: the job.
        now_s: the time, in seconds since the epoch.
        values: its columns, with its status.
        events: what happened.

    Returns:
        False where a worker has taken it, or it is not being validated any more; nothing is written then.
    """
    table = kept_tuning_jobs
    async with database.write() as connection:
        if not await is_unbegun(connection, row.job_id):
            return False
        here = (table.c.id == row.id) & (table.c.status == TuningStatus.VALIDATING)
        if not (await connection.execute(update(table).where(here).values(dict(values)))).rowcount:
            return False
        if values["status"] == TuningStatus.FAILED:
            await fail_unbegun(connection, row.job_id, now_s)
        if events:
            await connection.execute(insert(kept_tuning_events), [_of(row, event) for event in events])
        return True


async def add_event(database: Database, row: TuningRow, event: EventRow) -> None:
    """Add an event to a job."""
    async with database.write() as connection:
        await connection.execute(insert(kept_tuning_events).values(_of(row, event)))


async def add_checkpoint(
    database: Database, lease: Lease, now_ms: int, row: TuningRow, checkpoint: CheckpointRow
) -> bool:
    """Add a checkpoint as the holder of the job's lease, in place of one of the same step; results as `change_tuning`.

    The crashes before it are forgotten.
    """
    table = kept_tuning_checkpoints
    async with database.write() as connection:
        if await write_leased(connection, lease, now_ms, {"attempts": 1}) is None:
            return False
        here = kept_tuning_jobs.c.id == row.id
        if not (await connection.execute(update(kept_tuning_jobs).where(here).values(crashes=0))).rowcount:
            return False
        same = and_(table.c.tuning_id == row.id, table.c.step == checkpoint.step)
        values = _of(row, checkpoint)
        kept = {name: values[name] for name in ("sha256", "model", "metrics")}
        if not (await connection.execute(update(table).where(same).values(kept))).rowcount:
            await connection.execute(insert(table).values(values))
        return True


async def list_events(database: Database, tuning_id: str, *, after: str | None, limit: int) -> list[EventRow]:
    """The events of a job, the newest first."""
    table = kept_tuning_events
    query = select(*(table.c[each.name] for each in fields(EventRow))).where(table.c.tuning_id == tuning_id)
    if after is not None:
        query = query.where(table.c.id < after)
    async with database.read() as connection:
        rows = (await connection.execute(query.order_by(table.c.id.desc()).limit(limit))).mappings()
        return [EventRow(**row) for row in rows]


async def list_metrics(database: Database, tuning_id: str, *, after: str, limit: int) -> list[EventRow]:
    """The events of a job that hold metrics, in their order, from the one behind `after` on."""
    table = kept_tuning_events
    here = (table.c.tuning_id == tuning_id) & (table.c.type == "metrics") & (table.c.id > after)
    query = select(*(table.c[each.name] for each in fields(EventRow))).where(here).order_by(table.c.id).limit(limit)
    async with database.read() as connection:
        return [EventRow(**row) for row in (await connection.execute(query)).mappings()]


async def list_checkpoints(database: Database, tuning_id: str, *, after: str | None, limit: int) -> list[CheckpointRow]:
    """The checkpoints of a job, the newest first."""
    table = kept_tuning_checkpoints
    query = select(*(table.c[each.name] for each in fields(CheckpointRow))).where(table.c.tuning_id == tuning_id)
    if after is not None:
        query = query.where(table.c.id < after)
    async with database.read() as connection:
        rows = (await connection.execute(query.order_by(table.c.id.desc()).limit(limit))).mappings()
        return [CheckpointRow(**row) for row in rows]


def _of(row: TuningRow, part: EventRow | CheckpointRow) -> dict[str, Any]:
    """The row of a part of a job: whose it is and how long it stays are the job's."""
    whose = {name: getattr(row, name) for name in ("organization_id", "project_id", "owner_id", "expires_at")}
    return {**{each.name: getattr(part, each.name) for each in fields(part)}, "tuning_id": row.id, **whose}
