"""What callers meet of budgets, and what becomes of a grant."""

from datetime import UTC, datetime

import pytest

from freehold.errors import QuotaExceeded, RateLimited
from freehold.gateway.ledger import Charge
from freehold.governance.limits import Limits
from tests.gateway.ledger_bench import CHAT, DAY_S, KEY, NOON, PROJECT, SPARE, Bench


def test_a_budget_counts_what_is_spent_and_what_is_reserved() -> None:
    """A request that would exceed the budget, were all reservations needed, is refused with the numbers."""
    bench = Bench({KEY: Limits(budget_per_day=10_000_000)})
    bench.ledger.reserve(bench.claim(KEY, micro=9_500_000)).settle(0, 9_500_000)
    running = bench.ledger.reserve(bench.claim(KEY, micro=400_000))
    refusal = bench.refused(bench.claim(KEY, micro=200_000))
    assert isinstance(refusal, QuotaExceeded)
    assert (refusal.status, refusal.code, refusal.type) == (429, "insufficient_quota", "insufficient_quota")
    assert refusal.retry_after_s == 12 * 3600
    assert refusal.message == (
        "You exceeded the budget per day of key `key_1`: Limit 10, Used 9.5, Reserved 0.4, Requested 0.2. "
        "It is renewed at 2026-11-25T00:00:00Z."
    )
    running.settle(0, 100_000)
    bench.ledger.reserve(bench.claim(KEY, micro=200_000))


def test_what_exceeds_the_reservation_is_not_charged() -> None:
    """The charge is at most what was reserved; the rest is told as excess."""
    bench = Bench({KEY: Limits(budget_per_day=100)})
    assert bench.ledger.reserve(bench.claim(KEY, micro=60)).settle(0, 75) == Charge(60, 15)
    assert bench.ledger.use(KEY).spent_day == 60


def test_what_costs_nothing_needs_no_budget() -> None:
    """A spent budget, and one of nothing, still let through what is free."""
    bench = Bench({KEY: Limits(budget_per_day=0)})
    assert "It allows nothing that costs." in bench.refused(bench.claim(KEY, micro=1)).message
    bench.ledger.reserve(bench.claim(KEY))


def test_a_grant_is_settled_once() -> None:
    """Settling, cancelling or moving a grant that is settled is a defect, and changes nothing."""
    bench = Bench({KEY: Limits(budget_per_day=100)})
    grant = bench.ledger.reserve(bench.claim(KEY, micro=60))
    grant.settle(0, 10)
    for again in (grant.cancel, lambda: grant.settle(0, 10), lambda: grant.move(bench.claim(KEY))):
        with pytest.raises(AssertionError, match="exactly once"):
            again()
    assert bench.ledger.use(KEY).spent_day == 10


def test_a_grant_moves_to_another_deployment() -> None:
    """The key's request is counted once; the first deployment gets back its tokens, the second one has it."""
    limits = Limits(requests_per_minute=10, tokens_per_minute=100, concurrent_requests=5, budget_per_day=100)
    bench = Bench(dict.fromkeys((KEY, CHAT, SPARE), limits))
    grant = bench.ledger.reserve(bench.claim(KEY, CHAT, tokens=40, micro=50))
    grant.move(bench.claim(KEY, SPARE, tokens=60, micro=20))
    found = {
        subject.id: (use.requests, use.tokens, use.concurrent, use.reserved_day)
        for subject in (KEY, CHAT, SPARE)
        for use in [bench.ledger.use(subject)]
    }
    assert found == {"key_1": (1, 60, 1, 20), "chat": (1, 0, 0, 0), "spare": (1, 60, 1, 20)}
    assert grant.settle(60, 30) == Charge(20, 10)


def test_a_grant_that_cannot_move_stays_as_it_was() -> None:
    """When the other deployment has no room, the grant holds what it held."""
    bench = Bench({CHAT: Limits(tokens_per_minute=100, budget_per_day=100), SPARE: Limits(concurrent_requests=0)})
    grant = bench.ledger.reserve(bench.claim(KEY, CHAT, tokens=40, micro=50))
    before = bench.ledger.use(CHAT)
    with pytest.raises(RateLimited) as caught:
        grant.move(bench.claim(KEY, SPARE, tokens=60, micro=20))
    assert caught.value.scope == "deployment"
    assert bench.ledger.use(CHAT) == before
    assert bench.ledger.use(SPARE).concurrent == 0
    assert grant.claim.subjects == (KEY, CHAT)


def test_budgets_are_of_the_day_and_the_month_in_which_the_request_began() -> None:
    """A request that began before midnight and ends after it is spent on the day before; the new day begins whole."""
    bench = Bench({KEY: Limits(budget_per_day=100, budget_per_month=150)})
    bench.now = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC).timestamp()
    late = bench.ledger.reserve(bench.claim(KEY, micro=100))
    bench.now += 2
    early = bench.ledger.reserve(bench.claim(KEY, micro=100))
    late.settle(0, 100)
    early.settle(0, 60)
    use = bench.ledger.use(KEY)
    assert (use.spent_day, use.spent_month) == (60, 60)
    bench.refused(bench.claim(KEY, micro=1, at=bench.now - 2))


def test_a_month_outlives_its_days() -> None:
    """Each day brings a new budget, but the month's is used up all the same."""
    bench = Bench({KEY: Limits(budget_per_day=10, budget_per_month=60)})
    bench.now = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    for _ in range(6):
        bench.ledger.reserve(bench.claim(KEY, micro=10)).settle(0, 10)
        bench.now += DAY_S
    refusal = bench.refused(bench.claim(KEY, micro=10))
    assert "It is renewed at 2026-12-01T00:00:00Z." in refusal.message
    assert refusal.retry_after_s == 24 * DAY_S


def test_a_clock_that_jumps_ahead_and_back_loses_no_spending() -> None:
    """A wrong clock for a moment does not give the day's budget a second time."""
    bench = Bench({KEY: Limits(budget_per_day=10)})
    bench.ledger.reserve(bench.claim(KEY, micro=10)).settle(0, 10)
    bench.now += 3650 * DAY_S
    bench.ledger.reserve(bench.claim(KEY, micro=10)).settle(0, 10)
    bench.now = NOON
    bench.refused(bench.claim(KEY, micro=1))


def test_new_limits_count_what_is_spent_and_open() -> None:
    """A budget and a number of concurrent requests that are set later know what happened before."""
    bench = Bench()
    bench.ledger.reserve(bench.claim(KEY, micro=80)).settle(0, 80)
    bench.ledger.reserve(bench.claim(KEY, micro=10))
    bench.limits[KEY] = Limits(concurrent_requests=1, budget_per_day=100)
    bench.ledger.refresh(KEY.scope, KEY.id)
    assert "concurrent requests" in bench.refused(bench.claim(KEY)).message
    assert "Used 0.00008, Reserved 0.00001" in bench.refused(bench.claim(KEY, micro=11)).message


def test_a_new_ledger_takes_over_what_the_journal_knows() -> None:
    """Spending of this day and month, and the use of the last minute, count after a restart."""
    limits = Limits(requests_per_minute=60, tokens_per_minute=600, budget_per_day=100, budget_per_month=500)
    bench = Bench({KEY: limits})
    bench.ledger.restore(
        {"2026-11-24": {str(KEY): 70, str(PROJECT): 70}, "2026-11": {str(KEY): 470}, "2026-10": {str(KEY): 900}},
        {int(NOON) - 30: {str(KEY): [40, 500]}, int(NOON): {str(KEY): [1, 100]}},
    )
    use = bench.ledger.use(KEY)
    assert (use.requests, use.tokens) == (11, 300)
    assert (use.spent_day, use.spent_month) == (70, 470)
    assert "per month" in bench.refused(bench.claim(KEY, micro=31)).message
    bench.ledger.reserve(bench.claim(KEY, micro=30))


def test_books_of_long_ago_are_dropped() -> None:
    """After a year of days only the newest books are kept, and those of a request that is still open."""
    bench = Bench()
    bench.ledger.reserve(bench.claim(KEY, micro=7))
    for _ in range(365):
        bench.now += DAY_S
        bench.ledger.reserve(bench.claim(KEY, micro=1)).settle(0, 1)
    assert sorted(bench.ledger._books._by_name) == [
        "2026-11",
        "2026-11-24",
        "2027-09",
        "2027-10",
        "2027-11",
        "2027-11-22",
        "2027-11-23",
        "2027-11-24",
    ]
