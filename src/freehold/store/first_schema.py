"""The tables of a new SQLite database, made at once.

A schema's folder has `first.sql`, which is what its revisions make of an empty file: the statements that SQLite tells
of it, and as the first line the revision. Where revisions have come since, Alembic goes on from there. To go through
all of them instead takes ten times as long. `python -m tools.first_schema` writes the files anew; a test holds that
they are what the revisions make.
"""

from pathlib import Path

from sqlalchemy import Connection

NAME = "first.sql"
_HEAD = "-- schema "
_END = ";\n"


def lay(connection: Connection, folder: Path, version_table: str, head: str) -> str | None:
    """Make the tables in the caller's transaction, if the database is an empty one of SQLite.

    Args:
        connection: to the database.
        folder: of the schema's revisions.
        version_table: the table in which the revision is kept.
        head: the newest revision that is wanted.

    Returns the revision that the database is at now, or None if nothing was done.
    """
    file = folder / NAME
    if connection.dialect.name != "sqlite" or not file.exists():
        return None
    first, _, statements = file.read_text(encoding="utf-8").partition("\n")
    revision = first.removeprefix(_HEAD)
    if revision > head or connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() != 0:
        return None
    connection.exec_driver_sql("BEGIN")  # Python's driver begins none by itself for statements of this kind
    for statement in statements.split(_END):
        connection.exec_driver_sql(statement)
    # The name is a constant of the schema.
    connection.exec_driver_sql(f"INSERT INTO {version_table} VALUES (?)", (revision,))  # noqa: S608
    return revision


def told(connection: Connection, revision: str) -> str:
    """What `first.sql` should be, from a database that all revisions have made."""
    statement = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    statements = [str(sql).strip() for (sql,) in connection.exec_driver_sql(statement)]
    return f"{_HEAD}{revision}\n{_END.join(statements)}\n"
