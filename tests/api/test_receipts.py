"""Receipts, limits, spillover and kept answers, as callers see them on a real server."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.faults.books import check_receipts, check_reconciled, receipts
from tests.forked import freehold
from tests.service import Reply, Service, events_of, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[limit]]
scope = "deployment"
id = "narrow"
requests_per_minute = 1

[[limit]]
scope = "deployment"
id = "narrow-alone"
requests_per_minute = 2
tokens_per_minute = 100000

[[limit]]
scope = "end_user"
id = "mallory"
budget_per_day = "0"

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
aliases = ["gpt-4o"]
price = [{ input = "2", cached_input = "1", output = "10" }, { from = 2999-01-01, input = "99" }]

[[deployment]]
name = "spare"
engine = "echo"
model = "echo"
price = { input = "1", output = "1" }

[[deployment]]
name = "narrow"
engine = "echo"
model = "echo"
fallbacks = ["spare"]

[[deployment]]
name = "narrow-alone"
engine = "echo"
model = "echo"

[[deployment]]
name = "busy"
engine = "echo"
model = "echo"
parallel = 1
fallbacks = ["spare"]
options = { first_delay_s = 1.5 }

[[deployment]]
name = "queued"
engine = "echo"
model = "echo"
parallel = 1
queue = 1
options = { first_delay_s = 1.0 }

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = { delay_s = 0.2 }
price = { input = "1", output = "10" }

[[deployment]]
name = "failing"
engine = "echo"
model = "echo"
options = { fail_on = "fail now" }
price = { input = "1", output = "10" }

[[deployment]]
name = "failing-backed"
engine = "echo"
model = "echo"
fallbacks = ["spare"]
options = { fail_on = "fail now" }
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One server for this module; every request on it must be in the books at the end."""
    with Service(tmp_path_factory.mktemp("receipts") / "home", CONFIG) as running:
        yield running
        check_reconciled(running.home.root)
    check_receipts(running.home.root, [])


def _chat(service: Service, model: str = "echo", text: str = "one two three", **more: Any) -> Reply:
    return service.post("/v1/chat/completions", _body(model, text, **more))


def _body(model: str, text: str = "one two three", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def _azure(service: Service, model: str, headers: dict[str, str] | None = None) -> Reply:
    path = f"/openai/deployments/{model}/chat/completions?api-version=2024-10-21"
    return service.request("POST", path, _body(model), key=service.key, headers=headers)


def _receipt(service: Service, reply: Reply) -> dict[str, Any]:
    found = service.get(f"/v1/receipts/{reply.headers['x-request-id']}", key=service.key)
    assert found.status == 200, found.body
    receipt: dict[str, Any] = found.json()["receipt"]
    return receipt


def test_a_finished_request_has_a_receipt_with_all_that_happened(service: Service) -> None:
    """The receipt tells who, what, on which engine, how many tokens and for how much; and no text of it."""
    reply = _chat(service, "gpt-4o", text="tell nobody", user="alice@example.com", temperature=0.5, seed=7)
    receipt = _receipt(service, reply)
    usage = reply.json()["usage"]
    assert receipt["outcome"] == "finished"
    assert (receipt["requested"], receipt["deployment"], receipt["engine"]) == ("echo", "echo", "echo")
    assert receipt["prompt_tokens"] == usage["prompt_tokens"]
    assert receipt["completion_tokens"] == usage["completion_tokens"]
    assert receipt["cost_micro"] == 2 * usage["prompt_tokens"] + 10 * usage["completion_tokens"]
    assert receipt["price_version"].startswith("always/")
    assert receipt["parameters"] == {"temperature": "0.5", "seed": 7, "messages": 1}
    assert receipt["status"] == 200
    assert receipt["attempt"] == 1
    assert receipt["finish_reason"] == "stop"
    assert receipt["first_token_us"] <= receipt["duration_us"]
    assert receipt["replica"] == "echo-1"
    written = json.dumps(receipt)
    assert "tell nobody" not in written
    assert "alice" not in written
    assert receipt["end_user"].startswith("eu_")


def test_the_proof_of_a_receipt_stands_by_itself(service: Service, tmp_path: Path) -> None:
    """What the API answers convinces the verifier, and nothing else that is made of it does."""
    answer = service.get(f"/v1/receipts/{_chat(service).headers['x-request-id']}", key=service.key)
    file = tmp_path / "proof.json"
    file.write_bytes(answer.body)
    assert freehold(service.home.root, "audit", "verify", str(file)).returncode == 0
    forged = answer.json()
    forged["proof"]["line"] = forged["proof"]["line"].replace('"cost_micro":', '"cost_micro":1')
    file.write_text(json.dumps(forged))
    assert freehold(service.home.root, "audit", "verify", str(file)).returncode == 1


def test_whoever_may_not_read_a_receipt_finds_none(service: Service) -> None:
    """An unknown id is a 404, without a key there is nothing at all."""
    assert service.get("/v1/receipts/req_unknown", key=service.key).json()["error"]["code"] == "receipt_not_found"
    assert service.get(f"/v1/receipts/{_chat(service).headers['x-request-id']}").status == 401


@pytest.mark.parametrize(
    ("body", "code", "outcome"),
    [
        (_body("nothing"), "model_not_found", "refused"),
        (_body("echo", n="x"), "invalid_type", "refused"),
        (_body("failing", "fail now"), "engine_failed", "failed"),
    ],
)
def test_what_goes_wrong_has_a_receipt_too(service: Service, body: dict[str, Any], code: str, outcome: str) -> None:
    """A refusal and a failure are recorded with their code, and cost nothing."""
    receipt = _receipt(service, service.post("/v1/chat/completions", body))
    assert (receipt["outcome"], receipt["error_code"], receipt["cost_micro"]) == (outcome, code, 0)


def test_a_wrong_credential_is_recorded_without_a_principal(service: Service) -> None:
    """Somebody tried, and the journal knows it; who it was nobody knows."""
    reply = service.post("/v1/chat/completions", _body("echo"), key="fh-wrong")
    receipt = _receipt(service, reply)
    assert (receipt["outcome"], receipt["status"], receipt["error_code"]) == ("refused", 401, "invalid_api_key")
    assert "principal" not in receipt


def test_a_caller_that_goes_away_pays_for_what_was_produced(service: Service) -> None:
    """The receipt of a stream that its caller left counts what was made until then, as an estimate."""
    response = service.open(
        "POST", "/v1/chat/completions", _body("slow", "a b c d e f g h i j k l", stream=True), key=service.key
    )
    for _ in range(8):
        response.readline()
    response.close()
    request_id = response.headers["x-request-id"]

    def found() -> list[dict[str, Any]]:
        return [body for body in receipts(service.home.root) if body["request_id"] == request_id]

    eventually(lambda: bool(found()), "the receipt of the request that was left")
    receipt = found()[0]
    assert (receipt["outcome"], receipt["status"], receipt["estimated"]) == ("cancelled", 499, True)
    assert 1 <= receipt["completion_tokens"] < 12
    assert receipt["cost_micro"] == receipt["prompt_tokens"] + 10 * receipt["completion_tokens"]


def test_a_limit_of_the_deployment_spills_over(service: Service) -> None:
    """Beyond its own limit a deployment's fallback serves, at its own price, and the answer says so."""
    replies = [_chat(service, "narrow") for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 200]
    assert [reply.headers.get("x-freehold-spillover-from") for reply in replies] == [None, "narrow", "narrow"]
    assert replies[1].headers["x-freehold-deployment"] == "spare"
    receipt = _receipt(service, replies[1])
    assert (receipt["requested"], receipt["deployment"], receipt["spilled_from"]) == ("narrow", "spare", "narrow")
    assert receipt["cost_micro"] == receipt["prompt_tokens"] + receipt["completion_tokens"]


def test_a_busy_deployment_spills_over(service: Service) -> None:
    """When its one replica is taken, the fallback serves at once; Azure's routes mark it in Azure's way."""
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(_chat, service, "busy")
        time.sleep(0.5)
        second = _azure(service, "busy")
        assert first.result().headers.get("x-freehold-spillover-from") is None
    assert second.status == 200
    assert second.headers["x-ms-spillover-from-deployment"] == "busy"
    assert second.headers["x-ms-deployment-name"] == "spare"


def test_a_failing_deployment_spills_over(service: Service) -> None:
    """When the engine fails before the answer has begun, the fallback answers."""
    reply = _chat(service, "failing-backed", "fail now")
    assert reply.status == 200
    receipt = _receipt(service, reply)
    assert (receipt["deployment"], receipt["spilled_from"], receipt["attempt"]) == ("spare", "failing-backed", 2)


def test_a_request_can_name_its_own_spillover(service: Service) -> None:
    """`x-ms-spillover-deployment` is a fallback for this request; a name that does not exist is refused."""
    header = {"x-ms-spillover-deployment": "spare"}
    replies = [_azure(service, "narrow-alone", header) for _ in range(4)]
    assert [reply.status for reply in replies] == [200] * 4
    assert replies[-1].headers["x-ms-deployment-name"] == "spare"
    wrong = _azure(service, "narrow-alone", {"x-ms-spillover-deployment": "nowhere"})
    assert wrong.status == 400
    assert wrong.json()["error"]["param"] == "x-ms-spillover-deployment"


def test_a_429_names_its_limit_in_either_dialect(service: Service) -> None:
    """Headers tell how the limit stands; beyond it both dialects say which limit, and when to come back."""
    while (reply := _chat(service, "narrow-alone")).status == 200:
        assert reply.headers["x-ratelimit-limit-requests"] == "2"
        assert int(reply.headers["x-ratelimit-remaining-tokens"]) < 100000
        assert reply.headers["x-ratelimit-reset-requests"].endswith("s")
    error = reply.json()["error"]
    assert (reply.status, error["code"]) == (429, "rate_limit_exceeded")
    assert "narrow-alone" in error["message"]
    assert "requests per minute" in error["message"]
    assert 1 <= int(reply.headers["retry-after"]) <= 60
    assert int(reply.headers["retry-after-ms"]) <= 60_000
    assert reply.headers["x-ratelimit-remaining-requests"] == "0"
    azure = _azure(service, "narrow-alone")
    assert azure.status == 429
    assert azure.json()["error"]["code"] == "429"
    assert "requests per minute" in azure.json()["error"]["message"]


def test_an_end_user_can_be_limited_by_name(service: Service) -> None:
    """A budget of nothing for one end user refuses that one, without naming it, and nobody else."""
    reply = _chat(service, user="mallory")
    assert (reply.status, reply.json()["error"]["code"]) == (429, "insufficient_quota")
    assert "mallory" not in reply.json()["error"]["message"]
    assert _chat(service, user="alice").status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_idempotency_key_brings_the_same_bytes(service: Service, stream: bool) -> None:
    """A repeated request gets the first answer again, for nothing, with a receipt of its own."""
    headers = {"idempotency-key": f"same-{stream}"}

    def ask(body: dict[str, Any]) -> Reply:
        return service.request("POST", "/v1/chat/completions", body, key=service.key, headers=headers)

    first, again = ask(_body("echo", stream=stream)), ask(_body("echo", stream=stream))
    assert first.status == again.status == 200
    assert first.body == again.body
    assert first.headers["content-type"] == again.headers["content-type"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    receipt = _receipt(service, again)
    assert (receipt["replay_of"], receipt["cost_micro"]) == (first.headers["x-request-id"], 0)
    other = ask(_body("echo", "another text", stream=stream))
    assert (other.status, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


def test_an_idempotency_key_in_flight_is_a_conflict(service: Service) -> None:
    """While the first request runs the second is refused; afterwards it gets the answer."""
    headers = {"idempotency-key": "in flight"}

    def ask() -> Reply:
        return service.request("POST", "/v1/chat/completions", _body("slow"), key=service.key, headers=headers)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask)
        time.sleep(0.3)
        second = ask()
        assert first.result().status == 200
    assert (second.status, second.json()["error"]["code"]) == (409, "idempotency_key_in_use")
    assert ask().body == first.result().body


def test_an_idempotency_key_is_free_after_an_error(service: Service) -> None:
    """An error is not kept: the same key may be used for another try."""
    headers = {"idempotency-key": "after an error"}
    for _ in range(2):
        reply = service.request(
            "POST", "/v1/chat/completions", _body("failing", "fail now"), key=service.key, headers=headers
        )
        assert reply.status == 502
        assert "idempotent-replayed" not in reply.headers


def test_lower_tiers_are_refused_first(service: Service) -> None:
    """With one place to wait, a priority request takes it from a flex one, which is refused."""
    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(_chat, service, "queued")
        time.sleep(0.3)
        flex = pool.submit(_chat, service, "queued", service_tier="flex")
        time.sleep(0.2)
        priority = pool.submit(_chat, service, "queued", service_tier="priority")
        assert flex.result().status == 429
        assert flex.result().json()["error"]["code"] == "resource_unavailable"
        assert running.result().status == 200
        assert priority.result().json()["service_tier"] == "priority"


def test_an_administrative_action_is_in_the_journal(service: Service) -> None:
    """Making a key is recorded with who did it; reading is not."""
    reply = service.post("/admin/keys", {"name": "recorded"})
    shown = freehold(service.home.root, "audit", "tail", "-n", "50", "--json").stdout
    assert reply.headers["x-request-id"] in shown
    found = [
        json.loads(line)
        for path in (service.home.root / "journal" / "main").glob("*.jsonl")
        for line in path.read_bytes().splitlines()
        if b'"kind":"admin"' in line
    ]
    action = next(record["body"] for record in found if record["body"]["request_id"] == reply.headers["x-request-id"])
    assert (action["method"], action["path"], action["status"]) == ("POST", "/admin/keys", 201)


def test_streams_are_counted_by_the_engine(service: Service) -> None:
    """A stream without `include_usage` has the engine's own count on its receipt."""
    response = service.open("POST", "/v1/chat/completions", _body("echo", "a b c", stream=True), key=service.key)
    events = events_of(response)
    assert events[-1] == "[DONE]"
    found = service.get(f"/v1/receipts/{response.headers['x-request-id']}", key=service.key).json()["receipt"]
    assert (found["completion_tokens"], found["estimated"]) == (3, False)


def test_a_receipt_of_a_retired_segment_is_not_found(tmp_path: Path) -> None:
    """Once its part of the journal was deleted for its age, a receipt is a 404, though usage still counts it."""
    with Service(tmp_path / "home", CONFIG + "\n[journal]\nsegment_bytes = 65536\n") as service:
        first = _chat(service)
        oldest = service.home.journal / "main" / "00000001.jsonl"
        while not oldest.with_name("00000002.jsonl").exists():
            _chat(service)
        last = _chat(service)
        for answered in (first, last):
            assert _receipt(service, answered)["outcome"] == "finished"
        oldest.unlink()  # which the journal does only with what is in the usage database
        found = service.get(f"/v1/receipts/{first.headers['x-request-id']}", key=service.key)
        assert (found.status, found.json()["error"]["code"]) == (404, "receipt_not_found")
        assert _receipt(service, last)["outcome"] == "finished"
