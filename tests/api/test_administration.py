"""Administration as it is recorded, and what a change does to what runs."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service import Service, events_of

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[role]]
name = "billing"
actions = ["usage:read"]

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = { delay_s = 0.2 }
parallel = 64
"""
WORDS = "word " * 400
ORGANIZATION = "/v1/organization"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with a slow deployment."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def admin(service: Service, method: str, path: str, body: Any = None) -> Any:
    """An administrative call that works."""
    reply = service.request(method, path, body, key=service.key)
    assert reply.status in {200, 201}, (method, path, reply)
    return reply.json()


def records(home: Path) -> list[dict[str, Any]]:
    """The bodies of all administrative records of a journal."""
    paths = sorted((home / "journal" / "main").glob("*.jsonl"))
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return [record["body"] for record in map(json.loads, lines) if record["kind"] == "admin"]


def make_project(service: Service, name: str) -> str:
    """A new project's id."""
    project_id: str = admin(service, "POST", f"{ORGANIZATION}/projects", {"name": name})["id"]
    return project_id


def make_account(service: Service, project_id: str) -> tuple[str, str, str]:
    """A new service account of a project: its id, its key's id, and the key."""
    made = admin(service, "POST", f"{ORGANIZATION}/projects/{project_id}/service_accounts", {"name": "bot"})
    return made["id"], made["api_key"]["id"], made["api_key"]["value"]


def test_each_change_leaves_one_record_with_digests(service: Service) -> None:
    """Whatever changes something has exactly one record: who, what, on which object, and digests before and after."""
    project_id = make_project(service, "Recorded")
    people = f"{ORGANIZATION}/projects/{project_id}"
    account = admin(service, "POST", f"{people}/service_accounts", {"name": "bot"})
    key_id = account["api_key"]["id"]
    invite = admin(service, "POST", f"{ORGANIZATION}/invites", {"email": "a@example.org", "role": "reader"})
    made = admin(service, "POST", f"{ORGANIZATION}/admin_api_keys", {"name": "script"})
    own = admin(service, "POST", "/admin/keys", {"name": "app"})
    settings = {"name": "extra", "engine": "echo", "model": "echo"}
    limit = {"scope": "project", "id": project_id, "requests_per_minute": 100}
    calls: list[tuple[str, str, Any, str, str, bool, bool]] = [
        ("POST", f"{ORGANIZATION}/projects", {"name": "x"}, "project.created", "project", False, True),
        ("POST", people, {"name": "y"}, "project.updated", "project", True, True),
        (
            "POST",
            f"{people}/service_accounts",
            {"name": "z"},
            "service_account.created",
            "service_account",
            False,
            True,
        ),
        (
            "POST",
            f"{people}/service_accounts/{account['id']}",
            {"role": "owner"},
            "service_account.updated",
            "service_account",
            True,
            True,
        ),
        ("POST", f"{people}/api_keys/{key_id}/rotate", {}, "api_key.updated", "api_key", True, True),
        ("DELETE", f"{people}/api_keys/{key_id}", None, "api_key.deleted", "api_key", True, False),
        (
            "DELETE",
            f"{people}/service_accounts/{account['id']}",
            None,
            "service_account.deleted",
            "service_account",
            True,
            False,
        ),
        ("POST", f"{ORGANIZATION}/invites/{invite['id']}/link", {}, "invite.link_made", "invite", True, True),
        ("DELETE", f"{ORGANIZATION}/invites/{invite['id']}", None, "invite.deleted", "invite", True, False),
        (
            "DELETE",
            f"{ORGANIZATION}/admin_api_keys/{made['id']}",
            None,
            "api_key.deleted",
            "admin_api_key",
            True,
            False,
        ),
        ("POST", f"/admin/keys/{own['id']}/rotate", {}, "api_key.updated", "api_key", True, True),
        ("DELETE", f"/admin/keys/{own['id']}", None, "api_key.deleted", "api_key", True, True),
        ("POST", "/admin/deployments", settings, "deployment.created", "deployment", False, True),
        ("PUT", "/admin/deployments/extra", {**settings, "queue": 5}, "deployment.updated", "deployment", True, True),
        ("PATCH", "/admin/deployments/extra", {"replicas": 0}, "deployment.updated", "deployment", True, True),
        ("DELETE", "/admin/deployments/extra", None, "deployment.deleted", "deployment", True, False),
        ("PUT", "/admin/limits", limit, "rate_limit.updated", "limit", False, True),
        ("DELETE", f"/admin/limits/project/{project_id}", None, "rate_limit.deleted", "limit", True, False),
        ("PUT", "/admin/blocklists/fruit", {"name": "fruit"}, "blocklist.updated", "blocklist", False, True),
        (
            "POST",
            "/admin/blocklists/fruit/items",
            {"items": [{"term": "mango"}]},
            "blocklist.updated",
            "blocklist",
            True,
            True,
        ),
        ("DELETE", "/admin/blocklists/fruit/items?term=mango", None, "blocklist.updated", "blocklist", True, True),
        ("DELETE", "/admin/blocklists/fruit", None, "blocklist.deleted", "blocklist", True, False),
        ("PUT", "/admin/content_filters/lax", {"name": "lax"}, "content_filter.updated", "content_filter", False, True),
        (
            "PUT",
            "/admin/content_filters",
            {"content_filters": [{"name": "lax", "jailbreak": "off"}]},
            "content_filter.updated",
            "content_filter",
            True,
            True,
        ),
        ("DELETE", "/admin/content_filters/lax", None, "content_filter.deleted", "content_filter", True, False),
        ("POST", f"{people}/archive", None, "project.archived", "project", True, True),
    ]
    for method, path, body, event, kind, had_before, has_after in calls:
        known = len(records(service.home.root))
        admin(service, method, path, body)
        (record,) = records(service.home.root)[known:]
        assert (record["method"], record["path"]) == (method, path.partition("?")[0])
        assert (record["event"], record["resource_type"]) == (event, kind)
        assert (record["principal"][:4], record["organization_id"]) == ("svc_", "org-default")
        assert record["resource_id"]
        assert ("before_sha256" in record, "after_sha256" in record) == (had_before, has_after), event
        assert record.get("before_sha256") != record.get("after_sha256") or event == "invite.link_made"
        assert record["authorization"].startswith("allow: ")


def test_a_refused_change_is_recorded_too(service: Service) -> None:
    """What was tried and refused has one record with the status, and no digest."""
    known = len(records(service.home.root))
    assert service.request("POST", f"{ORGANIZATION}/projects/nothing", {"name": "x"}, key=service.key).status == 404
    (record,) = records(service.home.root)[known:]
    assert record["status"] == 404
    assert "after_sha256" not in record


def test_a_call_that_only_reads_leaves_no_record(service: Service) -> None:
    """Reading is not recorded as a change."""
    known = len(records(service.home.root))
    admin(service, "GET", f"{ORGANIZATION}/projects")
    admin(service, "GET", "/admin/keys")
    assert len(records(service.home.root)) == known


def revoke_key(service: Service, project_id: str, _account: str, key_id: str) -> None:
    """Revoke the key."""
    admin(service, "DELETE", f"{ORGANIZATION}/projects/{project_id}/api_keys/{key_id}")


def rotate_key(service: Service, project_id: str, _account: str, key_id: str) -> None:
    """Replace the key without an overlap."""
    path = f"{ORGANIZATION}/projects/{project_id}/api_keys/{key_id}/rotate"
    admin(service, "POST", path, {"overlap_seconds": 0})


def remove_account(service: Service, project_id: str, account: str, _key: str) -> None:
    """Remove the service account whose key it is."""
    admin(service, "DELETE", f"{ORGANIZATION}/projects/{project_id}/service_accounts/{account}")


def archive_project(service: Service, project_id: str, _account: str, _key: str) -> None:
    """Archive the project."""
    admin(service, "POST", f"{ORGANIZATION}/projects/{project_id}/archive")


@pytest.mark.parametrize("revoke", [revoke_key, rotate_key, remove_account, archive_project])
def test_what_is_revoked_ends_what_runs(service: Service, revoke: Callable[[Service, str, str, str], None]) -> None:
    """A running stream ends with an error within five seconds of the revocation, and the key opens nothing."""
    project_id = make_project(service, revoke.__name__)
    account, key_id, key = make_account(service, project_id)
    body = {"model": "slow", "messages": [{"role": "user", "content": WORDS}], "stream": True}
    with service.open("POST", "/v1/chat/completions", body, key=key) as answer:
        answer.readline()
        revoke(service, project_id, account, key_id)
        revoked_at = time.monotonic()
        events = events_of(answer)
        assert time.monotonic() - revoked_at < 5  # the promise, not a speed: the stream would go on for 80 s
    assert events[-1]["error"]["code"] == "invalid_api_key"
    assert service.get("/v1/models", key=key).status == 401


@pytest.mark.parametrize("route", ["service", "project"])
def test_limits_go_on_with_the_successor_of_a_key(service: Service, route: str) -> None:
    """A key that takes another's place is bound by the limits that were set on that one."""
    project_id = make_project(service, f"bound {route}")
    _, key_id, _ = make_account(service, project_id)
    limits = {"requests_per_minute": 1, "budget_per_month": "5"}
    admin(service, "PUT", "/admin/limits", {"scope": "key", "id": key_id, **limits})
    keys = "/admin/keys" if route == "service" else f"{ORGANIZATION}/projects/{project_id}/api_keys"
    made = admin(service, "POST", f"{keys}/{key_id}/rotate", {})
    (told,) = (each for each in admin(service, "GET", "/admin/limits")["data"] if each["id"] == made["id"])
    assert {name: told[name] for name in limits} == limits
    key = made["key" if route == "service" else "value"]
    body = {"model": "echo", "messages": [{"role": "user", "content": "again"}]}
    statuses = [service.request("POST", "/v1/chat/completions", body, key=key).status for _ in range(2)]
    assert statuses == [200, 429]


def test_a_key_ends_in_the_middle_of_a_stream(service: Service) -> None:
    """A key whose end comes while a request runs ends that request."""
    project_id = make_project(service, "ends")
    _, key_id, key = make_account(service, project_id)
    path = f"{ORGANIZATION}/projects/{project_id}/api_keys/{key_id}/rotate"
    admin(service, "POST", path, {"overlap_seconds": 2})
    body = {"model": "slow", "messages": [{"role": "user", "content": WORDS}], "stream": True}
    with service.open("POST", "/v1/chat/completions", body, key=key) as answer:
        events = events_of(answer)
    assert events[-1]["error"]["code"] == "invalid_api_key"
    assert "expired" in events[-1]["error"]["message"]


def test_nobody_rises_above_themselves(service: Service) -> None:
    """A project's owner gives no role in the organization, and gets no key of somebody who may do more."""
    project_id = make_project(service, "rising")
    account, _, _ = make_account(service, project_id)
    people = f"{ORGANIZATION}/projects/{project_id}"
    admin(service, "POST", f"{people}/service_accounts/{account}", {"role": "owner"})
    key = admin(service, "POST", f"{people}/api_keys", {"name": "boss", "owner_id": account})["value"]
    boss = next(row for row in admin(service, "GET", "/admin/keys")["data"] if row["name"] == "admin")
    for method, path, body, status in (
        ("POST", f"{people}/api_keys", {"name": "x", "owner_id": boss["owner_id"]}, 403),
        ("POST", f"{ORGANIZATION}/invites", {"email": "b@example.org", "role": "owner"}, 403),
        ("POST", f"{ORGANIZATION}/admin_api_keys", {"name": "x"}, 403),
        ("POST", f"{ORGANIZATION}/projects", {"name": "x"}, 403),
        ("POST", f"{ORGANIZATION}/projects/proj-default", {"name": "x"}, 404),
        ("GET", "/admin/keys", None, 403),
        ("POST", f"{people}/service_accounts", {"name": "mine"}, 200),
        ("POST", people, {"name": "renamed"}, 200),
    ):
        assert service.request(method, path, body, key=key).status == status, (method, path)


def test_a_deployment_of_a_project_is_its_own(service: Service) -> None:
    """Nobody in another project sees or uses it, and a deployer of the project manages just those of the project."""
    ours, theirs = make_project(service, "ours"), make_project(service, "theirs")
    keys = {
        (project_id, role): service.post("/admin/keys", {"name": role, "role": role, "project_id": project_id}).json()[
            "key"
        ]
        for project_id in (ours, theirs)
        for role in ("deployer", "user")
    }
    settings = {"name": "private", "engine": "echo", "model": "echo", "project": ours}
    deployer = keys[ours, "deployer"]
    assert service.post("/admin/deployments", {**settings, "project": theirs}, key=deployer).status == 403
    assert service.post("/admin/deployments", {**settings, "project": None}, key=deployer).status == 403
    assert service.post("/admin/deployments", settings, key=deployer).status == 201
    ask = {"model": "private", "messages": [{"role": "user", "content": "hello"}]}
    for name in ("private", "missing"):
        reply = service.post("/v1/chat/completions", {**ask, "model": name}, key=keys[theirs, "user"])
        assert reply.status == 404
        assert reply.body.replace(name.encode(), b"NAME") == service.post(
            "/v1/chat/completions", {**ask, "model": "nonesuch"}, key=keys[theirs, "user"]
        ).body.replace(b"nonesuch", b"NAME")
    models = {
        key: {m["id"] for m in service.get("/v1/models", key=value).json()["data"]} for key, value in keys.items()
    }
    assert "private" in models[ours, "user"]
    assert "private" not in models[theirs, "user"]
    assert service.get("/admin/deployments/private", key=keys[theirs, "deployer"]).status == 404
    assert service.request("DELETE", "/admin/deployments/private", key=keys[theirs, "deployer"]).status == 404
    assert service.request("DELETE", "/admin/deployments/echo", key=deployer).status == 404
    assert [d["name"] for d in service.get("/admin/deployments", key=deployer).json()["data"]] == ["private"]
    assert service.request("DELETE", "/admin/deployments/private", key=deployer).status == 200


def test_a_scoped_key_reaches_its_models_only(service: Service) -> None:
    """A key for some deployments lists those, and is refused the others; receipts say why it was let."""
    scope = {"models": ["ec*"], "operations": ["deployments:infer", "models:read", "receipts:read"]}
    key = service.post("/admin/keys", {"name": "scoped", "scope": scope}).json()["key"]
    assert [model["id"] for model in service.get("/v1/models", key=key).json()["data"]] == ["echo"]
    ask = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
    reply = service.post("/v1/chat/completions", ask, key=key)
    assert reply.status == 200
    refused = service.post("/v1/chat/completions", {**ask, "model": "slow"}, key=key)
    assert refused.status == 403
    assert "may only be used for 'ec*'" in refused.json()["error"]["message"]
    receipt = service.get(f"/v1/receipts/{reply.headers['x-request-id']}", key=key).json()["receipt"]
    assert receipt["authorization"] == "allow: 'deployments:infer' is allowed by the roles 'user'"
    denied = service.get(f"/v1/receipts/{refused.headers['x-request-id']}", key=key).json()["receipt"]
    assert denied["authorization"] == "deny: this key may only be used for 'ec*', not for 'slow'"


def test_a_role_of_ones_own_holds(service: Service) -> None:
    """A key with a role of the configuration may do that, and nothing else."""
    key = service.post("/admin/keys", {"name": "bills", "role": "billing"}).json()["key"]
    assert service.get("/v1/organization/costs?start_time=1", key=key).status == 200
    assert service.get("/v1/models", key=key).status == 403
    assert service.get("/admin/deployments", key=key).status == 403
    assert service.post("/admin/keys", {"name": "x", "role": "king"}).status == 400
