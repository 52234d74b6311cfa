"""What an administrator changes holds in every worker when the change is answered."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.forked import freehold
from tests.service import ECHO_CONFIG, Service, each_event
from tests.workers.crew import chat, statuses, workers

pytestmark = pytest.mark.slow

CONFIG = (
    ECHO_CONFIG
    + """
[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = { delay_s = 0.3 }
"""
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with three workers."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG, workers=3) as service:
        yield service


def _key(service: Service) -> tuple[str, str]:
    """A new key's id and the key."""
    made = service.post("/admin/keys", {"name": "someone", "role": "user"}).json()
    return made["id"], made["key"]


def _everywhere(service: Service, key: str, **more: Any) -> set[int]:
    """The statuses of many calls over as many connections, so that every worker had some."""
    return set(asyncio.run(statuses(service, [chat(**more) for _ in range(24)], key)))


def test_a_new_key_is_good_everywhere_at_once(service: Service) -> None:
    """A key that was made just now is known to every worker; one that was revoked to none."""
    key_id, key = _key(service)
    assert _everywhere(service, key) == {200}
    assert service.request("DELETE", f"/admin/keys/{key_id}", key=service.key).status == 200
    assert _everywhere(service, key) == {401}


def test_a_new_deployment_is_there_everywhere_at_once(service: Service) -> None:
    """A deployment that was made just now is served by every worker; one that was deleted by none."""
    settings = {"name": "fresh", "engine": "echo", "model": "echo"}
    assert service.post("/admin/deployments", settings).status in {200, 201}
    assert _everywhere(service, service.key, model="fresh") == {200}
    assert service.request("DELETE", "/admin/deployments/fresh", key=service.key).status in {200, 204}
    assert _everywhere(service, service.key, model="fresh") == {404}


def test_a_policy_holds_everywhere_at_once(service: Service) -> None:
    """A policy that closes a deployment closes it in every worker, and opens it again."""
    policy = {"name": "closed", "deployments": {"deny": ["slow"]}}
    made = service.request("PUT", "/admin/policies/closed", policy, key=service.key)
    assert made.status == 200, made.body
    assert _everywhere(service, service.key, model="slow") == {403}
    assert service.request("DELETE", "/admin/policies/closed", key=service.key).status in {200, 204}
    assert _everywhere(service, service.key) == {200}


def test_a_limit_holds_everywhere_at_once(service: Service) -> None:
    """A limit of no requests refuses all of them in every worker."""
    limit = {"scope": "deployment", "id": "echo", "requests_per_minute": 0}
    assert service.request("PUT", "/admin/limits", limit, key=service.key).status == 200
    assert _everywhere(service, service.key) == {429}
    assert service.request("DELETE", "/admin/limits/deployment/echo", key=service.key).status in {200, 204}
    assert _everywhere(service, service.key) == {200}


def test_a_stream_is_cut_when_its_key_is_revoked(service: Service) -> None:
    """A stream that runs through a worker ends with an error within a second after its key was revoked."""
    key_id, key = _key(service)
    body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "word " * 60}]}
    with service.open("POST", "/v1/chat/completions", body, key=key) as stream:
        events = each_event(stream)
        next(events)
        assert service.request("DELETE", f"/admin/keys/{key_id}", key=service.key).status == 200
        began = time.monotonic()
        left = list(events)
    assert time.monotonic() - began < 1.0
    assert left[-1]["error"]["code"] == "invalid_api_key"


def _last_used(service: Service, key_id: str) -> int | None:
    keys = service.get("/admin/keys", key=service.key).json()["data"]
    found: int | None = next(key for key in keys if key["id"] == key_id)["last_used_at"]
    return found


def test_when_a_key_was_used_is_known_to_the_core(service: Service) -> None:
    """A key that only workers have seen has a moment of its last use."""
    key_id, key = _key(service)
    assert _everywhere(service, key) == {200}
    deadline = time.monotonic() + 20
    while _last_used(service, key_id) is None:
        assert time.monotonic() < deadline, "told within seconds"
        time.sleep(0.2)


def test_metrics_are_those_of_all_workers(service: Service) -> None:
    """What all workers have served is counted in one place."""

    def count() -> float:
        lines = service.get("/metrics").body.decode().splitlines()
        found = [line for line in lines if line.startswith("freehold_requests_total") and "chat/completions" in line]
        return sum(float(line.rpartition(" ")[2]) for line in found if 'status="200"' in line)

    before = count()
    assert _everywhere(service, service.key) == {200}
    assert count() == before + 24


def test_every_worker_takes_requests(service: Service) -> None:
    """Connections are shared out among the workers, and their log lines say who served."""
    assert _everywhere(service, service.key) == {200}
    assert [worker["state"] for worker in workers(service)] == ["ready"] * 3
    lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    assert {line.get("worker") for line in lines if line["event"] == "request"} >= {"w1", "w2", "w3"}


def test_the_doctor_looks_at_the_workers(service: Service) -> None:
    """`freehold doctor` says how many workers are ready."""
    found = json.loads(freehold(service.home.root, "doctor", "--json").stdout)
    workers = next(finding for finding in found["data"] if finding["check"] == "workers")
    assert (workers["verdict"], workers["found"]) == ("ok", "3 of 3 ready, 0 restarts")
