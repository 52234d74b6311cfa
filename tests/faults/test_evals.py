"""Runs of evaluations when the server is killed again and again."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.evaluating import asking, begun, ended, items, look
from tests.faults.books import check_receipts, check_reconciled, check_verified, receipts
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false
drain_s = 1

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
parallel = 9
options = { delay_s = 0.01 }
"""


def test_a_run_survives_kills(tmp_path: Path) -> None:
    """After two kills and a stop every item has one result, and none was asked again that was stored."""
    home, count = tmp_path / "home", 400
    service = Service(home, CONFIG)
    service.wait_listening()
    service.wait_ready()
    pairs = [(f"number {n}", f"number {n}" if n % 2 else "other") for n in range(count)]
    _, run = begun(service, asking(items(pairs)), service.key)
    for part, how in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL), 1):
        aim = count * part // 10
        eventually(lambda: look(service, run, service.key)["result_counts"]["passed"] > aim, "goes on")  # noqa: B023
        service.stop(how)
        service = Service(home, CONFIG)
        service.wait_listening()
        assert look(service, run, service.key)["result_counts"]["passed"] > aim, "what was counted is there"
    with service:
        found = ended(service, run, service.key)
        assert found["status"] == "completed"
        assert found["result_counts"] == {"total": count, "errored": 0, "failed": count // 2, "passed": count // 2}
        assert found["per_model_usage"][0]["invocation_count"] == count
        told, after = [], ""
        while page := look(service, run, service.key, f"/output_items?limit=100{after}"):
            told += [(each["datasource_item_id"], each["datasource_item"]["question"]) for each in page["data"]]
            after = f"&after={page['last_id']}"
            if not page["has_more"]:
                break
        check_reconciled(home)
    assert told == [(n, f"number {n}") for n in range(count)], "each item once, in its place"
    asked = [each for each in receipts(home) if (each.get("parameters") or {}).get("eval_run") == run["id"]]
    done = Counter(each["outcome"] for each in asked)["finished"]
    assert count <= done <= count + 3 * 16, "only what was under way was asked again"
    check_receipts(home, [])
    check_verified(home)
