"""Gateways that share limits by a real PostgreSQL, in one process: ledgers, lenders and connections as in a server."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import create_async_engine

from freehold.errors import LimitsUnavailable, RateLimited
from freehold.gateway.leases_book import Holdings
from freehold.gateway.leases_sync import Lender, boot_clock_us
from freehold.gateway.ledger import Grant, Ledger
from freehold.gateway.refusal import Short
from freehold.governance.limits import UNLIMITED, Limits
from freehold.store.lease_tables import lease_accounts, lease_holders, lease_slices
from freehold.store.leases import Holder, LeaseStore
from freehold.store.tables import metadata
from freehold.types.limits import Claim, Subject


async def make_tables(url: str) -> None:
    """Create the tables of leases in an empty database."""

    async def connect() -> Any:
        return await asyncpg.connect(url)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all, [lease_holders, lease_accounts, lease_slices])
    await engine.dispose()


def store_at(url: str) -> LeaseStore:
    """The tables, by a connection of one's own."""

    async def connect() -> Any:
        connection = await asyncpg.connect(url, timeout=2)
        await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=int, format="text")
        return connection

    return LeaseStore(connect, (OSError, asyncpg.PostgresError, asyncpg.InterfaceError), "leases of a test")


@dataclass
class Gateway:
    """One gateway's ledger, and what borrows for it."""

    ledger: Ledger
    holdings: Holdings
    lender: Lender
    store: LeaseStore

    async def reserve(self, claim: Claim) -> Grant:
        """Reserve, and wait for more where there is too little here; raises as a desk does."""
        try:
            return self.ledger.reserve(claim)
        except Short as short:
            return await self.lender.until(lambda: self.ledger.reserve(claim), short)

    async def status(self, claim: Claim) -> int:
        """What a caller is answered; what is let in goes on running."""
        try:
            await self.reserve(claim)
        except (RateLimited, LimitsUnavailable) as exc:
            return exc.status
        return 200


def gateway(url: str, name: str, limits: dict[Subject, Limits]) -> Gateway:
    """A gateway that has not begun."""

    def effective(subject: Subject) -> Limits:
        return limits.get(subject, UNLIMITED)

    holdings = Holdings(effective, boot_clock_us)
    ledger = Ledger(effective, leases=holdings)
    store = store_at(url)
    return Gateway(ledger, holdings, Lender(ledger, holdings, store, Holder(name, name)), store)


@asynccontextmanager
async def gateways(url: str, limits: dict[Subject, Limits], names: Sequence[str]) -> AsyncIterator[list[Gateway]]:
    """Several that run; they end in order."""
    await make_tables(url)
    async with AsyncExitStack() as stack:
        found = [gateway(url, name, limits) for name in names]
        for each in found:
            await stack.enter_async_context(each.lender)
        yield found
