"""Copying, sharing and searching conversations over HTTP, and going on with them by responses."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from freehold.store.home import Home
from tests.api.test_conversations import CONVERSATIONS, begin
from tests.api.test_erasure import Person, make_people
from tests.api.test_kept_content import admin
from tests.service import ECHO_CONFIG, Service, each_event

pytestmark = pytest.mark.slow

SLOW = """
[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = { delay_s = 0.02 }
"""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Person]]:
    """A home with two users of one project, and the users."""
    root = tmp_path_factory.mktemp("home")
    return root, asyncio.run(make_people(Home(root)))


@pytest.fixture(scope="module")
def service(people: tuple[Path, dict[str, Person]]) -> Iterator[Service]:
    """A server on that home."""
    with Service(people[0], ECHO_CONFIG + SLOW) as service:
        yield service


def said(service: Service, key: str, conversation_id: str) -> list[tuple[str, str]]:
    """Roles and texts of a conversation's messages, the oldest first."""
    reply = service.get(f"{CONVERSATIONS}/{conversation_id}/items?order=asc&limit=100", key=key)
    return [(item["role"], item["content"][0]["text"]) for item in reply.json()["data"]]


def test_a_conversation_is_shared_read_and_copied(service: Service, people: tuple[Path, dict[str, Person]]) -> None:
    """A colleague is told whose it is, finds it, reads it, is refused by name what changes it, and copies it."""
    ann, bob = people[1]["ann"].key, people[1]["bob"].key
    conversation_id, (item_id, _) = begin(service, ann, "the moon", "the sun", title="Sky")
    path = f"{CONVERSATIONS}/{conversation_id}"
    shown = service.request("POST", f"{path}/share", key=ann).json()
    owner = shown.pop("owner")
    assert shown == {
        "object": "conversation.share",
        "conversation_id": conversation_id,
        "shared": True,
        "mine": True,
    }
    assert service.get(f"{path}/share", key=bob).json() == {**shown, "mine": False, "owner": owner}
    listed = service.get(f"{CONVERSATIONS}?shared=true&query=MOON", key=bob).json()["data"]
    assert [(each["id"], each["shared"], each["owner"]) for each in listed] == [(conversation_id, True, owner)]
    mine = service.get(f"{CONVERSATIONS}?shared=false&query=moon", key=ann).json()["data"]
    assert mine == listed
    for method, to, body in (
        ("POST", path, {"metadata": {}}),
        ("DELETE", path, None),
        ("POST", f"{path}/items", {"items": [{"role": "user", "content": "x"}]}),
        ("DELETE", f"{path}/items/{item_id}", None),
        ("DELETE", f"{path}/share", None),
        ("POST", "/v1/responses", {"model": "echo", "input": "x", "conversation": conversation_id}),
    ):
        refused = service.request(method, to, body, key=bob)
        assert (refused.status, refused.json()["error"]["code"]) == (403, "insufficient_permissions"), (method, to)
        assert "/fork" in refused.json()["error"]["message"]
    copied = service.post(f"{path}/fork", {"after": item_id, "metadata": {"from": "Ann"}}, key=bob)
    receipt = service.get(f"/v1/receipts/{copied.headers['x-request-id']}", key=bob).json()["receipt"]
    assert receipt["parameters"] == {"items": 1}
    assert copied.json()["metadata"] == {"from": "Ann"}
    assert said(service, bob, copied.json()["id"]) == [("user", "the moon")]
    assert service.get(f"{CONVERSATIONS}/{copied.json()['id']}", key=ann).status == 404
    audit = admin(service, "GET", "/admin/audit?event=conversation.shared")["data"]
    assert [(each["resource_id"], each["principal"]) for each in audit] == [(conversation_id, owner["id"])]
    assert service.request("DELETE", f"{path}/share", key=ann).json()["shared"] is False
    assert service.get(path, key=bob).status == 404


def test_an_answer_is_made_again_in_a_copy(service: Service) -> None:
    """A copy that ends with the question, gone on with without further input, gets another answer to it."""
    conversation_id, _ = begin(service, service.key)
    ask: dict[str, Any] = {"model": "echo", "input": "why", "conversation": conversation_id}
    assert service.post("/v1/responses", ask).status == 200
    before = said(service, service.key, conversation_id)
    items = service.get(f"{CONVERSATIONS}/{conversation_id}/items?order=asc", key=service.key).json()["data"]
    without: list[dict[str, Any]] = [{}, {"input": ""}, {"input": []}, {"input": None}]
    for number, more in enumerate(without):
        copy = service.post(f"{CONVERSATIONS}/{conversation_id}/fork", {"after": items[0]["id"]}).json()["id"]
        again = service.post("/v1/responses", {"model": "echo", "conversation": copy, **more})
        assert again.status == 200, (number, again)
        assert said(service, service.key, copy) == before
    assert [role for role, _ in before] == ["user", "assistant"]


def test_stopping_an_answer_loses_nothing(service: Service) -> None:
    """One that is cancelled while it is made leaves in its conversation what was asked and what was said until then."""
    conversation_id, _ = begin(service, service.key)
    asked = "word " * 2000
    body = {"model": "slow", "input": asked, "conversation": conversation_id, "background": True, "stream": True}
    with service.open("POST", "/v1/responses", body, key=service.key) as answer:
        name, cancelled = "", None
        heard = ""
        for event in each_event(answer):
            name = event.get("response", {}).get("id", name)
            heard += event.get("delta", "") if event["type"] == "response.output_text.delta" else ""
            if heard and cancelled is None:
                cancelled = service.request("POST", f"/v1/responses/{name}/cancel", key=service.key)
    assert cancelled is not None
    assert cancelled.json()["status"] == "cancelled"
    (first, second) = said(service, service.key, conversation_id)
    assert first == ("user", asked)
    assert second == ("assistant", heard)
    assert 0 < len(heard) < len(asked)
    assert (
        service.post("/v1/responses", {"model": "echo", "input": "go on", "conversation": conversation_id}).status
        == 200
    )


def test_a_wrong_search_is_refused(service: Service) -> None:
    """An empty or overlong text, a truth value that is none and a wrong place to cut are named."""
    conversation_id, _ = begin(service, service.key, "words")
    for query, param in (("query=", "query"), (f"query={'x' * 257}", "query"), ("shared=yes", "shared")):
        reply = service.get(f"{CONVERSATIONS}?{query}", key=service.key)
        assert (reply.status, reply.json()["error"]["param"]) == (400, param)
    for body, param in (({"after": "msg_0"}, "after"), ({"after": ""}, "after"), ({"last": "msg_0"}, "last")):
        reply = service.post(f"{CONVERSATIONS}/{conversation_id}/fork", body)
        assert (reply.status, reply.json()["error"]["param"]) == (400, param)
