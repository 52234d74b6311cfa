"""Budgets and limits under many callers at once, on a real server."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.faults.books import check_receipts, receipts
from tests.service import Service, eventually

CALLS = 40
CONFIG = """
[server]
starter = false

[[limit]]
scope = "project"
id = "*"
budget_per_month = "0.000400"

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
context_length = 16
options = { first_delay_s = 0.05 }
price = { output = "5" }
"""
"""A call that says two words back costs 10 micro-units, so the budget is that of 40 calls."""
BODY = {"model": "echo", "messages": [{"role": "user", "content": "two words"}], "max_completion_tokens": 2}

CANCELS = """
[server]
starter = false

[[limit]]
scope = "key"
id = "*"
concurrent_requests = 60
tokens_per_minute = 5000000
budget_per_month = "1000"

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
options = { delay_s = 0.2 }
price = { input = "1", output = "1" }
"""


async def _post(session: aiohttp.ClientSession, body: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
    async with session.post("/v1/chat/completions", json=body) as answer:
        return answer.status, await answer.json(), {k.lower(): v for k, v in answer.headers.items()}


def _session(service: Service) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        service.url,
        headers={"authorization": f"Bearer {service.key}"},
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=60),
    )


def _used(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.get("/admin/limits", key=service.key).json()
    return found


@pytest.mark.slow
def test_a_budget_of_so_many_calls_admits_at_most_so_many(tmp_path: Path) -> None:
    """Of 200 callers at once no more are served than the budget covers; what is spent never exceeds it."""

    async def call_all(service: Service) -> list[tuple[int, dict[str, Any], dict[str, str]]]:
        async with _session(service) as session:
            return [
                answer
                for _round in range(3)
                for answer in await asyncio.gather(*(_post(session, BODY) for _ in range(200)))
            ]

    with Service(tmp_path / "home", CONFIG) as service:
        answers = asyncio.run(call_all(service))
    served = [answer for answer in answers if answer[0] == 200]
    refused = [answer for answer in answers if answer[0] == 429]
    assert len(served) + len(refused) == len(answers)
    assert len(served) == CALLS, "every call's bound is its cost here, so the budget is used up, and not exceeded"
    assert {answer[1]["error"]["code"] for answer in refused} == {"insufficient_quota"}
    assert all("month" in answer[1]["error"]["message"] for answer in refused)
    assert all(int(answer[2]["retry-after"]) >= 1 for answer in refused)
    assert sum(body["cost_micro"] for body in receipts(service.home.root)) == 400
    check_receipts(service.home.root, [])
    with Service(tmp_path / "home", CONFIG) as service:
        assert service.post("/v1/chat/completions", BODY).status == 429, "the budget is still spent after a restart"


@pytest.mark.slow
def test_cancelled_requests_leave_no_reservation_behind(tmp_path: Path) -> None:
    """After 1,000 requests whose callers went away nothing is open, and as many as ever are admitted."""

    async def cancel(session: aiohttp.ClientSession) -> None:
        body = {"model": "echo", "messages": [{"role": "user", "content": "a b c d e f g h"}], "stream": True}
        async with session.post("/v1/chat/completions", json=body) as answer:
            assert answer.status == 200, await answer.text()
            await answer.content.readline()
            answer.close()

    async def cancel_all(service: Service) -> None:
        gate = asyncio.Semaphore(40)

        async def one(session: aiohttp.ClientSession) -> None:
            async with gate:
                await cancel(session)
                await asyncio.sleep(0.5)  # the server notices within a second; meanwhile the request counts

        async with _session(service) as session:
            await asyncio.gather(*(one(session) for _ in range(1000)))

    async def call_at_once(service: Service) -> list[int]:
        async with _session(service) as session:
            body = {"model": "echo", "messages": [{"role": "user", "content": "a"}]}
            return [answer[0] for answer in await asyncio.gather(*(_post(session, body) for _ in range(60)))]

    with Service(tmp_path / "home", CANCELS) as service:
        asyncio.run(cancel_all(service))
        eventually(lambda: len(receipts(service.home.root)) >= 1000, "a receipt for each cancelled request")
        assert asyncio.run(call_at_once(service)) == [200] * 60
        limit = next(entry for entry in _used(service)["data"] if entry["scope"] == "key")
        assert limit["concurrent_requests"] == 60
    outcomes = [body["outcome"] for body in receipts(service.home.root)]
    assert outcomes.count("cancelled") >= 990
    cancelled = [body for body in receipts(service.home.root) if body["outcome"] == "cancelled"]
    assert all(body["estimated"] for body in cancelled), "what was produced was counted by Freehold"
    check_receipts(service.home.root, [])
