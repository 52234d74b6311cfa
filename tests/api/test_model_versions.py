"""Families of models, retirement and what becomes of deployments then, on a real server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.making import gguf_bytes
from tests.service import Reply, Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "filed"
engine = "echo"
model = "filed-1"
upgrade = "at_retirement"
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("versions")
    with Service(folder / "home", CONFIG) as service:
        for number, name in enumerate(("old", "new", "pin-1", "pin-2", "gate-1", "gate-2", "filed-1", "filed-2")):
            pull(service, folder, name, number)
        yield service


def pull(service: Service, folder: Path, name: str, number: int) -> None:
    """A model of the catalog; the echo engine, which serves by its name, does not read it."""
    (folder / f"{name}.gguf").write_bytes(gguf_bytes(number))
    assert b'"model"' in service.post("/admin/models", {"source": f"file://{folder}/{name}.gguf", "name": name}).body


def deploy(service: Service, name: str, model: str, **settings: Any) -> None:
    """A deployment of the echo engine that takes requests."""
    made = service.post("/admin/deployments", {"name": name, "engine": "echo", "model": model, **settings})
    assert made.status == 201, made.body
    eventually(lambda: chat(service, name).status == 200, "it answers")


def chat(service: Service, model: str) -> Reply:
    """One chat."""
    return service.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "a"}]})


def model_of(service: Service, name: str) -> str:
    """The model that a deployment has."""
    found: str = service.get(f"/admin/deployments/{name}", key=service.key).json()["settings"]["model"]
    return found


def test_a_deployment_follows_a_new_default(service: Service) -> None:
    """Who follows new defaults goes over at once, whoever does not stays, and one family has one default."""
    deploy(service, "follows", "old", upgrade="new_default")
    deploy(service, "stays", "old")
    first = service.post("/admin/models/old/default", {"family": "house", "version": "1"})
    assert (first.status, first.json()["upgraded"]) == (200, [])
    second = service.post("/admin/models/new/default", {"family": "house", "version": "2"})
    assert second.json()["upgraded"] == ["follows"]
    assert (model_of(service, "follows"), model_of(service, "stays")) == ("new", "old")
    models = {entry["name"]: entry["details"] for entry in service.get("/admin/models", key=service.key).json()["data"]}
    assert [models[name].get("default") for name in ("old", "new")] == [None, True]
    none = service.post("/admin/models/pin-1/default", {})
    assert (none.status, none.json()["error"]["param"]) == (409, "family")


def test_callers_are_told_of_a_retirement_and_found(service: Service) -> None:
    """Answers have both headers from its announcement; the list of callers has project and key with their number."""
    deploy(service, "announced", "pin-1")
    assert "sunset" not in chat(service, "announced").headers
    assert service.post("/admin/models/pin-1/retirement", {"at": "2999-01-02T00:00:00Z"}).status == 200
    headers = chat(service, "announced").headers
    assert headers["sunset"] == "Wed, 02 Jan 2999 00:00:00 GMT"
    assert headers["deprecation"].startswith("@1")
    path = "/admin/models/pin-1/callers?days=1"
    eventually(
        lambda: [found["deployment"] for found in service.get(path, key=service.key).json()["data"]] == ["announced"],
        "the calls are in the usage database",
    )
    (found,) = service.get(path, key=service.key).json()["data"]
    assert found["project_id"] == "proj-default"
    assert found["key_id"].startswith("key_")
    assert found["requests"] >= 3
    refused = service.post("/admin/models/pin-1/default", {"family": "pinned"})
    assert (refused.status, refused.json()["error"]["code"]) == (409, "conflict")


def test_a_retired_model_serves_no_more(service: Service) -> None:
    """Whose model was retired is refused with the date and listed no more, until the date is taken back."""
    deploy(service, "retired", "pin-2")
    assert service.post("/admin/models/pin-2/retirement", {"at": "2026-01-02T03:04:05Z"}).status == 200
    refused = chat(service, "retired")
    assert (refused.status, refused.json()["error"]["code"]) == (410, "model_retired")
    assert (
        "'pin-2' of the deployment 'retired' was retired at 2026-01-02T03:04:05Z" in refused.json()["error"]["message"]
    )
    listed = service.get("/v1/models", key=service.key).json()["data"]
    assert "retired" not in {model["id"] for model in listed}
    assert service.post("/admin/models/pin-2/retirement", {"at": None}).status == 200
    assert chat(service, "retired").status == 200


def test_who_upgrades_at_retirement_is_held_to_its_condition(service: Service) -> None:
    """With a condition that does not hold the deployment stays and is refused; without it, it goes over."""
    assert service.post("/admin/models/gate-2/default", {"family": "gated"}).status == 200
    deploy(service, "gated", "gate-1", upgrade="at_retirement", promote_if="gsm8k >= 0.3")
    deploy(service, "free", "gate-1", upgrade="at_retirement")
    assert service.post("/admin/models/gate-1/default", {"family": "gated"}).status == 200
    assert service.post("/admin/models/gate-2/default", {"family": "gated"}).status == 200
    assert model_of(service, "free") == "gate-1"
    retired = service.post("/admin/models/gate-1/retirement", {"at": "2026-01-02T00:00:00Z"})
    assert retired.json()["upgraded"] == ["free"]
    assert (model_of(service, "free"), model_of(service, "gated")) == ("gate-2", "gate-1")
    assert (chat(service, "free").status, chat(service, "gated").status) == (200, 410)


def test_a_deployment_of_the_file_does_not_change(service: Service) -> None:
    """The file says which model it has, so it is refused after the date, whatever its policy."""
    for name in ("filed-1", "filed-2"):
        assert service.post(f"/admin/models/{name}/default", {"family": "filed"}).status == 200
    assert service.post("/admin/models/filed-1/retirement", {"at": "2026-01-02T00:00:00Z"}).status == 200
    assert chat(service, "filed").status == 410


def test_no_deployment_changes_to_a_model_that_is_not_there(service: Service) -> None:
    """A promotion to a name that the catalog has not is refused, dry runs too; to a model that is there it works."""
    deploy(service, "kept", "old")
    path = "/admin/deployments/kept/promote"
    for dry_run in (True, False):
        refused = service.post(path, {"model": "nothing", "dry_run": dry_run})
        assert (refused.status, refused.json()["error"]["code"]) == (404, "unknown_model")
    assert service.get("/admin/deployments/kept", key=service.key).json()["settings"]["model"] == "old"
    assert service.post(path, {"model": "new"}).status == 200
