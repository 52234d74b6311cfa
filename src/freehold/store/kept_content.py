"""What is the same for every kind of kept content: whose it is, until when it stays, and how it goes.

The tables of each kind have the columns `organization_id`, `project_id`, `owner_id`, `created_at` and `expires_at`.
What goes, goes in batches, each a transaction of its own, so that no other writer waits long.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Table, delete, literal_column, select, update

from freehold.store.database import Database
from freehold.store.evaluation_tables import kept_eval_items, kept_eval_runs, kept_evals
from freehold.store.job_tables import kept_batch_results, kept_batches
from freehold.store.kept_items import COMPLETION_TABLES, CONVERSATION_TABLES, RESPONSE_TABLES
from freehold.store.tables import kept_answers, kept_file_pieces, kept_files, kept_flagged, kept_pictures
from freehold.store.tuning_tables import kept_tuning_checkpoints, kept_tuning_events, kept_tuning_jobs
from freehold.types.content import (
    ANSWERS,
    BATCHES,
    COMPLETIONS,
    CONVERSATIONS,
    EVALUATIONS,
    FILES,
    FINE_TUNING,
    FLAGGED,
    PICTURES,
    RESPONSES,
    ContentKind,
)

KEPT: Final[dict[ContentKind, tuple[Table, ...]]] = {
    ANSWERS: (kept_answers,),
    PICTURES: (kept_pictures,),
    FLAGGED: (kept_flagged,),
    FILES: (kept_files, kept_file_pieces),
    RESPONSES: RESPONSE_TABLES.all(),
    CONVERSATIONS: CONVERSATION_TABLES.all(),
    COMPLETIONS: COMPLETION_TABLES.all(),
    BATCHES: (kept_batches, kept_batch_results),
    EVALUATIONS: (kept_evals, kept_eval_runs, kept_eval_items),
    FINE_TUNING: (kept_tuning_jobs, kept_tuning_events, kept_tuning_checkpoints),
}
"""The tables of each kind: that whose rows are counted, and those of its parts."""

BATCH: Final = 500
BATCH_OF_PIECES: Final = 32
"""Of rows of up to half a mebibyte."""


async def delete_expired(database: Database, kind: ContentKind, now_s: float) -> int:
    """Delete the rows of a kind that have expired by then; how many there were."""
    counts = [await _delete(database, table, table.c.expires_at <= now_s) for table in KEPT[kind]]
    return counts[0]


async def delete_of(
    database: Database, kind: ContentKind, organization_id: str, *, project_id: str = "", owner_id: str = ""
) -> int:
    """Delete the rows of a kind that are a project's, or an owner's; how many there were."""
    assert project_id or owner_id, "an organization's content goes project by project"
    counts = []
    for table in KEPT[kind]:
        which: ColumnElement[bool] = table.c.organization_id == organization_id
        if project_id:
            which &= table.c.project_id == project_id
        if owner_id:
            which &= table.c.owner_id == owner_id
        counts.append(await _delete(database, table, which))
    return counts[0]


async def holders(database: Database, kind: ContentKind) -> list[tuple[str, str]]:
    """Organization and project of whose content there is some of a kind."""
    columns = KEPT[kind][0].c
    query = select(columns.organization_id, columns.project_id).distinct()
    async with database.read() as connection:
        return [(row[0], row[1]) for row in await connection.execute(query)]


async def shorten(database: Database, kind: ContentKind, organization_id: str, project_id: str, keep_s: int) -> int:
    """See that nothing of a project stays longer than so many seconds after it was made; how many rows had."""
    counts = []
    async with database.write() as connection:
        for table in KEPT[kind]:
            end = table.c.created_at + keep_s
            statement = (
                update(table)
                .where(
                    table.c.organization_id == organization_id,
                    table.c.project_id == project_id,
                    table.c.expires_at > end,
                )
                .values(expires_at=end)
            )
            counts.append((await connection.execute(statement)).rowcount)
    return counts[0]


async def _delete(database: Database, table: Table, which: ColumnElement[bool]) -> int:
    row: ColumnElement[Any] = literal_column("ctid" if database.dialect == "postgresql" else "rowid")
    size = BATCH_OF_PIECES if table is kept_file_pieces else BATCH
    batch = select(row).select_from(table).where(which).limit(size)
    total = 0
    while True:
        async with database.write() as connection:
            count = (await connection.execute(delete(table).where(row.in_(batch)))).rowcount
        total += count
        if count < size:
            return total
