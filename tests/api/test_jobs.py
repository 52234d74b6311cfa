"""The jobs API of a running server: what it tells, and to whom."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.api.test_response_tenants import OWNERS, STRANGERS, Members, people
from tests.batching import ended, jsonl, line, look, send
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
parallel = 2
options = { delay_s = 0.1 }
"""
CHANGES = ("cancel", "pause", "resume")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Members]]:
    """A server on a home with members."""
    root = tmp_path_factory.mktemp("home")
    made = asyncio.run(people(root))
    with Service(root, CONFIG) as service:
        yield service, made


def test_a_job_is_told_by_either_name(there: tuple[Service, Members]) -> None:
    """A job is found by its own id and by its batch's, with how far it is and what happened."""
    service, home = there
    key = home.keys["app"]
    batch = send(service, jsonl(line(f"r{n}", temperature=9 if n == 2 else 1) for n in range(5)), key)
    ended(service, batch["id"], key)
    eventually(lambda: service.get(f"/v1/jobs/{batch['id']}", key=key).json()["state"] == "succeeded", "its job too")
    job = service.get(f"/v1/jobs/{batch['id']}", key=key).json()
    assert service.get(f"/v1/jobs/{job['id']}", key=key).json() == job
    assert (job["object"], job["kind"], job["subject"]) == ("job", "batch", batch["id"])
    assert (job["total"], job["done"], job["failed"], job["attempts"]) == (5, 5, 1, 1)
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    first = service.get(f"/v1/jobs/{batch['id']}/events?limit=2", key=key).json()
    assert first["has_more"]
    rest = service.get(f"/v1/jobs/{batch['id']}/events?after=2", key=key).json()
    assert not rest["has_more"]
    events = [*first["data"], *rest["data"]]
    assert [(each["number"], each["event"]) for each in events] == [(1, "queued"), (2, "started"), (3, "succeeded")]


def test_jobs_are_listed_by_kind_and_state(there: tuple[Service, Members]) -> None:
    """The list is the newest first, in pages, of a kind and of states, and says which states there are."""
    service, home = there
    key = home.keys["elsewhere"]
    made = [send(service, jsonl([line("a")]), key)["id"] for _ in range(3)]
    for each in made:
        ended(service, each, key)

    def listed(query: str) -> list[str]:
        return [each["subject"] for each in service.get(f"/v1/jobs{query}", key=key).json()["data"]]

    eventually(lambda: listed("?state=succeeded") == made[::-1], "all have ended")
    assert listed("?kind=batch&state=succeeded&state=queued") == made[::-1]
    assert listed("?kind=other") == listed("?state=failed") == []
    page = service.get("/v1/jobs?limit=2", key=key).json()
    assert page["has_more"]
    assert listed(f"?limit=2&after={page['data'][-1]['id']}") == listed(f"?after={made[1]}") == made[:1]
    for query, param in (
        ("state=lost", "state"),
        ("limit=0", "limit"),
        ("after=job_0", "job_id"),
        ("order=asc", "order"),
    ):
        refused = service.get(f"/v1/jobs?{query}", key=key)
        assert (refused.status, refused.json()["error"]["param"]) == (404 if param == "job_id" else 400, param)
    for query in ("after=x", "after=-1", "order=desc", "limit=101"):
        assert service.get(f"/v1/jobs/{made[0]}/events?{query}", key=key).status == 400


def test_a_batch_is_paused_and_goes_on(there: tuple[Service, Members]) -> None:
    """No line of a paused batch runs; for OpenAI's clients it is in progress; resumed, every line is answered once."""
    service, home = there
    key = home.keys["abroad"]
    batch = send(service, jsonl(line(f"r{n}", model="slow") for n in range(40)), key)
    path = f"/v1/jobs/{batch['id']}"
    eventually(lambda: look(service, batch["id"], key)["request_counts"]["completed"] > 1, "it is under way")
    asked = service.request("POST", f"{path}/pause", key=key).json()
    assert asked["state"] == "paused" or asked["asked"] == "pause"
    eventually(lambda: service.get(path, key=key).json()["state"] == "paused", "it is paused")
    paused = look(service, batch["id"], key)
    assert paused["status"] == "in_progress"
    assert 1 < paused["request_counts"]["completed"] < 40
    assert service.get(path, key=key).json()["begins_at"] == paused["expires_at"], "its time goes on"
    assert service.request("POST", f"{path}/resume", key=key).json()["state"] in {"queued", "running"}
    found = ended(service, batch["id"], key)
    assert found["request_counts"] == {"total": 40, "completed": 40, "failed": 0}
    for change in ("pause", "resume"):
        refused = service.request("POST", f"{path}/{change}", key=key)
        assert (refused.status, refused.json()["error"]["code"]) == (409, "conflict")


def test_a_paused_batch_is_cancelled(there: tuple[Service, Members]) -> None:
    """It is cancelled for OpenAI's clients too, and what was answered is in its file."""
    service, home = there
    key = home.keys["abroad"]
    batch = send(service, jsonl(line(f"r{n}", model="slow") for n in range(40)), key)
    path = f"/v1/jobs/{batch['id']}"
    eventually(lambda: look(service, batch["id"], key)["request_counts"]["completed"] > 1, "it is under way")
    service.request("POST", f"{path}/pause", key=key)
    eventually(lambda: service.get(path, key=key).json()["state"] == "paused", "it is paused")
    assert service.request("POST", f"{path}/cancel", key=key).json()["asked"] == "cancel"
    found = ended(service, batch["id"], key)
    assert (found["status"], "output_file_id" in found) == ("cancelled", True)


@pytest.mark.parametrize("owner", OWNERS)
def test_nobody_learns_of_another_ones_job(there: tuple[Service, Members], owner: str) -> None:
    """To colleagues of a person, other projects and organizations it is told as one that there is not."""
    service, home = there
    batch = send(service, jsonl([line("a")]), home.keys[owner])
    job = service.get(f"/v1/jobs/{batch['id']}", key=home.keys[owner]).json()
    for name in STRANGERS[owner]:
        key = home.keys[name]
        for known in (batch["id"], job["id"]):
            for method, behind in (("GET", ""), ("GET", "/events"), *(("POST", f"/{change}") for change in CHANGES)):
                found = service.request(method, f"/v1/jobs/{known}{behind}", key=key)
                absent = service.request(method, f"/v1/jobs/nothing{behind}", key=key)
                assert found.status == absent.status == 404
                assert found.body.replace(known.encode(), b"nothing") == absent.body
            assert service.get(f"/v1/jobs?after={known}", key=key).status == 404
        listed = service.get("/v1/jobs", key=key).json()["data"]
        assert job["id"] not in {each["id"] for each in listed}
    if owner == "app":
        assert service.get(f"/v1/jobs/{job['id']}", key=home.keys["bob"]).status == 200, "it is the project's"


def test_who_may_read_only_changes_nothing(there: tuple[Service, Members]) -> None:
    """A key cut down to reading sees a job, and can neither cancel nor pause it."""
    service, home = there
    batch = send(service, jsonl([line("a")]), home.keys["app"])
    made = service.post("/admin/keys", {"name": "looks", "scope": {"operations": ["files:read"]}}).json()
    assert service.get(f"/v1/jobs/{batch['id']}", key=made["key"]).status == 200
    for change in CHANGES:
        refused = service.request("POST", f"/v1/jobs/{batch['id']}/{change}", key=made["key"])
        assert (refused.status, refused.json()["error"]["code"]) == (403, "insufficient_permissions")
