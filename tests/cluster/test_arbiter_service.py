"""A real server whose machine has counted cores: replicas ask for room, come and go by what there is to do."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from tests.forked import freehold
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CONFIG: Final = """
[server]
starter = false

[cluster]
zone = "eu"
cores = 3
memory_bytes = 8000000000

[[share]]
organization = "org-default"
weight = 2

[[policy]]
name = "residency"
applies_to = { projects = ["proj-secret"] }
zones = ["us"]

[[deployment]]
name = "busy"
engine = "echo"
model = "echo"
parallel = 1
options = { first_delay_s = 1.0 }
autoscale = { min = 0, max = 3, queue_time_s = 0.1, down_after_s = 2.0 }

[[deployment]]
name = "abroad"
engine = "echo"
model = "echo"
zone = "us"

[[deployment]]
name = "resident"
engine = "echo"
model = "echo"
project = "proj-secret"
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("arbiter") / "home"
    service = Service(home, CONFIG)
    try:
        service.wait_listening()
        yield service
    finally:
        service.stop()


def _shown(service: Service, name: str) -> dict[str, Any]:
    found: dict[str, Any] = service.request("GET", f"/admin/deployments/{name}", key=service.key).json()
    return found


def _arbiter(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.request("GET", "/admin/arbiter?limit=500", key=service.key).json()
    return found


def _ask(service: Service, model: str) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "two words"}]}
    return service.post("/v1/chat/completions", body).status


def _decided(service: Service, workload: str) -> list[str]:
    decisions = _arbiter(service)["decisions"]
    return [each["decision"] for each in reversed(decisions) if each["workload"].startswith(workload)]


def test_replicas_come_with_what_waits_and_go_to_none_when_nothing_does(service: Service) -> None:
    """Requests that wait bring replicas up to the most, a quiet time takes all, and the next request one again."""
    with ThreadPoolExecutor(9) as callers:
        answers = [callers.submit(_ask, service, "busy") for _ in range(9)]
        eventually(lambda: _shown(service, "busy")["scale"]["wanted"] == 3, "three replicas wanted")
        assert [answer.result() for answer in answers] == [200] * 9
    assert 'freehold_replicas_wanted{deployment="busy"}' in service.get("/metrics").body.decode()
    eventually(lambda: _shown(service, "busy")["state"] == "unloaded", "no replica left")
    eventually(lambda: _shown(service, "busy")["replicas"] == [], "all replicas ended")
    assert _ask(service, "busy") == 200
    assert _decided(service, "busy").count("placed") >= 4


def test_what_may_not_run_here_is_refused_and_that_is_recorded(service: Service) -> None:
    """A deployment of another zone, and one of a project whose policy demands another, are not placed here."""
    eventually(lambda: {"refused"} == set(_decided(service, "abroad")), "refused by its own zone")
    eventually(lambda: {"refused"} == set(_decided(service, "resident")), "refused by the policy")
    assert "us" in (_shown(service, "abroad")["replicas"][0]["error"] or "")
    segments = sorted((service.home.root / "journal").glob("*/*.jsonl"))
    lines = [json.loads(line) for file in segments for line in file.read_text(encoding="utf-8").splitlines()]
    refused = [line["body"] for line in lines if line.get("body", {}).get("event") == "cluster.workload.refused"]
    assert {body["details"]["reason"] for body in refused} == {"outside_zones"}
    assert any(body.get("resource_project_id") == "proj-secret" for body in refused)


def test_who_finds_no_room_waits_and_is_placed_when_there_is_some(service: Service) -> None:
    """A replica that needs the whole machine waits while another runs, and serves once that has gone."""
    eventually(lambda: _shown(service, "busy")["replicas"] == [], "the machine is empty")
    large = {"name": "large", "engine": "echo", "model": "echo", "resources": {"cores": 3}}
    assert service.post("/admin/deployments", large).status == 201
    eventually(lambda: _shown(service, "large")["state"] == "ready", "the large one serves")
    with ThreadPoolExecutor(1) as callers:
        answer = callers.submit(_ask, service, "busy")
        eventually(lambda: _decided(service, "busy")[-1] == "waiting", "the other waits")
        waiting = [each for each in _arbiter(service)["workloads"] if each["state"] == "waiting"]
        assert [each["reason"] for each in waiting] == ["no_room"]
        assert service.request("DELETE", "/admin/deployments/large", key=service.key).status in {200, 204}
        assert answer.result() == 200


def test_the_commands_show_it(service: Service) -> None:
    """`freehold cluster decisions` and `shares` say who has room, and on whose share."""

    def run(*argv: str) -> str:
        done = freehold(service.home.root, *argv)
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = run("cluster", "decisions")
    assert "busy-1" in told
    assert "refused" in told
    assert "may run only in these zones: us" in " ".join(run("cluster", "decisions", "--json").split())
    assert "org-default" in run("cluster", "shares") + run("cluster", "shares", "--json")
