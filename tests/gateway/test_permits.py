"""Policies on the way of a request, in a real server: what is refused, what is cut, and what the receipt says of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service import Reply, Service, events_of, eventually

pytestmark = pytest.mark.slow

CONFIG = """
policies = ["policies/*.toml"]

[server]
starter = false

[[deployment]]
name = "chat"
engine = "echo"
model = "small"
aliases = ["gpt-4o"]
zone = "eu"
content_filter = "default"

[[deployment]]
name = "spilling"
engine = "echo"
model = "small"
zone = "eu"
fallbacks = ["abroad"]

[[deployment]]
name = "abroad"
engine = "echo"
model = "large"
zone = "us"

[[deployment]]
name = "paint"
engine = "echo"
model = "small"
task = "images"
zone = "eu"

[[deployment]]
name = "embed"
engine = "echo"
model = "small"
task = "embeddings"
zone = "eu"

[[policy]]
name = "eu"
zones = ["eu"]

[[case]]
name = "abroad is closed"
request = { deployment = "abroad" }
expect = "deny"
reason = "'eu'"
"""

POLICIES = """
[[policy]]
name = "cut"
ceilings = { max_tokens = 5, n = 2, images = 1, temperature = 0.5, size = "512x512" }
on_exceed = "clamp"

[[policy]]
name = "short"
ceilings = { messages = 2, inputs = 1 }
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("policies") / "home"
    (home / "policies").mkdir(parents=True)
    (home / "policies" / "team.toml").write_text(POLICIES, encoding="utf-8")
    with Service(home, CONFIG) as service:
        yield service


def chat(service: Service, model: str = "chat", messages: int = 1, **parameters: Any) -> Reply:
    """One chat of nine words."""
    message = {"role": "user", "content": "a b c d e f g h i"}
    return service.post("/v1/chat/completions", {"model": model, "messages": [message] * messages, **parameters})


def receipt_of(service: Service, reply: Reply) -> dict[str, Any]:
    """The receipt of an answered or refused request."""
    path = f"/v1/receipts/{reply.headers['x-request-id']}"
    eventually(lambda: service.get(path, key=service.key).status == 200, "the receipt is there")
    found: dict[str, Any] = service.get(path, key=service.key).json()["receipt"]
    return found


def test_a_denial_names_policy_and_rule_and_leaves_a_receipt(service: Service) -> None:
    """What a policy denies is a 403 that names the policy and the rule, on the receipt too, and costs nothing."""
    reply = chat(service, "abroad")
    assert (reply.status, reply.json()["error"]["code"]) == (403, "policy_denied")
    assert reply.json()["error"]["message"] == (
        "Denied by the policy 'eu', rule 'zones': the deployment 'abroad' is not in an allowed zone."
    )
    receipt = receipt_of(service, reply)
    assert (receipt["outcome"], receipt["error_code"], receipt["requested"]) == ("refused", "policy_denied", "abroad")
    assert receipt["decision"] == {
        "allowed": False,
        "policies": ["eu"],
        "rule": "zones",
        "reason": "the deployment 'abroad' is not in an allowed zone",
    }
    assert receipt["policy_sha256"] == service.get("/admin/policies", key=service.key).json()["sha256"]


def test_azures_clients_get_azures_form(service: Service) -> None:
    """A denial under /openai is Azure's object of code and message."""
    path = "/openai/deployments/abroad/chat/completions?api-version=2024-10-21"
    reply = service.post(path, {"messages": [{"role": "user", "content": "a"}]})
    assert (reply.status, reply.json()["error"]["code"]) == (403, "403")
    assert "the policy 'eu'" in reply.json()["error"]["message"]


def test_what_is_too_much_is_cut_and_told(service: Service) -> None:
    """A policy that clamps cuts tokens, choices and temperature; a header and the receipt say to what."""
    reply = chat(service, "gpt-4o", n=3, max_tokens=7, temperature=0.2)
    assert reply.headers["x-freehold-clamped"] == "max_tokens=5, n=2"
    assert len(reply.json()["choices"]) == 2
    assert reply.json()["usage"]["completion_tokens"] == 10
    receipt = receipt_of(service, reply)
    assert receipt["parameters"] == {"messages": 1, "max_tokens": 7, "n": 3, "temperature": "0.2"}
    assert receipt["decision"]["clamped"] == {"max_tokens": 5, "n": 2}
    assert (receipt["zone"], receipt["content_filter"], receipt["roles"]) == ("eu", "default", ["owner"])


def test_what_is_left_out_is_bounded_too(service: Service) -> None:
    """Leaving out the maximum or the temperature is no way around a ceiling."""
    reply = chat(service)
    assert reply.headers["x-freehold-clamped"] == "max_tokens=5, temperature=0.5"
    assert reply.json()["usage"]["completion_tokens"] == 5


def test_a_request_within_its_ceilings_is_not_touched(service: Service) -> None:
    """Nothing is cut, and no header says so; the receipt names the policies that applied."""
    reply = chat(service, max_completion_tokens=4, temperature=0)
    assert "x-freehold-clamped" not in reply.headers
    assert reply.json()["usage"]["completion_tokens"] == 4
    assert receipt_of(service, reply)["decision"] == {"allowed": True, "policies": ["cut", "eu", "short"]}


def test_a_stream_is_cut_too(service: Service) -> None:
    """The header stands at the head of a stream, and the stream ends at the ceiling."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "a b c d e f g"}], "stream": True}
    with service.open("POST", "/v1/chat/completions", body, key=service.key) as response:
        assert "max_tokens=5" in response.headers["x-freehold-clamped"]
        events = [event for event in events_of(response) if event != "[DONE]"]
    assert "".join(c["delta"].get("content") or "" for e in events for c in e["choices"]).split() == list("abcde")


def test_a_cut_number_of_choices_keeps_each_prompts_own(service: Service) -> None:
    """Of two prompts with three choices each, two of each are answered, each after its own prompt."""
    body = {"model": "chat", "prompt": ["a", "b"], "n": 3, "echo": True, "max_tokens": 1, "temperature": 0}
    reply = service.post("/v1/completions", body)
    assert [choice["text"][0] for choice in reply.json()["choices"]] == ["a", "a", "b", "b"]
    assert reply.headers["x-freehold-clamped"] == "n=2"


@pytest.mark.parametrize(
    ("asked", "param", "rule"),
    [({"messages": 3}, "messages", "ceilings.messages"), ({"model": "embed"}, "input", "ceilings.inputs")],
)
def test_a_ceiling_refuses_what_cannot_be_cut(service: Service, asked: dict[str, Any], param: str, rule: str) -> None:
    """Too many messages or inputs are refused with the parameter and the rule."""
    if "model" in asked:
        reply = service.post("/v1/embeddings", {"model": "embed", "input": ["a", "b"]})
    else:
        reply = chat(service, **asked)
    assert (reply.status, reply.json()["error"]["param"]) == (403, param)
    assert f"the policy 'short', rule '{rule}'" in reply.json()["error"]["message"]


def test_pictures_have_ceilings(service: Service) -> None:
    """The number of pictures is cut; the size is chosen within the ceiling where it is left out, and refused above."""
    body = {"model": "paint", "prompt": "a", "response_format": "b64_json"}
    reply = service.post("/v1/images/generations", {**body, "n": 3})
    assert (len(reply.json()["data"]), reply.headers["x-freehold-clamped"]) == (1, "n=1")
    assert reply.json()["size"] in {"256x256", "512x512"}
    assert receipt_of(service, reply)["images"] == 1
    refused = service.post("/v1/images/generations", {**body, "size": "1024x1024"})
    assert (refused.status, refused.json()["error"]["param"]) == (403, "size")


def test_a_stream_of_pictures_ends_with_the_last_that_is_painted(service: Service) -> None:
    """Of three streamed pictures one is painted, and its event carries the usage."""
    body = {"model": "paint", "prompt": "a", "n": 3, "stream": True}
    with service.open("POST", "/v1/images/generations", body, key=service.key) as response:
        events = events_of(response)
    assert [event if event == "[DONE]" else event["type"] for event in events] == [
        "image_generation.completed",
        "[DONE]",
    ]


def test_a_fallback_that_a_policy_denies_is_left_out(service: Service) -> None:
    """A deployment that may not serve the request is no place to spill over to; who names it is refused."""
    service.request(
        "PUT",
        "/admin/limits",
        {"scope": "deployment", "id": "spilling", "requests_per_minute": 0},
        key=service.key,
    )
    reply = chat(service, "spilling")
    assert (reply.status, reply.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    path = "/openai/deployments/chat/chat/completions?api-version=2024-10-21"
    named = service.request(
        "POST",
        path,
        {"messages": [{"role": "user", "content": "a"}]},
        key=service.key,
        headers={"x-ms-spillover-deployment": "abroad"},
    )
    assert named.status == 403


def test_the_list_of_models_has_what_is_open(service: Service) -> None:
    """A deployment that a policy closes is not listed, and not there when it is asked for by name."""
    names = [model["id"] for model in service.get("/v1/models", key=service.key).json()["data"]]
    assert names == ["chat", "spilling", "paint", "embed"]
    assert service.get("/v1/models/abroad", key=service.key).status == 404


def test_a_change_holds_from_the_next_request_on(service: Service) -> None:
    """A stored policy closes a deployment at once, and opens it again when it is deleted; a failing case stops it."""
    policy = {"deployments": {"deny": ["chat"]}, "applies_to": {"roles": ["owner"]}}
    case = {"name": "c", "request": {"deployment": "chat", "roles": ["owner"]}, "expect": "allow"}

    def put(**changes: Any) -> Reply:
        return service.request("PUT", "/admin/policies/closed", {"name": "closed", **changes}, key=service.key)

    refused = put(**policy, cases=[case])
    assert (refused.status, refused.json()["error"]["code"]) == (400, "policy_case_failed")
    assert chat(service).status == 200
    assert put(**policy, cases=[{**case, "expect": "deny"}]).json()["changed"] is True
    assert "'closed'" in chat(service).json()["error"]["message"]
    assert put(**policy).json()["changed"] is False
    assert service.get("/admin/policies/closed", key=service.key).json()["settings"] == {"name": "closed", **policy}
    assert service.request("DELETE", "/admin/policies/closed", key=service.key).json()["deleted"] is True
    assert chat(service).status == 200
    assert service.get("/admin/policies/closed", key=service.key).status == 404


def test_the_admin_api_refuses_what_is_no_policy(service: Service) -> None:
    """A name that differs from the path, an unknown key, and the file's own policy are refused with the reason."""
    for name, body, status in (
        ("a", {"name": "b", "zones": ["eu"]}, 400),
        ("a", {"name": "a", "zone": ["eu"]}, 400),
        ("a", {"name": "a"}, 400),
        ("a", {"name": "a", "zones": []}, 400),
        ("eu", {"name": "eu", "zones": ["us"]}, 409),
    ):
        assert service.request("PUT", f"/admin/policies/{name}", body, key=service.key).status == status
    both = {"policies": [{"name": "x", "zones": ["eu"]}, {"name": "eu", "zones": ["us"]}]}
    assert service.request("PUT", "/admin/policies", both, key=service.key).status == 409
    listed = service.get("/admin/policies", key=service.key).json()["data"]
    assert [(policy["name"], policy["origin"]) for policy in listed] == [
        ("cut", "config"),
        ("eu", "config"),
        ("short", "config"),
    ]


def test_a_server_does_not_start_on_policies_that_fail_their_own_cases(tmp_path: Path) -> None:
    """The start ends with the name of the case and both decisions."""
    config = (
        '[server]\nstarter = false\n[[policy]]\nname = "p"\ndeployments = { deny = ["chat"] }\n'
        '[[case]]\nname = "chat is open"\nrequest = { deployment = "chat" }\nexpect = "allow"\n'
    )
    service = Service(tmp_path / "home", config)
    assert service.process.wait(60) == 2
    assert "case[0]: the case 'chat is open' expects 'allow'; the decision is 'deny'" in service.log()
    service.stop()


def test_a_denied_request_loads_no_model(tmp_path: Path) -> None:
    """A deployment that starts on demand stays as it is when a policy closes it to the caller, nor as a fallback."""
    config = (
        '[server]\nstarter = false\n[[policy]]\nname = "p"\ndeployments = { deny = ["lazy"] }\n'
        '[[deployment]]\nname = "lazy"\nengine = "echo"\nmodel = "m"\nstart = "on_demand"\n'
        '[[deployment]]\nname = "first"\nengine = "echo"\nmodel = "m"\nreplicas = 0\nfallbacks = ["lazy"]\n'
    )
    with Service(tmp_path / "home", config) as service:
        assert chat(service, "lazy").status == 403
        assert chat(service, "first").status == 503
        state = service.get("/admin/deployments/lazy", key=service.key).json()
        assert (state["state"], state["replicas"]) == ("unloaded", [])
