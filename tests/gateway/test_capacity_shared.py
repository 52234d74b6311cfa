"""Provisioned units that several gateways share: one bucket's promise, whatever is lost and whoever dies."""

import pytest

from freehold.gateway.capacity_bucket import MICROSECONDS
from tests.gateway.units_world import Gateway, Request, Trouble, World

UNITS = 20
MINUTE = 60 * MICROSECONDS


def _calls(
    world: World, seconds: float, each_second: float, favourite: Gateway | None = None, *, sure: bool = False
) -> None:
    """Have callers come to gateways at random for a while; nine of ten to a favourite, if there is one.

    A request is thought to take up to `world.most`, and takes less unless it is `sure`.
    """
    begin = world.now_s

    def call() -> None:
        if world.now_s >= begin + seconds:
            return
        gateway = world.choice.choice(world.all)
        if favourite is not None and world.choice.random() < 0.9:
            gateway = favourite
        if gateway.up:
            estimate = world.choice.randint(1, world.most)
            amount = estimate if sure else world.choice.randint(0, estimate)
            gateway.call(Request(estimate, amount, world.choice.random() * 3, world.now_s + 2))
        world.later(world.choice.expovariate(each_second), call)

    world.later(0, call)
    world.run(begin + seconds)


def _troubled(seed: int) -> World:
    """A minute and a half of callers who want more than there is, while gateways die and messages are lost and late."""
    trouble = Trouble(lost=0.1, slow_s=1.0, crash=0.01, cut=0.02)
    world = World(UNITS, burst_s=10, most=UNITS * 5 * MICROSECONDS, seed=seed, trouble=trouble)
    _calls(world, 30, 4)
    _calls(world, 20, 0.2)
    _calls(world, 40, 4, world.all[seed % 3])
    return world


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_never_more_is_taken_than_from_one_bucket(seed: int) -> None:
    """Gateways die, are cut off, and messages are lost: what is taken is what one bucket would have let them."""
    assert _troubled(seed).taken > UNITS * MINUTE / 4, "and they are not refused for nothing"


@pytest.mark.long
def test_never_more_is_taken_than_from_one_bucket_for_many_seeds() -> None:
    """The same for four hundred other worlds."""
    assert all(_troubled(seed).taken > 0 for seed in range(100, 500))


@pytest.mark.slow
@pytest.mark.parametrize(("most_s", "minutes"), [(0.1, 0.5), (0.5, 2), (20, 2)])
@pytest.mark.parametrize("sure", [True, False])
def test_the_units_are_all_usable_wherever_callers_come_to(most_s: float, minutes: float, *, sure: bool) -> None:
    """Callers who want more than there is get 98 % of it, whether they ask for much or little, and while they move."""
    world = World(UNITS, burst_s=10, most=round(UNITS * most_s * MICROSECONDS), seed=3)
    for phase in range(4):
        _calls(world, 15 * minutes, max(4, 6 / most_s), world.all[phase % 3], sure=sure)
    world.run(world.now_s + 4)  # until what runs has ended
    least = UNITS * minutes * MINUTE + world.exact.size
    running = 0 if sure else 3 * UNITS * MICROSECONDS  # what those take at the end that run and need less than is known
    assert world.taken >= 0.98 * least - world.most - running


@pytest.mark.slow
def test_a_gateway_that_dies_costs_little() -> None:
    """While gateways are killed and start again, callers get nearly all of the units of a minute."""
    world = World(UNITS, burst_s=10, most=UNITS * MICROSECONDS // 5, seed=5)
    for phase in range(4):
        _calls(world, 15, 40, sure=True)
        world.all[phase % 3].crash()
    _calls(world, 15, 40, sure=True)
    least = UNITS * 75 * MICROSECONDS + world.exact.size
    assert 0.98 * least <= world.taken <= least + world.most


@pytest.mark.slow
def test_what_one_gateway_does_not_use_another_has_within_two_seconds() -> None:
    """A gateway that was busy and is idle now gives back what it holds as soon as another lacks it."""
    world = World(UNITS, burst_s=10, most=UNITS * MICROSECONDS // 5, seed=7)
    first, second, _ = world.all
    _calls(world, 3, 3, first, sure=True)
    world.run(world.now_s + 0.3)
    whole = world.exact.size
    world.exact.advance(world.now_us)
    lacking = whole - world.exact.level - 1
    world.most = max(world.most, lacking)
    before = world.taken
    second.call(Request(lacking, lacking, 1, world.now_s + 2))
    world.run(world.now_s + 2)
    assert world.taken == before + lacking


@pytest.mark.slow
def test_a_gateway_without_the_database_goes_on_within_what_it_holds() -> None:
    """Cut off, it takes what it holds and no more; others have the rest, and never both the same."""
    world = World(UNITS, burst_s=10, most=UNITS * MICROSECONDS // 20, seed=9)
    cut, other, _ = world.all
    _calls(world, 2, 8, sure=True)
    cut.cut_until_s = world.now_s + 30
    before, held = world.taken, cut.bucket.held.amount - cut.bucket.held.taken
    assert held > 0
    for _ in range(1000):
        cut.call(Request(world.most, world.most, 0.1, world.now_s))
    assert before + held - world.most < world.taken <= before + held
    _calls(world, 10, 60, other, sure=True)
    world.run(world.now_s + 25)
    _calls(world, 10, 60, cut, sure=True)
    assert world.refused > 0


@pytest.mark.slow
def test_units_that_are_lowered_are_usable_at_once() -> None:
    """While a request runs that has begun long ago, a fifth of the units is left: of these callers get nearly all."""
    world = World(5 * UNITS, burst_s=10, most=UNITS * MICROSECONDS, seed=11)
    world.all[0].call(Request(1, 1, 200, 2))
    _calls(world, 60, 20, sure=True)
    world.change(UNITS)
    world.run(world.now_s + 50)  # until what was promised before has run out
    before = world.taken
    _calls(world, 30, 20, sure=True)
    assert world.taken - before >= 0.9 * UNITS * 30 * MICROSECONDS
