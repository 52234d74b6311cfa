"""A server whose master key is an external key service's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.test_kept_content import ORGANIZATION, admin, ask, make_project
from tests.encryption.transit import KEY, TOKEN, TransitServer
from tests.service import Service

pytestmark = pytest.mark.slow


@pytest.fixture
def vault() -> Iterator[TransitServer]:
    with TransitServer() as vault:
        yield vault


def config(vault: TransitServer) -> str:
    """A configuration with the key service; nothing of a key stays in memory."""
    return f"""
[server]
starter = false

[encryption]
cache_s = 0

[encryption.key_service]
url = "{vault.url}"
key = "{KEY}"
token = {{ env = "TELLTALE_TOKEN" }}
timeout_s = 1

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
"""


def test_content_is_kept_under_the_services_key(vault: TransitServer, tmp_path: Path) -> None:
    """Answers are kept and given again; the home has no master key, and no key that was wrapped passes in the clear."""
    with Service(tmp_path / "home", config(vault), environment={"TELLTALE_TOKEN": TOKEN}) as service:
        _, key = make_project(service, "Kept")
        kept = ask(service, key, headers={"idempotency-key": "one"})
        again = ask(service, key, headers={"idempotency-key": "one"})
        assert (again.body, again.headers["idempotent-replayed"]) == (kept.body, "true")
        assert admin(service, "GET", "/admin/master-key")["name"] == f"service:{KEY}"
        assert not service.home.master_key.exists()
        assert {path.rpartition("/")[0] for path, _ in vault.requests} == {"/v1/transit/encrypt", "/v1/transit/decrypt"}


def test_while_the_service_is_down_only_what_needs_it_waits(vault: TransitServer, tmp_path: Path) -> None:
    """What was kept is a 503 with `retry-after`; all else is answered, and a project can still be revoked."""
    with Service(tmp_path / "home", config(vault), environment={"TELLTALE_TOKEN": TOKEN}) as service:
        project_id, key = make_project(service, "Waiting")
        assert ask(service, key, headers={"idempotency-key": "one"}).status == 200
        vault.answer = (503, b"sealed")
        refused = ask(service, key, headers={"idempotency-key": "one"})
        assert (refused.status, refused.json()["error"]["code"]) == (503, "key_service_unavailable")
        assert refused.headers["retry-after"]
        assert ask(service, key).status == 200
        assert ask(service, key, headers={"idempotency-key": "two"}).status == 200
        path = f"{ORGANIZATION}/projects/{project_id}/content-key"
        assert admin(service, "POST", f"{path}/revoke")["state"] == "revoked"
        assert ask(service, key).status == 403
        assert admin(service, "POST", f"{path}/restore")["state"] == "active"
        vault.answer = None
        assert ask(service, key, headers={"idempotency-key": "one"}).headers["idempotent-replayed"] == "true"
        assert ask(service, key, headers={"idempotency-key": "two"}).headers.get("idempotent-replayed") is None
        assert TOKEN not in service.log()
