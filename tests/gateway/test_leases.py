"""Limits that several gateways share by slices: exact whatever is lost, whoever dies, wherever callers come to."""

import pytest

from freehold.governance.limits import Limits
from freehold.types.limits import Claim
from tests.gateway.leases_world import KEY, NOON, PROJECT, Request, Trouble, World


def _calls(world: World, seconds: float, each_second: float, make: "Maker") -> None:
    """Have callers come to gateways at random for a while."""
    begin = world.now_s

    def call() -> None:
        if world.now_s >= begin + seconds:
            return
        gateway = world.choice.choice(world.all)
        if gateway.up:
            gateway.call(make(world))
        world.later(world.choice.expovariate(each_second), call)

    world.later(0, call)
    world.run(begin + seconds)


class Maker:
    """Makes requests of one kind."""

    def __init__(self, cost: int = 0, tokens: int = 0, lasts_s: float = 0.1) -> None:
        self.cost, self.tokens, self.lasts_s = cost, tokens, lasts_s

    def __call__(self, world: World) -> Request:
        """One of them, that costs its bound or less."""
        cost = world.choice.randint(1, self.cost) if self.cost else 0
        tokens = world.choice.randint(1, self.tokens) if self.tokens else 0
        claim = Claim((PROJECT, KEY), tokens, cost, NOON + world.now_s)
        return Request(claim, world.choice.randint(0, cost), world.choice.random() * self.lasts_s, world.now_s + 2)


@pytest.mark.parametrize("seed", range(20))
def test_no_budget_is_exceeded_whatever_happens(seed: int) -> None:
    """Gateways die at every step, messages are lost and late: spent and reserved stay within day and month."""
    limits = {
        PROJECT: Limits(budget_per_day=20_000, budget_per_month=30_000),
        KEY: Limits(budget_per_month=15_000, concurrent_requests=9),
    }
    world = World(limits, seed, Trouble(lost=0.1, slow_s=1.0, crash=0.05))
    _calls(world, 60, 20, Maker(cost=100, lasts_s=3))
    assert world.calls > 20
