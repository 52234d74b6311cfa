"""Of many accounts only those are looked at that may have something to say, and none of them is forgotten."""

from collections.abc import Callable
from random import Random

import pytest

from freehold.gateway.leases_book import Holdings
from freehold.gateway.leases_held import Holding
from freehold.gateway.leases_pool import settle
from freehold.governance.limits import Limits
from freehold.types.leases import CONCURRENT, Account, Need, Pool
from freehold.types.limits import Scope, Subject

SECOND = 1_000_000
SCAN_US = SECOND // 10


class _Gateway:
    """The holdings of a gateway, the database beside it, and a count of what is looked at."""

    def __init__(self, accounts: int) -> None:
        self.now_us = 100 * SECOND
        self.looks = 0
        self.used = [0] * accounts
        self.held = Holdings(lambda _subject: Limits(concurrent_requests=1000), lambda: self.now_us)
        self.pools = [Pool() for _ in range(accounts)]
        self.all = [self._holding(number) for number in range(accounts)]

    def _holding(self, number: int) -> Holding:
        subject = Subject(Scope.KEY, str(number))
        return self.held.holding(CONCURRENT, subject, str(number), self._use(number))

    def _use(self, number: int) -> Callable[[], tuple[int, int]]:
        def use() -> tuple[int, int]:
            self.looks += 1
            return self.used[number], 0

        return use

    def note(self, number: int) -> None:
        """A request asks for something of an account."""
        self.held.note(self.all[number], 1, self.now_us)

    def scan(self, most: int = 500) -> list[int]:
        """Ask for all that is due; which accounts those are."""
        questions = self.held.questions(self.now_us, most)
        numbers = [int(holding.account.subject) for holding, _ in questions]
        told = [
            settle(self.pools[number], "a", ask, self.now_us)
            for number, (_, ask) in zip(numbers, questions, strict=True)
        ]
        self.held.answers(questions, told, self.now_us)
        self.now_us += SCAN_US
        return numbers

    def due(self) -> set[int]:
        """Which accounts are due, by a look at all of them."""
        at = {number: each.due_us(self.now_us) for number, each in enumerate(self.all)}
        return {number for number, due_us in at.items() if due_us is not None and due_us <= self.now_us}


def _need(number: int) -> Need:
    return Need(Account(CONCURRENT, str(number)), 3)


def test_accounts_that_have_nothing_to_say_are_not_looked_at() -> None:
    """Of 5,000 accounts that were asked for just now, a scan looks at the one of which a request asked."""
    gateway = _Gateway(5000)
    while gateway.due():
        gateway.scan(5000)
    gateway.scan(5000)
    gateway.note(7)
    gateway.looks = 0
    assert gateway.scan() == []
    assert 0 < gateway.looks < 10


def test_all_accounts_are_renewed_in_time() -> None:
    """Of more accounts than one question may have, each is asked for within two seconds, the oldest first."""
    gateway = _Gateway(3000)
    asked = [0] * 3000
    for _ in range(40):
        for number in gateway.scan(300):
            asked[number] += 1
            gateway.note(number)
    assert min(asked) >= 3
    assert max(asked) <= min(asked) + 1


@pytest.mark.parametrize("seed", range(10))
def test_what_is_due_is_found(seed: int) -> None:
    """Whatever requests ask for, take, give back and wait for: a scan finds what a look at all accounts would."""
    gateway, chance = _Gateway(40), Random(seed)
    waiting: list[tuple[int, int]] = []
    for step in range(600):
        for _ in range(chance.choice((0, 0, 1, 5))):
            number = chance.randrange(40)
            gateway.note(number)
            gateway.used[number] = max(0, gateway.used[number] + chance.choice((-2, -1, 0, 1, 2)))
            if chance.random() < 0.1:
                gateway.held.waits(step, [_need(number)])
                waiting.append((number, step))
        if waiting and chance.random() < 0.5:
            number, mine = waiting.pop(0)
            gateway.held.waits_no_more(mine, [_need(number)])
        gateway.now_us += chance.choice((0, SCAN_US, 3 * SCAN_US))
        expected = gateway.due()
        assert set(gateway.scan()) == expected
