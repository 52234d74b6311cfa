"""What holds while a response is made in several turns: limits, policies and receipts of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from freehold.gateway.response_toolbox import MAX_CALLS
from tests.api.test_kept_content import ORGANIZATION, admin, make_project
from tests.api.test_responses import first_of, rows, stream
from tests.faults.books import check_reconciled, receipts
from tests.mcp_server import ToolServer, tool_server
from tests.service import Reply, Service, events_of

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[limit]]
scope = "project"
id = "proj-default"
concurrent_requests = 1

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[deployment]]
name = "closed"
engine = "echo"
model = "echo"

[[deployment]]
name = "paint"
engine = "echo"
model = "echo"
task = "images"

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = {{ delay_s = 0.05 }}

[[policy]]
name = "no-closed"
deployments = {{ deny = ["closed"] }}

[[mcp_server]]
label = "desk"
url = "{url}"
"""
DESK = {"type": "mcp", "server_label": "desk", "require_approval": "never"}


@dataclass(frozen=True, slots=True)
class Place:
    """What a test has: the service and the MCP server."""

    service: Service
    server: ToolServer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A service with one request at a time, that may call an MCP server."""
    home = tmp_path_factory.mktemp("home")
    with tool_server() as server, Service(home, CONFIG.format(url=server.url)) as service:
        yield Place(service, server)


def respond(service: Service, asked: Any, model: str = "echo", **more: Any) -> Reply:
    """A response."""
    return service.post("/v1/responses", {"model": model, "input": asked, **more}, key=service.key)


def allowed(name: str) -> list[dict[str, Any]]:
    """A question whether to call a tool, and yes."""
    question = {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "desk", "name": name}
    answer = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    return [{**question, "arguments": '{"path": "/tmp"}'}, answer]


@pytest.mark.parametrize("tool", [DESK, {"type": "image_generation", "model": "paint", "size": "256x256"}])
def test_one_request_at_a_time_is_enough_for_a_tool(place: Place, tool: dict[str, Any]) -> None:
    """A question that is answered holds no place among the requests that run while its calls are carried out."""
    name = "desk__add" if tool is DESK else "image_generation"
    reply = respond(place.service, f"call {name} now", tools=[tool])
    assert reply.status == 200, reply.body
    made = reply.json()
    assert (made["status"], made["output"][-1]["type"]) == ("completed", "message")
    call = next(item for item in made["output"] if item["type"].endswith("_call"))
    assert call["status"] == "completed"
    questions = [body for body in receipts(place.service.home.root) if _of(body, made["id"])]
    assert {body["outcome"] for body in questions} == {"finished"}
    assert len(questions) == (4 if tool is DESK else 3)  # two questions, and a listing and a call, or a picture


@pytest.mark.parametrize("model", ["nowhere", "closed"])
def test_an_allowed_call_waits_until_the_model_may_be_asked(place: Place, model: str) -> None:
    """What was asked about and allowed is not carried out for a model that is not there or denied."""
    before = len(place.server.calls)
    assert respond(place.service, allowed("files.delete"), model, tools=[DESK]).status in {403, 404}
    assert len(place.server.calls) == before
    assert respond(place.service, allowed("files.delete"), tools=[DESK]).status == 200
    assert len(place.server.calls) == before + 1


def test_references_bring_no_more_than_what_came_before_may(place: Place) -> None:
    """A short request cannot have a large item read as often as it likes: together they have a bound."""
    service = place.service
    said = {"type": "message", "role": "user", "content": "x" * 500_000}
    references = []
    for _ in range(20):
        talk = service.post("/v1/conversations", {"items": [said]}, key=service.key).json()
        (item,) = service.get(f"/v1/conversations/{talk['id']}/items", key=service.key).json()["data"]
        references.append({"type": "item_reference", "id": item["id"]})
    assert respond(service, references[:2]).status == 200
    refused = respond(service, references)
    assert (refused.status, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert refused.json()["error"]["param"] == "input"


def test_a_request_has_no_more_calls_carried_out_than_any_may(place: Place) -> None:
    """However many were allowed, and whatever limit the request names for itself."""
    before = len(place.server.calls)
    asked = [
        {**item, name: f"mcpr_{number}"}
        for number in range(MAX_CALLS + 2)
        for name, item in zip(("id", "approval_request_id"), allowed("files.delete"), strict=True)
    ]
    made = respond(place.service, asked, tools=[DESK], max_tool_calls=1_000_000).json()
    statuses = [item["status"] for item in made["output"] if item["type"] == "mcp_call"]
    assert statuses == ["completed"] * MAX_CALLS + ["failed"] * 2
    assert len(place.server.calls) - before == MAX_CALLS


@pytest.mark.parametrize(("more", "end"), [({}, "response.completed"), ({"store": True}, "response.failed")])
def test_zero_retention_holds_for_an_answer_that_is_being_sent(place: Place, more: dict[str, Any], end: str) -> None:
    """An answer that was begun before is not kept; who asked for that is told that it is not."""
    service = place.service
    project_id, key = make_project(service, "Nothing")
    with stream(service, key, "word " * 40, model="slow", **more) as running:
        first_of(running)
        path = f"{ORGANIZATION}/projects/{project_id}/data_retention"
        admin(service, "POST", path, {"retention_type": "zero_data_retention"})
        last = events_of(running)[-1]
    assert last["type"] == end
    assert ("zero" in str(last["response"]["error"]).lower()) is bool(more)
    assert rows(service, project_id) == [0, 0, 0]


def test_the_books_agree_afterwards(place: Place) -> None:
    """What limits are rebuilt from is what they were held to."""
    check_reconciled(place.service.home.root)


def _of(body: dict[str, Any], response_id: str) -> bool:
    return (body.get("parameters") or {}).get("response") == response_id
