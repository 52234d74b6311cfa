"""Tools of MCP servers in responses, through the official client and a real server of the official SDK."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.conformance.recording import Dialect, Judge, client_for
from tests.faults.books import receipts
from tests.mcp_server import ToolServer, tool_server
from tests.service import Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[mcp_server]]
label = "desk"
url = "{url}"
tools = ["add", "fail", "files.delete", "hang"]
timeout_s = 5

[[mcp_server]]
label = "gone"
url = "http://127.0.0.1:9/mcp"

[[mcp_server]]
label = "elsewhere"
url = "{url}"
projects = ["proj-other"]
"""
DESK: Any = {"type": "mcp", "server_label": "desk", "require_approval": "never"}
ASKED: Any = {"type": "mcp", "server_label": "desk"}


@dataclass(frozen=True, slots=True)
class Place:
    """What a test has: the service and the MCP server."""

    service: Service
    server: ToolServer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A service that may call an MCP server."""
    with tool_server() as server:
        config = CONFIG.format(url=server.url)
        with Service(tmp_path_factory.mktemp("home"), config) as service:
            yield Place(service, server)


@pytest.fixture
def client(place: Place, dialect: Dialect, judge: Judge) -> Iterator[OpenAI]:
    """The official client in each dialect."""
    with client_for(place.service, dialect, judge) as client:
        yield client


def test_a_model_calls_a_tool_and_goes_on(client: OpenAI, place: Place) -> None:
    """Listing, call and answer are items; the model is told what the tool gave; each has a receipt."""
    before = len(receipts(place.service.home.root))
    made = client.responses.create(model="echo", input="call desk__add now", tools=[DESK])
    listing, call, said = made.output
    assert listing.type == "mcp_list_tools"
    assert {tool.name for tool in listing.tools} == {"add", "fail", "files.delete", "hang"}
    assert call.type == "mcp_call"
    assert (call.name, call.status, call.error) == ("add", "completed", None)
    assert call.output == "0"
    assert said.type == "message"
    assert made.output_text == "0"
    new = receipts(place.service.home.root)[before:]
    told = [(body["parameters"].get("mcp_tool"), body["outcome"]) for body in new if "mcp_server" in body["parameters"]]
    assert told == [(None, "finished"), ("add", "finished")]
    again = client.responses.create(model="echo", input="thanks", previous_response_id=made.id)
    assert again.output_text == "thanks"


def test_a_stream_tells_of_listing_and_call(client: OpenAI) -> None:
    """Events of the listing come before the model's, those of the call around its arguments and its end."""
    stream = client.responses.create(model="echo", input="call desk__add now", tools=[DESK], stream=True)
    events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events if ".mcp_" in event.type and not event.type.endswith(".delta")]
    assert kinds == [
        "response.mcp_list_tools.in_progress",
        "response.mcp_list_tools.completed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.done",
        "response.mcp_call.completed",
    ]
    assert events[-1].type == "response.completed"


def test_a_call_that_fails_is_told_to_the_model(client: OpenAI) -> None:
    """What the tool says of its failure stands in the item, and the model goes on with it."""
    made = client.responses.create(model="echo", input="call desk__fail now", tools=[DESK])
    call = made.output[1]
    assert call.type == "mcp_call"
    assert call.status == "failed"
    assert made.output_text.endswith(call.output or "")
    assert "does not work" in made.output_text


@pytest.mark.parametrize("approve", [True, False])
def test_a_call_waits_for_approval(client: OpenAI, place: Place, *, approve: bool) -> None:
    """The response ends with the question; with yes the call is made once, with no the model is told so."""
    calls = len(place.server.calls)
    asked = client.responses.create(model="echo", input="call desk__files_delete now", tools=[ASKED])
    question = asked.output[-1]
    assert question.type == "mcp_approval_request"
    assert question.name == "files.delete"
    assert len(place.server.calls) == calls
    answer: Any = {"type": "mcp_approval_response", "approval_request_id": question.id, "approve": approve}
    told = client.responses.create(model="echo", input=[answer], previous_response_id=asked.id, tools=[ASKED])
    made = [item for item in told.output if item.type == "mcp_call"]
    assert len(made) == len(place.server.calls) - calls == approve
    if approve:
        assert (made[0].approval_request_id, made[0].status) == (question.id, "completed")
        assert told.output_text == "gone"
    else:
        assert told.output_text == "The user did not allow this call."
    with pytest.raises(openai.BadRequestError, match="answered before"):
        client.responses.create(model="echo", input=[answer], previous_response_id=told.id, tools=[ASKED])


@pytest.mark.parametrize(
    ("wrong", "param"),
    [({"reasoning": {"effort": "high"}}, "reasoning.effort"), ({"model": "nothing"}, "model"), ({"top_p": 3}, "top_p")],
)
def test_nothing_is_called_for_a_request_that_is_refused(place: Place, wrong: dict[str, Any], param: str) -> None:
    """An allowed call is not made where the model cannot be asked afterwards; the same request, mended, makes it."""
    calls = len(place.server.calls)
    with client_for(place.service, "openai", Judge(None, None)) as client:
        asked = client.responses.create(model="echo", input="call desk__files_delete now", tools=[ASKED])
        answer = {"type": "mcp_approval_response", "approval_request_id": asked.output[-1].id, "approve": True}
        body: Any = {"model": "echo", "input": [answer], "previous_response_id": asked.id, "tools": [ASKED]}
        for more in ({}, {"stream": True}, {"background": True}):
            with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as refused:
                client.responses.create(**{**body, **wrong, **more})
            assert refused.value.param == param
        assert len(place.server.calls) == calls
        assert client.responses.create(**body).output_text == "gone"
    assert len(place.server.calls) == calls + 1


@pytest.mark.parametrize(
    ("tool", "kind", "words"),
    [
        ({"type": "mcp", "server_label": "unknown"}, openai.PermissionDeniedError, "not allowed"),
        ({"type": "mcp", "server_label": "elsewhere"}, openai.PermissionDeniedError, "not allowed"),
        ({**DESK, "server_url": "https://evil.example/mcp"}, openai.PermissionDeniedError, "not allowed"),
        ({"type": "mcp", "server_label": "gone"}, openai.InternalServerError, "gone"),
        ({**DESK, "connector_id": "connector_gmail"}, openai.BadRequestError, "connector_id"),
    ],
)
def test_only_servers_of_the_operator_are_called(place: Place, tool: Any, kind: type[Exception], words: str) -> None:
    """Any other server is refused before anything is made, and one that does not answer is an error."""
    with client_for(place.service, "openai", Judge(None, None)) as client, pytest.raises(kind, match=words):
        client.responses.create(model="echo", input="x", tools=[tool])
