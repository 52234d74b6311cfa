"""The home's database: SQLite in the home or, for several gateways, PostgreSQL. It is migrated when it is opened.

Writers take turns (`write`), readers do not wait (`read`). In SQLite there is one writer by nature, and an asyncio lock
in front of it gives a queue instead of "database is locked". On PostgreSQL a writer holds a lock of the database until
its transaction has ended: whoever reads and then writes in one transaction sees everything that was written before,
there as here. What gateways have copies of is counted (`store.changes`), so that each learns what another has written.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from sqlalchemy import event, text
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from freehold.errors import FreeholdError, HomeError, InvalidRequest, Unavailable
from freehold.store import postgres, sqlite
from freehold.store.changes import WATCHED, bump, numbers
from freehold.store.gateway_rows import refuse_older_gateways
from freehold.store.migrate import HOME_SCHEMA, Schema, is_older, upgrade

PURGE_TRIES = 3
PARAM: Final = "database.url"
CHANNEL: Final = "freehold_changes"
"""On which PostgreSQL tells gateways that there is something to read again."""
_WRITE_LOCK: Final = 0x46_52_45_45_57_52_49_54
"""The number of the advisory lock of whoever writes: "FREEWRIT"."""
_TURN_LOCK: Final = 0x46_52_45_45_54_55_52_4E
"""And of whoever changes what every gateway has a copy of: "FREETURN"."""
_WRITING = re.compile(
    r'\s*(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM)\s+"?(\w+)', re.IGNORECASE
)
"""The table that a statement writes."""
_INVALID_VALUE: Final = "22"
"""What PostgreSQL's error codes for values that cannot be stored begin with."""


@dataclass(slots=True)
class _Turn:
    """A turn of this task's; it is over when it does not hold any more, also for tasks that were begun in it."""

    holds: bool = True


_turn: ContextVar[_Turn | None] = ContextVar("turn", default=None)


class Database:
    """A pool of connections to one database. Build it with `open`.

    Attributes:
        dialect: `sqlite` or `postgresql`.
        shown: how the database is called in messages; there is no credential in it.
        url: of PostgreSQL, for connections of one's own.
        gateway: the name of the gateway that this process is; empty where there is one by nature.
        known: the numbers of the changes that this gateway has read, by table; only on PostgreSQL.
        judges_at: from when on this gateway may say that another one is gone, in seconds of `time.monotonic`.
    """

    def __init__(self, engine: AsyncEngine, shown: str, failures: tuple[type[Exception], ...] = ()) -> None:
        self.dialect: str = engine.dialect.name
        self.shown = shown
        self.url: str | None = None
        self.gateway = ""
        self.known: dict[str, int] = {}
        self.judges_at = 0.0
        self._engine = engine
        self._failures = failures
        self._writer = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._written: set[str] = set()
        self._listeners: list[Callable[[frozenset[str]], None]] = []
        self._catching_up: Callable[[], Awaitable[None]] | None = None

    @classmethod
    async def open(
        cls, path: Path, *, url: str | None = None, read_only: bool = False, schema: Schema = HOME_SCHEMA
    ) -> Self:
        """Open the database, create its tables if there are none, and migrate them.

        Args:
            path: the file.
            url: of PostgreSQL, in whose place the file is not opened.
            read_only: whether another process of this program has opened it for writing; nothing is migrated then.
            schema: what it is brought to.

        Raises:
            HomeError: it was written by a newer Freehold, or the file cannot be opened.
            Unavailable: PostgreSQL cannot be reached.
            ConfigError: the URL is not one of PostgreSQL, or its driver is not installed.
        """
        if url is None:
            database = cls(sqlite.engine(path, read_only=read_only), path.name)
        else:
            engine = postgres.engine(url, PARAM, read_only=read_only)
            database = cls(engine, postgres.shown(url, PARAM), postgres.failures(PARAM))
            database.url = url
            if not read_only:
                event.listen(engine.sync_engine, "before_cursor_execute", database._note)
        if read_only:
            return database
        try:
            await database._migrate(schema)
        except BaseException:
            await database.close()
            raise
        return database

    async def _migrate(self, schema: Schema) -> None:
        async with self.read() as connection:
            old = await connection.run_sync(is_older, schema)
        if old:
            async with self.write() as connection:
                if await connection.run_sync(is_older, schema):  # nobody else was faster
                    await connection.run_sync(refuse_older_gateways, schema)
                    await connection.run_sync(upgrade, schema)
        if self.is_shared:
            self.known = await self.numbers()

    @property
    def is_shared(self) -> bool:
        """Whether other gateways may use it too."""
        return self.dialect == "postgresql"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading.

        Raises:
            HomeError: the file is damaged or cannot be read.
            Unavailable: PostgreSQL cannot be reached or used.
        """
        with self._told():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for writing: committed at the end, rolled back on an error, one at a time.

        Raises:
            HomeError: the file is damaged or cannot be written, as on a full disk.
            Unavailable: PostgreSQL cannot be reached or used; or, within `turn`, another gateway has had a turn since.
        """
        with self._told():
            async with self._writer:
                self._written.clear()
                now: Mapping[str, int] = {}
                async with self._engine.begin() as connection:
                    if self.is_shared:
                        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})"))
                        await self._check_turn(connection)
                    yield connection
                    if self.is_shared:
                        now = await self._count(connection)
                self._know(now)
                self._tell()

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that waits for no other writer: for statements each of which is right by itself.

        For what requests do on PostgreSQL, on tables of which nobody has a copy; in SQLite there is one writer.

        Raises: as `read`.
        """
        assert self.is_shared, "in SQLite writers take turns"
        with self._told():
            async with self._engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn to change what every gateway has a copy of: nobody else does meanwhile, and the copies are fresh.

        For whoever decides by what is in memory. In SQLite there is nobody else, and a lock of the caller's is enough.

        Raises: as `write`.
        """
        now = _turn.get()
        if not self.is_shared or (now is not None and now.holds):
            yield
            return
        async with self._turn, AsyncExitStack() as stack:
            with self._told():
                connection = await stack.enter_async_context(self._engine.connect())
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_TURN_LOCK})"))
            if self._catching_up is not None:
                await self._catching_up()
            mine = _Turn()
            before = _turn.set(mine)
            try:
                yield
            finally:
                _turn.reset(before)
                mine.holds = False
                with suppress(*self._failures):  # it was lost, which every write in it has seen
                    await connection.rollback()

    @asynccontextmanager
    async def alone(self, number: int) -> AsyncIterator[bool]:
        """Whether no other gateway holds the lock of that number; if so, it is held during the block.

        Raises: as `read`.
        """
        if not self.is_shared:
            yield True
            return
        async with AsyncExitStack() as stack:
            with self._told():
                plain = await stack.enter_async_context(self._engine.connect())
                connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
                got = bool((await connection.execute(text(f"SELECT pg_try_advisory_lock({number})"))).scalar())
            try:
                yield got
            finally:
                if got:
                    with suppress(*self._failures):  # a lost connection has no lock any more
                        await connection.execute(text(f"SELECT pg_advisory_unlock({number})"))

    @asynccontextmanager
    async def resting(self) -> AsyncIterator[None]:
        """Nothing is written from here during the block: what is read in it misses nothing that was done here."""
        async with self._writer:
            yield

    def on_turn(self, catch_up: Callable[[], Awaitable[None]]) -> None:
        """Call this at the beginning of each turn: it reads what other gateways have written."""
        self._catching_up = catch_up

    def on_write(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Call `listener` after every transaction that has written, with the names of the tables."""
        if not self._listeners and not self.is_shared:
            event.listen(self._engine.sync_engine, "before_cursor_execute", self._note)
        self._listeners.append(listener)

    def heard(self, tables: frozenset[str]) -> None:
        """Tell the listeners of what another gateway has written, after it was read."""
        for listener in self._listeners:
            listener(tables)

    @property
    def judges(self) -> bool:
        """Whether the silence of another gateway means that it is gone, and not that nobody could be heard."""
        return time.monotonic() >= self.judges_at

    async def numbers(self) -> dict[str, int]:
        """How often each table was written of which gateways have copies. Raises: as `read`."""
        async with self.read() as connection:
            return await numbers(connection)

    async def _check_turn(self, connection: AsyncConnection) -> None:
        """See that a turn in which this is written is still held: that nothing was changed behind its back."""
        turn = _turn.get()
        if turn is None or not turn.holds or self._catching_up is None:
            return  # before copies are complete, nobody decides by them
        if await numbers(connection) != self.known:
            raise Unavailable("Another gateway has changed something meanwhile; try again.", retry_after_s=1.0)

    async def _count(self, connection: AsyncConnection) -> Mapping[str, int]:
        """Count what is written in this transaction, and have the other gateways told at its end."""
        written = self._written & WATCHED
        if not written:
            return {}
        found = await bump(connection, written)
        await connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})
        return found

    def _know(self, now: Mapping[str, int]) -> None:
        """Of a table that nobody else has written in between, this gateway knows what it has written itself."""
        for name, number in now.items():
            if number == self.known.get(name, 0) + 1:
                self.known[name] = number

    def _note(self, _connection: object, _cursor: object, statement: str, *_more: object) -> None:
        found = _WRITING.match(statement)
        if found is not None:
            self._written.add(found[1])

    def _tell(self) -> None:
        if self._written:
            tables, self._written = frozenset(self._written), set()
            self.heard(tables)

    async def purge(self) -> None:
        """Have nothing left in the files of what was deleted or overwritten before.

        In SQLite, freed space is overwritten with zeros when it is freed (`secure_delete`); here the write-ahead log,
        which still has older pages, is taken into the file and cut to nothing. PostgreSQL writes the table of content
        keys anew, so that no destroyed key is in it; its write-ahead log goes as the database's administrator has set.

        Raises:
            HomeError: another process goes on reading what was before, such as a backup; or as `write`.
            Unavailable: as `write`.
        """
        with self._told():
            async with self._writer, self._engine.connect() as plain:
                if self.is_shared:
                    connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
                    await connection.execute(text("VACUUM FULL content_keys"))
                    return
                for _ in range(PURGE_TRIES):  # each waits for readers as long as `busy_timeout` says
                    row = (await plain.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")).one()
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
    def _told(self) -> Iterator[None]:
        """What the database says when it cannot be used, as an error of ours; statements and values stay out of it."""
        try:
            yield
        except IntegrityError:
            raise  # a rule of the tables was broken, which says nothing of the database
        except DBAPIError as exc:
            if self.is_shared:
                raise self._refused(exc) from exc
            if not isinstance(exc, DatabaseError):
                raise
            raise HomeError(
                f"the database cannot be used: {exc.orig}; see that the disk has room, or restore a backup of the home"
            ) from exc
        except self._failures as exc:
            raise self._unavailable(exc) from exc

    def _refused(self, exc: DBAPIError) -> FreeholdError:
        """What PostgreSQL refuses, as an error of ours: a value, or all there is to do."""
        if str(getattr(exc.orig, "sqlstate", "")).startswith(_INVALID_VALUE):
            return InvalidRequest("A value of the request cannot be stored: it has a character of number zero.")
        return self._unavailable(exc)

    def _unavailable(self, exc: Exception) -> Unavailable:
        return Unavailable(f"The database {self.shown} cannot be used: {postgres.reason(exc)}")
