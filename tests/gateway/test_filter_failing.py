"""A content filter that breaks, in a real server: nothing passes unexamined, or it says so."""

import json
from collections.abc import Iterator

import pytest

from tests.gateway.filtered import body_saying, path, receipt, receipt_of
from tests.service import Service, events_of

pytestmark = pytest.mark.slow

FAILING = """
[server]
starter = false

[[content_filter]]
name = "open"
on_error = "open"

[[content_filter]]
name = "unmade"

[[deployment]]
name = "unmade"
engine = "echo"
model = "echo"
content_filter = "unmade"

[[deployment]]
name = "closed"
engine = "echo"
model = "echo"
options = { delay_s = 0.06 }

[[deployment]]
name = "open"
engine = "echo"
model = "echo"
content_filter = "open"

[[deployment]]
name = "paint"
engine = "echo"
model = "echo"
task = "images"
"""


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with a detector that breaks at the word `crash`."""
    program = "tests.content_filter.failing_server"
    with Service(tmp_path_factory.mktemp("failing"), FAILING, program=program) as service:
        yield service


@pytest.mark.parametrize("operation", ["chat/completions", "completions"])
def test_a_prompt_that_cannot_be_examined_is_not_served(failing: Service, operation: str) -> None:
    """A detector that breaks gives 503, a receipt that says `failed` and never `scanned`, and no text in the log."""
    reply = failing.post(f"/v1/{operation}", body_saying("closed", operation, "a secret-word crash"))
    assert (reply.status, reply.json()["error"]["code"]) == (503, "content_filter_unavailable")
    assert "retry-after" in reply.headers
    found = receipt(failing, reply)
    assert found["outcome"] == "failed"
    assert (found["filter"]["failed"], found["filter"]["scanned"]) == (["prompt"], [])
    assert "detector_failed" in failing.log()
    assert "secret-word" not in failing.log()


def test_a_filter_that_cannot_be_made_serves_nothing(failing: Service) -> None:
    """Where a policy's detectors cannot be made, nothing passes under it."""
    reply = failing.post("/v1/chat/completions", body_saying("unmade", "chat/completions", "hello"))
    assert (reply.status, reply.json()["error"]["code"]) == (503, "content_filter_unavailable")


def test_a_picture_whose_prompt_cannot_be_examined_is_not_painted(failing: Service) -> None:
    """The same holds for pictures."""
    assert failing.post("/v1/images/generations", {"model": "paint", "prompt": "a crash"}).status == 503


@pytest.mark.parametrize("operation", ["chat/completions", "completions"])
def test_an_open_policy_serves_what_cannot_be_examined_and_says_so(failing: Service, operation: str) -> None:
    """Under an open policy the answer comes, with Azure's `content_filter_error`, and the receipt says `failed`."""
    reply = failing.post(path("azure", "open", operation), body_saying("open", operation, "a crash"))
    answer = reply.json()
    error = {"code": "content_filter_error", "message": "The contents are not filtered"}
    assert reply.status == 200
    assert answer["prompt_filter_results"][0]["content_filter_results"] == {"error": error}
    assert answer["choices"][0]["content_filter_results"] == {"error": error}
    found = receipt(failing, reply)
    assert (found["filter"]["failed"], found["filter"]["scanned"]) == (["prompt", "completion"], [])


def test_a_stream_that_cannot_be_examined_ends_with_an_error(failing: Service) -> None:
    """In a stream that has begun the error is an event, and the unexamined text does not come."""
    schema = {
        "type": "object",
        "properties": {"x": {"const": "all is well so far, but crash it does"}},
        "required": ["x"],
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = body_saying("closed", "chat/completions", "hello") | {"response_format": form, "stream": True}
    with failing.open("POST", "/v1/chat/completions", body, key=failing.key) as response:
        request_id = response.headers["x-request-id"]
        events = events_of(response)
    assert events[-1]["error"]["code"] == "content_filter_unavailable"
    assert "crash" not in json.dumps(events[:-1])
    found = receipt_of(failing, request_id)
    assert (found["filter"]["failed"], found["filter"]["scanned"]) == (["completion"], ["prompt"])
