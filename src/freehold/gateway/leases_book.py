"""All that one gateway holds of the limits that it shares with others, for its ledger and for whoever asks for more.

Pure, as `freehold.gateway.leases_held`: nothing here waits for a database.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Final

from freehold.gateway.budget import Book
from freehold.gateway.leases_held import Holding
from freehold.gateway.rate import UNIT, Bucket
from freehold.governance.limits import Limits
from freehold.types.leases import CONCURRENT, REQUESTS, TOKENS, Account, Ask, Need, Told
from freehold.types.limits import Subject

_FIELDS: Final = {
    REQUESTS: "requests_per_minute",
    TOKENS: "tokens_per_minute",
    CONCURRENT: "concurrent_requests",
}
_SHORTEST_US: Final = 10_000
"""After how long a request at least may come again that found too little: so long it takes to ask."""


class Holdings:
    """A gateway's slices.

    Args:
        effective: gives a subject's limits.
        now_us: the gateway's own clock, microseconds; it never goes backwards.
    """

    def __init__(self, effective: Callable[[Subject], Limits], now_us: Callable[[], int]) -> None:
        self._effective = effective
        self._by_account: dict[tuple[str, str], Holding] = {}
        self._wanted: dict[tuple[str, str], Holding] = {}
        """Those for which requests wait."""
        self._touched: dict[Holding, None] = {}
        """Those of which something has changed since they were looked at last, or may change by itself."""
        self._renewals: list[tuple[int, int, Holding]] = []
        """A heap of all: when each is to be asked for at the latest; out of date where it was asked for meanwhile."""
        self._numbers = count()
        self.now_us = now_us

    def __len__(self) -> int:
        return len(self._by_account)

    def holding(self, measure: str, subject: Subject, key: str, use: Callable[[], tuple[int, int]] | None) -> Holding:
        """What is held of an account; of one that is new, nothing yet.

        Args:
            measure: of the account.
            subject: whose.
            key: the subject as text.
            use: gives what is used and reserved, and what of it is settled; None where it is counted as it is taken.
        """
        found = self._by_account.get((measure, key))
        if found is None:
            field = _FIELDS.get(measure) or ("budget_per_month" if measure.count("-") == 1 else "budget_per_day")

            def limit() -> int | None:
                set_: int | None = getattr(self._effective(subject), field)
                return set_

            found = Holding(Account(measure, key), limit, use, self.now_us())
            self._by_account[measure, key] = found
            self._renew(found)
        elif use is not None:
            found.counted_by(use)
        return found

    def bucket(self, measure: str, subject: Subject, key: str, limit: int) -> "LeasedBucket":
        """A limit per minute of which slices are held."""
        return LeasedBucket(limit, self.holding(measure, subject, key, None), self)

    def money(
        self, book: Book, subject: Subject, key: str, cost_micro: int
    ) -> tuple[bool, tuple[int, int], Need | None]:
        """Whether what is held of a budget suffices for a request.

        Returns:
            That; what others have spent and what else they hold; and what to ask for, where that may help.
        """
        holding = self._by_account.get((book.name, key)) or self.holding(
            book.name, subject, key, partial(book.use, key)
        )
        now_us = self.now_us()
        self.note(holding, cost_micro, now_us)
        others = (0, 0) if holding.told is None else (holding.told.spent, holding.told.used - holding.told.spent)
        if holding.room(now_us) >= cost_micro:
            return True, others, None
        hopeful = cost_micro <= holding.limit and holding.hopeful(cost_micro, now_us)
        return False, others, Need(holding.account, cost_micro) if hopeful else None

    def note(self, holding: Holding, amount: int, now_us: int) -> None:
        """Know that a request asks for something."""
        if holding.closed:
            holding.closed = False
            self._by_account[holding.account.measure, holding.account.subject] = holding
            self._renew(holding)
        holding.note(amount, now_us)
        self._touched[holding] = None

    def gone(self) -> None:
        """Know that nothing is held any more but what is used: others may hold the rest."""
        for each in self._by_account.values():
            each.forfeit()
            self._touched[each] = None

    def waits(self, number: int, needs: Iterable[Need]) -> None:
        """Know that a request waits for what it lacks."""
        for need in needs:
            key = (need.account.measure, need.account.subject)
            holding = self._by_account[key]
            holding.waiting[number] = need.amount
            self._wanted[key] = holding

    def waits_no_more(self, number: int, needs: Iterable[Need]) -> None:
        """Know that it does not."""
        for need in needs:
            holding = self._by_account.get((need.account.measure, need.account.subject))
            if holding is not None:
                holding.waiting.pop(number, None)
                if not holding.waiting:
                    self._wanted.pop((need.account.measure, need.account.subject), None)

    def questions(
        self, now_us: int, most: int, *, closing: bool = False, only_wanted: bool = False
    ) -> list[tuple[Holding, Ask]]:
        """What is to be asked for now, in the order of the accounts, so that gateways do not wait for each other.

        Args:
            now_us: the time.
            most: how many at a time; the others come next.
            closing: whether the gateway ends: everything is given back.
            only_wanted: whether only those are looked at for which requests wait: that takes no time where many are
                held.
        """
        if closing:
            chosen = list(self._by_account.values())
        elif only_wanted:
            chosen = [each for each in self._wanted.values() if _is_due(each, now_us)]
        else:
            chosen = self._due(now_us, 2 * most)
        if len(chosen) > most:
            chosen.sort(key=lambda each: (not each.waiting, each.asked_us))
            self._touched.update(dict.fromkeys(chosen[most:]))
            del chosen[most:]
        chosen.sort(key=lambda each: (each.account.measure, each.account.subject))
        asked = [(each, each.ask(now_us, closing=closing)) for each in chosen]
        for each in chosen:
            self._renew(each)
        return asked

    def _due(self, now_us: int, most: int) -> list[Holding]:
        """What is to be asked for now; it looks only at what may be. Of renewals alone no more than so many."""
        touched, self._touched = self._touched, {}
        touched.update(dict.fromkeys(self._wanted.values()))
        chosen: dict[Holding, None] = {}
        for each in touched:
            if not self._has(each):
                continue
            if _is_due(each, now_us):
                chosen[each] = None
            elif each.is_watched:
                self._touched[each] = None
        while self._renewals and self._renewals[0][0] <= now_us and len(chosen) < most:
            at_us, _, each = heappop(self._renewals)
            if at_us == each.renewed_us and self._has(each):
                chosen[each] = None
        return list(chosen)

    def _has(self, holding: Holding) -> bool:
        return self._by_account.get((holding.account.measure, holding.account.subject)) is holding

    def _renew(self, holding: Holding) -> None:
        heappush(self._renewals, (holding.renewed_us, next(self._numbers), holding))

    def answers(self, questions: Sequence[tuple[Holding, Ask]], told: Sequence[Told], now_us: int) -> None:
        """Take in the answers, in the order of the questions."""
        for (holding, ask), each in zip(questions, told, strict=True):
            holding.answer(ask, each, now_us)
            self._touched[holding] = None
            if holding.closed:
                self._by_account.pop((holding.account.measure, holding.account.subject), None)

    def leased(self, measure: str, key: str) -> bool:
        """Whether something is held of an account, or was asked for."""
        return (measure, key) in self._by_account


def _is_due(holding: Holding, now_us: int) -> bool:
    due_us = holding.due_us(now_us)
    return due_us is not None and due_us <= now_us


class LeasedBucket(Bucket):
    """A limit per minute of which this gateway holds slices. Times that it is given do not matter: it has a clock.

    Args:
        limit: of all gateways together.
        holding: what is held.
        holdings: where that is.
    """

    __slots__ = ("_holding", "_holdings")

    def __init__(self, limit: int, holding: Holding, holdings: Holdings) -> None:
        self._holding = holding
        self._holdings = holdings
        super().__init__(limit, holdings.now_us())

    def refill(self, now_us: int) -> None:
        """Nothing refills here; but what a request may give back is less by what the limit brings meanwhile."""
        now_us = self._holdings.now_us()
        self.refilled += self.limit * (now_us - self._updated_us)
        self._updated_us = now_us

    def take(self, amount: int) -> None:
        """See `Bucket.take`."""
        if self._holding.closed:
            self._holdings.note(self._holding, 0, self._holdings.now_us())
        self._holding.taken += amount

    def wait_us(self, amount: int) -> int | None:
        """See `Bucket.wait_us`; how long it takes until the limit has refilled where others hold the rest."""
        if amount <= 0:
            return 0
        if amount > self.limit * UNIT:
            return None
        now_us = self._holdings.now_us()
        self._holdings.note(self._holding, amount, now_us)
        room = self._holding.room(now_us)
        if room >= amount:
            return 0
        missing = amount - room - self._holding.level(now_us)
        return max(_SHORTEST_US, -(-missing // self.limit))

    def need(self, amount: int) -> Need | None:
        """See `Bucket.need`."""
        hopeful = 0 < amount <= self.limit * UNIT and self._holding.hopeful(amount, self._holdings.now_us())
        return Need(self._holding.account, amount) if hopeful else None

    @property
    def _lacking(self) -> int:
        """What the bucket of all gateways lacks, as far as is known here; 60-millionths."""
        now_us = self._holdings.now_us()
        told = self._holding.told
        if told is None:
            return 0
        return self.limit * UNIT - self._holding.room(now_us) - self._holding.level(now_us) - told.elsewhere

    @property
    def remaining(self) -> int:
        """See `Bucket.remaining`; of all gateways."""
        return min(self.limit, max(0, (self.limit * UNIT - self._lacking) // UNIT))

    def has(self, amount: int, now_us: int) -> bool:
        """See `Bucket.has`; whether this gateway holds it."""
        self.refill(now_us)
        return self.wait_us(amount) == 0

    def left(self, now_us: int) -> int:
        """See `Bucket.left`; of all gateways."""
        self.refill(now_us)
        return self.remaining

    @property
    def full_in_us(self) -> int:
        """See `Bucket.full_in_us`; of all gateways."""
        return -(-max(0, self._lacking) // self.limit) if self.limit else 0

    @property
    def lacking(self) -> int:
        """See `Bucket.lacking`; of all gateways."""
        return max(0, -(-self._lacking // UNIT))

    def recall(self, amount: int) -> None:
        """What was used before a restart is known where the slices are kept."""

    def change(self, limit: int, now_us: int) -> None:
        """Go on with another limit; what it means for all is settled where the slices are kept."""
        self.refill(now_us)
        self.limit = limit


def crowded(slots: Holding, holdings: Holdings) -> tuple[int, Need | None] | None:
    """What is known of a limit of concurrent requests that has no slot here; None if it has one.

    Returns:
        How many run anywhere, and what to ask for where that may help.
    """
    now_us = holdings.now_us()
    running = slots.used
    holdings.note(slots, 1, now_us)
    slots.peak = max(slots.peak, running + 1)
    if slots.room(now_us) >= 1:
        return None
    need = Need(slots.account, 1) if slots.hopeful(1, now_us) else None
    return running + (0 if slots.told is None else slots.told.used), need
