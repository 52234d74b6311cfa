"""The rows of one database in another of the same schema; either may be SQLite or PostgreSQL.

The rows are copied table by table as the tables are declared; JSON goes over as the text that it is, so that what reads
the copy reads the same to the letter.
"""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import JSON, Table, Text, bindparam, cast, delete, insert, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

BATCH: Final = 500
"""Rows that are in memory at once."""


async def copy_rows(source: AsyncConnection, target: AsyncConnection, tables: Iterable[Table]) -> None:
    """Copy all rows of these tables within the transactions of two connections; what the target had is deleted.

    Args:
        source: one moment of a database.
        target: of the same schema.
        tables: which.
    """
    for table in tables:
        await target.execute(delete(table))
        read, written = _reading(table), _writing(table, target.dialect.name)
        async with source.stream(read) as rows:
            async for part in rows.mappings().partitions(BATCH):
                await target.execute(written, [{f"v_{name}": value for name, value in row.items()} for row in part])


def _reading(table: Table) -> Any:
    """All rows of a table, JSON as text."""
    return select(
        *(
            (cast(column, Text) if isinstance(column.type, JSON) else column).label(column.name)
            for column in table.columns
        )
    )


def _writing(table: Table, dialect: str) -> Any:
    """One row of a table, JSON from its text: PostgreSQL has a type of its own for it, SQLite has not."""

    def value(name: str, kind: Any) -> Any:
        if not isinstance(kind, JSON):
            return bindparam(f"v_{name}", type_=kind)
        text = bindparam(f"v_{name}", type_=Text)
        return cast(text, kind) if dialect == "postgresql" else type_coerce(text, Text)

    return insert(table).values({column.name: value(column.name, column.type) for column in table.columns})
