"""`/admin/compliance` and `/admin/settings`: facts as they are now, and no secret."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.test_kept_content import admin, make_project
from tests.service import Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false
max_body_bytes = 4096

[catalog]
hf_endpoint = "https://someone:p@secret-word@hub.example.org/?token=secret-word"
hf_token = { env = "NOWHERE" }

[[content_filter]]
name = "nothing"
hate = { prompt = { action = "off" }, completion = { action = "off" } }
sexual = { prompt = { action = "off" }, completion = { action = "off" } }
violence = { prompt = { action = "off" }, completion = { action = "off" } }
self_harm = { prompt = { action = "off" }, completion = { action = "off" } }
jailbreak = "off"

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
zone = "eu"

[[deployment]]
name = "far"
engine = "remote"
model = "gpt"
base_url = "https://api.example.org/v1"
content_filter = "nothing"
start = "on_demand"

[[deployment]]
name = "paint"
engine = "painter"
model = "starter-painter"
task = "images"
start = "on_demand"
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def report(service: Service) -> dict[str, Any]:
    """The report."""
    found: dict[str, Any] = admin(service, "GET", "/admin/compliance")
    return found


def test_the_report_follows_what_is_so(service: Service) -> None:
    """Each change of the service, and nothing else, is in the next report."""
    before = report(service)
    project, key = make_project(service, "Kept short")
    admin(service, "PUT", f"/v1/organization/projects/{project}/retention", {"keep_s": {"conversations": 3600}})
    admin(service, "POST", "/admin/keys", {"name": "short", "role": "user", "expires_in_seconds": 600})
    service.post("/v1/conversations", {"items": [{"role": "user", "content": "words"}]}, key=key)
    after = report(service)
    kept = {row["project_id"]: row["effective"]["keep_s"]["conversations"] for row in after["retention"]["projects"]}
    assert kept[project] == 3600
    assert kept["proj-default"] > 3600
    assert after["access"]["keys"] == before["access"]["keys"] + 2
    assert after["access"]["keys_without_expiry"] == before["access"]["keys_without_expiry"] + 1
    assert (after["access"]["owners"], after["access"]["users"]) == (1, 0)
    assert after["access"]["sign_in"]["local_accounts"] is True
    active = [each["encryption"]["content_keys"].get("active", 0) for each in (before, after)]
    assert active[1] == active[0] + 1
    assert after["audit"]["records"] > before["audit"]["records"]
    assert after["audit"]["verification"] is None
    assert after["erasures"] == 0
    assert "words" not in str(after)


def test_the_report_names_what_lacks(service: Service) -> None:
    """A deployment that nothing filters, one that runs elsewhere, and weights without a recorded origin."""
    found = report(service)
    assert found["content_filter"]["unfiltered_deployments"] == ["far"]
    policies = {policy["name"]: policy for policy in found["content_filter"]["policies"]}
    assert (policies["nothing"]["off"], policies["default"]["off"]) == (True, False)
    assert set(policies["default"]["deployments"]) == {"echo", "paint"}
    places = {each["deployment"]: (each["zone"], each["host"]) for each in found["residency"]}
    assert places == {"echo": ("eu", None), "far": (None, "api.example.org"), "paint": (None, None)}
    models = {model["name"]: model for model in found["models"]}
    assert models["starter-painter"]["origin_recorded"] is True
    assert (models["gpt"]["origin_recorded"], models["gpt"]["deployments"]) == (False, ["far"])


def test_settings_have_no_secret(service: Service) -> None:
    """What the file has and what holds is told; of a secret where it is kept, of a URL not its credentials."""
    reply = service.get("/admin/settings", key=service.key)
    assert "secret-word" not in reply.body.decode()
    found = reply.json()
    assert found["settings"]["server"]["max_body_bytes"] == 4096
    assert found["settings"]["server"]["drain_s"] == 30
    assert found["settings"]["catalog"]["hf_endpoint"] == "https://***@hub.example.org/?***"
    assert found["settings"]["catalog"]["hf_token"] == {"env": "NOWHERE", "file": None}
    assert {"server.max_body_bytes", "catalog.hf_token"} <= set(found["given"])
    assert "server.drain_s" not in found["given"]
    assert (found["tables"]["deployment"], found["tables"]["content_filter"]) == (3, 1)


def test_who_reads_them(service: Service) -> None:
    """An auditor reads the report and no settings; whoever may do neither is refused."""
    for role, told in (("auditor", (200, 403)), ("reader", (403, 403)), ("owner", (200, 200))):
        key = admin(service, "POST", "/admin/keys", {"name": role, "role": role, "everywhere": True})["key"]
        replies = [service.get(path, key=key).status for path in ("/admin/compliance", "/admin/settings")]
        assert tuple(replies) == told, role
