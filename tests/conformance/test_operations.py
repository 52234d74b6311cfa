"""Models, errors, headers, bodies, logs and health, as clients and operators see them, on the echo engine."""

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.conformance.echo import CONFIG, ask
from tests.conformance.recording import Judge, client_for
from tests.service import Service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with the echo engine."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def test_models(service: Service, judge: Judge) -> None:
    """The list of models is the list of deployments; an alias is found by its name."""
    with client_for(service, "openai", judge) as client:
        assert [model.id for model in client.models.list()] == ["echo"]
        assert client.models.retrieve("gpt-4o").id == "gpt-4o"
    azure = service.request("GET", "/openai/models?api-version=2024-10-21", headers={"api-key": service.key}).json()
    assert azure["data"][0]["capabilities"]["chat_completion"] is True


def test_openai_errors(service: Service, judge: Judge) -> None:
    """OpenAI's dialect: 404 `model_not_found`, 401 with the redacted key, all in the envelope."""
    with client_for(service, "openai", judge) as client, pytest.raises(openai.NotFoundError) as missing:
        ask(client, model="nope")
    assert missing.value.code == "model_not_found"
    wrong = client_for(service, "openai", judge, key="fh-" + "x" * 39 + "abcd")
    with wrong, pytest.raises(openai.AuthenticationError) as refused:
        ask(wrong)
    assert "Incorrect API key provided: fh-****abcd." in refused.value.message
    assert judge.count >= 2 or judge.spec is None


def test_azure_errors(service: Service) -> None:
    """Azure's dialect: `DeploymentNotFound`, 401 in its shape, and no answer without `api-version`."""
    path = "/openai/deployments/{}/chat/completions"
    body = {"messages": [{"role": "user", "content": "x"}]}
    missing = service.post(path.format("nope") + "?api-version=2024-10-21", body)
    assert (missing.status, missing.json()["error"]["code"]) == (404, "DeploymentNotFound")
    refused = service.request("POST", path.format("echo") + "?api-version=2024-10-21", body, headers={"api-key": "no"})
    assert (refused.status, refused.json()["error"]["code"]) == (401, "401")
    undated = service.post(path.format("echo"), body)
    assert (undated.status, undated.json()["error"]["code"]) == (404, "404")
    good = service.request(
        "POST",
        path.format("echo") + "?api-version=2024-10-21",
        body,
        headers={"api-key": service.key, "x-ms-client-request-id": "abc"},
    )
    assert good.status == 200
    assert good.headers["x-ms-client-request-id"] == "abc"
    assert good.headers["apim-request-id"] == good.headers["x-request-id"]


def test_both_headers_and_no_header(service: Service) -> None:
    """Either header carries the key in either dialect; without one the answer is 401."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "x"}]}
    for headers in ({"api-key": service.key}, {"authorization": f"Bearer {service.key}"}):
        assert service.request("POST", "/v1/chat/completions", body, headers=headers).status == 200
    assert service.request("POST", "/v1/chat/completions", body).status == 401
    assert service.request("POST", "/v1/chat/completions", b"not even json").status == 401


def test_wrong_bodies(service: Service) -> None:
    """Malformed, deep and doubled JSON is 400, a body over the limit 413, a wrong method 405, a wrong path 404."""
    path = "/v1/chat/completions"
    for body in (b"{", b'{"a":1,"a":2}', b"[" * 90_000, b'{"a":' * 16_000):
        assert service.post(path, body).status == 400
    assert service.post(path, b" " * 100_001).status == 413
    assert service.request("DELETE", path, key=service.key).status == 405
    assert service.get("/v1/nothing", key=service.key).status == 404
    assert service.post("/v1/chat/completions/", {}).status == 404


def test_logs_are_json_without_prompts_or_keys(service: Service, tmp_path: Path) -> None:
    """Every line of the log is one JSON object, and no prompt and no key stands in it."""
    secret = "a-very-private-sentence"
    body = {"model": "echo", "messages": [{"role": "user", "content": secret}], "user": "ann@example.org"}
    assert service.post("/v1/chat/completions", body).status == 200
    service.post("/v1/chat/completions", {**body, "temperature": secret})
    service.request("POST", "/v1/chat/completions", body, key="fh-wrong-key-0123456789")
    log = service.log()
    (tmp_path / "log").write_text(log, encoding="utf-8")
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    finished = [line for line in lines if line["event"] == "request"]
    assert {"status", "deployment", "prompt_tokens", "duration_ms", "request_id"} <= set(finished[-1])
    for line in log.splitlines():
        assert line.startswith("{") or "fh-" not in line.replace(service.key, "") or "Admin key" in line
    logged = "\n".join(line for line in log.splitlines() if line.startswith("{"))
    assert secret not in logged
    assert service.key not in logged
    assert "ann@example.org" not in logged
    assert "0123456789" not in logged


def test_health_metrics_and_version(service: Service) -> None:
    """Operators see liveness, readiness, metrics and the version without a key."""
    assert service.get("/health/live").json() == {"status": "live"}
    ready = service.get("/health/ready")
    assert (ready.status, ready.json()["deployments"]) == (200, {"echo": "ready"})
    assert service.get("/version").json()["version"]
    metrics = service.get("/metrics").body.decode()
    assert 'freehold_requests_total{deployment="echo"' in metrics
    assert "freehold_replicas" in metrics
