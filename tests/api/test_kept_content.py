"""Keys and retention of kept content, by the API of a running server."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.uploads import FILES, form, upload
from tests.service import Service, events_of, eventually

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
options = { delay_s = 0.2 }

[[deployment]]
name = "brush"
engine = "echo"
model = "echo"
task = "images"
"""
ORGANIZATION = "/v1/organization"
WORDS = "word " * 400


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with deployments that write and paint."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def admin(service: Service, method: str, path: str, body: Any = None) -> Any:
    """An administrative call that works."""
    reply = service.request(method, path, body, key=service.key)
    assert reply.status in {200, 201}, (method, path, reply)
    return reply.json()


def make_project(service: Service, name: str) -> tuple[str, str]:
    """A new project's id, and a key of a service account in it."""
    project_id = admin(service, "POST", f"{ORGANIZATION}/projects", {"name": name})["id"]
    made = admin(service, "POST", f"{ORGANIZATION}/projects/{project_id}/service_accounts", {"name": "bot"})
    return project_id, made["api_key"]["value"]


def records(home: Path) -> list[dict[str, Any]]:
    """The bodies of all administrative records of a journal."""
    paths = sorted((home / "journal" / "main").glob("*.jsonl"))
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return [record["body"] for record in map(json.loads, lines) if record["kind"] == "admin"]


def ask(service: Service, key: str, *, headers: dict[str, str] | None = None, **more: Any) -> Any:
    """A chat completion."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "hello"}], **more}
    return service.request("POST", "/v1/chat/completions", body, key=key, headers=headers)


def paint(service: Service, key: str, **more: Any) -> Any:
    """A picture."""
    body = {"model": "brush", "prompt": "a cat", "size": "256x256", **more}
    return service.request("POST", "/v1/images/generations", body, key=key)


def test_revoking_a_projects_key_stops_everything_of_it_at_once(service: Service) -> None:
    """Running streams end, new requests are refused, its own deployments stop, its pictures are not given out."""
    project_id, key = make_project(service, "Stopped")
    _, neighbour = make_project(service, "Neighbour")
    own = {"name": "own", "engine": "echo", "model": "echo", "project": project_id}
    admin(service, "POST", "/admin/deployments", own)
    eventually(lambda: ask(service, key, model="own").status == 200, "the project's own deployment answers")
    address = paint(service, key, response_format="url").json()["data"][0]["url"].removeprefix(service.url)
    kept = ask(service, key, headers={"idempotency-key": "one"})
    assert (kept.status, service.get(address).status) == (200, 200)
    body = {"model": "slow", "messages": [{"role": "user", "content": WORDS}], "stream": True}
    running = service.open("POST", "/v1/chat/completions", body, key=key)
    running.readline()
    begun = time.monotonic()
    answer = admin(service, "POST", f"/admin/projects/{project_id}/content-key/revoke")
    assert (answer["state"], answer["changed"]) == ("revoked", True)
    events = events_of(running)
    assert time.monotonic() - begun < 5
    assert events[-1]["error"]["code"] == "project_key_revoked"
    for reply in (
        ask(service, key),
        ask(service, key, model="own"),
        ask(service, key, headers={"idempotency-key": "one"}),
        paint(service, key),
    ):
        assert (reply.status, reply.json()["error"]["code"]) == (403, "project_key_revoked")
    assert service.get(address).status == 404
    assert ask(service, neighbour).status == 200
    assert admin(service, "GET", "/admin/deployments/own")["state"] == "suspended"
    assert admin(service, "GET", "/admin/deployments/echo")["state"] == "ready"
    assert admin(service, "POST", f"/admin/projects/{project_id}/content-key/revoke")["changed"] is False
    answer = admin(service, "POST", f"/admin/projects/{project_id}/content-key/restore")
    assert (answer["state"], answer["changed"]) == ("active", True)
    eventually(lambda: ask(service, key, model="own").status == 200, "the project's own deployment answers again")
    assert service.get(address).status == 200
    again = ask(service, key, headers={"idempotency-key": "one"})
    assert (again.body, again.headers["idempotent-replayed"]) == (kept.body, "true")
    admin(service, "DELETE", "/admin/deployments/own")


def test_a_revoked_key_stays_revoked_over_a_restart(tmp_path: Path) -> None:
    """After a restart the project is refused, its own deployment does not start, and it can still be restored."""
    with Service(tmp_path / "home", CONFIG) as service:
        project_id, key = make_project(service, "Stopped")
        admin(
            service,
            "POST",
            "/admin/deployments",
            {"name": "own", "engine": "echo", "model": "echo", "project": project_id},
        )
        admin(service, "POST", f"{ORGANIZATION}/projects/{project_id}/content-key/revoke")
    with Service(tmp_path / "home", CONFIG) as service:
        assert ask(service, key).status == 403
        assert admin(service, "GET", "/admin/deployments/own")["state"] == "suspended"
        assert admin(service, "PATCH", "/admin/deployments/own", {"replicas": 2})["state"] == "suspended"
        admin(service, "POST", f"{ORGANIZATION}/projects/{project_id}/content-key/restore")
        eventually(lambda: ask(service, key, model="own").status == 200, "the project's own deployment answers")


def test_who_may_not_erase_may_not_revoke(service: Service) -> None:
    """A project's service account revokes nothing, sets nothing and reads no keys; an unknown project is a 404."""
    project_id, key = make_project(service, "Members")
    paths = [
        ("POST", f"{ORGANIZATION}/projects/{project_id}/content-key/revoke"),
        ("PUT", f"{ORGANIZATION}/projects/{project_id}/retention"),
        ("POST", f"{ORGANIZATION}/projects/{project_id}/erase"),
        ("GET", f"{ORGANIZATION}/content-keys"),
        ("GET", "/admin/master-key"),
    ]
    assert {service.request(method, path, {}, key=key).status for method, path in paths} == {403}
    for change in ("content-key/revoke", "content-key/restore", "erase"):
        path = f"{ORGANIZATION}/projects/proj_nothing/{change}"
        assert service.request("POST", path, key=service.key).status == 404


def test_each_change_leaves_one_record_with_digests(service: Service) -> None:
    """Revoking, restoring and setting retention are recorded once each: what, on which project, before and after."""
    project_id, _ = make_project(service, "Recorded")
    path = f"{ORGANIZATION}/projects/{project_id}"
    calls: list[tuple[str, str, Any, str]] = [
        ("POST", f"{path}/content-key/revoke", None, "content_key.revoked"),
        ("POST", f"/admin/projects/{project_id}/content-key/restore", None, "content_key.restored"),
        ("PUT", f"{path}/retention", {"keep_s": {"answers": 60}}, "retention.updated"),
        ("POST", f"{path}/data_retention", {"retention_type": "none"}, "retention.updated"),
    ]
    for method, where, body, event in calls:
        known = len(records(service.home.root))
        admin(service, method, where, body)
        (record,) = records(service.home.root)[known:]
        assert (record["event"], record["path"], record["status"]) == (event, where, 200)
        assert (record["resource_id"], record["resource_project_id"]) == (project_id, project_id)
        assert record["before_sha256"] != record["after_sha256"]


def test_keys_are_listed_without_themselves(service: Service) -> None:
    """The list names whose content each key encrypts and what wraps it."""
    project_id, key = make_project(service, "Listed")
    ask(service, key, headers={"idempotency-key": "two"})
    mine = [
        row for row in admin(service, "GET", f"{ORGANIZATION}/content-keys")["data"] if row["project_id"] == project_id
    ]
    (row,) = mine
    master = admin(service, "GET", "/admin/master-key")
    assert row["owner_id"].startswith("svc_")
    assert (row["state"], row["master_key"]) == ("active", master["name"])
    assert not {"wrapped", "key"} & set(row)


def test_a_projects_times_hold_for_what_it_keeps(service: Service) -> None:
    """What is set is told with what holds; an unknown kind, a time too short and a wrong type are refused by name."""
    project_id, key = make_project(service, "Times")
    path = f"{ORGANIZATION}/projects/{project_id}/retention"
    answer = admin(service, "PUT", path, {"keep_s": {"pictures": 600}})
    assert answer["effective"] == {
        "zero": False,
        "store": False,
        "keep_s": {
            "answers": 86400,
            "pictures": 600,
            "flagged": 2592000,
            "files": 3650 * 86400,
            "responses": 30 * 86400,
            "conversations": 3650 * 86400,
            "completions": 30 * 86400,
            "batches": 30 * 86400,
            "evaluations": 365 * 86400,
            "fine_tuning": 3650 * 86400,
        },
    }
    address = paint(service, key, response_format="url").json()["data"][0]["url"]
    end = int(address.split("exp=")[1].split("&")[0])
    assert end - time.time() <= 601
    assert admin(service, "GET", path)["keep_s"] == {"pictures": 600}
    assert admin(service, "PUT", path, {"store": True})["effective"]["store"] is True
    for body, param in (
        ({"keep_s": {"letters": 600}}, "keep_s"),
        ({"keep_s": {"answers": 1}}, "keep_s.answers"),
        ({"store": "maybe"}, "store"),
        ({"type": "some"}, "type"),
        ({"until": 1}, "until"),
    ):
        refused = service.request("PUT", path, body, key=service.key)
        assert (refused.status, refused.json()["error"]["param"]) == (400, param)


def test_zero_retention_refuses_by_name_what_would_be_kept(service: Service) -> None:
    """`store`, `Idempotency-Key`, files, conversations and pictures by address are refused; what was kept is gone."""
    project_id, key = make_project(service, "Nothing")
    address = paint(service, key, response_format="url").json()["data"][0]["url"].removeprefix(service.url)
    ask(service, key, headers={"idempotency-key": "three"})
    file_id = upload(service, form(b"text"), key).json()["id"]
    said = {"items": [{"role": "user", "content": "words"}]}
    talk = f"/v1/conversations/{service.post('/v1/conversations', said, key=key).json()['id']}"
    stored = f"/v1/chat/completions/{ask(service, key, store=True).json()['id']}"
    assert service.get(stored, key=key).status == 200
    path = f"{ORGANIZATION}/projects/{project_id}"
    admin(service, "PUT", f"{path}/retention", {"store": True})
    assert admin(service, "POST", f"{path}/data_retention", {"retention_type": "zero_data_retention"})["type"] == (
        "zero_data_retention"
    )
    assert admin(service, "GET", f"{path}/retention")["effective"]["zero"] is True
    assert service.get(address).status == 404
    assert service.get(f"{FILES}/{file_id}", key=key).status == 404
    assert service.get(talk, key=key).status == 404
    assert service.get(f"{talk}/items", key=key).status == 404
    assert service.get("/v1/conversations", key=key).json()["data"] == []
    assert service.get(stored, key=key).status == 404
    for reply, param in (
        (ask(service, key, store=True), "store"),
        (ask(service, key, headers={"idempotency-key": "three"}), "Idempotency-Key"),
        (paint(service, key, response_format="url"), "response_format"),
        (paint(service, key), "response_format"),
        (upload(service, form(b"text"), key), "file"),
        (service.post("/v1/conversations", {}, key=key), "items"),
        (service.post(f"{talk}/items", said, key=key), "items"),
    ):
        error = reply.json()["error"]
        assert (reply.status, error["code"], error["param"]) == (400, "zero_data_retention", param)
    assert [ask(service, key, **more).status for more in ({}, {"store": None}, {"store": False})] == [200] * 3
    assert service.get("/v1/chat/completions", key=key).json()["data"] == []
    assert paint(service, key, response_format="b64_json").status == 200
    streamed = paint(service, key, stream=True)
    assert streamed.status == 200
    assert b"b64_json" in streamed.body
    admin(service, "POST", f"{path}/data_retention", {"retention_type": "organization_default"})
    assert ask(service, key, headers={"idempotency-key": "three"}).headers.get("idempotent-replayed") is None


def test_the_master_key_is_exchanged_while_it_serves(service: Service) -> None:
    """After a rotation kept answers are still there, the key's name is another, and one record tells of each step."""
    _, key = make_project(service, "Rotated")
    kept = ask(service, key, headers={"idempotency-key": "four"})
    before = admin(service, "GET", "/admin/master-key")
    secret = service.home.master_key.read_bytes()
    answer = admin(service, "POST", "/admin/master-key/rotate", {})
    assert answer["after"] is None
    assert answer["name"] != before["name"]
    assert list(answer["content_keys"]) == [answer["name"]]
    assert service.home.master_key.read_bytes() != secret
    again = ask(service, key, headers={"idempotency-key": "four"})
    assert (again.body, again.headers["idempotent-replayed"]) == (kept.body, "true")
    told = [body["path"] for body in records(service.home.root) if body.get("event") == "master_key.rotated"]
    assert told == ["/admin/master-key/rotate"]
