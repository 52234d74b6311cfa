"""Limits are those of the whole server, however many processes take the requests."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.books import check_receipts, check_reconciled, receipts
from tests.service import Service
from tests.workers.crew import chat, statuses

pytestmark = pytest.mark.slow

CALLERS = 100
CONFIG = """
[server]
starter = false

[[limit]]
scope = "project"
id = "*"
{limit}

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
context_length = 16
options = {{ first_delay_s = {delay_s} }}
price = {{ output = "5" }}
"""


def _admitted(home: Path, limit: str, delay_s: float, rounds: int = 1) -> int:
    """How many of so many callers at once three workers serve."""

    async def call(service: Service) -> list[int]:
        return [status for _ in range(rounds) for status in await statuses(service, [chat() for _ in range(CALLERS)])]

    with Service(home, CONFIG.format(limit=limit, delay_s=delay_s), workers=3) as service:
        found = asyncio.run(call(service))
    assert set(found) <= {200, 429}, found
    served = [body for body in receipts(home) if body["outcome"] == "finished"]
    assert len(served) == found.count(200)
    assert len(receipts(home)) == len(found), "every request has a receipt"
    check_receipts(home, [])
    return found.count(200)


@pytest.mark.parametrize("k", [pytest.param(1, marks=pytest.mark.long), 7, pytest.param(40, marks=pytest.mark.long)])
def test_a_budget_admits_as_many_calls_as_it_covers(tmp_path: Path, k: int) -> None:
    """Of 100 callers at once, twice, exactly k are served by a budget of k calls, and that much is spent."""
    home = tmp_path / "home"
    assert _admitted(home, f'budget_per_month = "{k * 10 / 1_000_000:.6f}"', 0.05, rounds=2) == k
    assert sum(body["cost_micro"] for body in receipts(home)) == k * 10
    config = CONFIG.format(limit=f'budget_per_month = "{k * 10 / 1_000_000:.6f}"', delay_s=0)
    with Service(home, config, workers=2) as service:
        assert asyncio.run(statuses(service, [chat()] * 4)) == [429] * 4, "the budget is spent after a restart"
        check_reconciled(home)


@pytest.mark.parametrize("k", [pytest.param(1, marks=pytest.mark.long), 13])
def test_as_many_requests_run_at_once_as_may(tmp_path: Path, k: int) -> None:
    """While the first ones run, exactly k of 100 callers are served; afterwards as many again."""
    assert _admitted(tmp_path / "home", f"concurrent_requests = {k}", 5.0) == k


@pytest.mark.parametrize("k", [3, pytest.param(20, marks=pytest.mark.long)])
def test_requests_per_minute_are_counted_together(tmp_path: Path, k: int) -> None:
    """Of 100 callers at once exactly k are served within the first seconds of a minute's k requests."""
    # A k-th of a minute after the first request there is room for another one.
    assert k <= _admitted(tmp_path / "home", f"requests_per_minute = {k}", 0.0) <= k + 1


def test_tokens_per_minute_are_counted_together(tmp_path: Path) -> None:
    """Reservations of tokens in several processes are taken from one limit."""
    found = _admitted(tmp_path / "home", "tokens_per_minute = 120", 1.0)
    used = sum(body["prompt_tokens"] + body["completion_tokens"] for body in receipts(tmp_path / "home"))
    assert 0 < used <= 140, "what a second or two bring back is little"
    assert found < CALLERS
