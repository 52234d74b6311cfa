"""What a replay of limits tells of the past."""

from pathlib import Path

import pytest

from freehold.governance.limits import Limits
from freehold.types.limits import EVERY, Scope, Subject
from tests.gateway.past import Past
from tests.governance.policies import policy

KEY = Subject(Scope.KEY, "key")
PROJECT = Subject(Scope.PROJECT, "proj")
CHAT = Subject(Scope.DEPLOYMENT, "chat")
EVERY_KEY = Subject(Scope.KEY, EVERY)


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path)


def refused(past: Past, limits: dict[Subject, Limits], *, since_s: float = 0.0) -> dict[str, list[str]]:
    """The names of refused requests by reason."""
    return past.replay(limits=limits, since_s=since_s).refused.examples


def test_requests_per_minute_fill_up_again(past: Past) -> None:
    """Of two a minute the third at once is refused, and one that comes half a minute later is not."""
    for name, at_s in (("a", 0), ("b", 1), ("c", 2), ("d", 31), ("e", 32)):
        past.request(name, at_s, for_s=0.5)
    found = refused(past, {KEY: Limits(requests_per_minute=2)})
    assert found == {"limit of key `key` on requests per minute (RPM)": ["c", "e"]}


def test_tokens_count_as_reserved_and_are_corrected_at_the_end(past: Past) -> None:
    """What a request turns out not to need makes room for the next, but only when it has ended."""
    past.request("large", 0, for_s=5, tokens=90, prompt_tokens=10)
    past.request("meanwhile", 1, for_s=1, tokens=50)
    past.request("afterwards", 6, for_s=1, tokens=50)
    found = refused(past, {PROJECT: Limits(tokens_per_minute=100)})
    assert found == {"limit of project `proj` on tokens per minute (TPM)": ["meanwhile"]}


def test_concurrent_requests_are_those_that_ran_then(past: Past) -> None:
    """One that came while another ran is refused; one that was running before the stretch began counts."""
    past.request("running", -10, for_s=12)
    past.request("second", 1, for_s=5)
    past.request("third", 3, for_s=1)
    found = refused(past, {KEY: Limits(concurrent_requests=1)})
    assert found == {"limit of key `key` on concurrent requests": ["second"]}


def test_what_has_no_deployment_comes_to_no_limit(past: Past) -> None:
    """Calls of MCP servers are recorded before they begin, and reserve nothing, then as in a replay."""
    for number in range(4):
        past.request(f"call{number}", number, for_s=5, tokens=0, deployment=None)
    past.request("chat", 4, for_s=0.5)
    past.request("more", 5, for_s=0.5)
    found = refused(past, {KEY: Limits(requests_per_minute=1)})
    assert found == {"limit of key `key` on requests per minute (RPM)": ["more"]}


def test_a_refused_request_uses_nothing(past: Past) -> None:
    """What was refused in the replay is neither running nor spent for those that came after it."""
    for number in range(4):
        past.request(f"r{number}", number, for_s=0.5, micro=100, cost=60)
    found = refused(past, {KEY: Limits(budget_per_day=220)})
    assert found == {"limit of the budget per day of key `key`": ["r3"]}


def test_what_was_spent_before_in_its_day_and_month_counts(past: Past) -> None:
    """A budget begins with what the journal says was spent since its day or month began, and not more."""
    past.request("month", -15 * 86_400, micro=500, cost=500)
    past.request("yesterday", -86_400, micro=300, cost=300)
    past.request("today", -2 * 3600, cost=100)
    past.request("now", 0, micro=100)
    for limits, count in (
        (Limits(budget_per_day=200), 0),
        (Limits(budget_per_day=199), 1),
        (Limits(budget_per_month=1000), 0),
        (Limits(budget_per_month=999), 1),
    ):
        assert past.replay(limits={KEY: limits}).refused.total == count


def test_limits_begin_unused_with_the_stretch(past: Past) -> None:
    """Requests before it are not refused, and do not fill limits per minute that were not set yet."""
    for number in range(5):
        past.request(f"before-{number}", -5 + number, for_s=0.5)
    past.request("first", 0.5)
    past.request("second", 0.6)
    found = refused(past, {KEY: Limits(requests_per_minute=1)})
    assert [*found.values()] == [["second"]]


def test_limits_of_each_one_hold_for_each_by_itself(past: Past) -> None:
    """`*` is each key by itself, and what a key has of its own goes before it."""
    for number, key in enumerate(("a", "a", "b", "key", "key")):
        past.request(f"{key}{number}", number / 10, key_id=key)
    found = refused(past, {EVERY_KEY: Limits(requests_per_minute=1), KEY: Limits(requests_per_minute=2)})
    assert found == {"limit of key `a` on requests per minute (RPM)": ["a1"]}


def test_a_request_that_a_policy_denies_comes_to_no_limit(past: Past) -> None:
    """It is counted once, under its policy, and leaves room for others."""
    past.request("abroad", 0, zone="us")
    past.request("home", 0.1, zone="eu")
    found = past.replay(policy("eu", zones=["eu"]), limits={KEY: Limits(requests_per_minute=1)})
    assert [*found.refused.examples.values()] == [["abroad"]]


def test_a_request_that_moved_counts_where_it_went(past: Past) -> None:
    """After a spillover the first deployment has room again, and the second one's limit is held."""
    past.request("moved", 0, for_s=10, deployment="chat")
    past.moved("moved", 1, "spare")
    past.request("next", 2, for_s=1, deployment="chat")
    one = Limits(concurrent_requests=1)
    assert refused(past, {CHAT: one}) == {}
    spare = {Subject(Scope.DEPLOYMENT, "spare"): Limits(concurrent_requests=0)}
    assert refused(past, spare) == {"limit of deployment `spare` on concurrent requests": ["moved"]}


def test_the_memory_does_not_grow_with_the_past(past: Past) -> None:
    """After a thousand requests that have ended nothing is left of them but counts."""
    for number in range(1000):
        past.request(f"r{number}", number, for_s=0.5, end_user=f"eu_{number}", zone="us" if number % 2 else "eu")
    found = past.replay(
        policy("eu", zones=["eu"]),
        limits={Subject(Scope.END_USER, EVERY): Limits(requests_per_minute=1)},
    )
    assert (found.served.total, found.refused.total) == (1000, 500)
    assert sum(len(names) for names in found.refused.examples.values()) == 5
