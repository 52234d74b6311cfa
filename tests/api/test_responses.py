"""Responses of a running server: who may keep them, what is kept, and how they end when something goes wrong."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from freehold.store.home import Home
from tests.api.flagged_past import suspend
from tests.api.test_erasure import Person, make_people
from tests.api.test_kept_content import ORGANIZATION, WORDS, admin, make_project
from tests.api.test_rate_limits import limit
from tests.faults.books import receipts
from tests.service import Reply, Service, events_of, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false
max_body_bytes = 1_000_000

[[blocklist]]
name = "asked"
completion = "off"
items = [{ term = "bananaphone" }]

[[blocklist]]
name = "answered"
prompt = "off"
items = [{ term = "grapefruit" }]

[[content_filter]]
name = "default"
blocklists = ["asked", "answered"]

[[content_filter]]
name = "later"
mode = "asynchronous"

[[policy]]
name = "no-closed"
deployments = { deny = ["closed"] }

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[deployment]]
name = "closed"
engine = "echo"
model = "echo"

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
content_filter = "later"
options = { delay_s = 0.05 }
parallel = 64

[[deployment]]
name = "doomed"
engine = "echo"
model = "echo"
content_filter = "later"
options = { crash_on = "crash", fail_on = "fail", delay_s = 0.05 }
"""
RESPONSES = "/v1/responses"
WAITED_FOR: list[dict[str, Any]] = [{}, {"stream": True}]
TABLES = ("kept_responses", "kept_response_items", "kept_response_events")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Person]]:
    """A home with users, and the users."""
    root = tmp_path_factory.mktemp("home")
    return root, asyncio.run(make_people(Home(root)))


@pytest.fixture(scope="module")
def service(people: tuple[Path, dict[str, Person]]) -> Iterator[Service]:
    """A server with deployments that filter, are slow, fail, or are denied."""
    with Service(people[0], CONFIG) as service:
        yield service


def respond(
    service: Service, key: str, text: str = "hello", *, headers: dict[str, str] | None = None, **more: Any
) -> Reply:
    """A response."""
    body = {"model": "echo", "input": text, **more}
    return service.request("POST", RESPONSES, body, key=key, headers=headers)


def stream(service: Service, key: str, text: str = "hello", **more: Any) -> HTTPResponse:
    """A response that comes as a stream."""
    return service.open("POST", RESPONSES, {"model": "echo", "input": text, "stream": True, **more}, key=key)


def rows(service: Service, whose: str, column: str = "project_id") -> list[int]:
    """How many responses, items and rows of events there are of a project, or of somebody."""
    with closing(sqlite3.connect(f"{service.home.database.as_uri()}?mode=ro", uri=True)) as database:
        query = f"SELECT count(*) FROM {{}} WHERE {column} = ?"  # noqa: S608  # a column of ours
        return [database.execute(query.format(table), (whose,)).fetchone()[0] for table in TABLES]


def error_of(reply: Reply) -> tuple[int, str, str | None]:
    """What an answer says went wrong."""
    error = reply.json()["error"]
    return reply.status, error["code"], error.get("param")


def done(service: Service, key: str, response_id: str) -> Any:
    """A response in the background once it is done."""
    found: dict[str, Any] = {}

    def look() -> bool:
        found.update(service.get(f"{RESPONSES}/{response_id}", key=key).json())
        return found["status"] not in {"queued", "in_progress"}

    eventually(look, f"{response_id} is done")
    return found


def works(service: Service, response_id: str) -> list[dict[str, Any]]:
    """The receipts of what was done for a response in the background."""
    told = [
        each for each in receipts(service.home.root) if (each.get("parameters") or {}).get("response") == response_id
    ]
    return [each for each in told if "background" not in each["parameters"]]


def test_who_may_only_ask_keeps_nothing(service: Service) -> None:
    """A key that may call deployments and no more is answered, and nothing stays; what would need more is refused."""
    scope = {"operations": ["deployments:infer"]}
    key = admin(service, "POST", "/admin/keys", {"name": "asks", "role": "user", "scope": scope})["key"]
    before = rows(service, "proj-default")
    kinds: list[dict[str, Any]] = [{}, {"store": False}]
    for more in kinds:
        made = respond(service, key, **more).json()
        assert made["status"] == "completed"
        assert service.get(f"{RESPONSES}/{made['id']}", key=service.key).status == 404
    kept = respond(service, service.key).json()["id"]
    for more in (
        {"store": True},
        {"background": True},
        {"conversation": "conv_0"},
        {"previous_response_id": kept},
        {"previous_response_id": "resp_0"},
    ):
        refused = respond(service, key, **more)
        assert error_of(refused)[:2] == (403, "insufficient_permissions"), more
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
        assert service.request(method, f"{RESPONSES}/{kept}{path}", key=key).status == 403
    assert rows(service, "proj-default") == [before[0] + 1, before[1] + 2, before[2]]
    service.request("DELETE", f"{RESPONSES}/{kept}", key=service.key)


def test_under_zero_retention_nothing_is_kept(service: Service) -> None:
    """What was kept is gone; `store` and the background are refused by name; all else leaves nothing."""
    project_id, key = make_project(service, "Nothing")
    kept = respond(service, key).json()["id"]
    path = f"{ORGANIZATION}/projects/{project_id}/data_retention"
    admin(service, "POST", path, {"retention_type": "zero_data_retention"})
    assert service.get(f"{RESPONSES}/{kept}", key=key).status == 404
    assert rows(service, project_id) == [0, 0, 0]
    for more, param in (
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"background": True, "store": True}, "background"),
        ({"conversation": "conv_0"}, "conversation"),
    ):
        assert error_of(respond(service, key, "a telltale", **more)) == (400, "zero_data_retention", param)
    kinds: list[dict[str, Any]] = [{}, {"store": False}]
    for more in kinds:
        made = respond(service, key, "a telltale", **more).json()
        assert made["status"] == "completed"
        assert service.get(f"{RESPONSES}/{made['id']}", key=key).status == 404
    with stream(service, key, "a telltale") as answer:
        assert events_of(answer)[-1]["type"] == "response.completed"
    assert rows(service, project_id) == [0, 0, 0]
    for file in service.home.root.rglob("*"):
        assert not file.is_file() or b"a telltale" not in file.read_bytes(), file


def test_zero_retention_holds_for_what_is_being_made(service: Service) -> None:
    """What was begun in the background before goes on for whoever listens, and nothing of it stays."""
    project_id, key = make_project(service, "Nothing more")
    with stream(service, key, "word " * 40, model="slow", background=True) as running:
        response_id = first_of(running)["response"]["id"]
        assert min(rows(service, project_id)) > 0
        path = f"{ORGANIZATION}/projects/{project_id}/data_retention"
        admin(service, "POST", path, {"retention_type": "zero_data_retention"})
        running.read()
    eventually(lambda: len(works(service, response_id)) == 1, "the work on it has ended")
    assert rows(service, project_id) == [0, 0, 0]
    assert service.get(f"{RESPONSES}/{response_id}", key=key).status == 404


def test_erasing_a_project_takes_its_responses(service: Service) -> None:
    """Responses, items and events are gone, one in the background ends with one receipt, the neighbour's stay."""
    project_id, key = make_project(service, "Erased")
    neighbour_id, neighbour = make_project(service, "Neighbour")
    for each in (key, neighbour):
        respond(service, each)
        with stream(service, each, background=True) as answer:
            assert events_of(answer)[-1]["type"] == "response.completed"
    running = stream(service, key, WORDS, model="slow", background=True)
    response_id = first_of(running)["response"]["id"]
    before = rows(service, neighbour_id)
    assert min(rows(service, project_id)) > 0
    certificate = admin(service, "POST", f"{ORGANIZATION}/projects/{project_id}/erase")
    assert certificate["certificate"]["rows_deleted"]["responses"] == 3
    running.read()
    eventually(lambda: len(works(service, response_id)) == 1, "the work on it has ended")
    assert rows(service, project_id) == [0, 0, 0]
    assert rows(service, neighbour_id) == before


def first_of(answer: HTTPResponse) -> Any:
    """The first event of a stream."""
    line = next(line for line in answer if line.startswith(b"data: "))
    return json.loads(line.removeprefix(b"data: "))


def test_erasing_a_user_takes_their_responses(service: Service, people: tuple[Path, dict[str, Person]]) -> None:
    """What a person had kept is gone, and what was being made ends; what a colleague has stays."""
    ann, bob = (people[1][name] for name in ("ann", "bob"))
    made = {person.id: respond(service, person.key).json()["id"] for person in (ann, bob)}
    running = stream(service, ann.key, WORDS, model="slow", background=True)
    response_id = first_of(running)["response"]["id"]
    assert min(rows(service, ann.id, "owner_id")) > 0
    certificate = admin(service, "POST", f"{ORGANIZATION}/users/{ann.id}/erase")
    assert certificate["certificate"]["rows_deleted"]["responses"] == 2
    running.read()
    eventually(lambda: len(works(service, response_id)) == 1, "the work on it has ended")
    assert rows(service, ann.id, "owner_id") == [0, 0, 0]
    assert service.get(f"{RESPONSES}/{made[bob.id]}", key=bob.key).status == 200


def test_responses_are_gone_when_their_time_is_over(service: Service) -> None:
    """Older than the project's retention says, a response goes with its items and events."""
    project_id, key = make_project(service, "Short")
    with stream(service, key, background=True) as answer:
        old = events_of(answer)[-1]["response"]["id"]
    with closing(sqlite3.connect(service.home.database, timeout=30)) as database, database:
        for table in TABLES:
            change = f"UPDATE {table} SET created_at = created_at - 3600 WHERE project_id = ?"  # noqa: S608  # ours
            database.execute(change, (project_id,))
    new = respond(service, key).json()["id"]
    admin(service, "PUT", f"{ORGANIZATION}/projects/{project_id}/retention", {"keep_s": {"responses": 600}})
    assert [service.get(f"{RESPONSES}/{each}", key=key).status for each in (old, new)] == [404, 200]
    eventually(lambda: rows(service, project_id) == [1, 2, 0], "the rows are gone")


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"background": True}, {"background": True, "stream": True}])
def test_a_repeated_request_makes_nothing_twice(service: Service, more: dict[str, Any]) -> None:
    """With an `Idempotency-Key` the second answer is the first's bytes, and one response is kept."""
    project_id, key = make_project(service, "Repeated")
    headers = {"idempotency-key": "once"}
    first = respond(service, key, headers=headers, **more)
    again = respond(service, key, headers=headers, **more)
    assert (again.body, again.headers.get("idempotent-replayed")) == (first.body, "true")
    assert first.headers.get("idempotent-replayed") is None
    assert rows(service, project_id)[0] == 1
    assert respond(service, key, "other", headers=headers, **more).status in {409, 422}
    assert rows(service, project_id)[0] == 1


@pytest.mark.parametrize("base", ["/v1", "/openai/v1", "/openai/deployments/echo"])
def test_a_blocked_prompt_is_refused_as_in_chat(service: Service, base: str) -> None:
    """The error is that of a chat completion in the same dialect, and nothing is kept; in the background it fails."""
    project_id, key = make_project(service, "Blocked")
    query = "?api-version=2024-10-21" if "deployments" in base else ""
    chat = {"model": "echo", "messages": [{"role": "user", "content": "a bananaphone"}]}
    wanted = service.request("POST", f"{base}/chat/completions{query}", chat, key=key)
    path = f"/openai/responses{query}" if query else f"{base}/responses"
    for more in WAITED_FOR:
        body = {"model": "echo", "input": "a bananaphone", **more}
        refused = service.request("POST", path, body, key=key)
        assert refused.status == wanted.status == 400
        told, same = refused.json()["error"], wanted.json()["error"]
        assert told | {"param": None} == same | {"param": None}
        assert told["code"] == "content_filter"
    assert rows(service, project_id) == [0, 0, 0]
    body = {"model": "echo", "input": "a bananaphone", "background": True}
    found = done(service, key, service.request("POST", path, body, key=key).json()["id"])
    assert (found["status"], found["error"]["code"], found["output"]) == ("failed", "invalid_prompt", [])
    assert found["error"]["message"].endswith(" Found: custom_blocklists.")


@pytest.mark.parametrize("base", ["/v1", "/openai/v1"])
def test_a_blocked_answer_is_incomplete(service: Service, base: str) -> None:
    """What came before is told, never the word; the response says why, whole, as a stream and kept."""
    text = "one two three " * 100 + "grapefruit four"
    body = {"model": "echo", "input": text}
    whole = service.request("POST", f"{base}/responses", body, key=service.key).json()
    with service.open("POST", f"{base}/responses", {**body, "stream": True}, key=service.key) as answer:
        events = events_of(answer)
    assert events[-1]["type"] == "response.incomplete"
    for made in (whole, events[-1]["response"]):
        assert (made["status"], made["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
        (item,) = made["output"]
        assert item["status"] == "incomplete"
        assert "grapefruit" not in item["content"][0]["text"]
        assert service.get(f"{RESPONSES}/{made['id']}", key=service.key).json() == made
        service.request("DELETE", f"{RESPONSES}/{made['id']}", key=service.key)
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == events[-1]["response"]["output"][0]["content"][0]["text"]


def test_whoever_is_suspended_makes_none(service: Service) -> None:
    """A suspended member makes no response and counts no tokens, may still read; what runs in the background ends."""
    _, key = make_project(service, "Suspended")
    kept = respond(service, key).json()["id"]
    running = respond(service, key, WORDS, model="slow", background=True).json()["id"]
    account = next(row for row in admin(service, "GET", "/admin/keys")["data"] if key.endswith(row["last4"]))
    made = suspend(service, subject=account["owner_id"])
    replies = [respond(service, key), respond(service, key, background=True), respond(service, key, stream=True)]
    replies.append(service.post(f"{RESPONSES}/input_tokens", {"model": "echo", "input": "x"}, key=key))
    replies.append(respond(service, key, truncation="auto"))
    assert [error_of(reply)[:2] for reply in replies] == [(403, "suspended")] * 5
    assert service.get(f"{RESPONSES}/{kept}", key=key).status == 200
    eventually(lambda: len(works(service, running)) == 1, "the work on it has ended")
    assert done(service, key, running)["status"] == "failed"
    admin(service, "DELETE", f"/admin/suspensions/{made['id']}")
    assert respond(service, key).status == 200


def test_over_a_limit_nothing_is_kept(service: Service) -> None:
    """The answer is 429 before anything is kept; in the background the response fails and says why."""
    project_id, key = make_project(service, "Limited")
    limit(service, project_id, "echo", max_requests_per_1_minute=1)
    assert respond(service, key).status == 200
    before = rows(service, project_id)
    for more in WAITED_FOR:
        refused = respond(service, key, **more)
        assert error_of(refused)[:2] == (429, "rate_limit_exceeded")
        assert "retry-after" in refused.headers
    assert rows(service, project_id) == before
    found = done(service, key, respond(service, key, background=True).json()["id"])
    assert (found["status"], found["error"]["code"]) == ("failed", "rate_limit_exceeded")


def test_what_cannot_be_asked_is_refused_before_anything_is_kept(service: Service) -> None:
    """A denied deployment, an unknown one and a body that is too long, waited for and in the background."""
    project_id, key = make_project(service, "Refused")
    refused: list[tuple[dict[str, Any], int]] = [
        ({"model": "closed"}, 403),
        ({"model": "nothing"}, 404),
        ({"instructions": "x" * 1_000_000}, 413),
    ]
    for more, status in refused:
        for how in (*WAITED_FOR, {"background": True}):
            assert respond(service, key, **more, **how).status == status, (more.keys(), how)
    assert rows(service, project_id) == [0, 0, 0]


def test_an_engine_that_fails_midway_ends_the_stream(service: Service) -> None:
    """The last event is `response.failed`, what was open is incomplete, nothing is kept, the receipt says `failed`."""
    project_id, key = make_project(service, "Failed")
    with stream(service, key, "one two crash three", model="doomed") as answer:
        events = events_of(answer)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    last = events[-1]
    assert last["type"] == "response.failed"
    made = last["response"]
    assert (made["status"], made["error"]["code"]) == ("failed", "server_error")
    assert [item["status"] for item in made["output"]] == ["incomplete"]
    assert made["output"][0]["content"][0]["text"].startswith("one")
    assert rows(service, project_id) == [0, 0, 0]
    (receipt,) = [each for each in receipts(service.home.root) if each["project_id"] == project_id]
    assert receipt["outcome"] == "failed"
    eventually(lambda: respond(service, key, model="doomed").status == 200, "the engine is back")


def test_a_caller_who_leaves_leaves_nothing(service: Service) -> None:
    """Nothing is kept of a stream whose caller goes away, the engine stops, and the receipt says `cancelled`."""
    project_id, key = make_project(service, "Left")
    answer = stream(service, key, WORDS, model="slow")
    assert first_of(answer)["type"] == "response.created"
    answer.close()

    def mine() -> list[dict[str, Any]]:
        return [each for each in receipts(service.home.root) if each["project_id"] == project_id]

    eventually(lambda: len(mine()) == 1, "the request has its receipt")
    assert mine()[0]["outcome"] == "cancelled"
    assert mine()[0]["completion_tokens"] < 200, "the engine was stopped"
    assert rows(service, project_id) == [0, 0, 0]
