"""One PostgreSQL as several gateways have it, in one process: each with connections and a name of its own.

async with gateways_of(url, "abc") as (a, b, c): ...
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from freehold.store.database import Database
from freehold.store.gateway_rows import GONE_S, GatewayRow, database_time, put_gateway
from freehold.store.migrate import HEAD


@asynccontextmanager
async def gateways_of(url: str, names: str) -> AsyncIterator[list[Database]]:
    """The database for each gateway; all of them live, but keep no heart beating."""
    async with AsyncExitStack() as stack:
        found = []
        for name in names:
            database = await Database.open(Path("none"), url=url)
            stack.push_async_callback(database.close)
            database.gateway = name
            await show(database)
            found.append(database)
        yield found


async def show(database: Database, ago_s: int = 0) -> None:
    """Have a gateway been seen so long ago, by the database's clock."""
    async with database.write() as connection:
        then = await database_time(connection) - ago_s
        await put_gateway(connection, GatewayRow(database.gateway, "home", "1", HEAD, "", then, then))


async def lose(database: Database) -> None:
    """Have a gateway not been seen for too long."""
    await show(database, GONE_S + 1)
