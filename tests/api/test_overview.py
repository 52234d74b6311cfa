"""`/v1/organization/overview`: figures of the last minutes, and the deployments as they are now."""

import csv
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.test_kept_content import admin, make_project
from tests.service import Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
replicas = 2
price = { output = "1" }

[[deployment]]
name = "idle"
engine = "echo"
model = "echo"
start = "on_demand"
"""
OVERVIEW = "/v1/organization/overview"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def ask(service: Service, key: str, model: str = "echo") -> None:
    """One chat request of one word."""
    body = {"model": model, "messages": [{"role": "user", "content": "word"}]}
    service.post("/v1/chat/completions", body, key=key)


def overview(service: Service, key: str, query: str = "") -> dict[str, Any]:
    """The overview."""
    found: dict[str, Any] = service.get(f"{OVERVIEW}{query}", key=key).json()
    return found


def test_what_happened_is_in_its_bucket(service: Service) -> None:
    """Requests, tokens, money, outcomes and percentiles add up over buckets and deployments; replicas are told."""
    project, key = make_project(service, "Busy")
    for _ in range(3):
        ask(service, key)
    ask(service, key, "nothing")
    found = overview(service, service.key, f"?project_id={project}&minutes=10&bucket_s=30")
    total = found["total"]
    assert (total["requests"], total["model_requests"], total["errors"]) == (4, 3, 0)
    assert total["outcomes"] == {
        "finished": 3,
        "refused": 1,
        "filtered": 0,
        "failed": 0,
        "cancelled": 0,
        "interrupted": 0,
    }
    assert total["cost_micro"] == total["completion_tokens"] > 0
    assert 0 < total["latency_ms"]["p50"] <= total["latency_ms"]["p90"] <= total["latency_ms"]["p99"]
    starts = [each["start_time"] for each in found["buckets"]]
    assert starts == list(range(found["start_time"], found["end_time"], 30))
    assert len(starts) in {20, 21}
    for name in ("requests", "completion_tokens", "cost_micro"):
        assert sum(each[name] for each in found["buckets"]) == total[name]
    empty = found["buckets"][0]
    assert (empty["requests"], empty["latency_ms"]["p50"]) == (0, None)
    deployments = {each["name"]: each for each in found["deployments"]}
    echo, idle = deployments["echo"], deployments["idle"]
    assert (echo["requests"], echo["state"], echo["waiting"], echo["in_flight"]) == (3, "ready", 0, 0)
    assert [replica["state"] for replica in echo["replicas"]] == ["ready", "ready"]
    assert echo["tokens_per_second"] == round(total["completion_tokens"] / 60, 2)
    assert echo["latency_ms"] == total["latency_ms"]
    assert (idle["requests"], idle["state"], idle["replicas"]) == (0, "unloaded", [])


def test_everybody_sees_what_is_theirs(service: Service) -> None:
    """Usage of one's own project with a role there, no other project, and other organizations nothing of this one."""
    mine, key = make_project(service, "Mine")
    ask(service, key)
    reader = admin(service, "POST", "/admin/keys", {"name": "reader", "role": "usage_reader", "project_id": mine})[
        "key"
    ]
    found = overview(service, reader)
    assert found["total"]["requests"] == 1
    assert overview(service, reader, f"?project_id={mine}")["total"] == found["total"]
    assert service.get(f"{OVERVIEW}?project_id=proj-default", key=reader).status == 404
    assert service.get(OVERVIEW, key=key).status == 403
    others = admin(service, "POST", "/admin/organizations", {"name": "Others"})["api_key"]["value"]
    theirs = overview(service, others)
    assert (theirs["total"]["requests"], theirs["deployments"]) == (0, [])
    ask(service, others)
    (told,) = overview(service, others)["deployments"]
    assert (told["name"], told["requests"]) == ("echo", 1)
    assert (told["state"], told["replicas"], told["waiting"], told["in_flight"]) == (None, None, None, None)


def test_the_deployment_of_somebody_elses_project_is_not_told(service: Service) -> None:
    """An owner of another organization learns neither the name nor the state of a deployment that a project has."""
    project, key = make_project(service, "Secretive")
    body = {"name": "secret-plan", "engine": "echo", "model": "echo", "project": project}
    assert service.post("/admin/deployments", body).status == 201
    ask(service, key, "secret-plan")
    strangers = admin(service, "POST", "/admin/organizations", {"name": "Strangers"})["api_key"]["value"]
    assert "secret-plan" not in service.get(OVERVIEW, key=strangers).body.decode()
    assert "secret-plan" in service.get(OVERVIEW, key=service.key).body.decode()


def test_sums_come_as_a_table(service: Service) -> None:
    """Bills are told as CSV, too, as a file with the same lines."""
    ask(service, service.key)
    lines = admin(service, "GET", "/admin/usage?by=deployment")["data"]
    reply = service.get("/admin/usage?by=deployment&format=csv", key=service.key)
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.headers["content-disposition"] == 'attachment; filename="usage-deployment.csv"'
    header, *rows = csv.reader(reply.body.decode().splitlines())
    assert [dict(zip(header, row, strict=True)) for row in rows] == [
        {name: "" if value is None else str(value) for name, value in line.items()} for line in lines
    ]
    costs = service.get("/v1/organization/costs?start_time=1&format=csv", key=service.key)
    assert costs.headers["content-type"] == "text/csv; charset=utf-8"
    assert costs.body.decode().splitlines()[0].startswith("start_time,")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("minutes=0", "minutes"),
        ("minutes=20000", "minutes"),
        ("bucket_s=1", "bucket_s"),
        ("minutes=1440&bucket_s=60", "bucket_s"),
    ],
)
def test_a_wrong_range_is_refused(service: Service, query: str, param: str) -> None:
    """Too long, too short and too many buckets are named."""
    reply = service.get(f"{OVERVIEW}?{query}", key=service.key)
    assert (reply.status, reply.json()["error"]["param"]) == (400, param)
