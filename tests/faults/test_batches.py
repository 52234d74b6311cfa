"""Batches when the server is killed again and again, and when there is very much to do."""

import signal
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.batching import ENDED, ended, jsonl, line, lines_in, look, send
from tests.faults.books import check_receipts, check_reconciled, check_verified, receipts
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false
drain_s = 1

[batches]
price_factor = "0.25"

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
parallel = 9
options = { delay_s = 0.01 }
price = { input = "1000", output = "2000" }
"""
FAST = CONFIG.replace("delay_s = 0.01", "delay_s = 0")


def of_batch(home: Path, batch_id: str) -> list[dict[str, Any]]:
    """The receipts of the lines of a batch that tell of themselves to be that."""
    found = [body for body in receipts(home) if (body.get("parameters") or {}).get("batch") == batch_id]
    return [body for body in found if "line" in body["parameters"]]


@pytest.mark.long
def test_a_batch_survives_kills(tmp_path: Path) -> None:
    """After two kills and a stop each line has one answer in its place, and none ran again that was stored."""
    home, count = tmp_path / "home", 1500
    service = Service(home, CONFIG)
    service.wait_listening()
    service.wait_ready()
    batch = send(service, jsonl(line(f"r{n}", f"number {n}") for n in range(count)), service.key)
    stored = []
    for part, how in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL), 1):
        aim = count * part // 5
        eventually(lambda: look(service, batch["id"], service.key)["request_counts"]["completed"] > aim, "goes on")  # noqa: B023
        service.stop(how)
        service = Service(home, CONFIG)
        service.wait_listening()
        found = look(service, batch["id"], service.key)
        stored.append(found["request_counts"]["completed"])
        assert stored[-1] > aim, "what was counted is there"
    with service:
        found = ended(service, batch["id"], service.key)
        assert (found["status"], found["request_counts"]) == (
            "completed",
            {"total": count, "completed": count, "failed": 0},
        )
        lines = lines_in(service, found["output_file_id"], service.key)
        check_reconciled(home)
    assert [each["custom_id"] for each in lines] == [f"r{n}" for n in range(count)]
    said = [each["response"]["body"]["choices"][0]["message"]["content"] for each in lines]
    assert said == [f"number {n}" for n in range(count)]
    runs = of_batch(home, batch["id"])
    by_line = Counter(body["parameters"]["line"] for body in runs if body["outcome"] == "finished")
    assert set(by_line) == set(range(1, count + 1))
    assert sum(by_line.values()) - count <= 3 * 16, "only what was under way ran again"
    check_receipts(home, [each["response"]["request_id"] for each in lines])
    charged = Counter[int]()
    for body in runs:
        charged[body["parameters"]["line"]] += body["cost_micro"]
    assert set(charged.values()) == {(2 * 1000 + 2 * 2000) // 4}, "a quarter of the price, once"
    check_verified(home)


def test_thousands_of_lines_survive_three_kills(tmp_path: Path, full_size: bool) -> None:
    """Killed early, in the middle and while its files are made, a batch has each answer once, and each is paid once."""
    home, count = tmp_path / "home", 5000 if full_size else 2000
    price = (2 * 1000 + 2 * 2000) // 4
    service = Service(home, FAST)
    service.wait_listening()
    batch = send(service, jsonl(line(f"r{n}") for n in range(count)), service.key)
    for done in (count // 20, count // 2, count):
        eventually(lambda: progress(service, batch["id"]) >= done, f"{done} are done", 300)  # noqa: B023
        service.stop(signal.SIGKILL)
        service = Service(home, FAST)
        service.wait_listening()
    with service:
        eventually(lambda: look(service, batch["id"], service.key)["status"] in ENDED, "ends", 300)
        found = look(service, batch["id"], service.key)
        lines = lines_in(service, found["output_file_id"], service.key)
        check_reconciled(home)
        path = f"/v1/organization/costs?start_time={batch['created_at'] - 86_400}&limit=7"
        costs = service.get(path, key=service.key).json()
    assert found["request_counts"] == {"total": count, "completed": count, "failed": 0}
    assert [each["custom_id"] for each in lines] == [f"r{n}" for n in range(count)]
    runs = of_batch(home, batch["id"])
    charged = Counter[int]()
    for body in runs:
        charged[body["parameters"]["line"]] += body["cost_micro"]
    assert len(charged) == count
    assert set(charged.values()) == {price}, "each line is charged once, however often it was run"
    paid = [body for body in runs if body["cost_micro"]]
    assert {body["outcome"] for body in paid} == {"finished"}
    usage = found["usage"]
    assert usage["input_tokens"] == sum(body["prompt_tokens"] for body in paid) == 2 * count
    assert usage["output_tokens"] == sum(body["completion_tokens"] for body in paid) == 2 * count
    told = sum(Decimal(str(each["amount"]["value"])) for bucket in costs["data"] for each in bucket["results"])
    assert told * 1_000_000 == price * count, "so is the project's bill"
    again = [body for body in runs if "paid" in body["parameters"]]
    ids = {body["request_id"]: body for body in paid}
    assert all(ids[body["parameters"]["paid"]]["parameters"]["line"] == body["parameters"]["line"] for body in again)
    assert len(runs) - count <= 3 * 64, "only what was under way ran again"
    check_receipts(home, [each["response"]["request_id"] for each in lines])
    check_verified(home)


def test_a_poisoned_input_is_refused_without_memory(tmp_path: Path) -> None:
    """One line of a hundred megabytes is taken in and looked at in pieces, named, and nothing of the file is run."""
    with Service(tmp_path / "home", FAST) as service:
        first = send(service, jsonl(line(f"r{n}") for n in range(50)), service.key)
        ended(service, first["id"], service.key)
        before = most = resident(service)
        data = jsonl([line("a")]) + b"x" * (100 * 1024 * 1024) + b"\n" + jsonl([line("b")])
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send, service, data, service.key)
            while not sending.done():
                most = max(most, resident(service))
                wait([sending], timeout=0.05)
            batch = sending.result()
        while (found := look(service, batch["id"], service.key))["status"] not in ENDED:
            most = max(most, resident(service))
        assert found["status"] == "failed"
        assert [(each["code"], each["line"]) for each in found["errors"]["data"]] == [("request_too_large", 2)]
        assert of_batch(service.home.root, batch["id"]) == []
    assert most - before < 64 * 1024 * 1024, f"grew by {most - before} bytes"


def progress(service: Service, batch_id: str) -> int:
    """How many lines are done; told without a request of its own."""
    with closing(sqlite3.connect(f"file:{service.home.database}?mode=ro", uri=True)) as connection:
        row = connection.execute("SELECT done FROM jobs WHERE subject = ?", (batch_id,)).fetchone()
    return int(row[0])


@pytest.mark.long
def test_ten_thousand_lines_take_no_more_memory(tmp_path: Path) -> None:
    """Many lines are looked at, run and written in pieces: the server does not grow with them."""
    count = 10_000
    with Service(tmp_path / "home", FAST) as service:
        first = send(service, jsonl(line(f"r{n}") for n in range(500)), service.key)
        ended(service, first["id"], service.key)
        before = resident(service)
        batch = send(service, jsonl(line(f"r{n}", "word " * 20) for n in range(count)), service.key)
        deadline, most = time.monotonic() + 300, before
        while (found := look(service, batch["id"], service.key))["status"] not in ENDED:
            assert time.monotonic() < deadline, found
            most = max(most, resident(service))
            time.sleep(0.5)
        assert found["request_counts"] == {"total": count, "completed": count, "failed": 0}
        size = service.get(f"/v1/files/{found['output_file_id']}", key=service.key).json()["bytes"]
        assert most - before < 48 * 1024 * 1024, f"grew by {most - before} bytes for {size}"
        names = [each["custom_id"] for each in lines_in(service, found["output_file_id"], service.key)]
    assert names == [f"r{n}" for n in range(count)]


def resident(service: Service) -> int:
    """The memory of the server, in bytes."""
    for row in Path(f"/proc/{service.process.pid}/status").read_text(encoding="utf-8").splitlines():
        if row.startswith("VmRSS:"):
            return int(row.split()[1]) * 1024
    raise AssertionError("no such process")
