"""Bodies of responses that nobody would write, and what is kept of them."""

import sqlite3
from contextlib import closing
from functools import cache
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.attack import check_alive, check_error
from tests.fuzz.test_api_fuzz import PICTURE_URL, mutants
from tests.service import Service, events_of, eventually

pytestmark = pytest.mark.slow

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "name": "f", "parameters": PARAMETERS, "strict": True, "description": "d"}]
PAINTS = {"type": "image_generation", "model": "painter", "size": "256x256", "partial_images": 1, "quality": "low"}
TEXT = {"type": "input_text", "text": "hello"}
SAID = {"type": "output_text", "text": "hello", "annotations": [], "logprobs": []}
ITEMS: list[dict[str, Any]] = [
    {"role": "system", "content": "be kind"},
    {"type": "message", "role": "user", "content": [TEXT, {"type": "input_image", "image_url": PICTURE_URL}]},
    {"role": "user", "content": [{"type": "input_file", "file_data": "aGVsbG8=", "filename": "a.txt"}]},
    {"type": "message", "role": "assistant", "content": [SAID, {"type": "refusal", "refusal": "no"}], "phase": None},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "x"},
    {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"},
    {"type": "function_call_output", "call_id": "c1", "output": [TEXT]},
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AAAA"},
    {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": [{"name": "t", "input_schema": {}}]},
    {
        "type": "mcp_call",
        "id": "mcp_1",
        "server_label": "s",
        "name": "t",
        "arguments": "{}",
        "error": {"type": "http_error", "code": 5, "message": "x"},
    },
    {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "t", "arguments": "{}"},
    {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": False, "reason": "r"},
    {"role": "user", "content": "and now"},
]
BODIES: dict[str, dict[str, Any]] = {
    "items": {"model": "echo", "input": ITEMS, "tools": TOOLS, "truncation": "auto", "user": "u"},
    "parameters": {
        "model": "echo",
        "input": "hello",
        "instructions": "be kind",
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "max_output_tokens": 16,
        "max_tool_calls": 2,
        "metadata": {"a": "b"},
        "parallel_tool_calls": True,
        "reasoning": None,
        "safety_identifier": "u",
        "service_tier": "auto",
        "store": True,
        "temperature": 0.5,
        "top_p": 0.5,
        "text": {"format": {"type": "json_schema", "name": "s", "schema": PARAMETERS, "strict": True}},
        "tool_choice": "auto",
        "tools": TOOLS,
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "truncation": "disabled",
    },
    "background": {"model": "echo", "input": "a b c", "background": True, "stream": True, "tools": TOOLS},
    "stream": {"model": "echo", "input": "image_generation", "stream": True, "tools": [PAINTS, *TOOLS]},
}


def half_made(service: Service) -> list[Any]:
    """Rows of responses that are not done, and rows of items and events whose response is not there."""
    open_ones = "SELECT id, status FROM kept_responses WHERE status IN ('queued', 'in_progress')"
    orphans = "SELECT holder_id, 'orphan' FROM {} WHERE holder_id NOT IN (SELECT id FROM kept_responses)"
    queries = [open_ones, *(orphans.format(table) for table in ("kept_response_items", "kept_response_events"))]
    with closing(sqlite3.connect(f"{service.home.database.as_uri()}?mode=ro", uri=True)) as database:
        return [row for query in queries for row in database.execute(query)]


def look_at(service: Service, body: Any) -> None:
    """Hold that a response that was answered is a whole one."""
    assert body["object"] == "response"
    assert body["status"] in {"queued", "in_progress", "completed", "incomplete", "failed"}
    found = service.get(f"/v1/responses/{body['id']}", key=service.key)
    if found.status == 200 and not body["background"]:
        assert found.json() == body
        assert service.get(f"/v1/responses/{body['id']}/input_items", key=service.key).status == 200
    else:
        assert found.status in {200, 404}


@pytest.mark.parametrize("name", BODIES)
def test_no_body_leaves_a_response_half_made(service: Service, name: str) -> None:
    """Whatever the body: an answer that is kept as it was told, a stream with an end, or the caller's error."""

    @given(body=mutants(BODIES[name]))
    def attack(body: bytes) -> None:
        with service.open("POST", "/v1/responses", body, key=service.key) as answer:
            if answer.status != 200:
                reply = service.request("POST", "/v1/responses", body, key=service.key)
                check_error(reply, sent=body)
                return
            if answer.headers["content-type"].startswith("application/json"):
                (told,) = events_of(answer)
                look_at(service, told)
                return
            events = events_of(answer)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[-1]["type"] in {"response.completed", "response.incomplete", "response.failed"}
        look_at(service, events[-1]["response"])

    attack()
    eventually(lambda: half_made(service) == [], "every response has come to its end")
    check_alive(service)


@given(st.text(max_size=140), st.sampled_from(["GET", "DELETE"]), st.sampled_from(["", "/cancel", "/input_items"]))
def test_no_id_is_a_defect(service: Service, name: str, method: str, rest: str) -> None:
    """Whatever stands where an id belongs, in a path or in a body, there is no such response."""
    for body in (
        {"model": "echo", "input": "x", "previous_response_id": name},
        {"model": "echo", "input": "x", "conversation": name},
        {"model": "echo", "input": [{"type": "item_reference", "id": name}]},
        {"model": "echo", "input": [{"role": "user", "content": [{"type": "input_file", "file_id": name}]}]},
    ):
        check_error(service.post("/v1/responses", body), sent=name)
    path = "".join(f"%{byte:02x}" for byte in name.encode("utf-8", "replace"))
    method = "POST" if rest == "/cancel" else "GET" if rest else method
    check_error(service.request(method, f"/v1/responses/x{path}{rest}", key=service.key), sent=name)


@given(
    st.sampled_from(["stream", "starting_after", "limit", "after", "order", "include", "include[]", "nothing"]),
    st.one_of(
        st.text(max_size=20), st.integers().map(str), st.sampled_from(["true", "asc", "1e3", "٣", "-0", "9" * 40])
    ),
    st.booleans(),
)
def test_no_query_is_a_defect(service: Service, name: str, value: str, items: bool) -> None:
    """Whatever stands behind a path, the answer is a good one or the caller's error."""
    made = kept_response(service)
    rest = "/input_items" if items else ""
    query = urlencode({"stream": "true", name: value} if name == "starting_after" else {name: value}, errors="replace")
    reply = service.get(f"/v1/responses/{made}{rest}?{query}", key=service.key)
    if reply.status != 200:
        check_error(reply, sent=value)


@cache
def kept_response(service: Service) -> str:
    """A response in the background that has a stream, once it is done; its id."""
    body = {"model": "echo", "input": "one two", "background": True, "stream": True}
    with service.open("POST", "/v1/responses", body, key=service.key) as answer:
        return str(events_of(answer)[-1]["response"]["id"])
