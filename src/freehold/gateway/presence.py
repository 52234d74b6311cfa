"""This server as one of the gateways of a database: that it is there, who else is, and that one is there no more.

A gateway says every few seconds that it lives, by the database's clock, and waits for no other writer with that. Who
could not say so itself for a while does not know of others whether they are gone: after an outage of the database, all
have been silent. So a gateway judges others only when it has been heard for as long as they would have to be silent.

Its name is also its journal's: the name belongs to the home that had it first until somebody removes the gateway.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from math import inf
from types import TracebackType
from typing import Final, Self, TypeAlias

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.errors import Conflict, FreeholdError, HomeError, NotFound
from freehold.store.answer_claims import free_answers_of
from freehold.store.database import Database
from freehold.store.gateway_rows import (
    GONE_S,
    GatewayRow,
    all_gateways,
    database_time,
    delete_gateway,
    find_gateway,
    mark_gateway,
    put_gateway,
)
from freehold.store.jobs import release_jobs_of
from freehold.store.kept_responses import end_interrupted_of
from freehold.store.migrate import HEAD

log = structlog.get_logger(__name__)

HEARTBEAT_S: Final = 5.0
_PATIENCE_S: Final = 10.0
"""For how long a heartbeat waits for the database, before it is given up and another one is tried."""
_GAP_S: Final = HEARTBEAT_S + _PATIENCE_S
"""Whose heartbeats are further apart has not been heard in between."""

Removing: TypeAlias = Callable[[AsyncConnection, str], Awaitable[None]]
"""Does what is to be done, in the transaction in which a gateway of this name is removed."""


def fingerprint(public_key: bytes) -> str:
    """Names the home whose journal is signed with a key."""
    return hashlib.sha256(public_key).hexdigest()


class Presence:
    """Says that this gateway lives, while its block runs; where there is one by nature, nothing.

    Args:
        database: where all gateways say so; its `gateway` is this one's name.
        home: a fingerprint of this home.
        version: of this Freehold.
        url: where this gateway is reached.

    Attributes:
        lost: done as soon as somebody has removed this gateway: it must not go on.
    """

    def __init__(self, database: Database, home: str, version: str, url: str) -> None:
        self._database = database
        self._row = GatewayRow(database.gateway or "main", home, version, HEAD, url)
        self._task: asyncio.Task[None] | None = None
        self._removing: list[Removing] = []
        self._heard_at = -inf
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        """Register.

        Raises:
            HomeError: the name belongs to another home.
            Unavailable: the database cannot be used.
        """
        if not self._database.is_shared:
            return self
        async with self._database.write() as connection:
            now = await database_time(connection)
            before = await find_gateway(connection, self._row.name)
            if before is not None and before.home != self._row.home:
                raise _taken(before, now)
            self._row = replace(self._row, started_at=now, seen_at=now)
            await put_gateway(connection, self._row)
            await free_answers_of(connection, self._row.name)  # of what it was doing when it ended nothing goes on
        self._heard()
        self._task = asyncio.create_task(self._beat(), name="gateway's presence")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say that this gateway has ended."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        with suppress(FreeholdError):
            async with self._database.write() as connection:
                left = {"left_at": await database_time(connection)}
                await mark_gateway(connection, self._row.name, self._row.home, left)

    @property
    def name(self) -> str:
        """This gateway's name."""
        return self._row.name

    async def all(self) -> tuple[list[GatewayRow], int]:
        """Every gateway by name, and the time to judge by whether it lives. Raises: Unavailable."""
        if not self._database.is_shared:
            return [self._row], 0
        async with self._database.read() as connection:
            return await all_gateways(connection), await database_time(connection)

    def on_remove(self, removing: Removing) -> None:
        """Have something done in the transaction in which a gateway is removed."""
        self._removing.append(removing)

    async def remove(self, name: str) -> GatewayRow:
        """Forget a gateway that will not come back; what it was doing others may do.

        Raises:
            NotFound: there is none of that name.
            Conflict: it runs, as far as can be told.
            Unavailable: the database cannot be used.
        """
        if not self._database.is_shared:
            raise Conflict("This home has a database of its own, and so there is one gateway; see [database].")
        async with self._database.write() as connection:
            row, now = await find_gateway(connection, name), await database_time(connection)
            if row is None:
                raise NotFound(f"There is no gateway '{name[:64]}'.")
            if row.lives(now):
                raise Conflict(
                    f"The gateway '{name}' was seen {now - row.seen_at} seconds ago; stop it first, and wait "
                    f"{GONE_S} seconds if it was cut off."
                )
            for removing in self._removing:
                await removing(connection, name)
            await release_jobs_of(connection, name, now * 1000)
            await end_interrupted_of(connection, name)
            await free_answers_of(connection, name)
            await delete_gateway(connection, name)
        return row

    async def _beat(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    there = await self._seen()
                failing = False
            except (FreeholdError, TimeoutError) as exc:
                if not failing:
                    reason = exc.message if isinstance(exc, FreeholdError) else "the database does not answer"
                    log.warning("gateway_not_seen", reason=reason)
                failing = True
                continue
            self._heard()
            if not there:
                log.critical("gateway_removed", gateway=self.name)
                if not self.lost.done():
                    self.lost.set_result(None)
                return

    async def _seen(self) -> bool:
        async with self._database.aside() as connection:
            seen = {"seen_at": await database_time(connection), "left_at": None}
            return await mark_gateway(connection, self._row.name, self._row.home, seen)

    def _heard(self) -> None:
        """Know that this gateway has just said that it lives: after a gap it does not judge others for a while."""
        now = time.monotonic()
        if now - self._heard_at > _GAP_S:
            self._database.judges_at = now + GONE_S
        self._heard_at = now


def _taken(row: GatewayRow, now: int) -> HomeError:
    state = "runs" if row.lives(now) else "has run"
    return HomeError(
        f"another home's gateway of the name '{row.name}' {state} on this database: give this one another name by "
        "'gateway.name', or remove that one for good with 'freehold gateways remove', if its home is gone"
    )
