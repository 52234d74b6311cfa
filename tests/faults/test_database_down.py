"""The usage database goes away for a minute under load: requests are served, nothing is lost, the backlog drains."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.faults.books import check_receipts, check_reconciled, check_verified
from tests.faults.load import Load, Received
from tests.faults.test_sigkill import CONFIG
from tests.postgres import PostgreSQL
from tests.service import Service, eventually


def _lag(service: Service) -> int:
    for line in service.get("/metrics").body.decode().splitlines():
        if line.startswith("freehold_usage_lag_records "):
            return int(float(line.split()[1]))
    raise AssertionError("the metric is there")


@pytest.mark.slow
def test_a_database_that_is_down_stops_neither_serving_nor_metering(
    tmp_path: Path, postgres: PostgreSQL, full_size: bool
) -> None:
    """All that is asked while PostgreSQL is stopped is answered, and is in the books when it runs again."""
    config = CONFIG + '\n[usage]\ndatabase = { env = "FREEHOLD_TEST_USAGE" }\n'
    environment = {"FREEHOLD_TEST_USAGE": postgres.new_database()}
    received, down_s = Received(), 60 if full_size else 15

    async def load(service: Service) -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(Load(service.url, service.key, random.randrange(2**32), 4).run(received, stop))
        await asyncio.sleep(2)
        await asyncio.to_thread(postgres.stop)
        before = len(received.whole)
        await asyncio.sleep(down_s)
        assert len(received.whole) > before + down_s, "requests were served while the database was down"
        assert await asyncio.to_thread(_lag, service) > 0
        await asyncio.to_thread(postgres.start)
        stop.set()
        await running

    with Service(tmp_path / "home", config, environment=environment) as service:
        asyncio.run(load(service))
        eventually(lambda: _lag(service) == 0, "the backlog drains", patience_s=120)
        check_reconciled(service.home.root)
    assert received.broken == 0
    assert set(received.statuses) <= {200, 400}
    check_receipts(service.home.root, received.whole)
    check_verified(service.home.root)
