"""The table of keys that gateways are answering: who answers a request with an `Idempotency-Key`, while it does.

Used on PostgreSQL only. A claim holds as long as its gateway lives, by the heartbeat that it gives anyway
(`store.gateway_rows`): nothing is renewed for it, and what a dead gateway claimed is free half a minute later. After an
outage of the database, in which nobody could be seen, that half minute begins anew.
"""

from sqlalchemy import Column, LargeBinary, String, Table, delete, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.store.database import Database
from freehold.store.gateway_rows import living_gateways
from freehold.store.tables import metadata

answer_claims = Table(
    "answer_claims",
    metadata,
    Column("project_id", String(64), primary_key=True),
    Column("key_digest", LargeBinary(32), primary_key=True),
    Column("body_digest", LargeBinary(32), nullable=False),
    Column("gateway", String(64), nullable=False, index=True),
    Column("claim", String(64), nullable=False, index=True),
)
"""Keys whose first request runs, as in `kept_answers`, and the gateway that answers it; `claim` names one request."""


async def claim_answer(
    database: Database, project_id: str, key_digest: bytes, body_digest: bytes, claim: str
) -> bytes | None:
    """Have this gateway answer a key; what it claimed itself before, and what a dead one did, is free.

    Returns:
        None if it does; else the digest of what another gateway answers under the key.
    """
    table, living = answer_claims, living_gateways(judges=database.judges)
    values = {"body_digest": body_digest, "gateway": database.gateway, "claim": claim}
    statement = (
        insert(table)
        .values(project_id=project_id, key_digest=key_digest, **values)
        .on_conflict_do_update(
            index_elements=["project_id", "key_digest"],
            set_=values,
            where=or_(table.c.gateway == database.gateway, table.c.gateway.not_in(living)),
        )
        .returning(table.c.gateway)
    )
    there = select(table.c.body_digest).where(table.c.project_id == project_id, table.c.key_digest == key_digest)
    while True:
        async with database.aside() as connection:
            if (await connection.execute(statement)).first() is not None:
                return None
            found: bytes | None = (await connection.execute(there)).scalar_one_or_none()
        if found is not None:  # else it was given up in between
            return found


async def free_answer(connection: AsyncConnection, claim: str) -> bool:
    """Give up a claim, within the caller's transaction; false if it is gone: another gateway has the key by now."""
    return bool((await connection.execute(delete(answer_claims).where(answer_claims.c.claim == claim))).rowcount)


async def free_answers_of(connection: AsyncConnection, gateway: str) -> int:
    """Give up all that a gateway claimed, which has ended; how many there were."""
    return (await connection.execute(delete(answer_claims).where(answer_claims.c.gateway == gateway))).rowcount
