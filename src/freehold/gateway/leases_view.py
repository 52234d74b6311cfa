"""What is used of limits, for whoever administers them: by this gateway, or by all that share them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from freehold.errors import Unavailable
from freehold.gateway.leases_pool import pass_time
from freehold.gateway.ledger import Ledger, Use
from freehold.gateway.rate import UNIT
from freehold.store.leases import LeaseStore
from freehold.types.leases import CONCURRENT, LEASE_US, REQUESTS, TOKENS, Account, Pool
from freehold.types.limits import Subject


class Uses(Protocol):
    """Knows what is used of limits."""

    async def of(self, subjects: Sequence[Subject]) -> list[Use]:
        """What is used of the limits of some subjects, in their order."""


class LedgerUses:
    """What one ledger knows.

    Args:
        ledger: where everything is counted.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def of(self, subjects: Sequence[Subject]) -> list[Use]:
        """See `Uses.of`."""
        return [self._ledger.use(subject) for subject in subjects]


class SharedUses:
    """What all gateways know; while the database cannot be reached, what this one does.

    Of a gateway that is gone nobody knows what it had reserved: what it held of a budget counts as reserved until it
    has started again, or was removed.

    Args:
        ledger: this gateway's.
        store: where the limits are shared.
        holder: this gateway's id there.
    """

    def __init__(self, ledger: Ledger, store: LeaseStore, holder: str) -> None:
        self._ledger = ledger
        self._store = store
        self._holder = holder

    async def of(self, subjects: Sequence[Subject]) -> list[Use]:
        """See `Uses.of`."""
        own = [self._ledger.use(subject) for subject in subjects]
        day, month = self._ledger.periods()
        measures = (REQUESTS, TOKENS, CONCURRENT, day, month)
        try:
            now_us, pools = await self._store.slices(
                (measure, str(subject)) for subject in subjects for measure in measures
            )
        except Unavailable:
            return own
        for account, pool in pools.items():
            pass_time(pool, account, pool.limit, now_us)
        return [
            self._all(use, *(pools.get(Account(measure, str(subject)), Pool()) for measure in measures), now_us=now_us)
            for use, subject in zip(own, subjects, strict=True)
        ]

    def _all(self, use: Use, requests: Pool, tokens: Pool, slots: Pool, day: Pool, month: Pool, *, now_us: int) -> Use:
        spent_day, reserved_day = self._others(day, now_us)
        spent_month, reserved_month = self._others(month, now_us)
        return replace(
            use,
            requests=max(use.requests, _lacking(requests)),
            tokens=max(use.tokens, _lacking(tokens)),
            concurrent=use.concurrent + sum(each.used for name, each in slots.slices.items() if name != self._holder),
            spent_day=use.spent_day + spent_day,
            reserved_day=use.reserved_day + reserved_day,
            spent_month=use.spent_month + spent_month,
            reserved_month=use.reserved_month + reserved_month,
        )

    def _others(self, pool: Pool, now_us: int) -> tuple[int, int]:
        """What other gateways have spent of a budget, and what they have reserved."""
        spent = reserved = 0
        for name, each in pool.slices.items():
            if name != self._holder:
                gone = now_us - each.seen_us > LEASE_US and each.amount > each.used
                spent += each.spent
                reserved += (each.amount if gone else each.used) - each.spent
        return spent, reserved


def _lacking(bucket: Pool) -> int:
    """What a bucket lacks that was really used, in whole units."""
    held = sum(each.unused for each in bucket.slices.values())
    return max(0, -(-(bucket.used - held) // UNIT))
