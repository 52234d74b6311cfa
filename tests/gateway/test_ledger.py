"""What callers meet of limits per minute and of concurrent requests: refusals, headers, what is given back."""

import pytest

from freehold.errors import QuotaExceeded
from freehold.gateway.ledger import Ledger
from freehold.gateway.rate import duration
from freehold.governance.limits import Limits
from freehold.types.limits import EVERY, Scope, Subject
from tests.gateway.ledger_bench import CHAT, KEY, NOON, PROJECT, SPARE, USER, Bench


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (850_000, "850ms"),
        (999_001, "1s"),
        (7_660_000, "7.66s"),
        (60_000_000, "1m0s"),
        (90_951_000, "1m30.951s"),
        (360_000_000, "6m0s"),
        (3_600_000_000, "1h0m0s"),
    ],
)
def test_a_time_is_written_as_openai_writes_it(us: int, text: str) -> None:
    """Times in headers and messages look like Go's, rounded up to a millisecond."""
    assert duration(us) == text


def test_requests_per_minute_come_back_one_by_one() -> None:
    """Of 60 requests a minute one is back after a second; the refusal says so in OpenAI's words."""
    bench = Bench({PROJECT: Limits(requests_per_minute=60)})
    for _ in range(60):
        bench.ledger.reserve(bench.claim(PROJECT, KEY)).settle(0, 0)
    refusal = bench.refused(bench.claim(PROJECT, KEY))
    assert refusal.message == (
        "Rate limit reached for project `proj-default` on requests per minute (RPM): Limit 60, Used 60, "
        "Requested 1. Please try again in 1s."
    )
    assert (refusal.status, refusal.code, refusal.type) == (429, "rate_limit_exceeded", "rate_limit_error")
    assert (refusal.retry_after_s, refusal.scope) == (1.0, "project")
    assert refusal.headers == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
    }
    bench.now += 1
    bench.ledger.reserve(bench.claim(PROJECT, KEY))
    bench.refused(bench.claim(PROJECT, KEY))


def test_headers_tell_of_the_limit_that_leaves_the_least() -> None:
    """`x-ratelimit-*` stand for the tightest limit of requests and the tightest of tokens, whosever they are."""
    bench = Bench(
        {
            PROJECT: Limits(requests_per_minute=60, tokens_per_minute=1000),
            KEY: Limits(tokens_per_minute=150_000),
            CHAT: Limits(requests_per_minute=600),
        }
    )
    grant = bench.ledger.reserve(bench.claim(PROJECT, KEY, CHAT, tokens=16))
    assert grant.headers() == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "984",
        "x-ratelimit-reset-tokens": "960ms",
    }
    assert bench.ledger.headers([KEY]) == {
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "7ms",
    }
    assert bench.ledger.headers([SPARE]) == {}


def test_tokens_that_were_not_needed_are_given_back() -> None:
    """A request that used less than it reserved makes room for the next at once."""
    bench = Bench({KEY: Limits(tokens_per_minute=100)})
    grant = bench.ledger.reserve(bench.claim(KEY, tokens=100))
    refusal = bench.refused(bench.claim(KEY, tokens=90))
    assert "tokens per minute (TPM): Limit 100, Used 100, Requested 90. Please try again in 54s." in refusal.message
    grant.settle(10, 0)
    bench.ledger.reserve(bench.claim(KEY, tokens=90))


def test_tokens_that_came_back_by_themselves_are_not_given_back_again() -> None:
    """A request that ran for a minute leaves no second room for others that come after it."""
    bench = Bench({KEY: Limits(tokens_per_minute=100)})
    long = bench.ledger.reserve(bench.claim(KEY, tokens=100))
    bench.now += 60
    bench.ledger.reserve(bench.claim(KEY, tokens=100))
    long.settle(0, 0)
    bench.refused(bench.claim(KEY, tokens=1))


def test_more_tokens_than_were_reserved_delay_the_next() -> None:
    """A request that used more than its estimate overdraws the limit, and the next waits the longer."""
    bench = Bench({KEY: Limits(tokens_per_minute=60)})
    bench.ledger.reserve(bench.claim(KEY, tokens=10)).settle(90, 0)
    refusal = bench.refused(bench.claim(KEY, tokens=30))
    assert refusal.retry_after_s == 60.0
    assert refusal.headers["x-ratelimit-remaining-tokens"] == "0"
    assert refusal.headers["x-ratelimit-reset-tokens"] == "1m30s"
    bench.now += 60
    bench.ledger.reserve(bench.claim(KEY, tokens=30))


def test_a_request_larger_than_its_limit_is_told_that_it_never_fits() -> None:
    """More tokens than the whole limit, or more money than the whole budget, can never be had, so no time is named."""
    bench = Bench({KEY: Limits(tokens_per_minute=100), PROJECT: Limits(budget_per_day=5_000_000)})
    refusal = bench.refused(bench.claim(KEY, tokens=101))
    assert refusal.retry_after_s is None
    assert refusal.message == (
        "Request too large for key `key_1` on tokens per minute (TPM): Limit 100, Requested 101. "
        "The input or output tokens must be reduced in order to run successfully."
    )
    refusal = bench.refused(bench.claim(PROJECT, micro=6_000_000))
    assert isinstance(refusal, QuotaExceeded)
    assert refusal.retry_after_s is None
    assert (
        "Request too large for the budget per day of project `proj-default`: Limit 5, Requested 6." in refusal.message
    )


def test_no_more_requests_run_at_once_than_may() -> None:
    """A place among the concurrent requests is free again when one is settled or cancelled."""
    bench = Bench({KEY: Limits(concurrent_requests=2)})
    first, second = (bench.ledger.reserve(bench.claim(KEY)) for _ in range(2))
    refusal = bench.refused(bench.claim(KEY))
    assert (
        "key `key_1` on concurrent requests: Limit 2, Used 2, Requested 1. Please try again in 1s." in refusal.message
    )
    first.settle(0, 0)
    third = bench.ledger.reserve(bench.claim(KEY))
    second.cancel()
    third.cancel()
    assert bench.ledger.use(KEY).concurrent == 0


def test_a_cancelled_request_still_counts_among_the_requests() -> None:
    """Giving up a request brings back tokens and money, but not the request of that minute."""
    bench = Bench({KEY: Limits(requests_per_minute=2, tokens_per_minute=50, budget_per_day=100)})
    for _ in range(2):
        bench.ledger.reserve(bench.claim(KEY, tokens=50, micro=100)).cancel()
    assert "requests per minute" in bench.refused(bench.claim(KEY)).message


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(requests_per_minute=0), "requests per minute (RPM): Limit 0"),
        (Limits(tokens_per_minute=0), "tokens per minute (TPM): Limit 0"),
        (Limits(concurrent_requests=0), "concurrent requests: Limit 0"),
    ],
)
def test_a_limit_of_nothing_allows_nothing(limits: Limits, what: str) -> None:
    """A limit of zero refuses everything, and names no time at which to try again."""
    bench = Bench({KEY: limits})
    refusal = bench.refused(bench.claim(KEY, tokens=1))
    assert what in refusal.message
    assert refusal.message.endswith("It allows none.")
    assert refusal.retry_after_s is None


def test_a_refusal_takes_nothing_from_anybody() -> None:
    """When one of the subjects has no room, none of the others is charged, counted or kept waiting."""
    bench = Bench(
        {
            PROJECT: Limits(requests_per_minute=5, tokens_per_minute=50, concurrent_requests=1, budget_per_day=10),
            KEY: Limits(budget_per_month=1),
        }
    )
    for _ in range(20):
        bench.refused(bench.claim(PROJECT, KEY, tokens=50, micro=2))
    use = bench.ledger.use(PROJECT)
    assert (use.requests, use.tokens, use.concurrent, use.reserved_day) == (0, 0, 0, 0)


def test_of_several_full_limits_the_last_to_have_room_is_told() -> None:
    """A caller whose budget is spent is not told to come back in a second because of another limit."""
    bench = Bench({PROJECT: Limits(requests_per_minute=60, budget_per_month=5), KEY: Limits(requests_per_minute=1)})
    for _ in range(60):
        bench.ledger.reserve(bench.claim(PROJECT, micro=0)).settle(0, 0)
    bench.ledger.reserve(bench.claim(KEY)).settle(0, 0)
    assert bench.refused(bench.claim(PROJECT, KEY)).scope == "key"
    bench.now += 60
    bench.ledger.reserve(bench.claim(PROJECT, micro=5))
    bench.ledger.reserve(bench.claim(KEY)).settle(0, 0)
    assert isinstance(bench.refused(bench.claim(PROJECT, KEY, micro=3)), QuotaExceeded)


def test_an_end_user_is_not_named() -> None:
    """The digest under which an end user is counted does not stand in a message."""
    bench = Bench({USER: Limits(concurrent_requests=0, budget_per_day=0)})
    for claim in (bench.claim(USER), bench.claim(USER, micro=1)):
        message = bench.refused(claim).message
        assert "this end user" in message
        assert "eu_" not in message


def test_a_clock_that_was_set_back_keeps_nobody_waiting() -> None:
    """The refill goes on from the new time, and a settlement after it gives back no more than was taken."""
    bench = Bench({KEY: Limits(tokens_per_minute=60)})
    grant = bench.ledger.reserve(bench.claim(KEY, tokens=60))
    bench.now -= 3600
    bench.refused(bench.claim(KEY, tokens=1))
    bench.now += 30
    bench.ledger.reserve(bench.claim(KEY, tokens=30))
    grant.settle(0, 0)
    assert bench.ledger.use(KEY).tokens == 30


def test_a_lowered_limit_keeps_the_share_that_is_used() -> None:
    """A lowered limit per minute keeps nobody waiting longer than an empty one; a raised one helps at once."""
    bench = Bench({KEY: Limits(requests_per_minute=100)})
    for _ in range(90):
        bench.ledger.reserve(bench.claim(KEY)).settle(0, 0)
    for limit, remaining in ((10, 1), (100, 91)):
        bench.limits[KEY] = Limits(requests_per_minute=limit)
        bench.ledger.refresh(Scope.KEY, EVERY)
        assert bench.ledger.headers([KEY])["x-ratelimit-remaining-requests"] == str(remaining)


def test_a_limit_that_is_set_while_a_request_runs_owes_it_nothing() -> None:
    """A request that took nothing from a limit gives nothing back to it."""
    bench = Bench()
    grant = bench.ledger.reserve(bench.claim(KEY, tokens=50))
    bench.limits[KEY] = Limits(tokens_per_minute=60)
    bench.ledger.refresh(KEY.scope, KEY.id)
    bench.ledger.reserve(bench.claim(KEY, tokens=30))
    grant.move(bench.claim(KEY, tokens=80))
    grant.settle(0, 0)
    assert bench.ledger.use(KEY).tokens == 30


def test_a_restart_leaves_no_limit_per_minute_overdrawn() -> None:
    """Requests that took minutes and ended at once before a restart keep nobody waiting for longer than a minute."""
    bench = Bench({KEY: Limits(requests_per_minute=10)})
    bench.ledger.restore({}, {int(NOON): {str(KEY): [50, 0]}})
    assert bench.refused(bench.claim(KEY)).retry_after_s == 6.0


def test_callers_at_rest_are_forgotten() -> None:
    """A hundred thousand end users, each with limits, leave behind about as many as came within the last minute."""
    bench = Bench()
    ledger = Ledger(lambda _: Limits(requests_per_minute=60, concurrent_requests=5), lambda: bench.now)
    busy = ledger.reserve(bench.claim(KEY))
    for number in range(20_000):
        bench.now += 0.01
        ledger.reserve(bench.claim(Subject(Scope.END_USER, f"eu_{number}"), tokens=10)).settle(10, 0)
    assert len(ledger._standings) < 2_000
    assert ledger.use(KEY).concurrent == 1
    busy.cancel()


def test_what_rests_leaves_its_place_and_what_it_did_not_use() -> None:
    """A request that is done and not settled lets others in, holds what it used, and is counted and paid once."""
    bench = Bench({KEY: Limits(concurrent_requests=1, tokens_per_minute=100, budget_per_day=100)})
    first = bench.ledger.reserve(bench.claim(KEY, tokens=90, micro=90))
    bench.refused(bench.claim(KEY, tokens=60, micro=60))
    first.rest(30, 30)
    first.rest(30, 30)
    use = bench.ledger.use(KEY)
    assert (use.concurrent, use.reserved_day, use.spent_day) == (0, 30, 0)
    with pytest.raises(AssertionError, match="another deployment"):
        first.move(bench.claim(KEY))
    second = bench.ledger.reserve(bench.claim(KEY, tokens=60, micro=60))
    bench.refused(bench.claim(KEY))
    charges = [grant.settle(used, used) for grant, used in ((first, 30), (second, 60))]
    assert [(charge.cost_micro, charge.excess_micro) for charge in charges] == [(30, 0), (60, 0)]
    use = bench.ledger.use(KEY)
    assert (use.concurrent, use.reserved_day, use.spent_day) == (0, 0, 90)
    bench.refused(bench.claim(KEY, tokens=11))
    bench.ledger.reserve(bench.claim(KEY, tokens=10, micro=10))


def test_what_rests_is_charged_no_more_than_it_had_reserved() -> None:
    """Usage beyond a reservation is an excess, told with the settlement as without a rest before it."""
    bench = Bench({KEY: Limits(budget_per_day=100)})
    grant = bench.ledger.reserve(bench.claim(KEY, micro=50))
    grant.rest(0, 70)
    assert bench.ledger.use(KEY).reserved_day == 50
    charge = grant.settle(0, 70)
    assert (charge.cost_micro, charge.excess_micro) == (50, 20)
