"""The limits of the application, put together: one ledger, or a part of what several gateways share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from freehold.app_records import Records, database_url
from freehold.config import Settings
from freehold.gateway.capacity_shared import SharedBuckets
from freehold.gateway.leases_book import Holdings
from freehold.gateway.leases_sync import Lender, boot_clock_us
from freehold.gateway.leases_view import LedgerUses, SharedUses, Uses
from freehold.gateway.ledger import Ledger
from freehold.gateway.presence import fingerprint
from freehold.governance.limits import LimitRegistry
from freehold.store import postgres
from freehold.store.database import PARAM
from freehold.store.home import Home
from freehold.store.leases import Holder, LeaseStore, remove_holder


@dataclass(frozen=True, slots=True)
class LimitParts:
    """What requests are limited by.

    Args:
        limits: what callers may use.
        ledger: what they have used of it.
        lender: where several gateways share the limits, what borrows from them.
        uses: what is used of them, by all gateways.
        units: where several gateways share the limits, the buckets of provisioned units, which they share too.
    """

    limits: LimitRegistry
    ledger: Ledger
    lender: Lender | None
    uses: Uses
    units: SharedBuckets | None = None


@asynccontextmanager
async def open_limits(home: Home, records: Records, settings: Settings) -> AsyncIterator[LimitParts]:
    """What callers may use, and what the journal says they have used of it.

    Raises:
        Unavailable: gateways share the limits, and the database cannot be reached.
    """
    limits = LimitRegistry(records.database, records.digests.end_user)
    await limits.load(settings.limit)
    url, carried = database_url(home, settings), records.journal.carried
    if url is None:
        ledger = Ledger(limits.effective)
        limits.on_change(ledger.refresh)
        ledger.restore(carried.spent, carried.recent)
        yield LimitParts(limits, ledger, None, LedgerUses(ledger))
        return
    holdings = Holdings(limits.effective, boot_clock_us)
    ledger = Ledger(limits.effective, leases=holdings)
    limits.on_change(ledger.refresh)
    ledger.restore(carried.spent, carried.recent)
    holder = Holder(fingerprint(records.signer.public_key), records.presence.name)
    shown, failures = postgres.shown(url, PARAM), postgres.failures(PARAM)
    records.presence.on_remove(remove_holder)
    store = LeaseStore(partial(postgres.connect, url, PARAM), failures, shown)
    async with Lender(ledger, holdings, store, holder) as lender:
        yield LimitParts(limits, ledger, lender, SharedUses(ledger, store, holder.id), SharedBuckets(holdings, store))
