"""The disk under the home of a running server fills up: nothing happens unrecorded, and all goes on with room again."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.disk import fill, small_disk
from tests.faults.books import check_receipts, check_reconciled, check_verified
from tests.faults.load import Load, Received
from tests.service import Service, eventually

CONFIG = """
[server]
starter = false

[[limit]]
scope = "project"
id = "*"
budget_per_month = "1000"
concurrent_requests = 100

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
options = { delay_s = 0.005 }
price = { output = "1" }
"""
CHAT = "/v1/chat/completions"
BODY = {"model": "echo", "messages": [{"role": "user", "content": "one two"}]}


@pytest.mark.slow
def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """On a full disk requests are 503 `audit_unavailable`; with room again they are served, and the books agree."""
    received = Received()

    async def fill_under_load(service: Service, place: Path) -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(Load(service.url, service.key, random.randrange(2**32), 8).run(received, stop))
        await asyncio.sleep(1)
        ballast = await asyncio.to_thread(fill, place)
        await asyncio.sleep(3)
        stop.set()
        await running
        refused = await asyncio.to_thread(service.post, CHAT, BODY)
        assert refused.status == 503
        assert refused.json()["error"]["code"] == "audit_unavailable"
        assert int(refused.headers["retry-after"]) >= 1
        assert str(place) not in refused.body.decode()
        await asyncio.to_thread(ballast.unlink)

    with small_disk(tmp_path / "disk", megabytes=16) as place:
        with Service(place / "home", CONFIG) as service:
            asyncio.run(fill_under_load(service, place))
            eventually(lambda: service.post(CHAT, BODY).status == 200, "served when there is room again")
            limits = service.get("/admin/limits", key=service.key).json()["data"]
            assert limits, "the limits are there"
            check_reconciled(service.home.root)
        assert received.statuses.get(503), "there was load on the full disk"
        assert received.statuses.get(200), "and before"
        check_receipts(service.home.root, received.whole)
        check_verified(service.home.root)
