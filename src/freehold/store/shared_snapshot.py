"""One moment of a home's database on PostgreSQL, and its copy as a file of SQLite.

The copy has the same schema and the same rows as the database, so what reads a home's file reads it too: a backup of
a gateway on PostgreSQL is a backup like any other.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.errors import HomeError, Unavailable
from freehold.store import postgres, sqlite
from freehold.store.copying import copy_rows
from freehold.store.database import PARAM
from freehold.store.migrate import HOME_SCHEMA, revision_of, upgrade
from freehold.store.moving import home_tables


class SharedSnapshot:
    """A moment, while it is held.

    Args:
        connection: in a transaction that reads one moment.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def copy_to(self, target: Path) -> None:
        """Write what the database was at that moment to a new file, which is whole without any other.

        Raises:
            HomeError: the file cannot be written.
        """
        engine = sqlite.engine(target, read_only=False)
        try:
            await asyncio.to_thread(target.touch, mode=0o600)
            async with engine.begin() as copy:
                await copy.run_sync(upgrade, HOME_SCHEMA)
                await copy_rows(self._connection, copy, home_tables())
            async with engine.connect() as plain:
                await plain.exec_driver_sql("PRAGMA journal_mode=DELETE")
        except OSError as exc:
            raise HomeError(f"the copy of the database cannot be written: {exc.strerror or exc}") from exc
        finally:
            await engine.dispose()


@asynccontextmanager
async def shared_snapshot(url: str) -> AsyncIterator[SharedSnapshot]:
    """A moment of a database that is in use, from entering the block to its end; nobody waits for it.

    Args:
        url: of PostgreSQL.

    Raises:
        ConfigError: it is not the URL of one.
        Unavailable: it cannot be reached or used.
        HomeError: it is of another schema than this version's.
    """
    engine, known = postgres.engine(url, PARAM, read_only=True), postgres.failures(PARAM)
    try:
        async with engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="REPEATABLE READ")
            revision = await connection.run_sync(revision_of, HOME_SCHEMA)  # the moment is that of a first read
            if revision != HOME_SCHEMA.head:
                where = postgres.shown(url, PARAM)
                raise HomeError(
                    f"the database {where} is of schema {revision or 'none'}, and this version's is "
                    f"{HOME_SCHEMA.head}; make the backup with the version that serves it"
                )
            yield SharedSnapshot(connection)
    except known as exc:
        raise Unavailable(f"The database {postgres.shown(url, PARAM)} cannot be used: {postgres.reason(exc)}") from exc
    finally:
        await engine.dispose()
