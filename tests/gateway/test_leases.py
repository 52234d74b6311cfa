"""Limits that several gateways share by slices: exact whatever is lost, whoever dies, wherever callers come to."""

from dataclasses import dataclass

import pytest

from freehold.governance.limits import Limits
from freehold.types.limits import Claim
from tests.gateway.leases_world import KEY, NOON, PROJECT, Gateway, Request, Trouble, World


def _calls(
    world: World,
    seconds: float,
    each_second: float,
    make: "Maker",
    favourite: Gateway | None = None,
    *,
    bursts: bool = False,
) -> None:
    """Have callers come to gateways at random for a while; most of them to a favourite, if there is one.

    With `bursts` nearly all of them come within one second of six.
    """
    begin = world.now_s

    def call() -> None:
        if world.now_s >= begin + seconds:
            return
        gateway = world.choice.choice(world.all)
        if favourite is not None and world.choice.random() < 0.9:
            gateway = favourite
        if gateway.up:
            gateway.call(make(world))
        pace = 1.0 if not bursts else 5.0 if int(world.now_s) % 6 == 0 else 0.1
        world.later(world.choice.expovariate(each_second * pace), call)

    world.later(0, call)
    world.run(begin + seconds)


@dataclass(frozen=True)
class Maker:
    """Makes requests of one kind.

    Args:
        cost: the most that one costs, in micro-units.
        tokens: the most tokens that one asks for.
        lasts_s: how long one takes at most.
        sure: whether it uses all the tokens that it asks for.
    """

    cost: int = 0
    tokens: int = 0
    lasts_s: float = 0.1
    sure: bool = True

    def __call__(self, world: World) -> Request:
        """One of them, that costs its bound or less."""
        cost = world.choice.randint(1, self.cost) if self.cost else 0
        tokens = world.choice.randint(1, self.tokens) if self.tokens else 0
        claim = Claim((PROJECT, KEY), tokens, cost, NOON + world.now_s)
        used = tokens if self.sure else world.choice.randint(0, tokens)
        lasts_s = world.choice.random() * self.lasts_s
        return Request(claim, used, world.choice.randint(0, cost), lasts_s, world.now_s + 2)


def _spend(seed: int) -> World:
    """A minute of callers whose requests cost money, while gateways die and messages are lost and late."""
    limits = {
        PROJECT: Limits(budget_per_day=20_000, budget_per_month=30_000),
        KEY: Limits(budget_per_month=15_000, concurrent_requests=9),
    }
    world = World(limits, seed, Trouble(lost=0.1, slow_s=1.0, crash=0.05))
    _calls(world, 60, 20, Maker(cost=100, lasts_s=3))
    return world


def _press(seed: int) -> World:
    """Callers who want more than the rates allow, in bursts, while gateways die, are cut off, and messages are lost."""
    limits = {
        PROJECT: Limits(requests_per_minute=100, tokens_per_minute=8_000),
        KEY: Limits(tokens_per_minute=7_000, concurrent_requests=30),
    }
    world = World(limits, seed, Trouble(lost=0.1, slow_s=1.0, crash=0.01, cut=0.03))
    _calls(world, 90, 10, Maker(tokens=150, lasts_s=5, sure=False), bursts=True)
    return world


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_no_budget_is_exceeded_whatever_happens(seed: int) -> None:
    """Gateways die at every step, messages are lost and late: spent and reserved stay within day and month."""
    assert _spend(seed).calls > 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_rate_is_exceeded_whatever_happens(seed: int) -> None:
    """Gateways die, messages are lost: what requests use stays within what one bucket would have let them."""
    assert _press(seed).calls > 50


@pytest.mark.long
def test_no_limit_is_exceeded_whatever_happens_for_many_seeds() -> None:
    """The same for three hundred other worlds each."""
    assert all(_spend(seed).calls > 20 and _press(seed).calls > 50 for seed in range(100, 400))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_last_unit_of_a_budget_is_usable(seed: int) -> None:
    """As soon as all is well again, callers get all of a budget but for less than one call costs."""
    limits = {PROJECT: Limits(budget_per_day=5_000)}
    world = World(limits, seed, Trouble(lost=0.1, slow_s=1.0, crash=0.05))
    make = Maker(cost=100, lasts_s=1)
    _calls(world, 10, 5, make)
    world.trouble = Trouble()
    _calls(world, 120, 20, make)
    world.run(world.now_s + 30)
    assert 4_900 <= world.used(PROJECT, 0) <= 5_000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("tokens", [0, 120])
def test_rates_are_exact_wherever_callers_come_to(seed: int, tokens: int) -> None:
    """Callers who want more than the limit get at least 98 % of it, and never more; also while they move."""
    limit = {"tokens_per_minute": 6000 * 61} if tokens else {"requests_per_minute": 6000}
    world = World({PROJECT: Limits(**limit)}, seed)
    make = Maker(tokens=tokens, lasts_s=0.1)
    for phase in range(4):
        favourite = world.all[phase % 3]
        _calls(world, 15, 260, make, favourite)
    used = world.taken["tokens" if tokens else "requests"]
    exact = next(iter(limit.values())) * 2  # the burst, and a minute
    assert exact * 0.98 <= used <= exact


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_every_slot_is_usable_wherever_callers_come_to(seed: int) -> None:
    """Of 12 requests that may run at once, 12 do while more are wanted, at one gateway or at all."""
    world = World({PROJECT: Limits(concurrent_requests=12)}, seed)
    make = Maker(lasts_s=2)
    for favourite in (None, world.all[0], world.all[1]):
        _calls(world, 20, 40, make, favourite)
    whole = 60 / 1.0 * 12  # one lasts a second on the average
    assert 0.9 * whole <= world.calls <= 1.1 * whole


def test_a_large_request_gets_what_is_scattered_over_gateways() -> None:
    """What one gateway lacks for a request that asks for most of a limit, the others give back; it is not refused."""
    world = World({PROJECT: Limits(tokens_per_minute=10_000, budget_per_day=1_000)}, 1)
    for gateway in world.all:
        for _ in range(3):
            gateway.call(Request(Claim((PROJECT,), 100, 10, NOON), 100, 10, 0.1, world.now_s + 2))
    world.run(1.0)
    assert world.calls == 9
    world.all[2].call(Request(Claim((PROJECT,), 9_000, 900, NOON + 1), 9_000, 900, 0.1, world.now_s + 2))
    world.run(4.0)
    assert (world.calls, world.refused) == (10, 0)
