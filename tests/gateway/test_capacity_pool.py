"""How slices of provisioned units are dealt out, step by step, where the units or the database's clock are changed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.gateway.capacity_bucket import Bucket, Draught
from freehold.gateway.capacity_held import UnitsHeld
from freehold.gateway.capacity_pool import level_at, settle_units
from freehold.types.capacity import Weights, Work
from freehold.types.leases import UNITS, Account, Ask, Pool, Told

PAID = Account(UNITS, "deployment:d")
SECOND = 1_000_000
HOUR = 3600 * SECOND
BURST = 10 * SECOND
START = 1_795_000_000 * SECOND
PLAIN = Weights(1, 1, 1, 1)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(("take", "take", "settle", "change")),
        st.integers(0, 40 * SECOND),
        st.integers(0, 3 * SECOND),
        st.integers(1, 20),
    ),
    max_size=30,
)
"""What is done, how much, how long after the step before, and with which request or how many units."""


class Shared:
    """The units of a deployment, and gateways that ask for them at times that are set by hand."""

    def __init__(self, units: int) -> None:
        self.units = units
        self.pool = Pool()
        self.now_us = START

    def ask(self, holder: str, taken: tuple[tuple[int, int], ...] = (), keep: int = 0, least: int = 0) -> Told:
        """One question of a gateway that has taken this, the first of which still runs."""
        used = sum(amount for _, amount in taken)
        oldest_us = taken[0][0] if taken else self.now_us
        ask = Ask(PAID, self.units, used, keep=used + keep, least=least, need=least, size=self.units * BURST)
        return settle_units(self.pool, holder, replace(ask, oldest_us=oldest_us, taken=taken), self.now_us)

    @property
    def level(self) -> int:
        """What is in the bucket now."""
        return level_at(self.pool, self.now_us)


def test_units_that_are_lowered_run_out_as_before_until_then() -> None:
    """While a request runs for a minute, nothing of it is counted as if the units had been fewer all along."""
    shared = Shared(100)
    shared.ask("a")
    shared.now_us += SECOND
    taken = [(shared.now_us, 1)]
    for _ in range(60):
        shared.now_us += SECOND
        taken.append((shared.now_us, 100 * SECOND))
        shared.ask("a", tuple(taken))
    assert shared.level <= 100 * SECOND + 1
    shared.units = 20
    shared.ask("a", tuple(taken))
    assert shared.level <= 100 * SECOND + 1
    shared.now_us += 5 * SECOND
    told = shared.ask("b", least=SECOND)
    assert told.level <= 1
    assert told.amount >= SECOND


@given(units=st.integers(1, 20), steps=STEPS)
def test_the_level_is_that_of_one_bucket_whose_units_are_changed(
    units: int, steps: list[tuple[str, int, int, int]]
) -> None:
    """However requests begin and turn out, and units are changed: all gateways find what one gateway would."""
    shared, now_us = Shared(units), 0
    shared.ask("a")
    bucket = Bucket(units, BURST, now_us)
    began: list[list[int]] = []
    running: list[tuple[Draught, list[int]]] = []
    for what, amount, passed_us, which in steps:
        now_us += passed_us + 1  # a gateway says it in another moment than in which the request begins
        shared.now_us = START + now_us
        bucket.advance(now_us)
        if what == "take":
            began.append([shared.now_us, amount])
            running.append((bucket.take(amount, PLAIN), began[-1]))
            now_us += 1
            shared.now_us += 1
        elif what == "settle" and running:
            draught, entry = running.pop(which % len(running))
            draught.settle(Work(completion_tokens=amount), now_us)
            entry[1] = amount
        elif what == "change":
            shared.units = which
            bucket.change(which, BURST, now_us)
        bucket.advance(now_us)
        oldest_us = min((entry[0] for _, entry in running), default=shared.now_us)
        taken = tuple((at_us, amount) for at_us, amount in began if at_us > shared.pool.updated_us)
        ask = Ask(PAID, shared.units, 0, size=shared.units * BURST, oldest_us=oldest_us, taken=taken)
        assert settle_units(shared.pool, "a", ask, shared.now_us).level == bucket.level


def test_gateways_that_disagree_for_long_remember_little() -> None:
    """Two gateways with different units in their files: what is kept stays small, and runs out late, not early."""
    shared = Shared(10)
    first = shared.now_us + 1
    shared.ask("b", ((first, 0),))
    for number in range(200):
        shared.now_us += SECOND // 10
        shared.units = 10 if number % 2 else 5
        shared.ask("ab"[number % 2], ((first, 150 * SECOND),) if number % 2 else ())
    assert len(shared.pool.former) <= 20
    assert 50 * SECOND >= shared.level > 0


@pytest.mark.parametrize("back_us", [HOUR, 20 * SECOND])
def test_a_clock_that_was_set_back_runs_on(back_us: int) -> None:
    """The database's clock is corrected: what was taken stays, what was held counts, and both run out from then on."""
    shared = Shared(10)
    shared.ask("a", least=30 * SECOND)
    shared.now_us += SECOND
    shared.ask("a", ((shared.now_us, 40 * SECOND),), keep=20 * SECOND)
    assert shared.level == 40 * SECOND
    shared.now_us -= back_us
    told = shared.ask("b")
    assert (told.level, told.fresh) == (60 * SECOND, True)
    shared.now_us += 2 * SECOND
    assert shared.ask("b").level == 40 * SECOND
    assert shared.ask("a").fresh


def test_a_gateway_goes_on_after_a_clock_was_set_back() -> None:
    """What it takes afterwards began by the clock as it is now: it runs out, instead of waiting for the old time."""
    shared, here = Shared(10), 0
    held = UnitsHeld(PAID, 10, BURST, here)

    def speak() -> None:
        ask = held.ask(here)
        held.answer(ask, settle_units(shared.pool, "a", ask, shared.now_us), here)

    for step_us in (0, SECOND, SECOND - HOUR, SECOND):
        here += SECOND
        shared.now_us += step_us
        held.correct(held.take(5 * SECOND, here), held.asks, 0, here)
        speak()
    here += 60 * SECOND
    shared.now_us += 60 * SECOND
    speak()
    assert shared.level == 0
