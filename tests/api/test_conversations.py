"""Conversations over HTTP: whose they are, what a query may be, and what receipts and the log tell of them."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from freehold.store.home import Home
from tests.api.test_erasure import Person, make_people
from tests.api.test_kept_content import admin, make_project
from tests.service import ECHO_CONFIG, Reply, Service

pytestmark = pytest.mark.slow

CONVERSATIONS = "/v1/conversations"
SECRET = "words that nobody else reads"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Person]]:
    """A home with two users of one project, and the users."""
    root = tmp_path_factory.mktemp("home")
    return root, asyncio.run(make_people(Home(root)))


@pytest.fixture(scope="module")
def service(people: tuple[Path, dict[str, Person]]) -> Iterator[Service]:
    """A server on that home."""
    with Service(people[0], ECHO_CONFIG) as service:
        yield service


def begin(service: Service, key: str, *said: str, **metadata: str) -> tuple[str, list[str]]:
    """A new conversation's id, and those of its items."""
    items = [{"role": "user", "content": text} for text in said]
    made = service.post(CONVERSATIONS, {"metadata": metadata, "items": items}, key=key)
    assert made.status == 200, made
    conversation_id = made.json()["id"]
    found = service.get(f"{CONVERSATIONS}/{conversation_id}/items?order=asc", key=key).json()["data"]
    return conversation_id, [item["id"] for item in found]


def operations(conversation_id: str, item_id: str) -> list[tuple[str, str, Any]]:
    """Every operation on one conversation: method, path and body."""
    path = f"{CONVERSATIONS}/{conversation_id}"
    return [
        ("GET", path, None),
        ("POST", path, {"metadata": {"taken": "over"}}),
        ("GET", f"{path}/items", None),
        ("GET", f"{path}/items?after={item_id}", None),
        ("POST", f"{path}/items", {"items": [{"role": "user", "content": "x"}]}),
        ("GET", f"{path}/items/{item_id}", None),
        ("DELETE", f"{path}/items/{item_id}", None),
        ("DELETE", path, None),
    ]


def freeholds_own(conversation_id: str, item_id: str) -> list[tuple[str, str, Any]]:
    """What OpenAI's API has not got: copying and sharing."""
    path = f"{CONVERSATIONS}/{conversation_id}"
    return [
        ("POST", f"{path}/fork", {}),
        ("POST", f"{path}/fork", {"after": item_id}),
        ("GET", f"{path}/share", None),
        ("POST", f"{path}/share", None),
        ("DELETE", f"{path}/share", None),
    ]


def told(reply: Reply, *names: str) -> tuple[int, str]:
    """What an answer says, less the names that the caller gave."""
    text = json.dumps(reply.json())
    for name in names:
        text = text.replace(name, "NAME")
    return reply.status, text


def test_to_everybody_else_it_is_as_if_there_were_none(
    service: Service, people: tuple[Path, dict[str, Person]]
) -> None:
    """Colleagues, programs, the owner, other projects and other organizations all get the same 404."""
    ann, bob = people[1]["ann"].key, people[1]["bob"].key
    bot = admin(service, "POST", "/v1/organization/projects/proj-default/service_accounts", {"name": "bot"})
    others = admin(service, "POST", "/admin/organizations", {"name": "Others"})
    strangers = {
        "a colleague": bob,
        "a program": bot["api_key"]["value"],
        "the owner": service.key,
        "another project": make_project(service, "Theirs")[1],
        "another organization": others["api_key"]["value"],
    }
    conversation_id, (item_id,) = begin(service, ann, SECRET, label=SECRET)
    for who, key in strangers.items():
        for (method, path, body), (_, nowhere, _) in zip(
            [*operations(conversation_id, item_id), *freeholds_own(conversation_id, item_id)],
            [*operations("conv_0", "msg_0"), *freeholds_own("conv_0", "msg_0")],
            strict=True,
        ):
            found = told(service.request(method, path, body, key=key), conversation_id, item_id)
            missing = told(service.request(method, nowhere, body, key=key), "conv_0", "msg_0")
            assert found == missing, (who, method, path)
            assert found[0] == 404, (who, method, path)
        for query in ("", "&shared=true", "&query=words"):
            listed = service.get(f"{CONVERSATIONS}?limit=100{query}", key=key)
            assert (listed.status, conversation_id in listed.body.decode()) == (200, False), who
        beside = service.get(f"{CONVERSATIONS}?after={conversation_id}", key=key)
        assert (beside.status, conversation_id in beside.body.decode()) == (200, False)
    mine = service.get(f"{CONVERSATIONS}/{conversation_id}", key=ann).json()
    assert mine["metadata"] == {"label": SECRET}
    assert len(service.get(f"{CONVERSATIONS}/{conversation_id}/items", key=ann).json()["data"]) == 1


def test_an_item_answers_under_its_own_conversation_only(
    service: Service, people: tuple[Path, dict[str, Person]]
) -> None:
    """Under another conversation of the same person an item's id is a 404, and as `after` a 400; nothing is deleted."""
    ann = people[1]["ann"].key
    one, _ = begin(service, ann, "one")
    two, (foreign,) = begin(service, ann, "two")
    for method in ("GET", "DELETE"):
        found = service.request(method, f"{CONVERSATIONS}/{one}/items/{foreign}", key=ann)
        missing = service.request(method, f"{CONVERSATIONS}/{one}/items/msg_0", key=ann)
        assert told(found, foreign) == told(missing, "msg_0")
        assert found.status == 404
    found = service.get(f"{CONVERSATIONS}/{one}/items?after={foreign}", key=ann)
    missing = service.get(f"{CONVERSATIONS}/{one}/items?after=msg_0", key=ann)
    assert told(found, foreign) == told(missing, "msg_0")
    assert (found.status, found.json()["error"]["param"]) == (400, "after")
    assert service.get(f"{CONVERSATIONS}/{two}/items/{foreign}", key=ann).status == 200


def test_a_programs_conversation_is_there_for_its_project(
    service: Service, people: tuple[Path, dict[str, Person]]
) -> None:
    """A person reads, fills and deletes what a service account made; his own list does not fill up with it."""
    ann = people[1]["ann"].key
    bots = [
        admin(service, "POST", "/v1/organization/projects/proj-default/service_accounts", {"name": name})
        for name in ("one", "two")
    ]
    first, second = (bot["api_key"]["value"] for bot in bots)
    conversation_id, items = begin(service, first, "from a program")
    for key in (second, ann):
        assert service.get(f"{CONVERSATIONS}/{conversation_id}/items/{items[0]}", key=key).status == 200
        body = {"items": [{"role": "user", "content": "and more"}]}
        assert service.post(f"{CONVERSATIONS}/{conversation_id}/items", body, key=key).status == 200
    assert conversation_id in service.get(CONVERSATIONS, key=second).body.decode()
    assert conversation_id not in service.get(CONVERSATIONS, key=ann).body.decode()
    gone = service.request("DELETE", f"{CONVERSATIONS}/{conversation_id}", key=ann)
    assert gone.json() == {"id": conversation_id, "object": "conversation.deleted", "deleted": True}
    with closing(sqlite3.connect(service.home.database, timeout=30)) as database:
        query = "SELECT count(*) FROM kept_conversation_items WHERE holder_id = ?"
        assert database.execute(query, (conversation_id,)).fetchone() == (0,)


def test_rights_are_those_of_the_key(service: Service) -> None:
    """A key that is cut down to reading lists and reads, and is refused whatever makes, changes or deletes."""
    conversation_id, (item_id,) = begin(service, service.key, "words")
    whole: list[tuple[str, str, Any]] = [("POST", CONVERSATIONS, {}), ("GET", CONVERSATIONS, None)]
    asked = [*whole, *operations(conversation_id, item_id)]
    for scope, allowed in (("models:read", ()), ("conversations:read", ("GET",)), ("conversations:write", ("POST",))):
        made = {"name": scope, "role": "user", "scope": {"operations": [scope]}}
        cut = admin(service, "POST", "/admin/keys", made)["key"]
        for method, path, body in asked:
            if method == "DELETE" and "POST" in allowed:
                continue  # which it may, so that nothing would be left to ask for
            reply = service.request(method, path, body, key=cut)
            assert (reply.status == 200, reply.status == 403) == (method in allowed, method not in allowed), (
                scope,
                path,
            )
    assert len(service.get(f"{CONVERSATIONS}/{conversation_id}/items", key=service.key).json()["data"]) == 2


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=1e1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("order=up", "order"),
        ("after=x", "after"),
        ("before=x", "before"),
    ],
)
def test_a_wrong_query_is_refused(service: Service, query: str, param: str) -> None:
    """Both lists name the parameter that is wrong, or that they do not have."""
    conversation_id, _ = begin(service, service.key, "words")
    for path in (CONVERSATIONS, f"{CONVERSATIONS}/{conversation_id}/items"):
        reply = service.get(f"{path}?{query}", key=service.key)
        assert (reply.status, reply.json()["error"]["param"]) == (400, param), path


def test_a_wrong_filter_or_include_is_refused(service: Service) -> None:
    """Too many pairs, one key with two values, a filter that is none, and what `include` has not are named."""
    conversation_id, (item_id,) = begin(service, service.key, "words")
    many = "&".join(f"metadata[{n}]=x" for n in range(17))
    for path, param in (
        (f"?{many}", "metadata"),
        ("?metadata[a]=1&metadata[a]=2", "metadata[a]"),
        ("?metadata=1", "metadata"),
        ("?metadata[]=1", "metadata[]"),
        (f"/{conversation_id}/items?include=all", "include"),
        (f"/{conversation_id}/items?include[]=message.output_text.logprobs&include[]=", "include"),
        (f"/{conversation_id}/items/{item_id}?include[0]=all", "include"),
        (f"/{conversation_id}/items/{item_id}?limit=1", "limit"),
    ):
        reply = service.get(CONVERSATIONS + path, key=service.key)
        assert (reply.status, reply.json()["error"]["param"]) == (400, param), path
    for path in ("?include=message.output_text.logprobs", "?include[1]=reasoning.encrypted_content", ""):
        assert service.get(f"{CONVERSATIONS}/{conversation_id}/items{path}", key=service.key).status == 200


def test_a_conversation_is_found_by_its_metadata(service: Service) -> None:
    """Keys and values of any characters are found again, each pair by itself and together."""
    _, key = make_project(service, "Labels")
    found, _ = begin(service, key, **{"a[b]": "ü &=?", "title": "Tea"})
    begin(service, key, title="Tea")
    for query in ("metadata%5Ba%5Bb%5D%5D=%C3%BC%20%26%3D%3F", "metadata[title]=Tea&metadata[a[b]]=%C3%BC+%26%3D%3F"):
        reply = service.get(f"{CONVERSATIONS}?{query}", key=key).json()
        assert [each["id"] for each in reply["data"]] == [found]
    assert len(service.get(f"{CONVERSATIONS}?metadata[title]=Tea", key=key).json()["data"]) == 2
    empty = service.get(f"{CONVERSATIONS}?metadata[title]=tea", key=key).json()
    assert empty == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}


def test_nothing_that_was_said_is_told_elsewhere(service: Service) -> None:
    """Receipts count the items; neither they nor the log, the journal or the database's files have a word of them."""
    conversation_id, _ = begin(service, service.key, SECRET, label=SECRET)
    path = f"{CONVERSATIONS}/{conversation_id}/items"
    reply = service.post(path, {"items": [{"role": "user", "content": SECRET}] * 3}, key=service.key)
    receipt = service.get(f"/v1/receipts/{reply.headers['x-request-id']}", key=service.key).json()["receipt"]
    assert (receipt["parameters"], receipt["outcome"], receipt["cost_micro"]) == ({"items": 3}, "finished", 0)
    held = [path for path in service.home.root.rglob("*") if path.is_file()]
    assert service.home.database in held
    assert [path.name for path in held if SECRET.encode() in path.read_bytes()] == []


def test_a_request_that_is_sent_twice_adds_once(service: Service) -> None:
    """With an `Idempotency-Key` the items are added once, and the second answer is the first."""
    conversation_id, _ = begin(service, service.key)
    path, body = f"{CONVERSATIONS}/{conversation_id}/items", {"items": [{"role": "user", "content": "x"}]}
    headers = {"idempotency-key": f"add to {conversation_id}"}
    first, second = (service.request("POST", path, body, key=service.key, headers=headers) for _ in range(2))
    assert (second.body, second.headers["idempotent-replayed"]) == (first.body, "true")
    assert service.get(path, key=service.key).json()["data"] == first.json()["data"]
