"""Three gateways on one PostgreSQL under many callers: limits and budgets are those of one."""

import asyncio
import random
from pathlib import Path
from typing import Any, Final

import pytest

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
_CONFIG: Final = """
[[limit]]
scope = "organization"
id = "*"
{limit}

[[deployment]]
name = "metered"
engine = "echo"
model = "echo"
context_length = 16
options = {{ first_delay_s = 0.02 }}
price = {{ output = "5" }}
"""


async def _kill_and_restart(callers: Callers, kills: int, each: int, choice: random.Random) -> None:
    """Kill gateways under load, one after the other, each after so many more answers, and start them again."""
    for _ in range(kills):
        number = choice.randrange(3)
        await callers.more(choice.randint(1, each))
        callers.gateways.kill(number)
        await asyncio.sleep(choice.random() / 2)
        await asyncio.to_thread(callers.gateways.restart, number)
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


def _check_budget(folder: Path, url: str, *, calls: int, callers: int, kills: int, each: int) -> None:
    limit = f'budget_per_month = "0.{calls * COST_MICRO:06}"'
    with Gateways(folder, url, _CONFIG.format(limit=limit)) as gateways:
        seen = _exhaust(gateways, callers, kills, each)
        shown = gateways.running[0].get("/admin/limits", key=gateways.running[0].key).json()
    bodies = receipts(gateways.homes)
    finished = [body for body in bodies if body["outcome"] == "finished"]
    assert not seen.other, seen.other[:3]
    assert seen.statuses[200] <= len(finished) <= calls, "no more calls are served than the budget is for"
    assert sum(body.get("cost_micro", 0) for body in bodies) == calls * COST_MICRO, "and no fewer, to the last unit"
    assert shown["data"][0]["id"] == "*"
    if kills:
        assert seen.broken > 0, "callers noticed the kills"


@pytest.mark.slow
def test_a_budget_for_so_many_calls_admits_so_many(tmp_path: Path, postgres_server: PostgreSQL) -> None:
    """Of 60 callers at three gateways, which are killed and restarted, as many are served as the budget is for."""
    _check_budget(tmp_path, postgres_server.new_database(), calls=400, callers=60, kills=2, each=60)


@pytest.mark.long
def test_a_budget_holds_under_many_kills(tmp_path: Path, postgres_server: PostgreSQL) -> None:
    """Of 200 callers at three gateways, which are killed again and again, as many are served as the budget is for."""
    _check_budget(tmp_path, postgres_server.new_database(), calls=6000, callers=200, kills=20, each=200)


def _check_rate(folder: Path, url: str, *, limit: int, callers: int, enough: float) -> None:
    """Have callers want more than a limit, and hold what they got against what one bucket would have given."""
    with Gateways(folder, url, _CONFIG.format(limit=f"requests_per_minute = {limit}")) as gateways:
        pressing = Callers(gateways, callers, BODY)
        asyncio.run(pressing.run(lambda seen: seen.statuses[200] >= enough * limit))
    seen = pressing.seen
    assert not seen.other, seen.other[:3]
    begun, (sent, _), answered = (
        min(sent for sent, _ in seen.admitted),
        max(seen.admitted),
        max(answered for _, answered in seen.admitted),
    )
    admitted = len(seen.admitted)
    assert admitted <= limit + limit / 60 * (answered - begun), "never more than one bucket would have let in"
    assert admitted >= 0.98 * (limit + limit / 60 * (sent - begun)), "and hardly less"


@pytest.mark.slow
def test_a_rate_is_within_two_percent_of_exact(tmp_path: Path, postgres_server: PostgreSQL) -> None:
    """Of 40 callers at three gateways as many are served in a while as one bucket would have let in."""
    _check_rate(tmp_path, postgres_server.new_database(), limit=600, callers=40, enough=1.1)


@pytest.mark.long
def test_a_rate_is_within_two_percent_of_exact_for_longer(tmp_path: Path, postgres_server: PostgreSQL) -> None:
    """Of 200 callers at three gateways as many are served in a minute as one bucket would have let in."""
    _check_rate(tmp_path, postgres_server.new_database(), limit=3000, callers=200, enough=2)
