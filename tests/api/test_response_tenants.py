"""Whose responses are: in paths and in bodies, what belongs to somebody else is told of as what there is not."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from freehold.config import Settings, parse_settings
from freehold.gateway.content import open_content
from freehold.governance.authorization import Roles
from freehold.governance.directory import ORGANIZATION, PROJECT, Directory
from freehold.governance.keys import KeyRing
from freehold.store.database import Database
from freehold.store.home import Home
from freehold.types.identity import DATA_PLANE, MemberKind, Principal, Role
from freehold.types.items import MessageItem
from tests.api.uploads import BOUNDARY, form
from tests.gateway.pictures import file
from tests.service import Reply, Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
"""
DIALECTS = {"/v1": "", "/openai/v1": "", "/openai": "?api-version=2024-10-21"}
"""Where operations are, and what stands behind their paths."""
OWNERS = ("ann", "app")
"""A person, and a service account of the same project."""
STRANGERS = {"ann": ("bob", "app", "elsewhere", "abroad"), "app": ("elsewhere", "abroad")}
"""Who must not learn of what an owner has: colleagues of a person, other projects, other organizations."""
PNG = file(Image.new("RGB", (2, 2)))


@dataclass(frozen=True)
class Members:
    """A home with members.

    Args:
        keys: of each.
        conversations: of those who own something.
    """

    keys: dict[str, str]
    conversations: dict[str, str]


async def people(root: Path) -> Members:
    """Make members, and conversations of theirs, in a home that does not serve yet."""
    home = Home(root)
    keys, conversations = {}, {}
    with home.locked():
        database = await Database.open(home.database)
        directory = Directory(database, Roles())
        await directory.load()
        ring = KeyRing(database, home.pepper(), directory)
        await ring.load()
        other = await directory.create_organization("abroad")
        (foreign,) = directory.projects(other.id)
        project = await directory.create_project(ORGANIZATION, "elsewhere")
        places = {
            "elsewhere": (ORGANIZATION, project.id),
            "abroad": (other.id, foreign.id),
            "app": (ORGANIZATION, PROJECT),
        }
        async with open_content(database, home, parse_settings({}, Settings)) as content:
            for name in ("ann", "bob", *places):
                organization_id, project_id = places.get(name, (ORGANIZATION, PROJECT))
                if name in places:
                    kind = MemberKind.SERVICE_ACCOUNT
                    member = await directory.create_service_account(organization_id, project_id, name, [Role.USER])
                else:
                    kind = MemberKind.USER
                    member = await directory.create_user(organization_id, f"{name}@example.org", name, [])
                    await directory.set_roles(member.id, project_id, [Role.USER])
                keys[name] = (await ring.create(name, member, project_id))[1]
                if name in OWNERS:
                    principal = Principal(organization_id, project_id, member.id, kind=kind, actions=DATA_PLANE)
                    said = MessageItem(role="user", content="said before")
                    made = await content.conversations.create(principal, {}, [said])
                    conversations[name] = made.id
        await database.close()
    return Members(keys, conversations)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Members]]:
    """A server on such a home."""
    root = tmp_path_factory.mktemp("home")
    made = asyncio.run(people(root))
    with Service(root, CONFIG) as service:
        yield service, made


def uploaded(service: Service, key: str, data: bytes, name: str) -> str:
    """A new file's id."""
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return str(service.request("POST", "/v1/files", form(data, name), key=key, headers=headers).json()["id"])


def things_of(service: Service, home: Members, owner: str) -> dict[str, str]:
    """One of everything that a request can name, of an owner's."""
    key = home.keys[owner]
    question = {"type": "mcp_approval_request", "id": f"mcpr_{owner:0>48}", "server_label": "s", "name": "t"}
    given = [{"role": "user", "content": "secret words"}, question | {"arguments": "{}"}]
    made = service.post("/v1/responses", {"model": "echo", "input": given}, key=key).json()
    background = service.post("/v1/responses", {"model": "echo", "input": "x", "background": True}, key=key).json()
    asked = service.get(f"/v1/responses/{made['id']}/input_items?order=asc", key=key).json()
    path = f"/v1/responses/{background['id']}"
    eventually(lambda: service.get(path, key=key).json()["status"] == "completed", "it is done")
    return {
        "response": made["id"],
        "background": background["id"],
        "asked": asked["data"][0]["id"],
        "answered": made["output"][0]["id"],
        "question": question["id"],
        "text": uploaded(service, key, b"secret text", "a.txt"),
        "picture": uploaded(service, key, PNG, "a.png"),
        "conversation": home.conversations[owner],
    }


def ways(things: dict[str, str]) -> Iterator[tuple[str, str, Any]]:
    """Every way to name them: method, path behind the dialect's, body."""
    for name in ("response", "background"):
        path = f"/responses/{things[name]}"
        yield "GET", path, None
        yield "GET", f"{path}?stream=true", None
        yield "GET", f"{path}/input_items", None
        yield "POST", f"{path}/cancel", None
        yield "DELETE", path, None
        yield "POST", "/responses", {"previous_response_id": things[name], "input": "x"}
        yield "POST", "/responses/input_tokens", {"previous_response_id": things[name], "input": "x"}
        yield "POST", "/responses", {"previous_response_id": things[name], "input": "x", "background": True}
    for name in ("asked", "answered", "question"):
        yield "POST", "/responses", {"input": [{"type": "item_reference", "id": things[name]}]}
        yield "POST", "/responses", {"input": [{"id": things[name]}], "stream": True}
    yes = {"type": "mcp_approval_response", "approval_request_id": things["question"], "approve": True}
    yield "POST", "/responses", {"input": [yes]}
    for part in (
        {"type": "input_image", "file_id": things["picture"]},
        {"type": "input_file", "file_id": things["text"]},
    ):
        yield "POST", "/responses", {"input": [{"role": "user", "content": [part]}]}
        output = {"type": "function_call_output", "call_id": "c", "output": [part]}
        yield "POST", "/responses", {"input": [output], "store": False}
    yield "POST", "/responses", {"conversation": things["conversation"], "input": "x"}
    yield "POST", "/responses", {"conversation": {"id": things["conversation"]}, "input": "x", "background": True}


def send(service: Service, key: str, dialect: str, way: tuple[str, str, Any]) -> Reply:
    """Go a way."""
    method, path, body = way
    query = DIALECTS[dialect]
    query = query.replace("?", "&") if "?" in path else query
    return service.request(method, f"{dialect}{path}{query}", body and {"model": "echo", **body}, key=key)


@pytest.mark.parametrize("owner", OWNERS)
def test_what_is_somebody_elses_is_not_there(there: tuple[Service, Members], owner: str) -> None:
    """Every operation, and every id in a body, answers strangers as for an id that there is not; the owner has all."""
    service, home = there
    things = things_of(service, home, owner)
    nothings = {name: each[:-4] + "zzzz" for name, each in things.items()}
    for stranger in STRANGERS[owner]:
        for dialect in DIALECTS:
            for way, nowhere in zip(ways(things), ways(nothings), strict=True):
                if stranger in {"bob", "app"} and "file_id" in str(way):
                    continue  # files are their project's, whoever made them
                replies = [send(service, home.keys[stranger], dialect, each) for each in (way, nowhere)]
                named = zip(replies, (things, nothings), strict=True)
                told = [(reply.status, strip(reply.body, names)) for reply, names in named]
                assert told[0] == told[1], (stranger, dialect, way)
                assert replies[0].status in {400, 404}, (stranger, dialect, way)
                assert b"secret" not in replies[0].body
    for way in ways(things):
        if way[0] == "POST" and "approval_response" not in str(way) and things["picture"] not in str(way):
            reply = send(service, home.keys[owner], "/v1", way)
            cancelled = way[1] == f"/responses/{things['response']}/cancel"  # it is not in the background
            assert reply.status == (400 if cancelled else 200), (way, reply.body)
    assert service.get(f"/v1/responses/{things['response']}", key=home.keys[owner]).status == 200


def strip(body: bytes, names: dict[str, str]) -> bytes:
    """What an answer says, less the names that the caller gave."""
    for name in sorted(names.values(), key=len, reverse=True):
        body = body.replace(name.encode(), b"NAME")
    return body


def test_a_service_accounts_responses_are_its_projects(there: tuple[Service, Members]) -> None:
    """A person in the project sees and continues what a program of the project made, and may delete it."""
    service, home = there
    things = things_of(service, home, "app")
    for way in ways(things):
        if way[0] == "GET" and not way[1].endswith("stream=true"):
            assert send(service, home.keys["ann"], "/v1", way).status == 200
    body = {"model": "echo", "input": "x", "previous_response_id": things["response"]}
    assert service.post("/v1/responses", body, key=home.keys["ann"]).status == 200
    path = f"/v1/responses/{things['response']}"
    assert service.request("DELETE", path, key=home.keys["bob"]).status == 200
    assert service.get(path, key=home.keys["app"]).status == 404
