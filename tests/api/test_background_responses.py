"""Responses in the background of a running server: followed, cancelled, deleted and stopped while they are made."""

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPResponse
from typing import Any

import pytest

from tests.api.test_kept_content import admin, make_project
from tests.faults.books import receipts
from tests.service import Service, events_of, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[content_filter]]
name = "default"
mode = "asynchronous"

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = { delay_s = 0.02 }
parallel = 64
"""
RESPONSES = "/v1/responses"
LONG = "word " * 2000
"""Takes the engine longer than any of these tests."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with a slow deployment."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def begin(service: Service, key: str, text: str = LONG, **more: Any) -> tuple[HTTPResponse, str]:
    """A response in the background with its stream, of which the first piece of text has come; and its id."""
    body = {"model": "slow", "input": text, "background": True, "stream": True, **more}
    answer = service.open("POST", RESPONSES, body, key=key)
    found = ""
    for line in answer:
        event = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
        found = event.get("response", {}).get("id", found)
        if event.get("type") == "response.output_text.delta":
            break
    return answer, found


def works(service: Service, response_id: str) -> list[dict[str, Any]]:
    """The receipts of what was done for it, but for the request that asked for it."""
    told = [(each, each.get("parameters") or {}) for each in receipts(service.home.root)]
    return [each for each, said in told if said.get("response") == response_id and "background" not in said]


def rows(service: Service, response_id: str) -> int:
    """How many rows there are of a response."""
    tables = ("kept_responses", "kept_response_items", "kept_response_events")
    with closing(sqlite3.connect(f"{service.home.database.as_uri()}?mode=ro", uri=True)) as database:
        queries = [f"SELECT count(*) FROM {table} WHERE {{}} = ?" for table in tables]  # noqa: S608  # the tables above
        names = ("id", "holder_id", "holder_id")
        asked = [query.format(name) for query, name in zip(queries, names, strict=True)]
        return sum(database.execute(query, (response_id,)).fetchone()[0] for query in asked)


def test_everybody_who_follows_has_the_same(service: Service) -> None:
    """From different numbers on, during the work and after it, all have the same events."""
    answer, response_id = begin(service, service.key, "word " * 60)

    def follow(after: int) -> list[Any]:
        path = f"{RESPONSES}/{response_id}?stream=true&starting_after={after}"
        with service.open("GET", path, key=service.key) as stream:
            return events_of(stream)

    with ThreadPoolExecutor(8) as pool:
        during = list(pool.map(follow, range(8)))
    answer.close()
    whole = follow(0)
    assert whole[-1]["type"] == "response.completed"
    assert [event["sequence_number"] for event in whole] == list(range(1, len(whole) + 1))
    for after, events in enumerate(during):
        assert events == whole[after:]
    text = "".join(event["delta"] for event in whole if event["type"] == "response.output_text.delta")
    assert text == whole[-1]["response"]["output"][0]["content"][0]["text"] == "word " * 60


def test_many_who_cancel_are_told_the_same(service: Service) -> None:
    """It stops once; nothing of it is in progress, what was said stays, and it can be gone on with."""
    answer, response_id = begin(service, service.key)
    path = f"{RESPONSES}/{response_id}"
    running = service.post(RESPONSES, {"model": "slow", "input": "x", "previous_response_id": response_id})
    assert running.status == 400, "it is still being made"
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: service.post(f"{path}/cancel", {}), range(8)))
    assert {reply.status for reply in replies} == {200}
    assert {reply.body for reply in replies} == {service.get(path, key=service.key).body}
    made = replies[0].json()
    assert (made["status"], [item["status"] for item in made["output"]]) == ("cancelled", ["incomplete"])
    assert made["output"][0]["content"][0]["text"].startswith("word")
    rest = events_of(answer)
    assert not [event for event in rest if event["type"] in {"response.completed", "response.failed"}]
    eventually(lambda: len(works(service, response_id)) == 1, "the work has its receipt")
    assert works(service, response_id)[0]["outcome"] == "cancelled"
    after = service.post(RESPONSES, {"model": "slow", "input": "x", "previous_response_id": response_id})
    assert after.json()["status"] == "completed"


def test_one_that_is_cancelled_at_once_is_never_begun_or_stopped(service: Service) -> None:
    """However early: its state is `cancelled`, and it is so for good."""
    for _ in range(10):
        made = service.post(RESPONSES, {"model": "slow", "input": LONG, "background": True}).json()
        assert made["status"] == "queued"
        cancelled = service.post(f"{RESPONSES}/{made['id']}/cancel", {}).json()
        assert cancelled["status"] == "cancelled"
        assert service.get(f"{RESPONSES}/{made['id']}", key=service.key).json() == cancelled


def test_deleting_stops_the_work(service: Service) -> None:
    """Nothing of it stays, its stream ends, and its work has one receipt."""
    answer, response_id = begin(service, service.key)
    path = f"{RESPONSES}/{response_id}"
    assert rows(service, response_id) > 2
    assert service.request("DELETE", path, key=service.key).json()["deleted"] is True
    answer.read()
    assert rows(service, response_id) == 0
    assert service.get(path, key=service.key).status == 404
    eventually(lambda: len(works(service, response_id)) == 1, "the work has its receipt")
    assert works(service, response_id)[0]["outcome"] == "cancelled"


def test_a_project_whose_key_is_revoked_makes_none(service: Service) -> None:
    """What runs ends within moments; with the key back it has failed, and everything that was told of it is there."""
    project_id, key = make_project(service, "Revoked")
    answer, response_id = begin(service, key)
    admin(service, "POST", f"/admin/projects/{project_id}/content-key/revoke")
    answer.read()
    eventually(lambda: len(works(service, response_id)) == 1, "the work has its receipt")
    path = f"{RESPONSES}/{response_id}"
    assert service.get(path, key=key).json()["error"]["code"] == "project_key_revoked"
    admin(service, "POST", f"/admin/projects/{project_id}/content-key/restore")
    eventually(lambda: service.get(path, key=key).json()["status"] == "failed", "it has failed")
    with service.open("GET", f"{path}?stream=true&starting_after=0", key=key) as stream:
        events = events_of(stream)
    assert [event["sequence_number"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"] == service.get(path, key=key).json()
    after = service.post(RESPONSES, {"model": "slow", "input": "x", "previous_response_id": response_id}, key=key)
    assert after.json()["status"] == "completed"
