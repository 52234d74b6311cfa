"""How slices of one account are dealt out, step by step."""

import pytest

from freehold.gateway.leases_held import SURE_US, Holding
from freehold.gateway.leases_pool import settle
from freehold.gateway.rate import UNIT
from freehold.types.leases import CONCURRENT, LEASE_US, REQUESTS, Account, Ask, Pool, Told

DAY = Account("2026-11-28", "project:p")
RATE = Account(REQUESTS, "project:p")
SLOTS = Account(CONCURRENT, "project:p")
SECOND = 1_000_000
START = 1_795_000_000 * SECOND


class Shared:
    """An account, and gateways that ask for it at times that are set by hand."""

    def __init__(self, account: Account, limit: int) -> None:
        self.account, self.limit = account, limit
        self.pool = Pool()
        self.now_us = START

    def ask(self, holder: str, used: int = 0, keep: int = 0, least: int = 0, need: int = 0, target: int = 0) -> Told:
        """One question."""
        ask = Ask(self.account, self.limit, used, keep=keep, least=least, need=need, target=target)
        return settle(self.pool, holder, ask, self.now_us)


def test_a_slice_is_a_part_of_what_is_left() -> None:
    """Ahead of need a gateway gets a quarter of what is left, two get an eighth each of what is left then."""
    money = Shared(DAY, 1_000)
    assert money.ask("a", target=10_000).amount == 250
    assert money.ask("b", target=10_000).amount == 750 // 8


def test_what_a_request_needs_is_given_whole_or_not_at_all() -> None:
    """Halves of what two requests need would let neither go on, so who cannot have all of it gets nothing."""
    money = Shared(DAY, 1_000)
    assert money.ask("a", least=900, need=900).amount == 900
    assert money.ask("b", least=101, need=101).amount == 0
    assert money.ask("b", least=100, need=300).amount == 100


def test_who_is_short_has_the_others_give_back() -> None:
    """While one gateway lacks what others hold unused, they are told so, and what they give back is its."""
    money = Shared(DAY, 1_000)
    money.ask("a", least=800, need=800)
    assert money.ask("b", least=500, need=500).amount == 0
    assert money.ask("a", used=100, keep=800).pressed
    assert money.ask("a", used=100, keep=100).amount == 100
    assert money.ask("b", least=500, need=500).amount == 500


def test_asking_twice_is_asking_once() -> None:
    """A question whose answer was lost may be asked again; what is dealt out is the same."""
    money = Shared(DAY, 1_000)
    first = money.ask("a", least=300, need=300)
    again = money.ask("a", least=300, need=300)
    assert first.amount == again.amount == 300
    assert sum(each.amount for each in money.pool.slices.values()) == 300


def test_money_of_the_dead_is_not_dealt_out_again() -> None:
    """What a silent gateway held of a budget stays its own, however long it is silent."""
    money = Shared(DAY, 1_000)
    money.ask("dead", least=900, need=900)
    money.now_us += 20 * LEASE_US
    told = money.ask("a", least=200, need=200)
    assert (told.amount, told.left, told.elsewhere, told.used) == (0, 100, 0, 900)


@pytest.mark.parametrize(("account", "limit", "whole"), [(RATE, 60, 60 * UNIT), (SLOTS, 60, 60)])
def test_rates_and_slots_of_the_dead_are_dealt_out_again(account: Account, limit: int, whole: int) -> None:
    """Fifteen seconds after a gateway spoke last, its slices of what is not money are free."""
    shared = Shared(account, limit)
    shared.ask("dead", least=whole, need=whole)
    shared.now_us += LEASE_US
    assert shared.ask("a", least=whole, need=whole).amount == 0
    shared.now_us += 60 * SECOND
    assert shared.ask("a", least=whole, need=whole).amount == whole


def test_a_bucket_does_not_refill_what_is_held_elsewhere() -> None:
    """What lies unused at one gateway counts as in the bucket, until it is used: then it begins to refill."""
    rate = Shared(RATE, 60)
    held = rate.ask("a", least=20 * UNIT, need=20 * UNIT).amount
    for _ in range(12):
        rate.now_us += 10 * SECOND
        assert rate.ask("a", keep=held).amount == held
    rate.now_us += 10 * SECOND
    rate.ask("a", used=held, keep=held)
    assert rate.ask("b", least=41 * UNIT, need=41 * UNIT).amount == 0
    assert rate.ask("b", least=40 * UNIT, need=40 * UNIT).amount == 40 * UNIT


def test_what_is_given_back_is_as_if_it_had_never_been_taken() -> None:
    """A slice that comes back unused leaves the bucket as full as it was."""
    rate = Shared(RATE, 60)
    rate.ask("a", least=60 * UNIT, need=60 * UNIT)
    rate.now_us += 5 * SECOND
    rate.ask("a", used=10 * UNIT, keep=10 * UNIT)
    told = rate.ask("b", least=UNIT, need=UNIT)
    assert told.amount + told.left == 50 * UNIT


def test_of_a_lower_limit_nobody_waits_longer_than_from_empty() -> None:
    """When a rate is lowered, what was used of the old one is at most all of the new one."""
    rate = Shared(RATE, 600)
    rate.ask("a", least=600 * UNIT, need=600 * UNIT)
    rate.ask("a", used=600 * UNIT, keep=600 * UNIT)
    rate.limit = 60
    rate.now_us += SECOND
    assert rate.ask("b", least=UNIT, need=UNIT).amount == UNIT


def test_what_is_kept_binds_from_the_question_on() -> None:
    """A gateway gives out no more than it said it keeps, also while it awaits the answer."""
    spent = 100
    holding = Holding(DAY, lambda: 1_000, lambda: (spent, spent), 0)
    holding.answer(holding.ask(0), Told(DAY, 900, 100, 0, pressed=True, spent=0, used=0), 0)
    assert holding.room(0) == 800
    ask = holding.ask(SECOND)
    assert (ask.keep, holding.room(SECOND)) == (100, 0)


def test_a_slice_ends_here_before_it_ends_there() -> None:
    """A gateway that is cut off gives out nothing of a rate before another one may have it; of money, it goes on."""
    for account, left in ((RATE, 0), (DAY, 50)):
        holding = Holding(account, lambda: 1_000, lambda: (0, 0), 0)
        holding.answer(holding.ask(0), Told(account, 50, 0, 0, pressed=False, spent=0, used=0), SECOND)
        assert holding.room(SURE_US - 1) == 50
        assert holding.room(SURE_US) == left
    assert SURE_US < LEASE_US


@pytest.mark.parametrize("account", [RATE, SLOTS])
def test_a_clock_that_was_set_back_runs_on(account: Account) -> None:
    """When the database's clock is right again that was an hour ahead, rates refill, and who is silent is dead."""
    shared = Shared(account, 60)
    whole = 60 * (UNIT if account is RATE else 1)
    shared.now_us += 3600 * SECOND
    shared.ask("a", least=whole, need=whole)
    shared.now_us -= 3600 * SECOND
    assert shared.ask("b", least=whole, need=whole).amount == 0
    for _ in range(80):
        shared.now_us += SECOND
        told = shared.ask("b", least=whole, need=whole)
    assert told.amount == whole
