"""Bodies that nobody would write, against a real server.

The short form makes some hundred requests a route. The long one: `pytest tests/fuzz --hypothesis-profile=long`
(20 times as many; see conftest.py).
"""

import base64
import json
from typing import Any
from urllib.parse import unquote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.attack import check_alive, check_error
from tests.gateway.pictures import file
from tests.service import Service

pytestmark = pytest.mark.slow

MESSAGE = {"role": "user", "content": "hello there"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
PICTURE_URL = "data:image/png;base64," + base64.b64encode(file(Image.new("RGBA", (64, 64)))).decode()
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object", "properties": {"a": {}}}}}
CHAT = {
    "model": "echo",
    "messages": [{"role": "system", "content": [{"type": "text", "text": "be kind"}]}, MESSAGE],
    "max_tokens": 8,
    "n": 2,
    "stop": ["x"],
    "seed": 1,
    "temperature": 0.5,
    "logit_bias": {"5": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "tools": [TOOL],
    "tool_choice": "auto",
    "response_format": SCHEMA,
    "metadata": {"a": "b"},
    "store": True,
    "stream": False,
    "stream_options": None,
    "user": "u",
}
COMPLETION = {
    "model": "echo",
    "prompt": ["once", "twice"],
    "max_tokens": 4,
    "n": 1,
    "best_of": 1,
    "echo": False,
    "logprobs": 1,
    "stop": "x",
    "seed": 1,
    "logit_bias": {"5": 1},
}
EMBEDDING = {"model": "echo", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 8, "user": "u"}
IMAGE = {
    "model": "painter",
    "prompt": "a cat",
    "n": 2,
    "size": "256x256",
    "quality": "high",
    "style": "vivid",
    "background": "opaque",
    "moderation": "low",
    "output_format": "webp",
    "output_compression": 50,
    "response_format": "b64_json",
    "stream": False,
    "partial_images": 0,
    "seed": 1,
    "user": "u",
}
EDIT = {
    "model": "painter",
    "prompt": "a hat",
    "images": [{"image_url": PICTURE_URL}],
    "mask": {"image_url": PICTURE_URL},
    "size": "auto",
    "n": 1,
    "output_format": "png",
    "response_format": "b64_json",
    "stream": False,
    "seed": 1,
}
DEPLOYMENT = {
    "name": "echo",
    "model": "echo",
    "engine": "echo",
    "aliases": ["other"],
    "options": {"delay_s": 0.0},
    "context_length": 64,
    "parallel": 2,
    "replicas": 0,
    "idle_unload_s": 5.0,
    "price": {"input": "0.1"},
    "defaults": {"temperature": 1},
    "fallbacks": ["slow"],
    "api_key": {"env": "NOTHING"},
}
KEY = {"name": "k", "role": "user"}
UPLOAD = {"filename": "a.txt", "purpose": "user_data", "bytes": 4, "mime_type": "text/plain"}
COMPLETE = {"part_ids": ["part_0"], "md5": "0" * 32}
SCALE = {"replicas": 0}
SAID = {
    "items": [
        {"role": "user", "content": [{"type": "input_text", "text": "x"}, {"type": "input_file", "file_id": "file-1"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "x", "annotations": [], "logprobs": []}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "x"},
        {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "t", "arguments": "{}"},
        {"type": "item_reference", "id": "msg_1"},
    ]
}
CONVERSATION = {"metadata": {"a": "b"}, "items": SAID["items"][:5]}
LABELS = {"metadata": {"a": "b"}}

ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/openai/deployments/echo/chat/completions?api-version=2024-10-21": CHAT,
    "/v1/chat/completions/chatcmpl-0": LABELS,
    "/v1/completions": COMPLETION,
    "/v1/embeddings": EMBEDDING,
    "/openai/v1/embeddings": EMBEDDING,
    "/v1/images/generations": IMAGE,
    "/v1/images/edits": EDIT,
    "/v1/uploads": UPLOAD,
    "/openai/uploads/upload_0/complete?api-version=2024-10-21": COMPLETE,
    "/v1/conversations": CONVERSATION,
    "/v1/conversations/conv_0/fork": {"after": "msg_0", "metadata": {"a": "b"}},
    "/v1/batches": {"input_file_id": "file-0", "endpoint": "/v1/embeddings", "completion_window": "24h"},
    "/v1/fine_tuning/jobs": {"model": "echo", "training_file": "file-0", "hyperparameters": {"n_epochs": 1}},
    "/openai/conversations/conv_0/items?api-version=2024-10-21": SAID,
    "/admin/keys": KEY,
}
NAMES = st.sampled_from(
    ["a.b", "a[b", "[0]", "", "model", "type", "$ref", "properties", "\u0000", "\ud800", "é", "x" * 300]
)
TEXT = st.one_of(NAMES, st.text(max_size=12))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**53, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400]),
    st.floats(),
    TEXT,
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], junk: Any, how: str) -> Any:
    """A copy of a value in which the thing at a path is replaced, left out, wrapped or given a neighbour."""
    if path:
        copy = dict(value) if isinstance(value, dict) else list(value)
        if len(path) == 1 and how == "drop":
            del copy[path[0]]
        else:
            copy[path[0]] = changed(copy[path[0]], path[1:], junk, how)
        return copy
    if how == "wrap":
        return [value]
    if how == "add" and isinstance(value, dict):
        return {**value, str(junk)[:70]: junk}
    if how == "add" and isinstance(value, list):
        return [*value, junk]
    return junk


@st.composite
def mutants(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    """A valid body with one to three changes, as JSON text, now and then damaged."""
    body: Any = valid
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(body)))
        body = changed(body, path, draw(JUNK), draw(st.sampled_from(["replace", "drop", "wrap", "add"])))
    text = json.dumps(body).encode()
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.binary(max_size=4)) + text[at + draw(st.integers(0, 3)) :]
    return text


@pytest.mark.parametrize("path", ROUTES)
def test_no_body_brings_down_a_route(service: Service, path: str) -> None:
    """Whatever the body, the answer is a success or the caller's error in its envelope, never a 5xx or a hang."""

    @given(body=mutants(ROUTES[path]))
    def attack(body: bytes) -> None:
        reply = service.request("POST", path, body, key=service.key)
        if reply.status not in {200, 201}:
            check_error(reply, azure=path.startswith("/openai"), sent=body)

    attack()
    check_alive(service)


QUERIES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "limit",
                "order",
                "after",
                "include",
                "include[]",
                "metadata",
                "metadata[a]",
                "metadata[",
                "query",
                "shared",
            ]
        )
        | TEXT,
        st.sampled_from(["1", "desc", "conv_0", "message.output_text.logprobs", "true"]) | TEXT,
    ),
    max_size=4,
)


def test_no_query_brings_down_a_list(service: Service) -> None:
    """Whatever stands behind the question mark, the answer is a page or the caller's error in its envelope."""
    made = service.post("/v1/conversations", {"items": SAID["items"][:1]}).json()["id"]
    paths = ("/v1/conversations", f"/v1/conversations/{made}/items", f"/openai/v1/conversations/{made}/items/msg_0")

    @given(path=st.sampled_from(paths), query=QUERIES)
    def attack(path: str, query: list[tuple[str, str]]) -> None:
        text = urlencode(query, errors="replace")
        reply = service.get(f"{path}?{text}", key=service.key)
        if reply.status != 200:
            check_error(reply, azure=path.startswith("/openai"), sent=unquote_plus(text))

    attack()
    check_alive(service)


@pytest.mark.parametrize(
    ("method", "path", "valid"),
    [
        ("POST", "/admin/deployments", DEPLOYMENT),
        ("PUT", "/admin/deployments/echo", DEPLOYMENT),
        ("PATCH", "/admin/deployments/echo", SCALE),
        ("DELETE", "/admin/models/none", KEY),
    ],
)
def test_no_body_brings_down_the_control_plane(service: Service, method: str, path: str, valid: dict[str, Any]) -> None:
    """Settings that make no sense are refused in the envelope; those that do leave the service as well as before."""

    @given(body=mutants(valid))
    def attack(body: bytes) -> None:
        reply = service.request(method, path, body, key=service.key)
        if reply.status == 201:
            made = reply.json()["name"]
            assert service.request("DELETE", f"/admin/deployments/{made}", key=service.key).status == 200
        elif reply.status != 200:
            check_error(reply, sent=body)

    attack()
    check_alive(service)


@pytest.mark.parametrize(
    "extra",
    [
        {"metadata": {"a.b": 1}},
        {"metadata": {"a[b": 1}},
        {"seed": 10**30},
        {"max_tokens": 10**4000},
        {"temperature": float("inf")},
        {"messages": [{"role": "user", "content": "\ud800"}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"const": 10**30}}}]},
    ],
)
def test_what_once_was_a_defect_is_the_callers_error(service: Service, extra: dict[str, Any]) -> None:
    """Keys that look like paths, numbers without bounds and lone surrogates are named as mistakes."""
    text = json.dumps({"model": "echo", "messages": [MESSAGE]} | extra)
    check_error(service.request("POST", "/v1/chat/completions", text.encode(), key=service.key))


@pytest.mark.parametrize(
    "extra",
    [
        {"options": {"\ud800": 1}},
        {"price": {"input": -5}},
        {"price": {"input": "1e999999"}},
        {"context_length": 10**30},
        {"idle_unload_s": float("inf")},
        {"idle_unload_s": float("nan")},
    ],
)
def test_settings_out_of_bounds_are_refused(service: Service, extra: dict[str, Any]) -> None:
    """A deployment has no negative price, no endless number and no text that cannot be written."""
    body = json.dumps({"name": "odd", "model": "echo", "engine": "echo"} | extra).encode()
    check_error(service.request("POST", "/admin/deployments", body, key=service.key))


def test_a_schema_of_any_depth_is_refused(service: Service) -> None:
    """A schema that is nested beyond what can be walked is an invalid schema."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(300):
        schema = {"type": "object", "properties": {"a": schema}}
    wanted = {"type": "json_schema", "json_schema": {"name": "deep", "schema": schema}}
    reply = service.post("/v1/chat/completions", {"model": "echo", "messages": [MESSAGE], "response_format": wanted})
    check_error(reply)
    assert reply.json()["error"]["code"] in {"invalid_json_schema", "invalid_json"}
