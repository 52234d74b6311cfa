"""The table of kept answers. Holds keyed digests and ciphertext, never a key or an answer."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from freehold.store.answer_claims import free_answer
from freehold.store.database import Database
from freehold.store.tables import kept_answers


@dataclass(frozen=True, slots=True)
class KeptAnswerRow:
    """One kept answer; the first two name it.

    Args:
        project_id: whose it is.
        key_digest: keyed digest of owner and caller's key, 32 bytes.
        organization_id: of the project.
        owner_id: who asked for it.
        body_digest: keyed digest of what must be the same, 32 bytes.
        request_id: of the request that was answered.
        answer: the encrypted answer.
        created_at: when it was kept, in seconds since the epoch.
        expires_at: from when on it counts as absent.
    """

    project_id: str
    key_digest: bytes
    organization_id: str
    owner_id: str
    body_digest: bytes
    request_id: str
    answer: bytes
    created_at: int
    expires_at: int


async def get_kept_answer(database: Database, project_id: str, key_digest: bytes) -> KeptAnswerRow | None:
    """The row of that name, expired or not; None if there is none."""
    table = kept_answers.c
    async with database.read() as connection:
        found = await connection.execute(
            select(kept_answers).where(table.project_id == project_id, table.key_digest == key_digest)
        )
        row = found.mappings().first()
        return None if row is None else KeptAnswerRow(**row)


async def put_kept_answer(database: Database, row: KeptAnswerRow, claim: str | None = None) -> bool:
    """Add a row, in the place of the one of the same name if there is one.

    With a claim, that is given up; false if it is gone, and nothing is added. On PostgreSQL no other writer is waited
    for: whoever else wants the key waits for the claim's row.
    """
    values = {name: getattr(row, name) for name in KeptAnswerRow.__slots__}
    names = {"project_id", "key_digest"}
    async with database.aside() if database.is_shared else database.write() as connection:
        if claim is not None and not await free_answer(connection, claim):
            return False
        await connection.execute(
            insert(kept_answers)
            .values(values)
            .on_conflict_do_update(
                index_elements=sorted(names),
                set_={name: value for name, value in values.items() if name not in names},
            )
        )
    return True
