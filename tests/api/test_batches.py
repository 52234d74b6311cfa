"""Batches of a running server: whose they are, with which rights their lines run, and what bounds them."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.api.test_response_tenants import DIALECTS, OWNERS, STRANGERS, Members, people
from tests.api.uploads import form, upload
from tests.batching import CHAT, ended, jsonl, line, lines_in, look, send
from tests.faults.books import receipts
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[batches]
max_enqueued_tokens = 6000

[[limit]]
scope = "deployment"
id = "narrow"
concurrent_requests = 1

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[deployment]]
name = "narrow"
engine = "echo"
model = "echo"
options = { delay_s = 0.01 }

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
parallel = 2
options = { delay_s = 0.2 }
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Members]]:
    """A server on a home with members."""
    root = tmp_path_factory.mktemp("home")
    made = asyncio.run(people(root))
    with Service(root, CONFIG) as service:
        yield service, made


@pytest.mark.parametrize("owner", OWNERS)
def test_nobody_learns_of_another_ones_batch(there: tuple[Service, Members], owner: str) -> None:
    """To colleagues of a person, other projects and organizations it is told as one that there is not."""
    service, home = there
    made = send(service, jsonl([line("a")]), home.keys[owner])
    for name in STRANGERS[owner]:
        for prefix, behind in DIALECTS.items():
            key = home.keys[name]
            for method, path in (("GET", ""), ("POST", "/cancel")):
                found, absent = (
                    service.request(method, f"{prefix}/batches/{batch_id}{path}{behind}", key=key)
                    for batch_id in (made["id"], "batch_0")
                )
                assert found.status == absent.status == 404
                assert found.body.replace(made["id"].encode(), b"batch_0") == absent.body
            listed = service.get(f"{prefix}/batches{behind}", key=key).json()
            assert made["id"] not in {each["id"] for each in listed["data"]}
    assert ended(service, made["id"], home.keys[owner])["status"] == "completed"


def test_a_colleague_sees_what_a_service_account_makes(there: tuple[Service, Members]) -> None:
    """What a service account makes is its project's."""
    service, home = there
    made = send(service, jsonl([line("a")]), home.keys["app"])
    assert look(service, made["id"], home.keys["bob"])["id"] == made["id"]


@pytest.mark.parametrize("name", ["elsewhere", "abroad"])
def test_another_projects_file_is_no_input(there: tuple[Service, Members], name: str) -> None:
    """The file of another project cannot be read by making a batch of it."""
    service, home = there
    sent = upload(service, form(jsonl([line("a")]), "in.jsonl", purpose="batch"), home.keys["ann"]).json()
    asked = {"input_file_id": sent["id"], "endpoint": CHAT, "completion_window": "24h"}
    assert service.post("/v1/batches", asked, key=home.keys[name]).status == 404


def test_lines_do_not_run_with_a_key_that_is_revoked(there: tuple[Service, Members]) -> None:
    """What is not run when the key goes is refused line by line, and the answers before that stay."""
    service, home = there
    made = service.post("/admin/keys", {"name": "short", "role": "user"}).json()
    batch = send(service, jsonl(line(f"r{n}", "one", model="slow") for n in range(30)), made["key"])
    keeper = home.keys["app"]
    eventually(lambda: look(service, batch["id"], keeper)["request_counts"]["completed"] > 1, "some are done")
    assert service.request("DELETE", f"/admin/keys/{made['id']}", key=service.key).status == 200
    found = ended(service, batch["id"], keeper)
    assert found["status"] == "completed"
    assert found["request_counts"]["failed"] > 0
    assert found["request_counts"]["completed"] + found["request_counts"]["failed"] == 30
    refused = lines_in(service, found["error_file_id"], keeper)
    assert {each["response"]["status_code"] for each in refused} == {401}


def test_a_line_that_meets_a_limit_is_tried_again(there: tuple[Service, Members]) -> None:
    """Where only one request at a time may run, all lines are answered all the same, and no try is unrecorded."""
    service, home = there
    key = home.keys["app"]
    batch = send(service, jsonl(line(f"r{n}", model="narrow") for n in range(12)), key)
    found = ended(service, batch["id"], key)
    assert found["request_counts"] == {"total": 12, "completed": 12, "failed": 0}
    runs = [body for body in receipts(service.home.root) if (body.get("parameters") or {}).get("batch") == batch["id"]]
    outcomes = [body["outcome"] for body in runs if "line" in body["parameters"]]
    assert outcomes.count("finished") == 12
    assert outcomes.count("refused") > 0
    assert {
        body["service_tier"] for body in runs if body["outcome"] == "finished" and "line" in body["parameters"]
    } == {"flex"}


def test_a_project_has_no_more_waiting_than_it_may(there: tuple[Service, Members]) -> None:
    """A batch that would make it too much is refused by name, and taken once there is room again."""
    service, home = there
    key = home.keys["elsewhere"]
    lines = [line(f"r{n}", "x" * 400, model="slow") for n in range(30)]
    first = send(service, jsonl(lines), key)
    refused = send(service, jsonl(lines), key)
    assert (refused["error"]["code"], refused["error"]["param"]) == ("token_limit_exceeded", "input_file_id")
    assert service.post(f"/v1/batches/{first['id']}/cancel", {}, key=key).status == 200
    ended(service, first["id"], key)
    assert send(service, jsonl([line("a")]), key)["status"] == "validating"


def test_a_batch_that_was_never_begun_is_cancelled_at_once(there: tuple[Service, Members]) -> None:
    """Where a project has as many at work as it may, a third waits, and is gone when it is cancelled."""
    service, home = there
    key = home.keys["abroad"]
    running = [send(service, jsonl(line(f"r{n}", model="slow") for n in range(20)), key) for _ in range(2)]
    eventually(lambda: all(look(service, each["id"], key)["status"] == "in_progress" for each in running), "both run")
    third = send(service, jsonl([line("a")]), key)
    time.sleep(0.5)
    assert look(service, third["id"], key)["status"] == "validating"
    told: Any = service.post(f"/v1/batches/{third['id']}/cancel", {}, key=key).json()
    assert told["status"] == "cancelled"
    assert told["cancelled_at"] >= told["created_at"]
    for each in running:
        service.post(f"/v1/batches/{each['id']}/cancel", {}, key=key)
        assert ended(service, each["id"], key)["status"] == "cancelled"


def test_nothing_of_a_batch_lies_in_the_clear(there: tuple[Service, Members]) -> None:
    """Names, questions, answers, metadata and errors are nowhere in the home as they were sent."""
    service, home = there
    key = home.keys["app"]
    lines = [line("telltale-name", "telltale words"), line("telltale-wrong", "telltale words", temperature=9)]
    made = send(service, jsonl(lines), key, metadata={"telltale-key": "telltale-value"})
    found = ended(service, made["id"], key)
    assert found["metadata"] == {"telltale-key": "telltale-value"}
    (answer,) = lines_in(service, found["output_file_id"], key)
    assert answer["response"]["body"]["choices"][0]["message"]["content"] == "telltale words"
    failed = send(service, jsonl([line("telltale-twice"), line("telltale-twice")]), key)
    assert "telltale-twice" in ended(service, failed["id"], key)["errors"]["data"][0]["message"]
    kept = [path for path in service.home.root.rglob("*") if path.is_file()]
    assert [path for path in kept if b"telltale" in path.read_bytes()] == []


def test_an_erased_project_has_no_batch_that_goes_on(there: tuple[Service, Members]) -> None:
    """Its rows go, its key with them, and the work on it ends."""
    service, _ = there
    made = service.post("/v1/organization/projects", {"name": "gone"}).json()["id"]
    account = service.post(f"/v1/organization/projects/{made}/service_accounts", {"name": "app"}).json()
    key = account["api_key"]["value"]
    batch = send(service, jsonl(line(f"r{n}", "one", model="slow") for n in range(40)), key)
    eventually(lambda: look(service, batch["id"], key)["request_counts"]["completed"] > 1, "it is under way")
    erased = service.post(f"/v1/organization/projects/{made}/erase", {}).json()
    assert erased["certificate"]["rows_deleted"]["batches"] == 1
    path = service.home.database

    def rows(statement: str, value: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute(statement, (value,)).fetchall()

    assert rows("SELECT batch_id FROM kept_batch_results WHERE project_id = ?", made) == []
    state = "SELECT state FROM jobs WHERE project_id = ?"
    eventually(lambda: rows(state, made) in ([], [("cancelled",)]), "its job is gone, or has ended if it was at work")
    assert rows("SELECT batch_id FROM kept_batch_results WHERE project_id = ?", made) == []
    assert rows("SELECT id FROM kept_files WHERE project_id = ?", made) == []


def test_nothing_is_kept_where_nothing_may_be(there: tuple[Service, Members]) -> None:
    """Under zero retention a batch is refused, also of a file that was there before."""
    service, home = there
    key = home.keys["ann"]
    sent = upload(service, form(jsonl([line("a")]), "in.jsonl", purpose="batch"), key).json()
    path = "/admin/projects/proj-default/retention"
    assert service.request("PUT", path, {"type": "zero_data_retention"}, key=service.key).status == 200
    asked = {"input_file_id": sent["id"], "endpoint": CHAT, "completion_window": "24h"}
    refused = service.post("/v1/batches", asked, key=key)
    service.request("PUT", path, {"type": "organization_default"}, key=service.key)
    assert (refused.status, refused.json()["error"]["code"]) == (400, "zero_data_retention")
    assert service.get("/v1/batches", key=key).json()["data"] == []
