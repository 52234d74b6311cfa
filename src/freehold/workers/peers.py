"""The other gateways of a database: what they have written is read again here, within a second.

PostgreSQL tells that something was written; the numbers of `store.changes` tell what, also to whoever was not told.
They are looked at every second besides, so that a message which is lost costs no more than that.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import structlog

from freehold.errors import FreeholdError
from freehold.store.database import CHANNEL, PARAM, Database
from freehold.store.postgres import connect, failures
from freehold.workers.copies import Reading

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0


class Peers:
    """Hears of what other gateways write, while its block runs; where there is one gateway by nature, nothing.

    Args:
        database: what they write.
        reading: reads what this gateway has copies of again.
        follow: does what follows from a change, told the tables; it is in force when this returns.
    """

    def __init__(
        self,
        database: Database,
        reading: Reading,
        follow: Callable[[frozenset[str]], Awaitable[None]],
    ) -> None:
        self._database = database
        self._reading = reading
        self._follow = follow
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._listener: Any = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._database.is_shared:
            self._database.on_turn(self.catch_up)
            await self.catch_up()
            self._task = asyncio.create_task(self._run(), name="other gateways")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._stop_listening()

    async def catch_up(self) -> None:
        """Read what others have written; it is in force when this returns.

        Raises:
            Unavailable: the database cannot be used.
            ConfigError: what stands there does not fit this gateway's configuration file.
        """
        async with self._turn:
            while stale := await self._stale():
                async with self._database.resting():
                    await self._reading.again(stale)
                self._database.known.update(stale)
                tables = frozenset(stale)
                await self._follow(tables)
                self._database.heard(tables)

    async def _stale(self) -> dict[str, int]:
        """The tables that others have written since they were read, with their numbers now."""
        known, now = self._database.known, await self._database.numbers()
        return {name: number for name, number in now.items() if number != known.get(name, 0)}

    async def _run(self) -> None:
        failing = ""
        while True:
            self._wake.clear()
            try:
                await self._listen()
                await self.catch_up()
                failing = ""
            except FreeholdError as exc:
                if exc.message != failing:
                    log.warning("gateways_not_heard", reason=exc.message)
                failing = exc.message
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()

    async def _listen(self) -> None:
        """Have PostgreSQL tell; where it cannot be reached, looking goes on, and says so."""
        if self._listener is not None and not self._listener.is_closed():
            return
        assert self._database.url is not None, "nothing runs without"
        await self._stop_listening()
        with suppress(*failures(PARAM)):
            listener = await connect(self._database.url, PARAM)
            listener.add_termination_listener(lambda _connection: self._wake.set())
            await listener.add_listener(CHANNEL, lambda *_message: self._wake.set())
            self._listener = listener

    async def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.terminate()
