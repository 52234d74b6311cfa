"""The server is killed with SIGKILL under load, again and again; nothing that was answered is lost or doubled."""

import asyncio
import random
import signal
from pathlib import Path

import pytest

from tests.faults.books import check_receipts, check_reconciled, check_verified, receipts
from tests.faults.load import Load, Received
from tests.postgres import PostgreSQL
from tests.service import Service

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

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
options = { delay_s = 0.002 }
price = { input = "1.5", output = "6" }
"""
LONGEST_S = 1.0
"""A server lives up to so long under load before it is killed."""


async def _load_until_killed(service: Service, received: Received, choice: random.Random) -> None:
    """Load the server, kill it at a random moment, and let the callers notice."""
    stop = asyncio.Event()
    running = asyncio.create_task(Load(service.url, service.key, choice.randrange(2**32)).run(received, stop))
    await asyncio.sleep(choice.uniform(0.02, LONGEST_S))
    service.process.send_signal(signal.SIGKILL)
    stop.set()
    await running


def _kill_again_and_again(home: Path, config: str, kills: int, environment: dict[str, str]) -> None:
    choice = random.Random(20261124)
    received = Received()
    for _ in range(kills):
        service = Service(home, config, environment=environment)
        service.wait_listening()
        service.wait_ready()
        asyncio.run(_load_until_killed(service, received, choice))
        service.stop()
    with Service(home, config, environment=environment):
        check_reconciled(home)
    check_receipts(home, received.whole)
    check_verified(home)
    assert len(received.whole) > kills, "there was load"
    assert any(body["outcome"] == "interrupted" for body in receipts(home)), "requests were cut off by the kills"


@pytest.mark.slow
def test_no_answer_is_lost_or_doubled_when_the_server_is_killed(tmp_path: Path, kills: int) -> None:
    """Killed at random moments under load: every whole answer has one receipt, and all books agree (SQLite)."""
    _kill_again_and_again(tmp_path / "home", CONFIG, kills, {})


@pytest.mark.slow
def test_no_answer_is_lost_or_doubled_with_postgresql(tmp_path: Path, kills: int, postgres: PostgreSQL) -> None:
    """Killed at random moments under load: the same with PostgreSQL as the usage database."""
    config = CONFIG + '\n[usage]\ndatabase = { env = "FREEHOLD_TEST_USAGE" }\n'
    _kill_again_and_again(tmp_path / "home", config, kills, {"FREEHOLD_TEST_USAGE": postgres.new_database()})
