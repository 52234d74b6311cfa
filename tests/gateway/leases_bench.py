"""Gateways that share limits by a real PostgreSQL, in one process: ledgers, lenders and connections as in a server.

The database has a home's tables (`PostgreSQL.new_home`).
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from freehold.errors import FreeholdError, LimitsUnavailable, RateLimited
from freehold.gateway.leases_book import Holdings
from freehold.gateway.leases_sync import Lender, boot_clock_us
from freehold.gateway.ledger import Grant, Ledger
from freehold.gateway.refusal import Short
from freehold.governance.limits import UNLIMITED, Limits
from freehold.store import postgres
from freehold.store.database import PARAM
from freehold.store.leases import Holder, LeaseStore
from freehold.types.limits import Claim, Subject


def store_at(url: str) -> LeaseStore:
    """The tables, by a connection of one's own."""
    return LeaseStore(partial(postgres.connect, url, PARAM), postgres.failures(PARAM), "leases of a test")


@dataclass
class Gateway:
    """One gateway's ledger, and what borrows for it."""

    ledger: Ledger
    holdings: Holdings
    lender: Lender
    store: LeaseStore
    grants: list[Grant] = field(default_factory=list)
    errors: list[FreeholdError] = field(default_factory=list)

    async def reserve(self, claim: Claim) -> Grant:
        """Reserve, and wait for more where there is too little here; raises as a desk does."""
        try:
            return self.ledger.reserve(claim)
        except Short as short:
            return await self.lender.until(lambda: self.ledger.reserve(claim), short)

    async def status(self, claim: Claim) -> int:
        """What a caller is answered; what is let in goes on running."""
        try:
            self.grants.append(await self.reserve(claim))
        except (RateLimited, LimitsUnavailable) as exc:
            self.errors.append(exc)
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
    async with AsyncExitStack() as stack:
        found = [gateway(url, name, limits) for name in names]
        for each in found:
            await stack.enter_async_context(each.lender)
        yield found
