"""Three gateways on one PostgreSQL under many callers: limits and budgets are those of one."""

import asyncio
import random
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from freehold.types.capacity import UNIT_MINUTE, UNMEASURED, Work
from tests.cluster.callers import Callers, Gateways, Seen, all_refuse, receipts
from tests.postgres import PostgreSQL

pytest_plugins = ["tests.postgres"]

BODY: Final[dict[str, Any]] = {
    "model": "metered",
    "messages": [{"role": "user", "content": "two words"}],
    "max_completion_tokens": 2,
}
COST_MICRO: Final = 10
"""What the answer of two words costs, which is also the most that is reserved for it."""
_RATED: Final[dict[str, Any]] = {**BODY, "model": "rated"}
_PROVISIONED: Final[dict[str, Any]] = {**BODY, "model": "provisioned", "max_completion_tokens": 20}
_UNITS, _BURST_S = 60, 10
_CONFIG: Final = """
[[limit]]
scope = "organization"
id = "*"
budget_per_month = "{budget}"

[[limit]]
scope = "deployment"
id = "rated"
requests_per_minute = {rate}

[[deployment]]
name = "metered"
engine = "echo"
model = "echo"
context_length = 16
options = {{ first_delay_s = 0.02 }}
price = {{ output = "5" }}

[[deployment]]
name = "rated"
engine = "echo"
model = "echo"

[[deployment]]
name = "provisioned"
engine = "echo"
model = "echo"
options = {{ first_delay_s = 0.5 }}
capacity = {{ units = 60, burst_s = 10 }}
"""


async def _kill_and_restart(callers: Callers, kills: int, each: int, choice: random.Random) -> None:
    """Kill gateways under load, each after so many more answers, and start them again while others are killed."""
    starting: dict[int, asyncio.Task[None]] = {}
    for _ in range(kills):
        await callers.more(choice.randint(1, each))
        if len(starting) == 3:
            await asyncio.wait(starting.values(), return_when=asyncio.FIRST_COMPLETED)
        for number in [number for number, task in starting.items() if task.done()]:
            starting.pop(number).result()
        number = choice.choice([number for number in range(3) if number not in starting])
        callers.gateways.kill(number)
        starting[number] = asyncio.create_task(asyncio.to_thread(callers.gateways.restart, number))
    await asyncio.gather(*starting.values())
    callers.seen.refused.clear()


def _exhaust(gateways: Gateways, count: int, kills: int, each: int) -> Seen:
    """Have callers use up a budget while gateways are killed and restarted, until every gateway refuses for good."""

    async def main() -> Seen:
        callers = Callers(gateways, count, BODY)
        killing = asyncio.create_task(_kill_and_restart(callers, kills, each, random.Random(20261128)))
        await callers.run(lambda seen: killing.done() and all_refuse(3, 2 * count)(seen))
        await killing
        return callers.seen

    return asyncio.run(main())


def _check_budget(gateways: Gateways, *, calls: int, callers: int, kills: int, each: int) -> None:
    """Have callers use up a budget for so many calls, and see that it is just used up."""
    seen = _exhaust(gateways, callers, kills, each)
    bodies = [body for body in receipts(gateways.homes) if body.get("deployment") == "metered"]
    finished = [body for body in bodies if body["outcome"] == "finished"]
    assert not seen.other, seen.other[:3]
    assert seen.statuses[200] <= len(finished) <= calls, "no more calls are served than the budget is for"
    assert sum(body.get("cost_micro", 0) for body in bodies) == calls * COST_MICRO, "and no fewer, to the last unit"
    assert seen.broken > 0, "callers noticed the kills"


def _check_rate(gateways: Gateways, *, limit: int, callers: int, enough: float) -> None:
    """Have callers want more than a limit, and hold what they got against what one bucket would have given."""
    pressing = Callers(gateways, callers, _RATED)
    asyncio.run(pressing.run(lambda seen: seen.statuses[200] >= enough * limit and seen.statuses[429] >= 5 * callers))
    assert not pressing.seen.other, pressing.seen.other[:3]
    bodies = [body for body in receipts(gateways.homes) if body.get("deployment") == "rated"]
    begun, last = (_seconds(pick(body["started_at"] for body in bodies)) for pick in (min, max))
    end = _seconds(max(body["ended_at"] for body in bodies))
    assert len(bodies) <= limit + limit / 60 * (end - begun), "never more than one bucket would have let in"
    assert len(bodies) >= 0.98 * (limit + limit / 60 * (last - begun)), "and hardly less"


def _check_units(gateways: Gateways, *, callers: int, kills: int, each: int) -> None:
    """Have callers want more than a deployment's units while gateways die and come: no more is taken than there is."""

    async def main() -> Seen:
        pressing = Callers(gateways, callers, _PROVISIONED)
        killing = asyncio.create_task(_kill_and_restart(pressing, kills, each, random.Random(20261129)))
        await pressing.run(lambda _: killing.done())
        await killing
        return pressing.seen

    seen = asyncio.run(main())
    assert not seen.other, seen.other[:3]
    assert seen.broken > 0, "callers noticed the kills"
    bodies = [body for body in receipts(gateways.homes) if body.get("deployment") == "provisioned"]
    works = [UNMEASURED["chat"].amount(Work.of(body)) for body in bodies]
    begun, last = (_seconds(pick(body["started_at"] for body in bodies)) for pick in (min, max))
    promised = _UNITS * UNIT_MINUTE * (last - begun + _BURST_S) / 60
    assert sum(works) <= 1.02 * promised + max(works), "never more than what is provisioned"
    assert sum(works) >= 0.5 * promised, "and gateways that come back serve with them"


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _config(calls: int, rate: int) -> str:
    return _CONFIG.format(budget=f"0.{calls * COST_MICRO:06}", rate=rate)


@pytest.mark.slow
def test_limits_and_budgets_are_those_of_one_gateway(tmp_path: Path, postgres_server: PostgreSQL) -> None:
    """Callers at three gateways, which are killed and restarted, get what one would give them, to the last unit."""
    with Gateways(tmp_path, postgres_server.new_home(), _config(400, 600)) as gateways:
        _check_rate(gateways, limit=600, callers=40, enough=1.1)
        _check_budget(gateways, calls=400, callers=60, kills=2, each=60)


@pytest.mark.long
def test_limits_and_budgets_are_those_of_one_gateway_for_longer(tmp_path: Path, postgres_server: PostgreSQL) -> None:
    """The same for 200 callers, with many kills."""
    with Gateways(tmp_path, postgres_server.new_home(), _config(6000, 1500)) as gateways:
        _check_rate(gateways, limit=1500, callers=200, enough=2)
        _check_budget(gateways, calls=6000, callers=200, kills=20, each=200)


@pytest.mark.long
def test_units_are_those_of_one_gateway(tmp_path: Path, postgres_server: PostgreSQL) -> None:
    """Callers at three gateways, of which one after the other is killed, get no more than a deployment's units."""
    with Gateways(tmp_path, postgres_server.new_home(), _config(400, 600)) as gateways:
        _check_units(gateways, callers=30, kills=6, each=300)
