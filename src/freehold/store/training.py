"""The table of trainings from nothing. Whatever a worker writes goes with the lease of its job, or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, insert, or_, select, update

from freehold.store.database import Database
from freehold.store.jobs import add_event, add_job, cancel_job, write_leased
from freehold.store.kept_items import Reader
from freehold.store.training_tables import training_jobs
from freehold.types.jobs import Job, JobState, Lease
from freehold.types.training import TRAINING_ENDED, TrainingStatus

_ENDED: Final = {"order_id": "", "room": None, "stretch_began_us": None, "stretch_seen_us": None}
"""The columns of a stretch that has ended."""


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One training; the fields are the columns of its table.

    `needs` is what it asks for, as `freehold.gateway.training_needs.Needs` writes it.
    """

    id: str
    organization_id: str
    project_id: str
    owner_id: str
    job_id: str
    key_id: str
    auth_method: str
    private: bool
    name: str
    recipe: Mapping[str, Any]
    data: str
    out: str
    needs: Mapping[str, Any]
    steps: int
    created_at: int
    status: str = TrainingStatus.QUEUED
    step: int = 0
    stretch: int = 0
    stretch_step: int = 0
    crashes: int = 0
    preemptions: int = 0
    tokens: int = 0
    device_us: int = 0
    core_us: int = 0
    cost_micro: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    room: Mapping[str, Any] | None = None
    stretch_began_us: int | None = None
    stretch_seen_us: int | None = None
    order_id: str = ""
    error_code: str = ""
    error: str = ""
    ended_at: int | None = None


async def add_training(database: Database, row: TrainingRow, job: Job) -> None:
    """Add a training, to this table and to the queue."""
    values = {each.name: getattr(row, each.name) for each in fields(TrainingRow)}
    async with database.write() as connection:
        await connection.execute(insert(training_jobs).values(values))
        await add_job(connection, job)


async def get_training(database: Database, reader: Reader, training_id: str) -> TrainingRow | None:
    """A training that a reader may see; None if there is none."""
    return await _first(database, and_(training_jobs.c.id == training_id, _seen(reader)))


async def load_training(database: Database, training_id: str) -> TrainingRow | None:
    """A training, for whoever works on it; None if it is gone."""
    return await _first(database, training_jobs.c.id == training_id)


async def training_in(database: Database, out: str) -> TrainingRow | None:
    """The training that has not ended and has this folder; None if there is none."""
    return await _first(database, and_(training_jobs.c.out == out, training_jobs.c.status.not_in(TRAINING_ENDED)))


async def list_trainings(database: Database, reader: Reader, *, after: str | None, limit: int) -> list[TrainingRow]:
    """The trainings that a reader may see, the newest first."""
    query = select(training_jobs).where(_seen(reader))
    if after is not None:
        query = query.where(training_jobs.c.id < after)
    async with database.read() as connection:
        rows = (await connection.execute(query.order_by(training_jobs.c.id.desc()).limit(limit))).mappings()
        return [TrainingRow(**row) for row in rows]


async def cancel_training(database: Database, row: TrainingRow, now_s: int) -> None:
    """Have a training end; one that nobody works on yet ends at once, in this table as in the queue."""
    async with database.write() as connection:
        if await cancel_job(connection, row.job_id, now_s) is JobState.CANCELLED:
            values = {"status": TrainingStatus.CANCELLED, "ended_at": now_s}
            here = and_(training_jobs.c.id == row.id, training_jobs.c.status.not_in(TRAINING_ENDED))
            await connection.execute(update(training_jobs).where(here).values(values))


async def set_training_status(
    database: Database, training_id: str, status: TrainingStatus, *before: TrainingStatus
) -> None:
    """Say of a training that no worker has, and that is in one of the states `before`, how far it is."""
    here = and_(training_jobs.c.id == training_id, training_jobs.c.status.in_(before))
    async with database.write() as connection:
        await connection.execute(update(training_jobs).where(here).values(status=status))


async def change_training(
    database: Database,
    lease: Lease,
    now_ms: int,
    training_id: str,
    values: Mapping[str, Any],
    *,
    job: Mapping[str, Any] | None = None,
    event: tuple[str, str] | None = None,
) -> bool:
    """Change a training as the holder of its job's lease.

    Args:
        database: where it is.
        lease: of its job.
        now_ms: the time, in milliseconds since the epoch.
        training_id: names it.
        values: its columns.
        job: columns of its job.
        event: what happened to the job, in a word, and what goes with it.

    Returns:
        False where the lease is lost, or the training gone; nothing is written then.
    """
    async with database.write() as connection:
        if await write_leased(connection, lease, now_ms, job or {"attempts": lease.attempts}) is None:
            return False
        here = training_jobs.c.id == training_id
        if not (await connection.execute(update(training_jobs).where(here).values(dict(values)))).rowcount:
            return False
        if event is not None:
            await add_event(connection, lease.job_id, now_ms // 1000, *event)
        return True


def stretch_ended(row: TrainingRow) -> dict[str, Any]:
    """The columns of a training whose stretch has ended, less its sums."""
    return {**_ENDED, "stretch": row.stretch + 1}


def _seen(reader: Reader) -> ColumnElement[bool]:
    """Whether a training is there for the reader."""
    table = training_jobs.c
    return and_(
        table.organization_id == reader.organization_id,
        table.project_id == reader.project_id,
        or_(table.private.is_(False), table.owner_id == reader.member_id),
    )


async def _first(database: Database, which: ColumnElement[bool]) -> TrainingRow | None:
    async with database.read() as connection:
        row = (await connection.execute(select(training_jobs).where(which).limit(1))).mappings().first()
        return None if row is None else TrainingRow(**row)
