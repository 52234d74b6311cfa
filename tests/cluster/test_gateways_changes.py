"""What is changed at one gateway is in force at the others."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from freehold.types.capacity import UNIT_MINUTE, UNMEASURED, Work
from tests.cluster.gateways import gateways
from tests.forked import freehold
from tests.postgres import PostgreSQL
from tests.service import Reply, Service, eventually

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two(postgres_server: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Service]]:
    """Two gateways on one database."""
    with gateways(tmp_path_factory.mktemp("gateways"), postgres_server.new_home()) as found:
        yield found


def _in_force(condition: Callable[[], bool], what: str) -> float:
    """Wait until it is so; how many seconds that took."""
    began = time.monotonic()
    eventually(condition, what)
    return time.monotonic() - began


def _chats(service: Service, key: str, model: str = "echo") -> int:
    return service.post("/v1/chat/completions", {**CHAT, "model": model}, key=key).status


def _key(service: Service) -> tuple[str, str]:
    made = service.post("/admin/keys", {"name": "caller", "role": "user"}).json()
    return made["id"], made["key"]


def test_a_key_holds_everywhere_until_it_is_revoked_anywhere(two: list[Service]) -> None:
    """A key made at one gateway opens the other; revoked there, it opens neither."""
    first, second = two
    key_id, key = _key(first)
    _in_force(lambda: _chats(second, key) == 200, "the new key at the other gateway")
    assert second.request("DELETE", f"/admin/keys/{key_id}", key=second.key).status == 200
    assert _chats(second, key) == 401
    _in_force(lambda: _chats(first, key) == 401, "the revocation at the first gateway")


def test_a_running_request_ends_when_its_key_is_revoked_elsewhere(two: list[Service]) -> None:
    """A stream at one gateway breaks off when its key is revoked at the other."""
    first, second = two
    key_id, key = _key(first)
    body = {**CHAT, "stream": True, "max_tokens": 2000, "messages": [{"role": "user", "content": "word " * 2000}]}
    assert first.post("/admin/deployments", _slow("slow")).status in {200, 201}
    _in_force(lambda: _chats(second, key, "slow") == 200, "the new deployment at the other gateway")
    with second.open("POST", "/v1/chat/completions", {**body, "model": "slow"}, key=key) as stream:
        assert stream.read(20)
        assert first.request("DELETE", f"/admin/keys/{key_id}", key=first.key).status == 200
        rest = stream.read().decode()
    assert "[DONE]" not in rest
    assert "error" in rest


def _slow(name: str, delay_s: float = 0.02) -> dict[str, object]:
    return {"name": name, "engine": "echo", "model": "echo", "options": {"delay_s": delay_s}}


def test_policies_limits_and_suspensions_reach_the_others(two: list[Service]) -> None:
    """Each is set at one gateway, refuses at the other, and refuses no more when it was taken back."""
    first, second = two
    _, key = _key(first)
    _in_force(lambda: _chats(second, key) == 200, "the new key")
    policy = {"name": "none", "deployments": {"deny": ["echo"]}}
    assert first.request("PUT", "/admin/policies/none", policy, key=first.key).status == 200
    _in_force(lambda: _chats(second, key) == 403, "the policy")
    assert second.request("DELETE", "/admin/policies/none", key=second.key).status == 200
    _in_force(lambda: _chats(first, key) == 200, "the end of the policy")
    limit = {"scope": "deployment", "id": "echo", "requests_per_minute": 0}
    assert first.request("PUT", "/admin/limits", limit, key=first.key).status == 200
    _in_force(lambda: _chats(second, key) == 429, "the limit")
    assert first.request("DELETE", "/admin/limits/deployment/echo", key=first.key).status == 200
    _in_force(lambda: _chats(second, key) == 200, "the end of the limit")
    body = {"end_user": "somebody", "reason": "spam"}
    made = first.request("POST", "/v1/organization/suspensions", body, key=first.key)
    assert made.status == 201
    asked = {**CHAT, "user": "somebody"}
    _in_force(lambda: second.post("/v1/chat/completions", asked, key=key).status == 403, "the suspension")
    path = f"/v1/organization/suspensions/{made.json()['id']}"
    assert second.request("DELETE", path, key=second.key).status == 200
    _in_force(lambda: first.post("/v1/chat/completions", asked, key=key).status == 200, "the end of the suspension")


def test_a_background_response_is_seen_from_everywhere(two: list[Service]) -> None:
    """While one gateway makes it, the other tells how far it is, and streams it, also from a number on."""
    first, second = two
    assert first.post("/admin/deployments", _slow("slower", 0.05)).status in {200, 201}
    _in_force(lambda: _chats(first, first.key, "slower") == 200, "the deployment")
    with first.open("POST", "/v1/responses", _order("slower", 40), key=first.key) as stream:
        response_id = _id_of(stream.read(200))
        path = f"/v1/responses/{response_id}"

        def told() -> dict[str, Any]:
            found: dict[str, Any] = second.get(path, key=first.key).json()
            return found

        _in_force(lambda: "word" in _text(told()), "what was said so far")
        assert told()["status"] in {"in_progress", "completed"}
        with second.open("GET", f"{path}?stream=true&starting_after=4", key=first.key) as theirs:
            followed = theirs.read().decode()
        rest = stream.read().decode()
    assert "response.completed" in rest
    assert "response.completed" in followed
    assert '"sequence_number":4}' not in followed
    assert '"sequence_number":5' in followed
    assert second.get(path, key=first.key).json()["status"] == "completed"


def test_any_gateway_stops_a_background_response(two: list[Service]) -> None:
    """Cancelled at the gateway that does not make it, it ends at the one that does; what had been said is kept."""
    first, second = two
    assert first.post("/admin/deployments", _slow("endless", 0.05)).status in {200, 201}
    _in_force(lambda: _chats(first, first.key, "endless") == 200, "the deployment")
    with first.open("POST", "/v1/responses", _order("endless", 4000), key=first.key) as stream:
        path = f"/v1/responses/{_id_of(stream.read(200))}"
        _in_force(lambda: "word" in _text(second.get(path, key=first.key).json()), "what was said so far")
        cancelled = second.request("POST", f"{path}/cancel", key=first.key).json()
        stream.read()
    assert cancelled["status"] == "cancelled"
    assert "word" in _text(cancelled)
    assert first.get(path, key=first.key).json() == cancelled
    order = {**_order("endless", 4000), "stream": False}
    path = f"/v1/responses/{first.post('/v1/responses', order, key=first.key).json()['id']}"
    _in_force(lambda: second.get(path, key=first.key).json()["status"] == "in_progress", "it has begun")
    assert second.request("DELETE", path, key=first.key).status == 200
    assert first.get(path, key=first.key).status == 404


def _order(model: str, words: int) -> dict[str, Any]:
    return {"model": model, "input": "word " * words, "background": True, "stream": True}


def _id_of(events: bytes) -> str:
    return events.decode().split('"id":"')[1].split('"')[0]


def _text(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item["content"])


def test_a_key_is_answered_once_whichever_gateway_is_asked(two: list[Service]) -> None:
    """While a gateway does a request with an `Idempotency-Key`, the other is a 409; then it sends the same bytes."""
    first, second = two
    assert first.post("/admin/deployments", _slow("once", 0.05)).status in {200, 201}
    _in_force(lambda: _chats(second, second.key, "once") == 200, "the deployment")
    body = {"model": "once", "messages": [{"role": "user", "content": "word " * 60}]}
    headers = {"Idempotency-Key": "key-1", "content-type": "application/json"}

    def ask(service: Service) -> Reply:
        return service.request("POST", "/v1/chat/completions", body, key=first.key, headers=headers)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, (first, second, first, second)))
    served = [each for each in found if each.status == 200 and "idempotent-replayed" not in each.headers]
    assert {each.status for each in found} <= {200, 409}, found
    assert len(served) == 1
    again = ask(first), ask(second)
    assert [each.body for each in again] == [served[0].body] * 2
    assert {each.headers["idempotent-replayed"] for each in again} == {"true"}


def test_units_are_those_of_both_gateways(two: list[Service]) -> None:
    """What is promised is taken once, at whichever gateway; each tells of the whole, of its own and of both."""
    first, second = two
    body = {**_slow("paid", 0), "capacity": {"units": 1, "burst_s": 600}}
    assert first.post("/admin/deployments?force=true", body).status == 201
    asked = {"model": "paid", "messages": [{"role": "user", "content": "word " * 40}], "max_completion_tokens": 50}
    eventually(lambda: second.get("/v1/models/paid", key=first.key).status == 200, "the deployment")
    began, work = time.monotonic(), 0
    for service in (first, second) * 100:
        answer = service.post("/v1/chat/completions", asked, key=first.key)
        if answer.status != 200:
            break
        usage = answer.json()["usage"]
        work += UNMEASURED["chat"].amount(Work(usage["prompt_tokens"], usage["completion_tokens"]))
    assert (answer.status, answer.json()["error"]["code"]) == (429, "capacity_exceeded")
    last, size = UNIT_MINUTE, 10 * UNIT_MINUTE
    assert size - last <= work <= size + last + (time.monotonic() - began) / 60 * UNIT_MINUTE

    def told(service: Service) -> dict[str, Any]:
        found: dict[str, Any] = service.get("/admin/deployments/paid/capacity", key=service.key).json()
        return found

    for service in two:
        _in_force(lambda: all(len(told(each)["gateways"]) == 2 for each in two), "both gateways' parts")
        found = told(service)
        assert [part["gateway"] for part in found["gateways"]] == ["a", "b"]
        assert found["bucket_filled"] > 90
        metrics = service.get("/metrics").body.decode()
        whole, own = (_sample(metrics, f"freehold_deployment_utilization{name}") for name in ("", "_here"))
        assert whole >= own > 0
    shown = freehold(first.home.root, "deployments", "capacity", "paid")
    assert shown.returncode == 0, shown.stderr
    assert "GATEWAY" in shown.stdout


def test_what_one_gateway_measures_all_know(two: list[Service]) -> None:
    """A calibration at one gateway is the other's within a second, as it was measured; units may be set there by it."""
    first, second = two
    path = "/admin/deployments/measured"
    assert first.post("/admin/deployments", {**_slow("measured", 0.01), "parallel": 2}).status == 201
    for each in two:
        eventually(partial(_ready, each, path), "it is ready")
    assert second.get(f"{path}/calibration", key=second.key).status == 404
    measured = first.post(f"{path}/calibration", {"seconds": 0.1})
    assert measured.status == 200, measured.body
    _in_force(lambda: second.get(f"{path}/calibration", key=second.key).status == 200, "the calibration")
    found = measured.json()
    assert second.get(f"{path}/calibration", key=second.key).json() == found == {**found, "holds": True}
    units = {"units": found["units"]}
    assert second.request("PUT", f"{path}/capacity", {"units": found["units"] + 1}, key=second.key).status == 400
    assert second.request("PUT", f"{path}/capacity", units, key=second.key).status == 200
    again = second.post(f"{path}/calibration", {"seconds": 0.1}, key=second.key)
    assert again.status == 200, again.body
    wanted = again.json()
    _in_force(lambda: first.get(f"{path}/calibration", key=first.key).json() == wanted, "the newer calibration")


def _ready(service: Service, path: str) -> bool:
    return bool(service.get(path, key=service.key).json().get("state") == "ready")


def _sample(metrics: str, name: str) -> float:
    line = next(line for line in metrics.splitlines() if line.startswith(f'{name}{{deployment="paid"}} '))
    return float(line.rpartition(" ")[2])


def test_both_gateways_are_listed(two: list[Service]) -> None:
    """Each knows of the other, with name, version and state."""
    for service, name in zip(two, "ab", strict=True):
        rows = service.get("/admin/gateways", key=service.key).json()["data"]
        assert [(row["name"], row["state"], row["self"]) for row in rows] == [
            ("a", "running", name == "a"),
            ("b", "running", name == "b"),
        ]


def test_usage_of_both_is_one_sum(two: list[Service]) -> None:
    """What was asked of either stands in the same usage, each receipt once."""
    first, second = two
    _, key = _key(first)
    _in_force(lambda: _chats(second, key) == 200, "the new key")

    def count(service: Service) -> int:
        answer = service.get("/admin/usage?by=key", key=service.key).json()
        return sum(row["requests"] for row in answer["data"])

    before = count(first)
    for service in (first, second, second):
        assert _chats(service, key) == 200
    _in_force(lambda: count(first) == count(second) >= before + 3, "one sum")
