"""The audit log, as OpenAI's administration API tells it and as `/admin/audit` does."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from openai import OpenAI

from tests.conformance.spec import OpenAISpec
from tests.service import Service

pytestmark = pytest.mark.slow

Logs = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with the echo engine."""
    with Service(tmp_path_factory.mktemp("home")) as service:
        yield service


@pytest.fixture(scope="module")
def spec() -> OpenAISpec | None:
    """OpenAI's specification, where it lies beside the repository."""
    return OpenAISpec.load()


@pytest.fixture
def logs(service: Service, spec: OpenAISpec | None) -> Logs:
    """Reads the log, each answer judged by the specification: `logs(("event_types[]", "project.created"), …)`."""

    def read(*parameters: tuple[str, str], key: str | None = None) -> list[dict[str, Any]]:
        reply = service.get(f"/v1/organization/audit_logs?{urlencode(parameters)}", key=key or service.key)
        assert reply.status == 200, reply.body
        answer = reply.json()
        if spec is not None:
            validator = spec.response_validator("GET", "/organization/audit_logs", 200, closed=True)
            assert validator.problems(answer) == []
        data: list[dict[str, Any]] = answer["data"]
        return data

    return read


def project(service: Service, name: str) -> str:
    """A new project's id."""
    return str(service.post("/v1/organization/projects", {"name": name}).json()["id"])


def test_who_did_what_is_told_by_openais_names(service: Service, logs: Logs) -> None:
    """A change is told with its object, its project, what it allows, and who made it by which key."""
    made = project(service, "Search")
    path = f"/v1/organization/projects/{made}/service_accounts"
    account = service.post(path, {"name": "bot", "create_service_account_only": True}).json()["id"]
    service.post(f"{path}/{account}", {"role": "owner"})
    key = service.post(f"{path}/{account}/api_keys", {"scopes": ["model.request"]}).json()["id"]
    service.request("DELETE", f"{path}/{account}", key=service.key)
    found = logs(("project_ids[]", made))
    assert [log["type"] for log in found] == [
        "service_account.deleted",
        "api_key.created",
        "service_account.updated",
        "service_account.created",
        "project.created",
    ]
    deleted, created_key, updated, created, first = found
    assert first["project"] == {"id": made, "name": "Search"}
    assert first["project.created"] == {"id": made}
    assert created["service_account.created"] == {"id": account, "data": {"role": "member"}}
    assert updated["service_account.updated"] == {"id": account, "changes_requested": {"role": "owner"}}
    assert created_key["api_key.created"] == {"id": key, "data": {"scopes": ["deployments:infer"]}}
    assert deleted["service_account.deleted"] == {"id": account}
    actor = first["actor"]["api_key"]
    assert (first["actor"]["type"], actor["type"]) == ("api_key", "service_account")
    assert actor["id"].startswith("key_")
    assert logs(("actor_ids[]", actor["id"]), ("resource_ids[]", account))[-1]["id"] == created["id"]
    assert logs(("actor_ids[]", actor["service_account"]["id"]), ("resource_ids[]", key)) == [created_key]
    assert logs(("actor_ids[]", "user-nobody")) == []


def test_pages_and_times(service: Service, logs: Logs) -> None:
    """A page goes on after an object, and back before one; a range of time leaves others out."""
    for number in range(5):
        project(service, f"Page {number}")
    found = logs(("event_types[]", "project.created"))
    kind = ("event_types[]", "project.created")
    assert logs(kind, ("limit", "2")) == found[:2]
    assert logs(kind, ("limit", "2"), ("after", found[1]["id"])) == found[2:4]
    assert logs(kind, ("limit", "2"), ("before", found[4]["id"])) == found[2:4]
    at = found[0]["effective_at"]
    assert logs(kind, ("effective_at[gt]", str(at))) == []
    assert logs(kind, ("effective_at[gte]", str(at)))[0] == found[0]
    assert logs(kind, ("effective_at[lt]", str(found[-1]["effective_at"]))) == []
    assert logs(kind, ("effective_at[lte]", str(at))) == found


def test_what_cannot_be_asked_is_told(service: Service, logs: Logs) -> None:
    """An unknown type, cursor or limit is a 400 that names it; types that never happen here give nothing."""
    for query, named in (
        ("event_types[]=deployment.created", "deployment.created"),
        ("after=audit_log-main-999999", "after"),
        ("before=nothing", "before"),
        ("after=audit_log-%00-1", "after"),
        ("limit=0", "limit"),
        ("tenant_only=true&event_types[]=project.created", "tenant_only"),
    ):
        reply = service.get(f"/v1/organization/audit_logs?{query}", key=service.key)
        assert (reply.status, named in reply.json()["error"]["message"]) == (400, True), query
    assert logs(("event_types[]", "scim.enabled")) == []
    assert logs(("resource_ids[]", "a\0b"), ("actor_ids[]", "\0"), ("project_ids[]", "\0")) == []
    assert logs(("tenant_only", "true")) == []


def test_the_official_client_reads_it(service: Service) -> None:
    """The client lists the log, page by page, with its own names of filters."""
    made = [project(service, f"Client {number}") for number in range(3)]
    client = OpenAI(base_url=f"{service.url}/v1", api_key="none", admin_api_key=service.key, max_retries=0)
    with client:
        listed = client.admin.organization.audit_logs.list(
            event_types=["project.created"], resource_ids=made, effective_at={"gt": 1}, limit=1
        )
        assert [log.project_created.id for log in listed if log.project_created] == made[::-1]


def test_it_is_for_those_who_may_read_it(service: Service) -> None:
    """An auditor of the whole organization reads the log; a reader does not, nor an auditor of one project."""

    def key(role: str, **more: bool) -> str:
        return str(service.post("/admin/keys", {"name": role, "role": role, **more}).json()["key"])

    for path in ("/v1/organization/audit_logs", "/admin/audit"):
        assert service.get(path, key=key("auditor", everywhere=True)).status == 200
        assert service.get(path, key=key("auditor")).status == 403
        assert service.get(path, key=key("reader", everywhere=True)).status == 403


def test_the_whole_record_is_read_at_admin_audit(service: Service) -> None:
    """Every administrative record is told with its digests, also what OpenAI's API has not, or what was refused."""
    service.request("PUT", "/admin/limits", {"scope": "key", "id": "k", "requests_per_minute": 5}, key=service.key)
    service.request("DELETE", "/admin/deployments/nothing", key=service.key)
    reply = service.get("/admin/audit?event=rate_limit.*", key=service.key).json()
    (record,) = reply["data"]
    assert (record["event"], record["resource_id"], record["status"]) == ("rate_limit.updated", "key:k", 200)
    assert record["details"]["requests_per_minute"] == 5
    assert len(record["after_sha256"]) == 64
    assert "before_sha256" not in record
    newest = service.get("/admin/audit?everything=true&limit=1", key=service.key).json()
    assert newest["has_more"] is True
    assert (newest["data"][0]["event"], newest["data"][0]["status"]) == (None, 404)
    after = service.get(f"/admin/audit?everything=true&limit=1&after={newest['last_id']}", key=service.key).json()
    assert after["data"][0]["id"] == record["id"]
    assert service.get("/admin/audit?since=2000&until=1000", key=service.key).json()["data"] == []


def test_another_organizations_records_are_not_there(service: Service, logs: Logs) -> None:
    """An organization reads its own records only: not by a filter, and not by another's record as a cursor."""
    made = service.post("/admin/organizations", {"name": "Example Ltd"}).json()
    key = made["api_key"]["value"]
    mine = project(service, "Ours")
    own = logs(("resource_ids[]", mine))[0]["id"]
    assert logs(key=key) == []
    assert logs(("resource_ids[]", mine), key=key) == []
    reply = service.get(f"/v1/organization/audit_logs?after={own}", key=key)
    absent = service.get("/v1/organization/audit_logs?after=audit_log-main-999999", key=key)
    assert (reply.status, reply.body) == (absent.status, absent.body)
    theirs = service.post("/v1/organization/projects", {"name": "Theirs"}, key=key).json()["id"]
    assert [log["project.created"]["id"] for log in logs(key=key)] == [theirs]
    assert logs(("resource_ids[]", theirs)) == []
    assert service.get("/admin/audit", key=key).status == 404


def test_roles_are_told_as_openai_tells_them(service: Service, spec: OpenAISpec | None) -> None:
    """The list of roles is as the specification says, and comes in pages."""
    first = service.get("/v1/organization/roles?limit=2", key=service.key).json()
    assert ([role["id"] for role in first["data"]], first["next"]) == (["owner", "deployer"], "deployer")
    rest = service.get("/v1/organization/roles?after=deployer", key=service.key).json()
    assert (rest["data"][0]["id"], rest["has_more"], rest["next"]) == ("user", False, None)
    assert service.get("/v1/organization/roles?after=king", key=service.key).status == 400
    if spec is not None:
        validator = spec.response_validator("GET", "/organization/roles", 200, closed=True)
        assert validator.problems(first) == []


def test_an_audit_log_survives_a_restart(tmp_path: Path) -> None:
    """What was recorded before a restart is read after it."""
    with Service(tmp_path) as first:
        made = project(first, "Before")
    with Service(tmp_path) as second:
        answer = second.get("/v1/organization/audit_logs?resource_ids[]=" + made, key=second.key).json()
    assert [log["type"] for log in answer["data"]] == ["project.created"]
