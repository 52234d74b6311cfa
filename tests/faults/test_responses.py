"""Responses in the background when the server is killed, drained, or their caller loses its rights."""

import json
import signal
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.disk import fill, small_disk
from tests.faults.books import check_reconciled, check_verified, receipts
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false
drain_s = 0.5

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = { delay_s = 0.05 }
price = { input = "1000", output = "1000" }
"""
LONG = "word " * 1000
"""Takes the engine longer than any of these tests."""


def numbered(response: HTTPResponse) -> Iterator[dict[str, Any]]:
    """The events of a stream as they come, until it ends or breaks."""
    for line in response:
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


def begin(service: Service, **fields: Any) -> HTTPResponse:
    """A response in the background that takes long."""
    body = {"model": "slow", "input": LONG, "background": True, **fields}
    return service.open("POST", "/v1/responses", body, key=service.key)


def follow(service: Service, response_id: str, after: int) -> list[dict[str, Any]]:
    """The rest of a stream."""
    path = f"/v1/responses/{response_id}?stream=true&starting_after={after}"
    with service.open("GET", path, key=service.key) as answer:
        assert answer.status == 200
        return list(numbered(answer))


def works(home: Path, response_id: str) -> list[dict[str, Any]]:
    """The receipts of what was done for a response, but for the request that asked for it."""
    found = [body for body in receipts(home) if (body.get("parameters") or {}).get("response") == response_id]
    return [body for body in found if "background" not in body["parameters"]]


@pytest.mark.parametrize("seen", [1, 3, 12])
def test_a_killed_server_leaves_a_response_that_failed(tmp_path: Path, seen: int) -> None:
    """After kill -9 it has `failed` and says why; its stream goes on behind what was seen; it is paid once."""
    home = tmp_path / "home"
    service = Service(home, CONFIG)
    service.wait_listening()
    service.wait_ready()
    with begin(service, stream=True) as answer:
        events = list(islice(numbered(answer), seen))
        service.stop(signal.SIGKILL)
    response_id = events[0]["response"]["id"]
    with Service(home, CONFIG) as again:
        rest = follow(again, response_id, events[-1]["sequence_number"])
        numbers = [event["sequence_number"] for event in events + rest]
        assert numbers == list(range(len(numbers)))
        assert rest[-1]["type"] == "response.failed"
        found = again.get(f"/v1/responses/{response_id}", key=again.key).json()
        assert found == rest[-1]["response"]
        assert found["status"] == "failed"
        assert "stopped" in found["error"]["message"]
        deltas = [event["delta"] for event in events + rest if event["type"] == "response.output_text.delta"]
        said = [part["text"] for item in found["output"] for part in item["content"]]
        assert "".join(said) == "".join(deltas)
        assert all(item["status"] == "incomplete" for item in found["output"])
        assert follow(again, response_id, numbers[-1]) == []
        asked = again.get(f"/v1/responses/{response_id}/input_items", key=again.key).json()
        assert asked["data"][0]["content"][0]["text"] == LONG
        check_reconciled(home)
    charged = [body for body in receipts(home) if body["cost_micro"]]
    assert [body["outcome"] for body in charged] == ["interrupted"] * len(charged)
    assert all(body["parameters"] == {"response": response_id} for body in charged)
    assert len(charged) == 1 if "response.in_progress" in {event["type"] for event in events} else len(charged) <= 1
    check_verified(home)


def test_a_server_that_ends_lets_a_response_have_failed(tmp_path: Path) -> None:
    """Drained and cut off, it is written as failed before the server goes, and has one receipt."""
    home = tmp_path / "home"
    with Service(home, CONFIG) as service, begin(service, stream=True) as answer:
        first = next(numbered(answer))
        service.stop()
        events = [first, *numbered(answer)]
    response_id = first["response"]["id"]
    assert events[-1]["type"] in {"response.failed", "error"}
    with Service(home, CONFIG) as again:
        found = again.get(f"/v1/responses/{response_id}", key=again.key).json()
        assert (found["status"], found["error"]["code"]) == ("failed", "server_error")
        stream = follow(again, response_id, 0)
        assert stream[-1]["type"] == "response.failed"
    (work,) = works(home, response_id)
    assert work["outcome"] == "interrupted"


def test_a_response_is_paid_once_however_often_it_is_looked_at(tmp_path: Path) -> None:
    """Callers who drop the stream and come back cost nothing; the work has one receipt, with its cost."""
    home = tmp_path / "home"
    with Service(home, CONFIG) as service:
        with begin(service, stream=True, input="one two three four") as answer:
            response_id = next(numbered(answer))["response"]["id"]
        for _ in range(3):
            follow(service, response_id, 0)
        path = f"/v1/responses/{response_id}"
        while service.get(path, key=service.key).json()["status"] != "completed":
            time.sleep(0.02)
        check_reconciled(home)
    (work,) = works(home, response_id)
    assert work["outcome"] == "finished"
    charged = [body for body in receipts(home) if body["cost_micro"]]
    assert [body["request_id"] for body in charged] == [work["request_id"]]


def test_a_revoked_key_ends_its_responses(tmp_path: Path) -> None:
    """What was begun with a key does not go on without it."""
    home = tmp_path / "home"
    with Service(home, CONFIG) as service:
        path = "/v1/organization/projects/proj-default"
        made = service.post(f"{path}/service_accounts", {"name": "app"}).json()
        key, account = made["api_key"]["value"], made["id"]
        body = {"model": "slow", "input": LONG, "background": True}
        response_id = service.post("/v1/responses", body, key=key).json()["id"]
        assert service.get(f"/v1/responses/{response_id}", key=service.key).status == 200
        service.request("DELETE", f"{path}/service_accounts/{account}", key=service.key)
        while service.get(f"/v1/responses/{response_id}", key=service.key).json()["status"] in {
            "queued",
            "in_progress",
        }:
            time.sleep(0.02)
        found = service.get(f"/v1/responses/{response_id}", key=service.key).json()
        assert found["status"] == "failed"
        assert "revoked" in found["error"]["message"]


def test_a_full_disk_ends_the_response_it_was_to_be_written_on(tmp_path: Path) -> None:
    """The stream ends; with room again it has failed, what was seen of it is there, and the server goes on."""
    with small_disk(tmp_path / "disk", megabytes=16) as place, Service(place / "home", CONFIG) as service:
        with begin(service, stream=True) as answer:
            events = list(islice(numbered(answer), 8))
            ballast = fill(place)
            events += numbered(answer)
        numbers = [event["sequence_number"] for event in events if event["type"] != "error"]
        assert numbers == list(range(len(numbers)))
        assert len(events) < 500, "it was not made to its end"
        ballast.unlink()
        response_id = events[0]["response"]["id"]
        path = f"/v1/responses/{response_id}"
        eventually(lambda: service.get(path, key=service.key).status == 200, "it can be looked at again")
        found = service.get(path, key=service.key).json()
        assert (found["status"], found["error"]["code"]) == ("failed", "server_error")
        rest = follow(service, response_id, 0)
        told = [event for event in events if event["type"] not in {"error", "response.failed"}]
        assert rest[: len(told) - 1] == told[1:]
        assert rest[-1]["type"] == "response.failed"
        answered = service.post("/v1/responses", {"model": "slow", "input": "one"})
        assert answered.json()["status"] == "completed"
