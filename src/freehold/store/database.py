"""One database: SQLite in the home, brought to the newest schema when it is opened.

Writers take turns (`write`), readers do not wait (`read`): SQLite has one writer, and an asyncio lock in
front of it gives a queue instead of "database is locked".
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from freehold.errors import HomeError
from freehold.store.migrate import HEAD, known_revisions, upgrade

PURGE_TRIES = 3
_WRITING = re.compile(
    r'\s*(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM)\s+"?(\w+)', re.IGNORECASE
)
"""The table that a statement writes."""


class Database:
    """A pool of connections to one SQLite file, in WAL mode with full durability."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writer = asyncio.Lock()
        self._written: set[str] = set()
        self._listeners: list[Callable[[frozenset[str]], None]] = []

    @classmethod
    async def open(cls, path: Path, *, read_only: bool = False) -> Self:
        """Open the file, create it if there is none, and migrate it.

        Args:
            path: the file.
            read_only: whether another process of this program has opened it for writing; nothing is migrated then.

        Raises:
            HomeError: it was written by a newer Freehold, or cannot be opened.
        """
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        event.listen(engine.sync_engine, "connect", _set_reading_pragmas if read_only else _set_pragmas)
        database = cls(engine)
        if read_only:
            return database
        try:
            await database._migrate()
        except BaseException:
            await engine.dispose()
            raise
        return database

    async def _migrate(self) -> None:
        async with self.read() as connection:
            revision = await connection.run_sync(_revision)
        if revision is not None and revision not in known_revisions():
            raise HomeError(
                "this home was written by a newer Freehold; install that version or restore an older backup"
            )
        if revision != HEAD:
            async with self.write() as connection:
                await connection.run_sync(upgrade)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading.

        Raises:
            HomeError: the file is damaged or cannot be read.
        """
        with _told():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for writing: committed at the end, rolled back on an error, one at a time.

        Raises:
            HomeError: the file is damaged or cannot be written, as on a full disk.
        """
        with _told():
            async with self._writer:
                async with self._engine.begin() as connection:
                    yield connection
                self._tell()

    def on_write(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Call `listener` after every transaction that has written, with the names of the tables."""
        if not self._listeners:
            event.listen(self._engine.sync_engine, "before_cursor_execute", self._note)
        self._listeners.append(listener)

    def _note(self, _connection: object, _cursor: object, statement: str, *_more: object) -> None:
        found = _WRITING.match(statement)
        if found is not None:
            self._written.add(found[1])

    def _tell(self) -> None:
        if self._written:
            tables, self._written = frozenset(self._written), set()
            for listener in self._listeners:
                listener(tables)

    async def purge(self) -> None:
        """Have nothing left in the files of what was deleted or overwritten before.

        Freed space is overwritten with zeros when it is freed (`secure_delete`); here the write-ahead log, which still
        has older pages, is taken into the file and cut to nothing.

        Raises:
            HomeError: another process goes on reading what was before, such as a backup; or as `write`.
        """
        with _told():
            async with self._writer, self._engine.connect() as connection:
                for _ in range(PURGE_TRIES):  # each waits for readers as long as `busy_timeout` says
                    row = (await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")).one()
                    if not row[0]:
                        return
        raise HomeError(
            "what was deleted is still in the write-ahead log, because something reads the database; try again, when "
            "no backup is being made"
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


@contextmanager
def _told() -> Iterator[None]:
    """What SQLite says of a file that it cannot use, as an error of the home."""
    try:
        yield
    except IntegrityError:
        raise  # a rule of the tables was broken, which says nothing of the file
    except DatabaseError as exc:
        raise HomeError(
            f"the database cannot be used: {exc.orig}; see that the disk has room, or restore a backup of the home"
        ) from exc


def _set_pragmas(connection: Any, _record: object) -> None:
    """Settings of every connection.

    A write-ahead log, an fsync per commit, patience with a second process, and zeros over what is deleted.
    """
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _set_reading_pragmas(connection: Any, _record: object) -> None:
    """Settings of every connection of a process that only reads."""
    cursor = connection.cursor()
    for pragma in ("busy_timeout=5000", "query_only=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _revision(connection: Connection) -> str | None:
    """The schema revision that the file is at; None for an empty file."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision
