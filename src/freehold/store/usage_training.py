"""What the usage database says of trainings: their stretches, and sums of them by project."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, cast, func, select

from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_tables import training_stretches
from freehold.store.usage_writing import STRETCH, Row

_SUMS: Final = ("device_us", "core_us", "tokens", "cost_micro")
_SECOND_US: Final = 1_000_000
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class TrainingSum:
    """What the trainings of one project had and did.

    Args:
        organization_id: with `project_id`, whose they are.
        trainings: how many jobs there were.
        device_us: accelerators times microseconds; `core_us` likewise, of cores.
        tokens: trained tokens.
        cost_micro: money, in micro-units.
    """

    organization_id: str
    project_id: str
    trainings: int
    device_us: int
    core_us: int
    tokens: int
    cost_micro: int


async def sum_trainings(database: UsageDatabase, start_s: int, end_s: int) -> list[TrainingSum]:
    """The sums of the stretches that began from `start_s` to before `end_s`, in seconds since the epoch, by project.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    table = training_stretches.c
    keys = (table.organization_id, table.project_id)
    # PostgreSQL adds up to a `numeric`, which would come back as a Decimal.
    sums = (cast(func.sum(table[name]), BigInteger) for name in _SUMS)
    query = (
        select(*keys, func.count(table.training.distinct()), *sums)
        .where(table.started_at >= start_s * _SECOND_US, table.started_at < end_s * _SECOND_US)
        .group_by(*keys)
        .order_by(*keys)
    )
    async with database.read() as connection:
        return [TrainingSum(*row) for row in await connection.execute(query)]


async def stretches_of(
    database: UsageDatabase, writer: str, ids: Collection[str], between: tuple[int, int]
) -> tuple[dict[str, Row], set[str]]:
    """The rows of stretches by id, values in the order of `STRETCH`; and the ids of those in a writer's records.

    Args:
        database: which one.
        writer: whose records.
        ids: of the stretches whose rows are wanted.
        between: the first and the last of the records.

    Raises:
        Unavailable, HomeError: as `UsageDatabase.read`.
    """
    table, at = training_stretches.c, STRETCH.index("stretch_id")
    columns, wanted = [table[name] for name in STRETCH], sorted(ids)
    here = select(table.stretch_id).where(table.writer == writer, table.seq.between(*between))
    found: dict[str, Row] = {}
    async with database.read() as connection:
        for begin in range(0, len(wanted), _AT_ONCE):
            part = select(*columns).where(table.stretch_id.in_(wanted[begin : begin + _AT_ONCE]))
            found |= {row[at]: tuple(row) for row in await connection.execute(part)}
        return found, set((await connection.execute(here)).scalars())
