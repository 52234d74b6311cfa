"""How often somebody may fail."""

import pytest

from freehold.errors import RateLimited
from freehold.identity.throttle import MAX_REMEMBERED, Allowance, Throttle
from tests.identity.parts import Clock


def _throttle(failures: int = 3, longest_s: float = 100.0) -> tuple[Throttle, Clock]:
    clock = Clock(0.0)
    return Throttle(Allowance(failures, longest_s), clock=clock), clock


def test_failures_beyond_the_free_ones_have_to_wait_longer_each_time() -> None:
    """The wait doubles from one second up to the longest."""
    throttle, clock = _throttle()
    waits = []
    for _ in range(3):
        throttle.begin("ann")
    for _ in range(9):
        with pytest.raises(RateLimited) as refused:
            throttle.begin("ann")
        assert refused.value.retry_after_s is not None
        waits.append(refused.value.retry_after_s)
        clock.now += refused.value.retry_after_s
        throttle.begin("ann")
    assert waits == [1, 2, 4, 8, 16, 32, 64, 100, 100]


def test_others_and_those_who_succeed_do_not_wait() -> None:
    """A success forgets the failures of a name; of an address that many share it takes back only its own try."""
    throttle, _ = _throttle()
    for _ in range(3):
        throttle.begin("ann")
    throttle.begin("bob")
    throttle.succeeded("ann", wholly=True)
    for _ in range(3):
        throttle.begin("ann")
    throttle.succeeded("ann", wholly=False)
    throttle.begin("ann")
    with pytest.raises(RateLimited):
        throttle.begin("ann")


def test_failures_are_forgotten_in_time() -> None:
    """After the longest wait without another failure a name begins anew."""
    throttle, clock = _throttle()
    for _ in range(3):
        throttle.begin("ann")
    clock.now += 100.5
    for _ in range(3):
        throttle.begin("ann")
    with pytest.raises(RateLimited):
        throttle.begin("ann")


def test_memory_is_bounded() -> None:
    """However many names are tried, only so many are remembered, the latest."""
    throttle, _ = _throttle(failures=1)
    for number in range(MAX_REMEMBERED + 10):
        throttle.begin(f"name-{number}")
    assert len(throttle._failures) == MAX_REMEMBERED
    throttle.begin("name-0")
    with pytest.raises(RateLimited):
        throttle.begin(f"name-{MAX_REMEMBERED}")
