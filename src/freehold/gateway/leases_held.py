"""What one gateway holds of one account: what it may still give out, what it asks for, and when.

Pure: it knows no database and no event loop, only what it is told and the time. Its clock is the gateway's own, in
microseconds, and never goes backwards; it is compared with itself only.
"""

from collections.abc import Callable
from math import exp
from typing import Final

from freehold.gateway.rate import UNIT
from freehold.types.leases import CONCURRENT, LEASE_US, Account, Ask, Told

SURE_US: Final = LEASE_US * 95 // 100
"""So long after the question a slice is used that lasts `LEASE_US` from the answer: clocks do not run alike."""
AHEAD_S: Final = 5
"""For so long a gateway would like to go on with what it holds."""
_RENEW_US: Final = 1_000_000
_HURRY_US: Final = 100_000
_AGAIN_US: Final = 50_000
_DRY_US: Final = 1_000_000
"""For how long an account is thought to be empty that was."""
_IDLE_US: Final = 10_000_000
"""After so long without a request everything is given back."""
_PEAK_S: Final = 1.0
"""Over which time demand is averaged."""


class Holding:
    """A slice, seen from its gateway.

    Args:
        account: of what.
        limit: gives the limit as it is now; None where there is none any more.
        use: gives what is used and reserved, and what of it is settled.
        now_us: the time.
    """

    __slots__ = (
        "_demand",
        "_limit",
        "_measured_us",
        "_use",
        "account",
        "amount",
        "asked",
        "asked_us",
        "closed",
        "peak",
        "sure_until_us",
        "taken",
        "told",
        "told_us",
        "touched_us",
        "waiting",
        "whole",
    )

    def __init__(
        self, account: Account, limit: Callable[[], int | None], use: Callable[[], tuple[int, int]] | None, now_us: int
    ) -> None:
        self.account = account
        self._limit = limit
        self.taken = 0
        """Of a rate, what its requests have taken since this began."""
        self._use = use or (lambda: (self.taken, 0))
        self.amount = self.used
        self.asked = 0
        """What requests have asked for since the last question, whether or not they got it."""
        self.peak = 0
        """Of slots, the most that ran at once since the last question."""
        self.waiting: dict[int, int] = {}
        """How much each request asks for that waits, by its number."""
        self.told: Told | None = None
        self.told_us = 0
        self.asked_us = -_RENEW_US
        self.touched_us = now_us
        self.sure_until_us = 0
        self.whole = True
        """Whether the last answer let a request go on that waited."""
        self.closed = False
        self._demand = 0.0
        self._measured_us = now_us

    def counted_by(self, use: Callable[[], tuple[int, int]]) -> None:
        """Ask another from now on what is used: who counted it was forgotten at rest."""
        self._use = use

    @property
    def used(self) -> int:
        """What is used and reserved."""
        return self._use()[0]

    @property
    def limit(self) -> int:
        """The limit as it is now; 0 where there is none any more."""
        return self._limit() or 0

    def room(self, now_us: int) -> int:
        """What may still be given out; negative where requests turned out larger than they seemed."""
        if self.account.expires and now_us >= self.sure_until_us:
            self.forfeit()  # it may be another's by now
        return self.amount - self.used

    def forfeit(self) -> None:
        """Know that nothing is held but what is used."""
        self.amount = min(self.amount, self.used)

    def note(self, amount: int, now_us: int) -> None:
        """Know that a request asks for something, whether or not it gets it."""
        self.asked += amount
        self.touched_us = now_us

    def level(self, now_us: int) -> int:
        """What nobody holds, as far as is known here."""
        if self.told is None:
            return 0
        if not self.account.rated:
            return self.told.left
        return min(self.told.left + self.limit * max(0, now_us - self.told_us), self.limit * UNIT)

    def hopeful(self, amount: int, now_us: int) -> bool:
        """Whether it may help to ask for what a request lacks."""
        if self.told is None or (self.account.expires and now_us >= self.sure_until_us):
            return True
        there = max(0, self.room(now_us)) + self.level(now_us)
        if self.account.rated:
            return there + (self.told.elsewhere if amount * 50 >= self.limit * UNIT else 0) >= amount
        return there + self.told.elsewhere >= amount or now_us - self.told_us > _DRY_US

    def ask(self, now_us: int, *, closing: bool = False) -> Ask:
        """The question to send; from now on no more is given out than it says is kept.

        Args:
            now_us: the time.
            closing: whether the gateway ends, and gives everything back.
        """
        limit = self._limit()
        used, spent = self._use()
        room = self.room(now_us)
        least, need = min(self.waiting.values(), default=0), sum(self.waiting.values())
        target = self._target(now_us)
        closing = closing or limit is None or self._idle(used, spent, now_us)
        pressed = (self.told is not None and self.told.pressed) or (self.waiting and not self.whole)
        if closing or pressed:
            self.amount = min(self.amount, used)
        else:
            self.amount = min(self.amount, used + max(0, min(room, need + 2 * target)))
        self.asked_us, self.asked = now_us, 0
        if closing:
            return Ask(self.account, limit or 0, used, spent, self.amount, closing=True)
        return Ask(self.account, limit or 0, used, spent, self.amount, least, need, target)

    def answer(self, ask: Ask, told: Told, now_us: int) -> None:
        """Take in what it is told on the question asked last."""
        self.amount = told.amount
        self.told, self.told_us = told, now_us
        self.sure_until_us = self.asked_us + SURE_US
        self.whole = told.amount - ask.used >= ask.least
        idle = self.touched_us <= self.asked_us and not self.waiting
        self.closed = ask.closing and idle and self.amount <= self.used

    @property
    def renewed_us(self) -> int:
        """When it is to be asked for again at the latest."""
        return self.asked_us + _RENEW_US

    @property
    def is_watched(self) -> bool:
        """Whether it may be due before that without any request: others press for it, or little of it is left."""
        return (self.told is not None and self.told.pressed) or self._is_low(self.amount - self.used)

    def due_us(self, now_us: int) -> int | None:
        """When it is to be asked for again; None for never, as long as nothing happens."""
        if self.waiting:
            return self.asked_us + (0 if self.whole else _AGAIN_US)
        room = self.amount - self.used
        if self.told is not None and self.told.pressed and room > 0:
            return self.asked_us + _HURRY_US
        if self._is_low(room) and self.level(now_us) > 0:
            return self.asked_us + _HURRY_US
        return None if self.closed else self.renewed_us

    def _is_low(self, room: int) -> bool:
        """Whether so much is less than it would like to go on with."""
        return self._demand > 0 and room < self._demand * AHEAD_S / 4

    def _idle(self, used: int, spent: int, now_us: int) -> bool:
        """Whether nothing of it is wanted, and nothing can come back to it."""
        settled = self.account.rated or used == spent
        return settled and not self.waiting and now_us - self.touched_us > _IDLE_US

    def _target(self, now_us: int) -> int:
        """How much it would like to hold."""
        if self.account.measure != CONCURRENT:
            elapsed_s = max(1, now_us - self._measured_us) / 1_000_000
            self._measured_us = now_us
            self._demand += (self.asked / elapsed_s - self._demand) * (1 - exp(-elapsed_s / _PEAK_S))
            if self._demand < 1:
                self._demand = 0.0
            return int(self._demand * AHEAD_S)
        peak, self.peak = self.peak, self.used
        return max(0, peak - self.used) + 1
