"""Schema migrations: Alembic, driven from code, so that a home is migrated when it is opened.

`HEAD` is written here so that a home at the newest schema, the usual case, starts without importing Alembic;
a test holds that it is the newest revision.
"""

from pathlib import Path

from sqlalchemy import Connection

HEAD = "0001"

_SCRIPTS = Path(__file__).parent / "migrations"


def known_revisions() -> set[str]:
    """The revisions that this version knows, from the names of their files."""
    return {path.name.partition("_")[0] for path in (_SCRIPTS / "versions").glob("[0-9]*.py")}


def upgrade(connection: Connection) -> None:
    """Bring the database behind a connection to `HEAD`, within the caller's transaction."""
    from alembic import command  # noqa: PLC0415  # a quarter second that most starts do not need
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
