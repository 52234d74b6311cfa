"""Processes of a server with several workers die, and nothing is lost, doubled or left open."""

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.faults.books import check_receipts, check_reconciled, check_verified, receipts
from tests.faults.load import Load, Received
from tests.service import Service, eventually
from tests.workers.crew import all_ready, chat, kill, pids, statuses, workers

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[journal]
segment_bytes = 262144
checkpoint_records = 100

[[limit]]
scope = "project"
id = "*"
budget_per_month = "1000000"
concurrent_requests = 500

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
parallel = 64
options = { delay_s = 0.002 }
price = { input = "1.5", output = "6" }
"""
SLOW = (
    CONFIG.replace("delay_s = 0.002", "delay_s = 1.0")
    .replace("parallel = 64", "parallel = 4")
    .replace('id = "*"', 'id = "proj-default"')
)


def _used(service: Service) -> dict[str, Any]:
    """What is used of the project's limits."""
    found: dict[str, Any] = service.get("/admin/limits", key=service.key).json()["data"][0]["used"]
    return found


def test_workers_killed_under_load_lose_and_double_nothing(tmp_path: Path, kills: int) -> None:
    """Each time another worker is killed: every whole answer has one receipt, all books agree, and it starts again."""
    received, choice = Received(), random.Random(20261128)

    async def load(service: Service) -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(Load(service.url, service.key, choice.randrange(2**32)).run(received, stop))
        for _ in range(kills // 2):
            await asyncio.sleep(choice.uniform(0.3, 1.0))
            await asyncio.to_thread(_kill_one, service, choice)
        stop.set()
        await running

    with Service(tmp_path / "home", CONFIG, workers=3) as service:
        asyncio.run(load(service))
        all_ready(service)
        eventually(lambda: sum(worker["running"] for worker in workers(service)) == 0, "nothing runs")
        check_reconciled(service.home.root)
        assert service.post("/v1/chat/completions", chat()).status == 200
    check_receipts(tmp_path / "home", received.whole)
    check_verified(tmp_path / "home")
    assert len(received.whole) > kills, "there was load"
    assert any(body["outcome"] == "interrupted" for body in receipts(tmp_path / "home"))


def _kill_one(service: Service, choice: random.Random) -> None:
    all_ready(service)
    kill(choice.choice(pids(service)))


def test_what_a_dead_worker_held_is_free_again(tmp_path: Path) -> None:
    """Replicas and reservations of a worker that is killed are given back, and its requests are settled once."""

    async def hold(service: Service) -> None:
        asked = asyncio.create_task(statuses_or_nothing(service, 8))
        await asyncio.to_thread(
            eventually, lambda: sum(worker["running"] for worker in workers(service)) == 8, "eight requests run"
        )
        for pid in pids(service):
            kill(pid)
        assert await asked == [None] * 8

    with Service(tmp_path / "home", SLOW, workers=2) as service:
        asyncio.run(hold(service))
        eventually(lambda: len(receipts(service.home.root)) == 8, "each has its receipt")
        assert {body["outcome"] for body in receipts(service.home.root)} == {"interrupted"}
        used = _used(service)
        assert (used["concurrent_requests"], used["budget_per_month_reserved"]) == (0, "0"), used
        spent = sum(body["cost_micro"] for body in receipts(service.home.root))
        assert spent > 0
        assert float(used["budget_per_month"]) * 1_000_000 == pytest.approx(spent), "the prompts are charged"
        all_ready(service)
        assert asyncio.run(statuses(service, [chat() for _ in range(4)])) == [200] * 4, "all replicas' slots are free"
        check_reconciled(service.home.root)
    check_receipts(tmp_path / "home", [])


async def statuses_or_nothing(service: Service, count: int) -> list[int | None]:
    """The statuses of chats at once; None where the connection broke."""

    async def one() -> int | None:
        try:
            return (await statuses(service, [chat("a b c d e f", stream=True)]))[0]
        except aiohttp.ClientError:
            return None

    return list(await asyncio.gather(*(one() for _ in range(count))))


@pytest.mark.long
def test_workers_end_with_their_core(tmp_path: Path) -> None:
    """When the core is killed its workers are gone within seconds, and the next start settles what they had."""

    async def hold(service: Service) -> list[int | None]:
        asked = asyncio.create_task(statuses_or_nothing(service, 4))
        await asyncio.to_thread(
            eventually, lambda: sum(worker["running"] for worker in workers(service)) == 4, "four requests run"
        )
        service.process.send_signal(signal.SIGKILL)
        return await asked

    service = Service(tmp_path / "home", SLOW, workers=2)
    service.wait_listening()
    service.wait_ready()
    left = pids(service)
    asyncio.run(hold(service))
    eventually(lambda: not any(_lives(pid) for pid in left), "the workers have ended")
    service.stop()
    with Service(tmp_path / "home", SLOW, workers=3) as again:
        assert again.post("/v1/chat/completions", chat()).status == 200
    check_receipts(tmp_path / "home", [])
    check_verified(tmp_path / "home")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"


@pytest.mark.long
def test_the_number_of_workers_may_change_between_starts(tmp_path: Path) -> None:
    """After three workers one process goes on, and then two: the journal is one, and budgets stay as they were."""
    spent = []
    for count in (3, 1, 2):
        with Service(tmp_path / "home", CONFIG, workers=count) as service:
            assert asyncio.run(statuses(service, [chat() for _ in range(10)])) == [200] * 10
            spent.append(sum(body["cost_micro"] for body in receipts(tmp_path / "home")))
            check_reconciled(tmp_path / "home")
    assert spent == [spent[0], 2 * spent[0], 3 * spent[0]]
    check_receipts(tmp_path / "home", [])
    check_verified(tmp_path / "home")


def test_a_server_that_is_asked_to_end_lets_requests_finish(tmp_path: Path) -> None:
    """On SIGTERM running requests of workers are answered whole, and the server ends with 0."""

    async def end(service: Service) -> list[int | None]:
        asked = asyncio.create_task(statuses_or_nothing(service, 4))
        await asyncio.to_thread(
            eventually, lambda: sum(worker["running"] for worker in workers(service)) == 4, "four requests run"
        )
        service.process.send_signal(signal.SIGTERM)
        return await asked

    service = Service(tmp_path / "home", SLOW, workers=2)
    service.wait_listening()
    service.wait_ready()
    assert asyncio.run(end(service)) == [200] * 4
    assert service.stop() == 0
    assert {body["outcome"] for body in receipts(tmp_path / "home")} == {"finished"}


def test_the_core_stands_in_for_a_missing_worker(tmp_path: Path) -> None:
    """While workers are dead and start again, every request is answered; afterwards workers answer again."""

    async def call(service: Service) -> list[int]:
        for pid in await asyncio.to_thread(pids, service):
            kill(pid)
        found = []
        for _ in range(20):
            found += await statuses(service, [chat() for _ in range(4)])
        return found

    with Service(tmp_path / "home", CONFIG, workers=2) as service:
        found = asyncio.run(call(service))
        assert found == [200] * 80
        all_ready(service)
        assert service.log().count('"worker_missed"') == 2
        assert asyncio.run(statuses(service, [chat() for _ in range(16)])) == [200] * 16
        check_reconciled(service.home.root)
    check_receipts(tmp_path / "home", [])


@pytest.mark.long
def test_a_worker_that_hangs_holds_up_no_change_for_long(tmp_path: Path) -> None:
    """A change waits for a worker that does not answer only for seconds; then that is killed and started again."""
    with Service(tmp_path / "home", CONFIG, workers=2) as service:
        hanging = pids(service)[0]
        os.kill(hanging, signal.SIGSTOP)
        made = [asyncio.run(_make_key(service)) for _ in range(8)]
        assert 201 in made
        assert set(made) <= {201, None}
        eventually(lambda: not _lives(hanging), "it was killed", 20)
        all_ready(service)
        assert hanging not in pids(service)


async def _make_key(service: Service) -> int | None:
    """The status of a change; None where the connection met the worker that hangs."""
    async with aiohttp.ClientSession(service.url, timeout=aiohttp.ClientTimeout(total=8)) as client:
        try:
            async with client.post(
                "/admin/keys",
                json={"name": "someone", "role": "user"},
                headers={"authorization": f"Bearer {service.key}"},
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return None


def test_one_worker_that_is_asked_to_end_is_replaced(tmp_path: Path) -> None:
    """On SIGTERM to one worker its requests finish, new ones are served all the same, and another worker starts."""

    async def end(service: Service) -> tuple[list[int | None], list[int]]:
        before = await asyncio.to_thread(pids, service)
        asked = asyncio.create_task(statuses_or_nothing(service, 4))
        await asyncio.to_thread(
            eventually, lambda: sum(worker["running"] for worker in workers(service)) == 4, "four requests run"
        )
        for pid in before:
            os.kill(pid, signal.SIGTERM)
        return await asked, await statuses(service, [chat("a") for _ in range(8)])

    with Service(tmp_path / "home", SLOW, workers=2) as service:
        before = pids(service)
        running, fresh = asyncio.run(end(service))
        assert running == [200] * 4
        assert fresh == [200] * 8
        eventually(lambda: not {*before} & {*pids(service)}, "others have taken their places")
        all_ready(service)
    assert {body["outcome"] for body in receipts(tmp_path / "home")} == {"finished"}
