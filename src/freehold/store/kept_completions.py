"""Rows of stored completions that go together with their labels, the digests by which metadata finds them."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.store.conversation_tables import kept_completion_labels, kept_completions
from freehold.store.database import Database
from freehold.store.kept_items import COMPLETION_TABLES, HolderRow, ItemRow, insert_items


async def add_completion(
    database: Database, row: HolderRow, messages: Sequence[ItemRow], labels: Sequence[bytes]
) -> None:
    """Add a completion with its messages and its labels, all or none."""
    async with database.write() as connection:
        await connection.execute(insert(kept_completions).values(row.values()))
        await insert_items(connection, COMPLETION_TABLES, row.id, messages)
        await _label(connection, row, labels)


async def change_completion(database: Database, row: HolderRow, header: bytes, labels: Sequence[bytes]) -> bool:
    """Give a completion another header and other labels, both or neither; false if it is gone."""
    async with database.write() as connection:
        done = await connection.execute(
            update(kept_completions).where(kept_completions.c.id == row.id).values(header=header)
        )
        if done.rowcount != 1:
            return False
        await connection.execute(delete(kept_completion_labels).where(kept_completion_labels.c.holder_id == row.id))
        await _label(connection, row, labels)
        return True


def of_model(model: str) -> ColumnElement[bool]:
    """Which completions a model made."""
    return kept_completions.c.model == model


def labelled(label: bytes) -> ColumnElement[bool]:
    """Which completions have a label."""
    table = kept_completion_labels
    return kept_completions.c.id.in_(select(table.c.holder_id).where(table.c.digest == label))


async def _label(connection: AsyncConnection, row: HolderRow, labels: Sequence[bytes]) -> None:
    if not labels:
        return
    whose = {name: getattr(row, name) for name in ("organization_id", "project_id", "owner_id")}
    times = {"created_at": row.created_at, "expires_at": row.expires_at}
    rows = [{"holder_id": row.id, "digest": label, **whose, **times} for label in labels]
    await connection.execute(insert(kept_completion_labels), rows)
