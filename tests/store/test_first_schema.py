"""A new database of SQLite gets its tables at once."""

from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from freehold.store.first_schema import told
from freehold.store.migrate import HOME_SCHEMA, USAGE_SCHEMA, Schema, revision_of, upgrade
from tools.first_schema import made

SCHEMAS = pytest.mark.parametrize("schema", [HOME_SCHEMA, USAGE_SCHEMA], ids=["home", "usage"])


@SCHEMAS
def test_a_new_database_is_what_the_revisions_make(schema: Schema, tmp_path: Path) -> None:
    """Its tables and indices are to the letter those that an old database has been brought to."""
    engine = create_engine(f"sqlite:///{tmp_path / 'new.db'}")
    with engine.begin() as connection:
        upgrade(connection, schema)
        found = told(connection, schema.head)
        assert revision_of(connection, schema) == schema.head
    engine.dispose()
    assert set(found.split(";\n")) == set(made(schema).split(";\n"))


@SCHEMAS
def test_a_new_database_has_all_of_it_or_nothing(schema: Schema, tmp_path: Path) -> None:
    """Where the transaction ends before its end, the file is as empty as before, so that the next start makes it."""
    engine = create_engine(f"sqlite:///{tmp_path / 'new.db'}")
    with suppress(KeyboardInterrupt), engine.begin() as connection:
        upgrade(connection, schema)
        assert len(inspect(connection).get_table_names()) > 3
        raise KeyboardInterrupt
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0
    engine.dispose()
