"""Rate limits of a project, as OpenAI's administration API has them, and that they are held."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from freehold.types.limits import MOST
from tests.conformance.spec import OpenAISpec
from tests.service import Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[deployment]]
name = "other"
engine = "echo"
model = "echo"
fallbacks = ["echo"]
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with two deployments."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def team(service: Service, name: str) -> tuple[str, str]:
    """A new project, and a key for it."""
    project = str(service.post("/v1/organization/projects", {"name": name}).json()["id"])
    account = service.post(f"/v1/organization/projects/{project}/service_accounts", {"name": "bot"}).json()
    return project, str(account["api_key"]["value"])


def limit(service: Service, project: str, deployment: str, **values: int) -> dict[str, Any]:
    """Set a limit; the answer, which must be good."""
    reply = service.post(f"/v1/organization/projects/{project}/rate_limits/rl-{deployment}", values)
    assert reply.status == 200, reply.body
    answer: dict[str, Any] = reply.json()
    return answer


def ask(service: Service, key: str, model: str = "echo") -> int:
    """The status of a chat completion."""
    body = {"model": model, "messages": [{"role": "user", "content": "one"}], "max_completion_tokens": 5}
    return service.post("/v1/chat/completions", body, key=key).status


def test_a_limit_holds_for_one_project_on_one_deployment(service: Service) -> None:
    """Of many requests at once exactly as many pass as the limit allows; other projects and deployments go on."""
    project, key = team(service, "A")
    _, other_key = team(service, "B")
    limit(service, project, "echo", max_requests_per_1_minute=3)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: ask(service, key), range(8)))
    assert sorted(statuses) == [200] * 3 + [429] * 5
    assert ask(service, key, "other") == 200
    assert ask(service, other_key) == 200
    body = {"model": "echo", "messages": [{"role": "user", "content": "one"}]}
    refused = service.post("/v1/chat/completions", body, key=key)
    assert f"deployment `echo` in project `{project}`" in refused.json()["error"]["message"]
    assert refused.headers["x-ratelimit-limit-requests"] == "3"
    limit(service, project, "echo", max_requests_per_1_minute=MOST)
    assert ask(service, key) == 200


def test_a_reached_limit_does_not_spill_over(service: Service) -> None:
    """A project that has used up its part of a deployment is refused, and not sent to the deployment's fallback."""
    project, key = team(service, "A")
    limit(service, project, "other", max_requests_per_1_minute=1)
    assert [ask(service, key, "other") for _ in range(2)] == [200, 429]


def test_tokens_are_limited_too(service: Service) -> None:
    """A request that asks for more tokens than the limit has is refused."""
    project, key = team(service, "A")
    limit(service, project, "echo", max_tokens_per_1_minute=3)
    assert ask(service, key) == 429


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """What was used before a restart counts after it: the journal is read."""
    with Service(tmp_path, CONFIG) as first:
        project, key = team(first, "A")
        limit(first, project, "echo", max_requests_per_1_minute=2)
        assert [ask(first, key) for _ in range(2)] == [200, 200]
    with Service(tmp_path, CONFIG) as second:
        use = second.get("/admin/limits", key=second.key).json()["data"]
        assert [each["id"] for each in use] == [f"{project}/echo"]
        assert 1 <= use[0]["used"]["requests_per_minute"] <= 2


def test_the_official_client_lists_and_sets_them(service: Service) -> None:
    """The client's methods work, and their answers are as the specification says."""
    project, _ = team(service, "A")
    spec = OpenAISpec.load()
    path = f"/v1/organization/projects/{project}/rate_limits"
    with OpenAI(base_url=f"{service.url}/v1", api_key="none", admin_api_key=service.key, max_retries=0) as client:
        limits = client.admin.organization.projects.rate_limits
        changed = limits.update_rate_limit("rl-echo", project_id=project, max_tokens_per_1_minute=9)
        assert (changed.max_tokens_per_1_minute, changed.max_requests_per_1_minute) == (9, MOST)
        assert [each.id for each in limits.list_rate_limits(project, limit=1)] == ["rl-echo", "rl-other"]
        assert [each.model for each in limits.list_rate_limits(project, before="rl-other")] == ["echo"]
    if spec is not None:
        under = "/organization/projects/{project_id}/rate_limits"
        listed = service.get(path, key=service.key).json()
        assert spec.response_validator("GET", under, 200, closed=True).problems(listed) == []
        set_again = limit(service, project, "echo", max_requests_per_1_minute=4)
        validator = spec.response_validator("POST", under + "/{rate_limit_id}", 200, closed=True)
        assert validator.problems(set_again) == []


def test_what_holds_besides_is_told(service: Service) -> None:
    """Where nothing is set on the pair, the least limit of organization, project and deployment is told."""
    project, _ = team(service, "A")
    for scope, name, amount in (("deployment", "echo", 50), ("project", project, 40)):
        body = {"scope": scope, "id": name, "requests_per_minute": amount}
        assert service.request("PUT", "/admin/limits", body, key=service.key).status == 200
    data = service.get(f"/v1/organization/projects/{project}/rate_limits", key=service.key).json()["data"]
    assert [(each["model"], each["max_requests_per_1_minute"]) for each in data] == [("echo", 40), ("other", 40)]
    assert limit(service, project, "echo", max_requests_per_1_minute=60)["max_requests_per_1_minute"] == 60


def test_what_would_not_be_held_is_refused(service: Service) -> None:
    """Limits that Freehold does not enforce are named, and unknown deployments, fields and amounts refused."""
    project, key = team(service, "A")
    path = f"/v1/organization/projects/{project}/rate_limits/"
    for name in ("max_images_per_1_minute", "max_requests_per_1_day", "batch_1_day_max_input_tokens"):
        error = service.post(path + "rl-echo", {name: 1}).json()["error"]
        assert (error["code"], error["param"]) == ("unsupported_parameter", name)
    assert service.post(path + "rl-nothing", {"max_requests_per_1_minute": 1}).status == 404
    assert service.post(path + "rl-echo", {"max_requests_per_1_minute": -1}).status == 400
    assert service.post(path + "rl-echo", {"max_requests_per_1_minute": 2**53}).status == 400
    assert service.post(path + "rl-echo", {"max_requests_per_1_minute": 1}, key=key).status == 403
    logs = f"/v1/organization/audit_logs?event_types[]=rate_limit.updated&project_ids[]={project}"
    assert service.get(logs, key=service.key).json()["data"] == [], "nothing was changed"


def test_a_change_is_in_the_audit_log(service: Service) -> None:
    """A changed limit is told with its project and the amounts that were asked for."""
    project, _ = team(service, "A")
    limit(service, project, "echo", max_requests_per_1_minute=7)
    logs = f"/v1/organization/audit_logs?event_types[]=rate_limit.updated&project_ids[]={project}"
    (log,) = service.get(logs, key=service.key).json()["data"]
    assert log["project"] == {"id": project, "name": "A"}
    assert log["rate_limit.updated"] == {"id": "rl-echo", "changes_requested": {"max_requests_per_1_minute": 7}}
