"""Busy replicas under many requests at random; each rule on its own is in test_lending.py."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from freehold.errors import EngineUnavailable, FreeholdError, Overloaded
from freehold.types.engine import Feature, Tier
from tests.serving.trial import Client, all_ready, auto, idle, supervised, trial


@pytest.mark.slow
def test_the_order_holds_whoever_leaves(tmp_path: Path) -> None:
    """Slots that come free one by one go to those who are left, by tier and then in the order of their coming."""
    chance = random.Random(3)  # guards no secret
    urgency = {tier: number for number, tier in enumerate(Tier)}

    async def main() -> None:
        async with supervised(tmp_path, trial(parallel=1)) as supervisor:
            await all_ready(supervisor, 1)
            served: list[int] = []
            running = Client(supervisor)

            async def request(number: int, tier: Tier) -> None:
                async with supervisor.acquire("chat", tier=tier):
                    served.append(number)

            tiers = [chance.choice(list(Tier)) for _ in range(500)]
            tasks = [asyncio.create_task(request(number, tier)) for number, tier in enumerate(tiers)]
            await asyncio.sleep(0)
            gone = {number for number in range(500) if chance.random() < 0.4}
            for number in gone:
                tasks[number].cancel()
            await running.end()
            await asyncio.wait(tasks)
            assert served == sorted(set(range(500)) - gone, key=lambda number: (urgency[tiers[number]], number))
            assert idle(supervisor)

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_any_mix_of_requests_keeps_the_bounds(tmp_path: Path, seed: int) -> None:
    """With cancels, deadlines and refusals at random: never more than the slots, and nothing leaks."""
    chance = random.Random(seed)  # guards no secret
    parallel, replicas, most = 3, 2, 20

    async def main() -> None:
        async with supervised(tmp_path, trial(parallel=parallel, replicas=replicas, queue=most)) as supervisor:
            await all_ready(supervisor, replicas)
            holding: dict[str, int] = {}
            served: list[Tier] = []

            async def request() -> None:
                tier, patience_s = chance.choice(list(Tier)), chance.choice([0.0, 1.0, 1.0, 1.0])
                async with supervisor.acquire("chat", tier=tier, patience_s=patience_s) as lease:
                    served.append(tier)
                    holding[lease.replica_id] = holding.get(lease.replica_id, 0) + 1
                    assert holding[lease.replica_id] <= parallel
                    assert supervisor.status("chat").waiting <= most
                    try:
                        await asyncio.sleep(chance.random() * 0.01)
                    finally:
                        holding[lease.replica_id] -= 1

            tasks: list[asyncio.Task[None]] = []
            for _ in range(3000):
                tasks.append(asyncio.create_task(request()))
                if chance.random() < 0.3:
                    chance.choice(tasks).cancel()
                if chance.random() < 0.2:
                    await asyncio.sleep(chance.random() * 0.005)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            allowed = (Overloaded, asyncio.CancelledError)
            assert not [outcome for outcome in outcomes if outcome is not None and not isinstance(outcome, allowed)]
            assert sum(outcome is None for outcome in outcomes) > 100
            assert any(isinstance(outcome, FreeholdError) for outcome in outcomes)
            assert set(served) == set(Tier)
            assert idle(supervisor)

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_any_mix_of_requests_for_two_engines_keeps_the_bounds(tmp_path: Path, seed: int) -> None:
    """While the quick engine is killed now and then: each request gets an engine that can, and nothing leaks."""
    chance = random.Random(seed)  # guards no secret
    more = frozenset({Feature.CHAT, Feature.LOGIT_BIAS})

    async def main() -> None:
        async with supervised(tmp_path, auto(parallel=3, replicas=2, queue=20)) as supervisor:
            async with supervisor.acquire("chat", more):
                await all_ready(supervisor, 3)
            holding: dict[str, int] = {}
            served: dict[str, list[int]] = {"quick": [], "trial": []}

            async def request(number: int) -> None:
                needs = more if chance.random() < 0.3 else frozenset({Feature.CHAT})
                patience_s = chance.choice([0.0, 5.0, 5.0])
                async with supervisor.acquire("chat", needs, patience_s=patience_s) as lease:
                    assert needs <= lease.traits.features
                    served[lease.engine].append(number)
                    holding[lease.replica_id] = holding.get(lease.replica_id, 0) + 1
                    assert holding[lease.replica_id] <= 3
                    try:
                        await asyncio.sleep(chance.random() * 0.01)
                    finally:
                        holding[lease.replica_id] -= 1

            tasks: list[asyncio.Task[None]] = []
            for number in range(2000):
                tasks.append(asyncio.create_task(request(number)))
                if chance.random() < 0.2:
                    chance.choice(tasks).cancel()
                if chance.random() < 0.2:
                    await asyncio.sleep(chance.random() * 0.005)
                pids = [r.pid for r in supervisor.status("chat").replicas if r.engine == "quick" and r.pid is not None]
                if pids and number % 500 == 250:
                    os.kill(chance.choice(pids), signal.SIGKILL)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            allowed = (Overloaded, EngineUnavailable, asyncio.CancelledError)
            assert not [outcome for outcome in outcomes if outcome is not None and not isinstance(outcome, allowed)]
            assert all(len(numbers) > 50 for numbers in served.values())
            assert set(holding.values()) == {0}
            assert idle(supervisor)

    asyncio.run(main())
