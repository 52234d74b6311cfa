"""The usage database: SQLite in the home, or PostgreSQL by URL. What is in it is made from the journal.

Nothing is opened before it is needed, and whatever goes wrong with the database is `Unavailable`: a PostgreSQL that is
down stops neither the start nor any request but those that read usage. The schema is brought up to date by the first
use of each run, and again by the first use after an error, since the database may be another one by then.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from freehold.errors import HomeError, Unavailable
from freehold.store import postgres
from freehold.store.migrate import USAGE_SCHEMA, is_older, upgrade

_POOL_SIZE: Final = 4
_FILE_HINT: Final = (
    "; see that the disk has room. If the file is damaged, stop the server and delete it: it is made anew from the "
    "journal"
)
_MIGRATION_LOCK: Final = 0x46_52_45_45_48_4F_4C_44
"""The number of the advisory lock under which PostgreSQL's schema is brought up to date: "FREEHOLD"."""


class UsageDatabase:
    """Connections to one usage database. Build it with `at`.

    Attributes:
        dialect: `sqlite` or `postgresql`.
        shown: how the database is called in messages; there is no credential in it.
    """

    def __init__(self, engine: AsyncEngine, shown: str, foreign: tuple[type[Exception], ...] = ()) -> None:
        self.dialect: str = engine.dialect.name
        self.shown = shown
        self._engine = engine
        self._failures: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, TimeoutError, *foreign)
        self._writer = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._ready = False

    @classmethod
    def at(cls, path: Path, url: str | None = None, *, param: str = "usage.database") -> Self:
        """The database that a URL names or, without one, the SQLite file. Nothing is opened yet.

        Args:
            path: the file in the home.
            url: `postgresql://user:password@host:port/name`, with the parameters that libpq knows.
            param: the setting that the URL comes from.

        Raises:
            ConfigError: the URL is not one of PostgreSQL, or its driver is not installed.
        """
        if url is not None:
            return cls._postgres(url, param)
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}", pool_size=_POOL_SIZE)
        event.listen(engine.sync_engine, "connect", _set_pragmas)
        return cls(engine, path.name, (sqlite3.Error,))

    @classmethod
    def _postgres(cls, url: str, param: str) -> Self:
        shown = postgres.shown(url, param)
        asyncpg = postgres.driver(param)

        async def connect() -> Any:
            # asyncpg reads the URL itself, as libpq would: `sslmode`, `host` of a socket and others mean the same.
            return await asyncpg.connect(
                url, timeout=postgres.CONNECT_TIMEOUT_S, command_timeout=postgres.COMMAND_TIMEOUT_S
            )

        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_size=_POOL_SIZE,
            max_overflow=0,
            pool_timeout=postgres.CONNECT_TIMEOUT_S,
            pool_pre_ping=True,
        )
        return cls(engine, shown, (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading.

        Raises:
            Unavailable: the database cannot be reached or used.
            HomeError: it was written by a newer Freehold.
        """
        with self._told():
            await self._open()
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for writing: committed at the end, rolled back on an error, one at a time.

        Raises: as `read`.
        """
        with self._told():
            await self._open()
            async with self._writer, self._engine.begin() as connection:
                yield connection

    async def drop_connections(self) -> None:
        """Close all connections; the next use makes new ones."""
        self._ready = False
        with self._told():
            await self._engine.dispose()

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    async def _open(self) -> None:
        """Bring the schema up to date, once."""
        if self._ready:
            return
        async with self._opening:
            if self._ready:
                return
            async with self._engine.connect() as connection:
                old = await self._is_older(connection)
            if old:
                async with self._writer, self._engine.begin() as connection:
                    if self.dialect == "postgresql":
                        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
                    if await self._is_older(connection):  # nobody else was faster
                        await connection.run_sync(upgrade, USAGE_SCHEMA)
            self._ready = True

    async def _is_older(self, connection: AsyncConnection) -> bool:
        """Whether the schema has to be brought up to date."""
        try:
            return await connection.run_sync(is_older, USAGE_SCHEMA)
        except HomeError:
            raise HomeError(
                f"the usage database {self.shown} was written by a newer Freehold; install that version, or give "
                "this one a database of its own"
            ) from None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever the driver or the network says, as `Unavailable`; statements and values stay out of it."""
        try:
            yield
        except self._failures as exc:
            self._ready = False
            hint = _FILE_HINT if self.dialect == "sqlite" else ""
            raise Unavailable(f"The usage database {self.shown} cannot be used: {postgres.reason(exc)}{hint}") from exc


def _set_pragmas(connection: Any, _record: object) -> None:
    """Settings of every connection: a write-ahead log, an fsync per commit, patience with a second process."""
    try:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
    except BaseException:
        connection.close()  # the pool does not know it yet
        raise
