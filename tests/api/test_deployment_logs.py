"""`/admin/deployments/{name}/logs`: what an engine wrote, who may read it, and what it is after a failure."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.test_kept_content import admin
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "fragile"
engine = "echo"
model = "echo"
options = { crash_on = "boom" }
"""
LOGS = "/admin/deployments/fragile/logs"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server whose engine can be brought down."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def entries(service: Service, query: str = "") -> list[dict[str, Any]]:
    """What is kept."""
    found: list[dict[str, Any]] = admin(service, "GET", LOGS + query)["data"]
    return found


def test_a_failure_can_be_read(service: Service) -> None:
    """After a crash the log tells how it ended, that it starts again and that it is ready again, in this order."""
    body = {"model": "fragile", "messages": [{"role": "user", "content": "boom"}]}
    assert service.post("/v1/chat/completions", body).status in {502, 503}

    def states() -> list[str]:
        return [each["text"].partition(":")[0] for each in entries(service) if each["kind"] == "state"]

    eventually(lambda: states()[-1] == "ready" and "backing_off" in states(), "ready again")
    assert states() == ["starting", "ready", "backing_off", "starting", "ready"]
    failed = next(each for each in entries(service) if each["text"].startswith("backing_off"))
    assert "exited with status" in failed["text"] or "was ended by" in failed["text"]
    assert failed["replica"] == "fragile-1"
    assert [each["at"] for each in entries(service)] == sorted(each["at"] for each in entries(service))
    assert entries(service, "?tail=1") == entries(service)[-1:]


def test_who_may_not_change_a_deployment_does_not_read_its_log(service: Service) -> None:
    """Reading deployments is not enough; one that there is not is a 404, and a wrong number a 400."""
    reader = admin(service, "POST", "/admin/keys", {"name": "reader", "role": "reader", "everywhere": True})["key"]
    assert service.get("/admin/deployments/fragile", key=reader).status == 200
    assert service.get(LOGS, key=reader).status == 403
    assert service.get("/admin/deployments/nothing/logs", key=service.key).status == 404
    for tail in ("0", "1001", "x"):
        assert service.get(f"{LOGS}?tail={tail}", key=service.key).status == 400
