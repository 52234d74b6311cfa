"""Schema migrations: Alembic, driven from code, so that a database is migrated when it is opened.

There are two: the home's own (`HOME_SCHEMA`) and the usage database (`USAGE_SCHEMA`). The newest revision of each is
written here so that a database that is at it, the usual case, is opened without importing Alembic; a test holds that
it is the newest.
"""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, inspect, text

_STORE = Path(__file__).parent
_SCRIPTS = _STORE / "migrations"
"""Where Alembic finds `env.py`, which all schemas share."""

HEAD = "0017"


@dataclass(frozen=True, slots=True)
class Schema:
    """One set of revisions.

    Args:
        folder: where its revisions are, a file each, named by their number.
        head: the newest revision.
        version_table: the table in which a database says which revision it is at.
    """

    folder: Path
    head: str
    version_table: str = "alembic_version"


HOME_SCHEMA = Schema(_SCRIPTS / "versions", HEAD)
USAGE_SCHEMA = Schema(_STORE / "usage_migrations" / "versions", "0004", "freehold_usage_version")


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


def upgrade(connection: Connection, schema: Schema = HOME_SCHEMA) -> None:
    """Bring the database behind a connection to the schema's head, within the caller's transaction."""
    from alembic import command  # noqa: PLC0415  # a quarter second that most starts do not need
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", _literal(_SCRIPTS))
    config.set_main_option("version_locations", _literal(schema.folder))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    config.attributes["version_table"] = schema.version_table
    command.upgrade(config, schema.head)


def _literal(path: Path) -> str:
    """A path as a value of Alembic's configuration, in which a percent sign begins a reference."""
    return str(path).replace("%", "%%")
