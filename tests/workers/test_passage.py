"""Requests that workers pass on come back as if the core had been called itself."""

import http.client
import json
import os
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.uploads import form, upload
from tests.faults.books import receipts
from tests.service import ECHO_CONFIG, Service, each_event, eventually
from tests.workers.crew import chat

pytestmark = pytest.mark.slow

CONFIG = (
    ECHO_CONFIG
    + """
[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = { delay_s = 0.2 }
"""
)


def _forged(secret: str) -> str:
    return f"{secret} " + json.dumps({"client": ["10.1.2.3", 4], "scheme": "https"})


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with two workers."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG, workers=2) as service:
        yield service


def _key(service: Service, **scope: Any) -> str:
    made = service.post("/admin/keys", {"name": "someone", "role": "user", "scope": scope}).json()
    key: str = made["key"]
    return key


def test_megabytes_pass_both_ways(service: Service) -> None:
    """A file of some megabytes arrives as it is, and comes back so."""
    data = random.Random(1).randbytes(7_000_000)
    made = upload(service, form(data), service.key)
    assert made.status == 200, made.body
    back = service.get(f"/v1/files/{made.json()['id']}/content", key=service.key)
    assert back.body == data
    assert back.headers["content-length"] == str(len(data))


def test_a_stream_passes_piece_by_piece(service: Service) -> None:
    """The events of a response come as they are made, not together at the end."""
    body = {"model": "slow", "input": "one two three four five six", "stream": True}
    with service.open("POST", "/v1/responses", body, key=service.key) as stream:
        times = [(event["type"], time.monotonic()) for event in each_event(stream)]
    deltas = [at for kind, at in times if kind == "response.output_text.delta"]
    assert len(deltas) > 3
    assert deltas[-1] - deltas[0] > 0.5, "each word takes a fifth of a second"
    assert times[-1][0] == "response.completed"


def test_an_error_is_the_cores_own(service: Service) -> None:
    """Statuses, bodies and headers are those of the core, each header once."""
    found = service.get("/v1/models/no-such", key=service.key)
    assert (found.status, found.json()["error"]["code"]) == (404, "model_not_found")
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"))
    connection.request("GET", "/v1/models", headers={"authorization": "Bearer wrong"})
    answer = connection.getresponse()
    names = [name.lower() for name, _ in answer.getheaders()]
    assert answer.status == 401
    assert sorted(names) == sorted(set(names))
    assert {"x-request-id", "date", "content-length"} <= set(names)
    answer.read()
    connection.request("HEAD", "/health/live")
    assert connection.getresponse().status in {200, 405}
    connection.close()


def test_a_body_beyond_the_limit_is_told_so_by_the_core(service: Service) -> None:
    """Who sends a large body whole before looking reads the core's 413, on whatever the worker passes on."""
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60)
    headers = {"authorization": f"Bearer {service.key}", "content-type": "application/json", "connection": "close"}
    for _ in range(5):
        connection.request("POST", "/v1/responses", b" " * 60_000_000, headers)
        answer = connection.getresponse()
        assert answer.status == 413
        assert json.loads(answer.read())["error"]["code"] == "request_too_large"


def test_a_kept_answer_comes_back_through_any_worker(service: Service) -> None:
    """A request with an Idempotency-Key is done once, whichever workers its repetitions meet."""
    headers = {"idempotency-key": "only-once"}
    found = [
        service.request("POST", "/v1/chat/completions", chat(), key=service.key, headers=headers) for _ in range(8)
    ]
    assert {reply.status for reply in found} == {200}
    assert len({reply.body for reply in found}) == 1
    assert sum(reply.headers.get("idempotent-replayed") == "true" for reply in found) == 7


def test_a_stored_completion_is_there_at_once(service: Service) -> None:
    """What a worker was asked to store the core has when it is answered."""
    asked = chat("keep this", store=True, metadata={"of": "workers"})
    made = service.post("/v1/chat/completions", asked).json()
    found = service.get(f"/v1/chat/completions/{made['id']}", key=service.key)
    assert found.status == 200, found.body
    assert found.json()["metadata"] == {"of": "workers"}
    told = service.get(f"/v1/chat/completions/{made['id']}/messages", key=service.key).json()
    assert [message["content"] for message in told["data"]] == ["keep this"]


def test_the_core_knows_where_a_caller_is(service: Service) -> None:
    """A key for one network is good from there, through a worker and through the core, and from nowhere else."""
    here, elsewhere = _key(service, ip_ranges=["127.0.0.0/8"]), _key(service, ip_ranges=["10.0.0.0/8"])
    for path in ("/v1/models", "/v1/files"):
        assert service.get(path, key=here).status == 200
        assert service.get(path, key=elsewhere).status == 401
    assert service.post("/v1/chat/completions", chat(), key=here).status == 200
    assert service.post("/v1/chat/completions", chat(), key=elsewhere).status == 401


def test_a_caller_cannot_say_who_it_is(service: Service) -> None:
    """The header of the passage is dropped where a caller sends it."""
    elsewhere = _key(service, ip_ranges=["10.0.0.0/8"])
    for secret in ("", "0" * 64):
        headers = {"x-freehold-caller": _forged(secret)}
        assert service.request("GET", "/v1/models", key=elsewhere, headers=headers).status == 401
        assert service.request("GET", "/v1/models", key=service.key, headers=headers).status == 200


def test_the_cores_socket_is_for_workers_only(service: Service) -> None:
    """Nobody else may open it, and without the secret nothing is served."""
    path = service.home.run / "core.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_uid == os.getuid()
    for headers in ("", f"x-freehold-caller: {_forged('0' * 64)}\r\n"):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
            caller.sendall(f"GET /health/live HTTP/1.1\r\nhost: core\r\n{headers}connection: close\r\n\r\n".encode())
            assert caller.recv(100).startswith(b"HTTP/1.1 403 ")


def test_work_for_a_caller_who_has_gone_is_given_up(service: Service) -> None:
    """When a caller of a worker leaves, the core stops what it does for it."""
    body = {"model": "slow", "input": "word " * 300, "stream": True, "user": "leaver"}
    stream = service.open("POST", "/v1/responses", body, key=service.key)
    next(each_event(stream))
    stream.close()

    def cancelled() -> bool:
        found = receipts(service.home.root)
        return any(body["outcome"] == "cancelled" and body["route"] == "/v1/responses" for body in found)

    eventually(cancelled, "the receipt says that the caller went away", 20)
