"""Who waits for a replica of one deployment: the most urgent tier first, within a tier who came first.

Knows nothing of replicas: who gets what, and when, is `freehold.serving.replica_set`'s business.
"""

import asyncio
from collections.abc import Iterator
from typing import Generic, TypeVar

from freehold.errors import Overloaded
from freehold.types.engine import Tier

RETRY_AFTER_S = 1.0
"""When to try again where too many wait: slots come free at any moment."""

WishT = TypeVar("WishT")
GrantT = TypeVar("GrantT")


class Waiter(Generic[WishT, GrantT]):
    """One request that waits.

    Args:
        tier: its place among the tiers.
        wish: what it waits for.
        patience_s: how long it waits where nothing can serve it yet; 0 where it has better to do than to wait.

    Attributes:
        grant: what it waited for, once it has it. Whoever awaits owns it and gives it back.
        deadline: the loop's time at which its patience ends; None while that does not run.
        since: the clock's time at which it came.
    """

    def __init__(self, tier: Tier, wish: WishT, patience_s: float) -> None:
        self.tier = tier
        self.wish = wish
        self.patience_s = patience_s
        self.grant: GrantT | None = None
        self.deadline: float | None = None
        self.since = 0.0
        self._refusal: Overloaded | None = None
        self._wake: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Let it look again."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def refuse(self, refusal: Overloaded) -> None:
        """Tell it that it waits in vain."""
        self._refusal = refusal
        self.wake()

    async def woken(self, limit_s: float | None) -> None:
        """Wait until something changed, for at most `limit_s`; None is without end.

        Raises:
            Overloaded: it was pushed out.
        """
        self._wake = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(limit_s):
                await self._wake
        except TimeoutError:
            pass  # it looks again by itself
        finally:
            self._wake = None
        if self._refusal is not None:
            raise self._refusal


class Queue(Generic[WishT, GrantT]):
    """The requests that wait for one deployment. Every change is made at once, within one step of the event loop.

    Args:
        deployment: its name, for what those who are refused are told.
    """

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment
        self._lines: dict[Tier, dict[Waiter[WishT, GrantT], None]] = {tier: {} for tier in Tier}
        self._length = 0
        """Of all lines together; asked at the end of every request."""

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Waiter[WishT, GrantT]]:
        """Those who wait, in the order in which they are to be served."""
        for line in self._lines.values():
            yield from line

    def join(self, waiter: Waiter[WishT, GrantT], most: int) -> None:
        """Take the last place of its tier; where `most` wait already, push out the last of the lowest tier.

        Raises:
            Overloaded: nobody of a lower tier waits.
        """
        while len(self) >= most:
            last = self._last()
            if last is None or _urgency(last.tier) <= _urgency(waiter.tier):
                raise self.overloaded(waiter.tier)
            self._push_out(last)
        self._lines[waiter.tier][waiter] = None
        self._length += 1

    def leave(self, waiter: Waiter[WishT, GrantT]) -> None:
        """Wait no more; whoever does not wait may leave as well."""
        line = self._lines[waiter.tier]
        if waiter in line:
            del line[waiter]
            self._length -= 1

    def serve(self, waiter: Waiter[WishT, GrantT], grant: GrantT) -> None:
        """Give a waiter what it waited for."""
        self.leave(waiter)
        waiter.grant = grant
        waiter.wake()

    def trim(self, most: int) -> None:
        """Refuse the last ones of the lowest tiers until no more than `most` wait."""
        while len(self) > most and (last := self._last()) is not None:
            self._push_out(last)

    def wake(self) -> None:
        """Let everyone look again."""
        for waiter in self:
            waiter.wake()

    def overloaded(self, tier: Tier) -> Overloaded:
        """The refusal of a request of that tier."""
        return Overloaded(
            f"The deployment `{self._deployment}` is at its capacity, and no further request of the tier "
            f"`{tier.value}` can wait for it. Please try again in a moment.",
            retry_after_s=RETRY_AFTER_S,
            scope="deployment",
        )

    def _last(self) -> Waiter[WishT, GrantT] | None:
        """Who would be served last."""
        for line in reversed(self._lines.values()):
            if line:
                return next(reversed(line))
        return None

    def _push_out(self, waiter: Waiter[WishT, GrantT]) -> None:
        self.leave(waiter)
        waiter.refuse(self.overloaded(waiter.tier))


_ORDER = tuple(Tier)


def _urgency(tier: Tier) -> int:
    """0 for the most urgent tier."""
    return _ORDER.index(tier)
