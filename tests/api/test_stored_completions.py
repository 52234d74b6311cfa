"""Stored completions over HTTP: what is kept when, whose it is, and what is left when something goes wrong."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from freehold.store.home import Home
from tests.api.test_erasure import Person, make_people
from tests.api.test_kept_content import CONFIG, ORGANIZATION, WORDS, admin, ask, make_project
from tests.service import Reply, Service, events_of, eventually

pytestmark = pytest.mark.slow

CHAT = "/v1/chat/completions"
FILTERED = """
[[blocklist]]
name = "banned"
prompt = "off"
items = [{ term = "bananaphone" }]

[[content_filter]]
name = "masks"
blocklists = ["banned"]
personal_data = { prompt = "mask" }

[[deployment]]
name = "filtered"
engine = "echo"
model = "echo"
content_filter = "masks"
options = { delay_s = 0.02 }
"""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Person]]:
    """A home with two users of one project."""
    root = tmp_path_factory.mktemp("home")
    return root, asyncio.run(make_people(Home(root)))


@pytest.fixture(scope="module")
def service(people: tuple[Path, dict[str, Person]]) -> Iterator[Service]:
    """A server on that home."""
    with Service(people[0], CONFIG + FILTERED) as service:
        yield service


def listed(service: Service, key: str, query: str = "") -> list[str]:
    """The ids that are there for a caller."""
    reply = service.get(f"{CHAT}?limit=100{query}", key=key)
    assert reply.status == 200, reply
    return [each["id"] for each in reply.json()["data"]]


def stream(service: Service, key: str, **more: Any) -> list[Any]:
    """The events of a streamed completion that is to be stored."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "hello"}], "stream": True, "store": True}
    return events_of(service.open("POST", CHAT, {**body, **more}, key=key))


def uses(service: Service, completion_id: str, key: str) -> list[Reply]:
    """What every operation on a completion answers, and the list behind it."""
    path = f"{CHAT}/{completion_id}"
    return [
        service.get(path, key=key),
        service.get(f"{path}/messages", key=key),
        service.request("POST", path, {"metadata": {"team": "mine"}}, key=key),
        service.get(f"{CHAT}?after={completion_id}", key=key),
        service.request("DELETE", path, key=key),
    ]


@contextmanager
def unwritable(service: Service) -> Iterator[None]:
    """The database takes no stored completions for a while."""
    with closing(sqlite3.connect(service.home.database, timeout=30)) as connection:
        connection.execute("ALTER TABLE kept_completions RENAME TO put_away")
        try:
            yield
        finally:
            connection.execute("ALTER TABLE put_away RENAME TO kept_completions")


def receipt(service: Service, request_id: str) -> dict[str, Any]:
    """The receipt of a request."""
    found: dict[str, Any] = service.get(f"/v1/receipts/{request_id}", key=service.key).json()["receipt"]
    return found


def test_another_ones_completion_does_not_exist(service: Service, people: tuple[Path, dict[str, Person]]) -> None:
    """Another project, another organization and a colleague learn of a completion what they learn of none."""
    _, key = make_project(service, "Ours")
    _, stranger = make_project(service, "Theirs")
    abroad = admin(service, "POST", "/admin/organizations", {"name": "Abroad"})["api_key"]["value"]
    ann, bob = people[1]["ann"].key, people[1]["bob"].key
    ours, anns = (ask(service, each, store=True, metadata={"team": "red"}).json()["id"] for each in (key, ann))
    for completion_id, others in ((ours, (stranger, abroad, ann, service.key)), (anns, (bob, key, abroad))):
        for other in others:
            replies = uses(service, completion_id, other)
            nothing = uses(service, "chatcmpl-nothing", other)
            assert [each.status for each in replies] == [404] * 5
            told = [each.body.replace(completion_id.encode(), b"chatcmpl-nothing") for each in replies]
            assert told == [each.body for each in nothing]
            assert completion_id not in listed(service, other) + listed(service, other, "&metadata[team]=red")
    for completion_id, owner in ((ours, key), (anns, ann)):
        assert listed(service, owner) == listed(service, owner, "&metadata[team]=red") == [completion_id]
        assert [each.status for each in uses(service, completion_id, owner)] == [200] * 5


def test_the_same_request_again_stores_nothing_twice(service: Service) -> None:
    """A replay by `Idempotency-Key`, whole or as a stream, gives the same id, and one completion is stored."""
    _, key = make_project(service, "Once")
    for more in ({}, {"stream": True}):
        replies = [ask(service, key, headers={"idempotency-key": f"once{more}"}, store=True, **more) for _ in range(2)]
        assert replies[0].body == replies[1].body
        assert replies[1].headers["idempotent-replayed"] == "true"
    assert len(listed(service, key)) == 2


def test_a_projects_word_counts_where_the_request_says_nothing(service: Service) -> None:
    """With `store` in its retention what says nothing is stored, `false` is not, and who may only ask is answered."""
    project_id, key = make_project(service, "By default")
    scope = {"operations": ["deployments:infer"]}
    narrow = admin(service, "POST", "/admin/keys", {"name": "asks", "role": "user", "scope": scope})["key"]
    admin(service, "PUT", f"{ORGANIZATION}/projects/{project_id}/retention", {"store": True})
    admin(service, "PUT", f"{ORGANIZATION}/projects/proj-default/retention", {"store": True})
    try:
        kept = ask(service, key)
        not_kept = ask(service, key, store=False)
        streamed = stream(service, key, store=None)
        assert listed(service, key) == [kept.json()["id"], streamed[0]["id"]]
        before = listed(service, service.key)
        assert ask(service, narrow).status == 200
        refused = ask(service, narrow, store=True)
        assert (refused.status, refused.json()["error"]["code"]) == (403, "insufficient_permissions")
        assert "conversations:write" in refused.json()["error"]["message"]
        assert listed(service, service.key) == before
    finally:
        admin(service, "PUT", f"{ORGANIZATION}/projects/proj-default/retention", {})
    said = [receipt(service, each.headers["x-request-id"])["parameters"] for each in (kept, not_kept)]
    assert ["store" in each for each in said] == [True, False]


def test_what_cannot_be_stored_is_not_answered_to_its_end(service: Service) -> None:
    """A whole answer becomes an error, a stream ends with one and without `[DONE]`; other requests go on."""
    _, key = make_project(service, "Full")
    with unwritable(service):
        refused = ask(service, key, store=True)
        events = stream(service, key)
        assert ask(service, key).status == 200
    assert (refused.status, refused.json()["error"]["code"]) == (500, "home_unusable")
    assert events[0]["object"] == "chat.completion.chunk"
    assert events[-1]["error"]["code"] == "home_unusable"
    said = receipt(service, refused.headers["x-request-id"])
    assert (said["outcome"], said["error_code"]) == ("failed", "home_unusable")
    assert "store" not in said["parameters"]
    assert listed(service, key) == []
    assert stream(service, key)[-1] == "[DONE]"
    assert len(listed(service, key)) == 1


def test_a_caller_who_leaves_has_nothing_stored(service: Service) -> None:
    """What a caller did not wait for to its end is not kept."""
    _, key = make_project(service, "Gone")
    body = {"model": "slow", "messages": [{"role": "user", "content": WORDS}], "stream": True, "store": True}
    with service.open("POST", CHAT, body, key=key) as running:
        request_id = running.headers["x-request-id"]
        running.readline()
    eventually(lambda: service.get(f"/v1/receipts/{request_id}", key=service.key).status == 200, "its receipt")
    assert receipt(service, request_id)["outcome"] == "cancelled"
    assert listed(service, key) == []


@pytest.mark.parametrize("streamed", [False, True])
def test_what_the_filter_let_through_is_stored(service: Service, streamed: bool) -> None:
    """A masked prompt is stored as the caller wrote it, a blocked completion as far as it was sent, and why it ends."""
    said = f"{WORDS} the address is ann@telltale.example and then bananaphone comes"
    body = {"model": "filtered", "messages": [{"role": "user", "content": said}], "store": True, "stream": streamed}
    with service.open("POST", CHAT, body, key=service.key) as answer:
        if streamed:
            events = events_of(answer)
            assert events.pop() == "[DONE]"
            completion_id = events[0]["id"]
            choices = [choice for event in events for choice in event["choices"]]
            sent = "".join(choice["delta"].get("content") or "" for choice in choices)
        else:
            whole = json.load(answer)
            completion_id, sent = whole["id"], whole["choices"][0]["message"]["content"]
    (kept,) = service.get(f"{CHAT}/{completion_id}", key=service.key).json()["choices"]
    assert kept["finish_reason"] == "content_filter"
    assert (kept["message"]["content"] or "") == (sent or "")
    assert sent or not streamed
    assert "telltale" not in str(kept)
    assert "bananaphone" not in str(kept)
    (message,) = service.get(f"{CHAT}/{completion_id}/messages", key=service.key).json()["data"]
    assert message["content"] == said


def test_a_key_of_metadata_is_asked_for_once(service: Service) -> None:
    """Two values for one key are refused by name: nothing has both."""
    reply = service.get(f"{CHAT}?metadata[team]=red&metadata[team]=blue", key=service.key)
    assert (reply.status, reply.json()["error"]["param"]) == (400, "metadata")


def test_a_revoked_key_closes_what_is_stored(service: Service) -> None:
    """While a project's key is revoked nothing of it is read, and afterwards everything is there."""
    project_id, key = make_project(service, "Stopped")
    made = ask(service, key, store=True).json()["id"]
    admin(service, "POST", f"/admin/projects/{project_id}/content-key/revoke")
    for reply in (*uses(service, made, key), ask(service, key, store=True)):
        assert (reply.status, reply.json()["error"]["code"]) == (403, "project_key_revoked")
    admin(service, "POST", f"/admin/projects/{project_id}/content-key/restore")
    assert service.get(f"{CHAT}/{made}", key=key).status == 200


def test_both_dialects_have_the_same(service: Service) -> None:
    """What is stored through Azure's routes is read through OpenAI's, without annotations of the filter."""
    _, key = make_project(service, "Both")
    body = {"messages": [{"role": "user", "content": "hello"}], "store": True}
    version = "api-version=2024-10-21"
    made = service.request("POST", f"/openai/deployments/echo/chat/completions?{version}", body, key=key).json()
    path = f"chat/completions/{made['id']}"
    found = [service.get(f"{prefix}/{path}?{version}", key=key) for prefix in ("/v1", "/openai", "/openai/v1")]
    assert [each.json()["choices"][0]["message"] for each in found] == [made["choices"][0]["message"]] * 3
    assert "content_filter_results" in made["choices"][0]
    assert b"filter" not in found[0].body
    undated = service.get(f"/openai/{path}", key=key)
    assert (undated.status, undated.json()["error"]["code"]) == (404, "404")
