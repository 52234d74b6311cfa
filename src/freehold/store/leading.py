"""The tables by which gateways share a cluster's replicas, in PostgreSQL, by one connection of its own.

Every step is one statement. A gateway that is stopped in the middle of anything holds no lock, and hinders nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

from freehold.errors import Unavailable
from freehold.types.lead import Lead

Connect: TypeAlias = Callable[[], Awaitable[Any]]

STATEMENT_TIMEOUT_S: Final = 3.0
CHANNEL: Final = "freehold_cluster"
"""On which gateways tell each other that there is something to look at."""
FORGET_US: Final = 7 * 86_400_000_000
"""What nobody has touched for so long is deleted: longer than any engine goes on without a gateway."""
_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


@dataclass(frozen=True, slots=True)
class Look:
    """What a gateway sees.

    Args:
        now_us: the database's time.
        lead: who leads.
        number: of the last publication.
    """

    now_us: int
    lead: Lead
    number: int


@dataclass(frozen=True, slots=True)
class Told:
    """What another gateway has told last.

    Args:
        known: the last publication that it has in force.
        seen_us: when it told, by the database's time.
        body: what it has to do.
    """

    known: int
    seen_us: int
    body: Any


class LeadStore:
    """Reads and writes what stands there of one cluster. Every method may raise Unavailable: the database is away.

    Args:
        connect: makes a connection of asyncpg.
        failures: what it raises when something is wrong with the database or the way to it.
        shown: how the database is called in messages.
        cluster: names the cluster; may be said later, before anything is asked.
        heard: called when another gateway has told something, and when the connection is lost.
    """

    def __init__(
        self,
        connect: Connect,
        failures: tuple[type[Exception], ...],
        shown: str,
        cluster: str = "",
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self._connect = connect
        self._failures = failures
        self._shown = shown
        self.cluster = cluster
        self.heard = heard
        self._connection: Any = None
        self._turn = asyncio.Lock()

    async def look(self) -> Look:
        """Who leads, and by when."""
        row = await self._fetch(_LOOK, self.cluster)
        lead = Lead() if row["epoch"] is None else Lead(*(row[name] for name in _LEAD))
        return Look(row["now_us"], lead, row["number"] or 0)

    async def put(self, before: Lead, after: Lead) -> bool:
        """Write who leads; false if that is not as it was read."""
        new = (after.holder, after.epoch, after.since_us, after.expires_us)
        if not before.epoch:
            written = await self._fetch(_FIRST, self.cluster, *new)
        else:
            written = await self._fetch(_NEXT, self.cluster, *new, before.epoch, before.expires_us)
        if written is not None and after.epoch != before.epoch:
            await self._fetch(_TIDY, self.cluster, FORGET_US)
        return written is not None

    async def publish(self, epoch: int, offers: Mapping[str, Any]) -> int | None:
        """Have just these replicas stand there; the publication's number, None if another one leads."""
        bodies = [orjson.dumps(each).decode() for each in offers.values()]
        row = await self._fetch(_PUBLISH, self.cluster, epoch, list(offers), bodies, CHANNEL)
        return None if row is None else int(row["number"])

    async def offers(self) -> dict[str, Any]:
        """The replicas that stand there."""
        rows = await self._fetch_all("SELECT replica, body FROM cluster_replicas WHERE cluster = $1", self.cluster)
        return {row["replica"]: orjson.loads(row["body"]) for row in rows}

    async def tell(self, gateway: str, known: int, body: Any, *, urgent: bool) -> None:
        """Write what a gateway has to do; where it is urgent, have the others look at once."""
        text = orjson.dumps(body).decode()
        await self._fetch(_TELL, self.cluster, gateway, known, text)
        if urgent:
            await self._fetch(_NOTIFY, CHANNEL)

    async def told(self) -> dict[str, Told]:
        """What each gateway has told last, by its name."""
        rows = await self._fetch_all(
            "SELECT gateway, known, seen_us, body FROM cluster_wants WHERE cluster = $1", self.cluster
        )
        return {row["gateway"]: Told(row["known"], row["seen_us"], orjson.loads(row["body"])) for row in rows}

    async def leave(self, gateway: str) -> None:
        """Forget what a gateway has told: it is there no more."""
        await self._fetch("DELETE FROM cluster_wants WHERE cluster = $1 AND gateway = $2", self.cluster, gateway)
        await self._fetch(_NOTIFY, CHANNEL)

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _fetch(self, statement: str, *values: Any) -> Any:
        rows = await self._fetch_all(statement, *values)
        return rows[0] if rows else None

    async def _fetch_all(self, statement: str, *values: Any) -> Any:
        async with self._turn:
            try:
                async with asyncio.timeout(STATEMENT_TIMEOUT_S):
                    if self._connection is None:
                        self._connection = await self._connected()
                    return await self._connection.fetch(statement, *values)
            except BaseException as exc:
                await self.close()
                if isinstance(exc, (*self._failures, TimeoutError)):
                    why = " ".join(str(exc).split()) or type(exc).__name__
                    raise Unavailable(
                        f"The database {self._shown}, by which gateways share a cluster, cannot be used: {why}"
                    ) from exc
                raise

    async def _connected(self) -> Any:
        connection = await self._connect()
        try:
            await connection.add_listener(CHANNEL, lambda *_message: self.heard())
        except BaseException:
            connection.terminate()
            raise
        connection.add_termination_listener(self._terminated)
        return connection

    def _terminated(self, connection: Any) -> None:
        """A connection has ended. One that was closed here is nothing to hear of: its failure is told to who asked."""
        if connection is self._connection:
            self.heard()


_LEAD: Final = ("holder", "epoch", "since_us", "expires_us")
_LOOK: Final = (
    f"SELECT {_NOW} AS now_us, holder, epoch, since_us, expires_us, number "  # noqa: S608  # constants
    "FROM (SELECT 1) AS one LEFT JOIN cluster_leads ON cluster = $1"
)
_FIRST: Final = (
    "INSERT INTO cluster_leads (cluster, holder, epoch, since_us, expires_us, number) "
    "VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT DO NOTHING RETURNING epoch"
)
_NEXT: Final = (
    "UPDATE cluster_leads SET holder = $2, epoch = $3, since_us = $4, expires_us = $5 "
    "WHERE cluster = $1 AND epoch = $6 AND expires_us = $7 RETURNING epoch"
)
_PUBLISH: Final = (
    "WITH led AS (UPDATE cluster_leads SET number = number + 1 WHERE cluster = $1 AND epoch = $2 "  # noqa: S608
    f"AND expires_us > {_NOW} RETURNING number), "
    "gone AS (DELETE FROM cluster_replicas USING led WHERE cluster = $1 AND NOT replica = ANY($3::text[])), "
    "put AS (INSERT INTO cluster_replicas (cluster, replica, epoch, body) "
    "SELECT $1, told.replica, $2, told.body FROM unnest($3::text[], $4::text[]) AS told (replica, body), led "
    "ON CONFLICT (cluster, replica) DO UPDATE SET epoch = EXCLUDED.epoch, body = EXCLUDED.body) "
    "SELECT number, pg_notify($5, '') FROM led"
)
_TELL: Final = (
    "INSERT INTO cluster_wants (cluster, gateway, known, seen_us, body) "  # noqa: S608
    f"VALUES ($1, $2, $3, {_NOW}, $4) ON CONFLICT (cluster, gateway) "
    "DO UPDATE SET known = EXCLUDED.known, seen_us = EXCLUDED.seen_us, body = EXCLUDED.body"
)
_TIDY: Final = (
    f"WITH old AS (DELETE FROM cluster_leads WHERE cluster <> $1 AND expires_us < {_NOW} - $2 RETURNING cluster), "  # noqa: S608
    "gone AS (DELETE FROM cluster_replicas USING old WHERE cluster_replicas.cluster = old.cluster) "
    f"DELETE FROM cluster_wants WHERE seen_us < {_NOW} - $2"
)
_NOTIFY: Final = "SELECT pg_notify($1, '')"
