"""Erasing users and projects, by the API of a running server, and what is left of them."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import CertificateInvalid
from freehold.governance.authorization import Roles
from freehold.governance.directory import ORGANIZATION as ORGANIZATION_ID
from freehold.governance.directory import PROJECT, Directory
from freehold.governance.keys import KeyRing
from freehold.journal.erasure_certificate import verify_certificate
from freehold.journal.verify import verify
from freehold.store.database import Database
from freehold.store.home import Home
from freehold.types.identity import Role
from tests.api.test_kept_content import CONFIG, ORGANIZATION, WORDS, admin, ask, make_project, paint, records
from tests.api.uploads import form, upload
from tests.service import Reply, Service, events_of

pytestmark = pytest.mark.slow


NO_TALK = {"responses": 0, "conversations": 0, "completions": 0, "batches": 0, "fine_tuning": 0, "evaluations": 0}
TALK = NO_TALK | {"conversations": 1}
PEOPLE = {"ann": ("ann@telltale.example", "Ann Telltale"), "bob": ("bob@example.org", "Bob")}


@dataclass(frozen=True)
class Person:
    """A user who has a key of the default project."""

    id: str
    key: str


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Person]]:
    """A home with users, and the users."""
    root = tmp_path_factory.mktemp("home")
    return root, asyncio.run(make_people(Home(root)))


@pytest.fixture(scope="module")
def service(people: tuple[Path, dict[str, Person]]) -> Iterator[Service]:
    """A server on that home, with deployments that write and paint."""
    with Service(people[0], CONFIG) as service:
        yield service


async def make_people(home: Home) -> dict[str, Person]:
    """Users with keys in a home that does not serve yet."""
    made = {}
    with home.locked():
        database = await Database.open(home.database)
        directory = Directory(database, Roles())
        await directory.load()
        keys = KeyRing(database, home.pepper(), directory)
        await keys.load()
        for name, (email, full) in PEOPLE.items():
            user = await directory.create_user(ORGANIZATION_ID, email, full, [])
            await directory.set_roles(user.id, PROJECT, [Role.USER])
            _, key = await keys.create(f"{full}'s key", user, PROJECT)
            made[name] = Person(user.id, key)
        await database.close()
    return made


def talk(service: Service, key: str) -> Reply:
    """Begin a conversation."""
    return service.post("/v1/conversations", {"items": [{"role": "user", "content": "words"}]}, key=key)


def rows(service: Service, statement: str, *values: str) -> list[Any]:
    """What the database has, read as another process."""
    with closing(sqlite3.connect(f"{service.home.database.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(statement, values).fetchall()


def files(service: Service) -> bytes:
    """The database's files, as they are on the disk."""
    return b"".join(path.read_bytes() for path in service.home.root.glob("freehold.db*"))


def checked(service: Service, certificate: dict[str, Any]) -> dict[str, Any]:
    """What a certificate says, verified with the key and the journal of the home."""
    key, journal = service.home.journal / "public.pem", service.home.journal / "main"
    found = verify_certificate(json.dumps(certificate).encode(), key, journal)
    assert (found.known_key, found.in_journal) == (True, True)
    return found.said


def test_erasing_a_project_destroys_its_keys_and_proves_it(service: Service) -> None:
    """Keys, content and API keys go, what runs ends, the certificate verifies, and so does the journal."""
    project_id, key = make_project(service, "Erased")
    neighbour_id, neighbour = make_project(service, "Neighbour")
    for each in (key, neighbour):
        assert ask(service, each, headers={"idempotency-key": "one"}).status == 200
        assert paint(service, each, response_format="url").status == 200
        assert upload(service, form(b"a kept text"), each).status == 200
        assert talk(service, each).status == 200
        assert ask(service, each, store=True, metadata={"team": "red"}).status == 200
    ((wrapped,),) = rows(service, "SELECT wrapped FROM content_keys WHERE project_id = ?", project_id)
    assert wrapped in files(service)
    body = {"model": "slow", "messages": [{"role": "user", "content": WORDS}], "stream": True}
    running = service.open("POST", "/v1/chat/completions", body, key=key)
    running.readline()
    before = len(records(service.home.root))
    certificate = admin(service, "POST", f"{ORGANIZATION}/projects/{project_id}/erase")
    assert "error" in events_of(running)[-1]
    said = checked(service, certificate)
    assert said["subject"] == {"kind": "project", "id": project_id, "organization_id": "org-default"}
    assert said["rows_deleted"] == {
        "answers": 1,
        "pictures": 1,
        "flagged": 0,
        "files": 1,
        **TALK,
        "completions": 1,
        "batches": 0,
        "evaluations": 0,
        "fine_tuning": 0,
    }
    assert len(said["content_keys_destroyed"]) == 1
    assert len(said["api_keys_revoked"]) == 1
    assert wrapped not in files(service)
    assert rows(service, "SELECT wrapped, state FROM content_keys WHERE project_id = ?", project_id) == [
        (b"", "destroyed"),
        (b"", "destroyed"),
    ]
    for table in (
        "kept_answers",
        "kept_pictures",
        "kept_files",
        "kept_file_pieces",
        "kept_conversations",
        "kept_conversation_items",
        "kept_completions",
        "kept_completion_messages",
        "kept_completion_labels",
    ):
        assert rows(service, f"SELECT count(*) FROM {table} WHERE project_id = ?", project_id) == [(0,)]  # noqa: S608
        assert rows(service, f"SELECT count(*) FROM {table} WHERE project_id = ?", neighbour_id) == [(1,)]  # noqa: S608
    assert ask(service, key).status == 401
    assert ask(service, neighbour, headers={"idempotency-key": "one"}).headers["idempotent-replayed"] == "true"
    new = [body for body in records(service.home.root)[before:] if body.get("event") == "project.erased"]
    assert [body["after_sha256"] for body in new] == [said["facts_sha256"]]
    assert [report.damage for report in verify(service.home.journal)] == [None]
    for change in ("content-key/restore", "content-key/revoke"):
        reply = service.request("POST", f"{ORGANIZATION}/projects/{project_id}/{change}", key=service.key)
        assert reply.status == 409
    listed = admin(service, "GET", f"{ORGANIZATION}/erasures")["data"]
    assert admin(service, "GET", f"{ORGANIZATION}/erasures/{listed[-1]['id']}") == certificate


def test_erasing_a_user_takes_their_name_away(service: Service, people: tuple[Path, dict[str, Person]]) -> None:
    """The user is gone from the directory and the names of keys, their content with its key; others' stays."""
    user_id = people[1]["ann"].id
    for name in PEOPLE:
        assert ask(service, people[1][name].key, headers={"idempotency-key": "same"}).status == 200
        assert upload(service, form(b"text", "telltale-file.txt"), people[1][name].key).status == 200
        assert talk(service, people[1][name].key).status == 200
        assert ask(service, people[1][name].key, store=True, metadata={"who": "telltale"}).status == 200
    others = talk(service, service.key).json()["id"]
    added = {"items": [{"role": "user", "content": "Ann's words"}]}
    assert service.post(f"/v1/conversations/{others}/items", added, key=people[1]["ann"].key).status == 200
    assert b"telltale" in files(service)
    certificate = admin(service, "POST", f"{ORGANIZATION}/users/{user_id}/erase")
    said = checked(service, certificate)
    assert said["subject"]["id"] == user_id
    assert said["rows_deleted"] == {
        "answers": 1,
        "pictures": 0,
        "flagged": 0,
        "files": 1,
        **TALK,
        "completions": 1,
        "batches": 0,
        "evaluations": 0,
        "fine_tuning": 0,
    }
    left = rows(service, "SELECT holder_id, owner_id FROM kept_conversation_items WHERE project_id = 'proj-default'")
    assert user_id not in {owner for _, owner in left}
    assert others in {holder for holder, _ in left}
    assert [row["project_id"] for row in said["content_keys_destroyed"]] == ["proj-default"]
    assert ask(service, people[1]["ann"].key).status == 401
    assert (
        ask(service, people[1]["bob"].key, headers={"idempotency-key": "same"}).headers["idempotent-replayed"] == "true"
    )
    assert service.request("GET", f"{ORGANIZATION}/users/{user_id}", key=service.key).status == 404
    journal = b"".join(path.read_bytes() for path in (service.home.journal / "main").iterdir())
    for told in (b"telltale", b"Telltale"):
        assert told not in files(service)
        assert told not in journal
        assert told not in json.dumps(certificate).encode()
    twice = checked(service, admin(service, "POST", f"/admin/users/{user_id}/erase"))
    assert twice["rows_deleted"] == {"answers": 0, "pictures": 0, "flagged": 0, "files": 0, **NO_TALK}
    assert twice["content_keys_destroyed"] == said["content_keys_destroyed"]


def test_a_user_who_was_removed_can_still_be_erased(service: Service, people: tuple[Path, dict[str, Person]]) -> None:
    """Removing keeps what was kept until it expires; erasing afterwards destroys it."""
    user_id = people[1]["bob"].id
    assert ask(service, people[1]["bob"].key, headers={"idempotency-key": "bob"}).status == 200
    admin(service, "DELETE", f"{ORGANIZATION}/users/{user_id}")
    said = checked(service, admin(service, "POST", f"{ORGANIZATION}/users/{user_id}/erase"))
    assert said["rows_deleted"]["answers"] == 2
    assert len(said["content_keys_destroyed"]) == 1


def test_what_cannot_be_erased_is_refused_before_anything_is_done(service: Service) -> None:
    """The caller's own project, the caller, the last owner and what there is not: refused, and nothing is destroyed."""
    known = rows(service, "SELECT id, state FROM content_keys")
    owner = rows(service, "SELECT owner_id FROM api_keys WHERE name = 'admin'")[0][0]
    for path, status in (
        ("projects/proj-default", 409),
        (f"users/{owner}", 409),
        ("projects/proj_nothing", 404),
        ("users/user-nothing", 404),
    ):
        assert service.request("POST", f"{ORGANIZATION}/{path}/erase", key=service.key).status == status
    assert rows(service, "SELECT id, state FROM content_keys") == known


def test_an_erasure_waits_for_no_reader(service: Service) -> None:
    """While another process reads an older state nothing is certified; done again, the erasure is finished."""
    project_id, key = make_project(service, "Read")
    assert ask(service, key, headers={"idempotency-key": "one"}).status == 200
    path = f"{ORGANIZATION}/projects/{project_id}/erase"
    with closing(
        sqlite3.connect(f"{service.home.database.as_uri()}?mode=ro", uri=True, isolation_level=None)
    ) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM content_keys").fetchone()
        refused = service.request("POST", path, key=service.key)
    assert (refused.status, refused.json()["error"]["code"]) == (500, "home_unusable")
    said = checked(service, admin(service, "POST", path))
    assert len(said["content_keys_destroyed"]) == 1


def test_a_changed_certificate_is_none(service: Service) -> None:
    """With another count in it the certificate does not verify."""
    project_id, _ = make_project(service, "Certified")
    certificate = admin(service, "POST", f"{ORGANIZATION}/projects/{project_id}/erase")
    certificate["certificate"]["rows_deleted"]["answers"] = 9
    with pytest.raises(CertificateInvalid):
        checked(service, certificate)
