"""Schema migrations: Alembic, driven from code, so that a database is migrated when it is opened.

There are two: the home's own (`HOME_SCHEMA`) and the usage database (`USAGE_SCHEMA`). The newest revision of each is
written here so that a database that is at it, the usual case, is opened without importing Alembic; a test holds that
it is the newest.
"""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from freehold.errors import HomeError
from freehold.store.first_schema import lay

_STORE = Path(__file__).parent
_SCRIPTS = _STORE / "migrations"
"""Where Alembic finds `env.py`, which all schemas share."""

HEAD = "0026"
COMPATIBLE_FROM = "0018"
"""The oldest schema whose code works with a database that is at the newest. A revision that takes something away which
older code uses, or changes what it means, raises this to itself."""
_COMPATIBLE = "works with code from schema "
"""What PostgreSQL is told of that, as a comment on the table of versions, so that older code can read it."""


@dataclass(frozen=True, slots=True)
class Schema:
    """One set of revisions.

    Args:
        folder: where its revisions are, a file each, named by their number.
        head: the newest revision.
        version_table: the table in which a database says which revision it is at.
        compatible_from: the oldest schema whose code works with a database at `head`; only itself, if that is empty.
    """

    folder: Path
    head: str
    version_table: str = "alembic_version"
    compatible_from: str = ""


HOME_SCHEMA = Schema(_SCRIPTS / "versions", HEAD, compatible_from=COMPATIBLE_FROM)
USAGE_SCHEMA = Schema(_STORE / "usage_migrations" / "versions", "0004", "freehold_usage_version", "0003")


def known_revisions(schema: Schema = HOME_SCHEMA) -> set[str]:
    """The revisions that this version knows, from the names of their files."""
    return {path.name.partition("_")[0] for path in schema.folder.glob("[0-9]*.py")}


def revision_of(connection: Connection, schema: Schema = HOME_SCHEMA) -> str | None:
    """The revision that a database is at; None for one that is empty."""
    if not inspect(connection).has_table(schema.version_table):
        return None
    # The name is a constant of this file.
    statement = text(f"SELECT version_num FROM {schema.version_table}")  # noqa: S608
    revision: str | None = connection.execute(statement).scalar()
    return revision


def is_older(connection: Connection, schema: Schema = HOME_SCHEMA) -> bool:
    """Whether a database has to be brought to the schema's head.

    One that is newer is used as it is where it says that code of this schema works with it: while gateways are upgraded
    one after the other, those of before go on.

    Raises:
        HomeError: it was written by a newer Freehold, which this one does not work with.
    """
    revision = revision_of(connection, schema)
    if revision is None or revision in known_revisions(schema):
        return revision != schema.head
    if connection.dialect.name == "postgresql":
        told = connection.execute(text(f"SELECT obj_description('{schema.version_table}'::regclass)")).scalar()
        if isinstance(told, str) and told.startswith(_COMPATIBLE) and told[len(_COMPATIBLE) :] <= schema.head:
            return False
    raise HomeError("this home was written by a newer Freehold; install that version or restore an older backup")


def upgrade(connection: Connection, schema: Schema = HOME_SCHEMA) -> None:
    """Bring the database behind a connection to the schema's head, within the caller's transaction."""
    if lay(connection, schema.folder, schema.version_table, schema.head) == schema.head:
        return
    run_revisions(connection, schema)


def run_revisions(connection: Connection, schema: Schema = HOME_SCHEMA) -> None:
    """The same by the revisions alone, which an empty database goes through one after the other."""
    from alembic import command  # noqa: PLC0415  # a quarter second that most starts do not need
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", _literal(_SCRIPTS))
    config.set_main_option("version_locations", _literal(schema.folder))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    config.attributes["version_table"] = schema.version_table
    command.upgrade(config, schema.head)
    if connection.dialect.name == "postgresql":
        oldest = schema.compatible_from or schema.head
        connection.execute(text(f"COMMENT ON TABLE {schema.version_table} IS '{_COMPATIBLE}{oldest}'"))


def _literal(path: Path) -> str:
    """A path as a value of Alembic's configuration, in which a percent sign begins a reference."""
    return str(path).replace("%", "%%")
