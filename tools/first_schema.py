"""Writes what a new database is made of, after a revision was added: python -m tools.first_schema."""

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from freehold.store.first_schema import NAME, told
from freehold.store.migrate import HOME_SCHEMA, USAGE_SCHEMA, Schema, run_revisions


def made(schema: Schema) -> str:
    """What all revisions make of an empty file of SQLite."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        run_revisions(connection, schema)
        found = told(connection, schema.head)
    engine.dispose()
    return found


if __name__ == "__main__":
    for each in (HOME_SCHEMA, USAGE_SCHEMA):
        (each.folder / NAME).write_text(made(each), encoding="utf-8")
