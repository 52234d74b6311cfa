"""What is used of every limit, and the reservations of the requests that run.

All of it is in memory, and nothing waits between a check and what is taken: under any concurrency of the one event
loop, what is spent and reserved never exceeds a budget, and no more requests run than may. After a start it is
rebuilt from the journal.

A request reserves at once with everybody on whom it counts, or not at all. A reservation is an upper bound; what the
request turns out not to need is given back when it is settled, exactly once.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from freehold.errors import RateLimited
from freehold.gateway.budget import Books
from freehold.gateway.leases_book import Holdings
from freehold.gateway.limit_check import check_room
from freehold.gateway.rate import UNIT, Draught
from freehold.gateway.refusal import MICROSECONDS, Short
from freehold.gateway.standing import Standing, Standings, rate_headers
from freehold.governance.limits import Limits
from freehold.types.limits import Claim, Scope, Subject
from freehold.types.values import value_class


@value_class
class Charge:
    """What a request cost its caller, and what it would have cost beyond its reservation; micro-units."""

    cost_micro: int
    excess_micro: int


@dataclass(frozen=True, slots=True)
class Use:
    """What is used of one subject's limits now. Money is micro-units; moments are seconds since the epoch."""

    requests: int
    """What the limit of requests per minute lacks, in whole requests; 0 where there is no limit."""
    tokens: int
    concurrent: int
    spent_day: int
    reserved_day: int
    day_ends_at: int
    spent_month: int
    reserved_month: int
    month_ends_at: int


class Ledger:
    """Reserves, and knows what is left.

    Args:
        effective: gives a subject's limits; asked when a subject comes up, and again after `refresh`.
        clock: seconds since the epoch.
        leases: where several gateways share the limits, what this one holds of them; nothing else is given out then.
    """

    def __init__(
        self,
        effective: Callable[[Subject], Limits],
        clock: Callable[[], float] = time.time,
        leases: Holdings | None = None,
    ) -> None:
        self._clock = clock
        self._standings = Standings(effective, leases)
        self._books = Books(told=leases is not None)

    def restore(
        self, spent: Mapping[str, Mapping[str, int]], recent: Mapping[int, Mapping[str, Sequence[int]]]
    ) -> None:
        """Take over what the journal knows; to be called once, before the first reservation.

        Args:
            spent: micro-units by day (`2026-11-24`) and month (`2026-11`), then by subject (`scope:id`).
            recent: requests and tokens of the last minute, by the second (since the epoch) of their end, then by
                subject.
        """
        self._books.restore(spent)
        now_us = self._now_us()
        for second in sorted(recent):
            then_us = min(second * MICROSECONDS, now_us)
            for key, (requests, tokens) in recent[second].items():
                scope, _, subject_id = key.partition(":")
                self._standings.of(Subject(Scope(scope), subject_id), then_us).recall(requests, tokens, then_us)

    @property
    def books(self) -> Books:
        """The money."""
        return self._books

    def reserve(self, claim: Claim) -> "Grant":
        """Reserve what a request asks for with all its subjects, or with none.

        Raises:
            RateLimited, QuotaExceeded: a limit has no room. Of several the one that will have it last is told.
            Short: this gateway holds too little, and others may hold more.
        """
        self._standings.forget_some(self._now_us())
        return Grant(claim, self._standings, self._books, self._now_us)

    def headers(self, subjects: Sequence[Subject]) -> dict[str, str]:
        """`x-ratelimit-*` as they stand, of the tightest limit of each kind; empty where none is set."""
        now_us = self._now_us()
        return rate_headers([self._standings.of(subject, now_us) for subject in subjects], now_us)

    def refresh(self, scope: Scope, subject_id: str) -> None:
        """Hold a subject to its new limits from now on; all of the scope for the id `*`."""
        self._standings.refresh(scope, subject_id, self._now_us())

    def use(self, subject: Subject) -> Use:
        """What is used of a subject's limits."""
        now_us = self._now_us()
        key = str(subject)
        standing = self._standings.find(subject)
        if standing is not None:
            standing.refill(now_us)
        day, month = self._books.at(now_us / MICROSECONDS)
        return Use(
            requests=standing.requests.lacking if standing and standing.requests else 0,
            tokens=standing.tokens.lacking if standing and standing.tokens else 0,
            concurrent=standing.open if standing else 0,
            spent_day=day.spent.get(key, 0),
            reserved_day=day.reserved.get(key, 0),
            day_ends_at=day.ends_at,
            spent_month=month.spent.get(key, 0),
            reserved_month=month.reserved.get(key, 0),
            month_ends_at=month.ends_at,
        )

    def periods(self) -> tuple[str, str]:
        """The names of today's book and of this month's."""
        day, month = self._books.at(self._clock())
        return day.name, month.name

    def _now_us(self) -> int:
        return int(self._clock() * MICROSECONDS)


class Grant:
    """What is reserved for one request. Made by `Ledger.reserve`; settled exactly once.

    Args:
        claim: what is asked for.
        standings: how the subjects stand.
        books: the money.
        now_us: the clock, microseconds since the epoch.

    Raises:
        RateLimited, QuotaExceeded: a limit has no room.
    """

    __slots__ = (
        "_books",
        "_draughts",
        "_keys",
        "_money",
        "_now_us",
        "_open",
        "_places",
        "_resting",
        "_standings",
        "claim",
        "told",
    )

    def __init__(self, claim: Claim, standings: Standings, books: Books, now_us: Callable[[], int]) -> None:
        self.claim = claim
        self._standings = standings
        self._books = books
        self._now_us = now_us
        self._money = books.at(claim.at)
        now = now_us()
        self._places = standings.all_of(claim.subjects, now)
        self._keys = [standing.key for standing in self._places]
        self._draughts: dict[str, Draught] = {}
        check_room(self._places, claim, self._money, {}, now, standings.leases)
        self._enter(self._places)
        self._set_aside()
        self._open = True
        self._resting = False
        self.told: dict[str, str] = {}
        """Headers besides those of limits."""

    def settle(self, tokens: int, cost_micro: int) -> Charge:
        """Count what was really used, and give back the rest; exactly once.

        Args:
            tokens: of prompt and completion.
            cost_micro: what they cost; of more than was reserved, only that is charged.
        """
        self._assert_open()
        self._open = False
        now = self._now_us()
        for draught in self._draughts.values():
            draught.correct(tokens, now)
        self._leave()
        reserved = self.claim.cost_micro
        charged = min(cost_micro, reserved)
        if charged > 0:
            for book in self._money:
                book.settle(self._keys, reserved, charged)
        else:
            self._release()
        return Charge(charged, cost_micro - charged)

    def rest(self, tokens: int, cost_micro: int) -> None:
        """Give back what is not needed any more, where the work is done long before it is settled.

        The request counts no longer among those that run at a time; what it has used stays reserved.

        Args:
            tokens: of prompt and completion.
            cost_micro: what they cost.
        """
        self._assert_open()
        now = self._now_us()
        for draught in self._draughts.values():
            draught.correct(tokens, now)
        self._leave()
        self._release()
        self.claim = replace(self.claim, tokens=tokens, cost_micro=min(cost_micro, self.claim.cost_micro))
        self._set_aside()

    def cancel(self) -> None:
        """Give everything back; the request still counts in the requests of this minute."""
        self.settle(0, 0)

    def move(self, claim: Claim) -> None:
        """Exchange the reservation for another: a fallback's deployment instead of the one that cannot.

        With the subjects that stay the request is not counted again; those that go get back their tokens.

        Raises:
            RateLimited, QuotaExceeded: a limit has no room; the grant is as it was.
        """
        self._assert_open()
        if self._resting:
            raise AssertionError("what is done does not go to another deployment")
        now = self._now_us()
        places = self._standings.all_of(claim.subjects, now)
        money = self._books.at(claim.at)
        held = {standing.key: self._draughts.get(standing.key) for standing in self._places}
        self._release()
        try:
            check_room(places, claim, money, held, now, self._standings.leases)
        except (RateLimited, Short):
            self._set_aside()
            raise
        for standing in self._places:
            if standing not in places:
                standing.open -= 1
                draught = self._draughts.pop(standing.key, None)
                if draught is not None:
                    draught.correct(0, now)
        for draught in self._draughts.values():
            draught.correct(claim.tokens, now)
        self.claim, self._places, self._money = claim, places, money
        self._keys = [standing.key for standing in places]
        self._enter([standing for standing in places if standing.key not in held])
        self._set_aside()

    def headers(self) -> dict[str, str]:
        """`x-ratelimit-*` as they stand for this request's subjects."""
        return {**rate_headers(self._places, self._now_us()), **self.told}

    def _assert_open(self) -> None:
        """Have it hold also where assertions are switched off: a second settlement would make money."""
        if not self._open:
            raise AssertionError("a grant is settled exactly once")

    def _enter(self, places: Sequence[Standing]) -> None:
        """Count the request with subjects that have room for it, and were brought up to the time to see that."""
        for standing in places:
            standing.open += 1
            if standing.limited:
                if standing.requests is not None:
                    standing.requests.take(UNIT)
                if standing.tokens is not None:
                    self._draughts[standing.key] = Draught(standing.tokens, self.claim.tokens)

    def _leave(self) -> None:
        """Count no longer among the requests that run; once."""
        if not self._resting:
            self._resting = True
            for standing in self._places:
                standing.open -= 1

    def _set_aside(self) -> None:
        """Reserve the money."""
        micro = self.claim.cost_micro
        if micro:
            for book in self._money:
                book.reserve(self._keys, micro)

    def _release(self) -> None:
        """Give back the money that is reserved."""
        micro = self.claim.cost_micro
        if micro:
            for book in self._money:
                book.release(self._keys, micro)
