"""Abuse monitoring of a running server: reports, suspensions, and what is kept for review."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest

from freehold.config import JournalSettings, Settings
from freehold.gateway.content import open_content
from freehold.governance.digests import Digests
from freehold.journal.journal import Journal
from freehold.journal.records import Kind
from freehold.journal.signer import Signer
from freehold.store.database import Database
from freehold.store.home import Home
from freehold.types.content import Tenant
from tests.api.test_kept_content import admin, make_project, records
from tests.service import Service, events_of
from tests.usage import receipt

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = { delay_s = 0.2 }
parallel = 64
"""
NAME: Final = "mallory@example.org"
TEXT: Final = "a telltale bananaphone"
FOUND: Final = {
    "policy": "default",
    "prompt": {"hate": "high", "blocklist:fruit": "detected"},
    "completion": {"sexual": "low"},
    "blocked": ["prompt:hate"],
}
WORDS: Final = "word " * 400
KEPT: Final = ("req_kept_1", "req_kept_2")
ELSEWHERE: Final = "req_kept_elsewhere"


async def seed(home: Path) -> None:
    """Give a home a past: receipts of requests that were flagged, and texts that were kept of some."""
    place = Home(home)
    with place.locked():
        place.journal.mkdir(exist_ok=True)
        signer = Signer.load_or_create(place.journal_key, place.journal / "public.pem")
        journal = await Journal.open(place.journal, signer, JournalSettings())
        digest = Digests(place.pepper()).end_user(NAME)
        for number in range(12):
            flagged = {"filter": FOUND} if number < 4 else {}
            project = "proj-other" if number == 3 else "proj-default"
            who = {"organization_id": "org-default", "project_id": project, "principal": "svc_seed"}
            made = receipt(number, at_s=time.time() - 3600, end_user=digest, **who, **flagged)
            journal.submit(Kind.RECEIPT, made.body(), durable=False)
        await journal.checkpoint()
        await journal.close()
        database = await Database.open(place.database)
        async with open_content(database, place, Settings()) as content:
            for request_id, project in (
                (KEPT[0], "proj-default"),
                (KEPT[1], "proj-default"),
                (ELSEWHERE, "proj-other"),
            ):
                tenant = Tenant("org-default", project, "svc_seed")
                assert await content.flagged.keep(tenant, request_id, TEXT, "an answer", FOUND, end_user=digest)
        await database.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server on a home with a past."""
    home = tmp_path_factory.mktemp("abuse") / "home"
    home.mkdir()
    asyncio.run(seed(home))
    with Service(home, CONFIG) as service:
        yield service


def digest_of(service: Service, name: str = NAME) -> str:
    """The digest that stands for an end user on receipts."""
    return Digests(service.home.pepper()).end_user(name)


def key_of(service: Service, role: str, project_id: str = "proj-default", *, everywhere: bool = False) -> str:
    """A new key with a role in a project, or in the whole organization."""
    body = {"name": role, "role": role, "project_id": project_id, "everywhere": everywhere}
    return str(admin(service, "POST", "/admin/keys", body)["key"])


def suspend(service: Service, **body: Any) -> Any:
    """Suspend somebody."""
    return admin(service, "POST", "/admin/suspensions", {"reason": "sends bananaphone", **body})


def ask(service: Service, key: str, **more: Any) -> Any:
    """A chat completion."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "hello"}], **more}
    return service.request("POST", "/v1/chat/completions", body, key=key)


def test_an_end_user_is_reported_with_what_was_found(service: Service) -> None:
    """The report has how many requests there were, how many were flagged and blocked, by what and how severely."""
    answer = admin(service, "GET", "/admin/abuse?project=proj-default")
    (line,) = [line for line in answer["data"] if line["id"] == digest_of(service)]
    assert (line["type"], line["project_id"], line["suspended"]) == ("end_user", "proj-default", False)
    assert (line["requests"], line["flagged"], line["blocked"], line["share"]) == (11, 3, 3, 0.2727)
    assert line["score"] == round(100 * 27 / 180, 1)
    assert {(each["side"], each["name"], each["severity"], each["blocked"]) for each in line["findings"]} == {
        ("prompt", "hate", "high", 3),
        ("prompt", "blocklist:fruit", "medium", 0),
        ("completion", "sexual", "low", 0),
    }
    assert not answer["has_more"]


def test_end_users_are_found_by_name_or_digest(service: Service) -> None:
    """The name that callers give and the digest that is kept lead to the same; a name is in no answer."""
    digest = digest_of(service)
    for query in ({"end_user": NAME}, {"end_user": digest}):
        found = service.get(f"/admin/abuse?{urlencode(query)}", key=service.key)
        assert {line["id"] for line in found.json()["data"]} == {digest}
        assert NAME.encode() not in found.body
    by_name = admin(service, "GET", f"/admin/abuse/end_user?{urlencode({'name': NAME})}")
    by_digest = admin(service, "GET", f"/admin/abuse/{digest}")
    assert {**by_name, "start_time": 0, "end_time": 0} == {**by_digest, "start_time": 0, "end_time": 0}
    assert (by_name["total"]["requests"], by_name["total"]["flagged"]) == (12, 4)
    (day,) = by_name["data"]
    assert (day["flagged"], day["start_time"] % 86_400) == (4, 0)


def test_members_and_projects_are_reported_too(service: Service) -> None:
    """Findings are told by member and by project; each has its days."""
    (member,) = admin(service, "GET", "/admin/abuse?group_by=principal")["data"]
    assert (member["id"], member["flagged"], member["project_id"]) == ("svc_seed", 4, None)
    assert admin(service, "GET", "/v1/organization/abuse/svc_seed")["type"] == "principal"
    projects = admin(service, "GET", "/admin/abuse?group_by=project")["data"]
    assert {(line["id"], line["flagged"]) for line in projects} == {("proj-default", 3), ("proj-other", 1)}
    shown = admin(service, "GET", "/admin/abuse/proj-default")
    assert (shown["type"], shown["total"]["flagged"]) == ("project", 3)


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        ("/admin/abuse?start_time=10&end_time=10", 400, "end_time"),
        ("/admin/abuse?group_by=king", 400, "group_by"),
        ("/admin/abuse?limit=0", 400, "limit"),
        ("/admin/abuse/eu_000000000000000000000000", 404, None),
        ("/admin/abuse/a%00b", 404, None),
        ("/admin/abuse/end_user", 400, "name"),
    ],
)
def test_what_is_asked_wrongly_is_told(service: Service, path: str, status: int, param: str | None) -> None:
    """A wrong window, an unknown grouping and a subject of whom nothing is known are named."""
    reply = service.get(path, key=service.key)
    assert (reply.status, reply.json()["error"]["param"]) == (status, param)


def test_a_projects_manager_sees_the_project_only(service: Service) -> None:
    """Who may monitor one project sees, suspends and deletes there and nowhere else, and reads no text."""
    project_id, _ = make_project(service, "Watched")
    stranger = key_of(service, "filter_manager", project_id)
    own = key_of(service, "filter_manager")
    assert service.get("/admin/abuse", key=stranger).json()["data"] == []
    assert {line["project_id"] for line in service.get("/admin/abuse", key=own).json()["data"]} == {"proj-default"}
    assert service.get("/admin/abuse?project=proj-other", key=own).status == 404
    assert service.get(f"/admin/abuse/{digest_of(service)}", key=stranger).status == 404
    assert {row["id"] for row in service.get("/admin/flagged", key=own).json()["data"]} == set(KEPT)
    assert service.get("/admin/flagged", key=stranger).json()["data"] == []
    body = {"end_user": "eve", "reason": "bananaphone"}
    assert service.post("/admin/suspensions", body, key=own).status == 403
    made = service.post("/admin/suspensions", {**body, "project_id": "proj-default"}, key=own)
    assert made.status == 201
    held = f"/admin/suspensions/{made.json()['id']}"
    assert service.get("/admin/suspensions", key=stranger).json()["data"] == []
    assert service.request("DELETE", held, key=stranger).status == 404
    for request_id, key, status in ((KEPT[0], stranger, 404), (ELSEWHERE, own, 404)):
        assert service.request("DELETE", f"/admin/flagged/{request_id}", key=key).status == status
    review = service.post(f"/admin/flagged/{KEPT[0]}/review", {"reason": "curious"}, key=own)
    assert (review.status, TEXT.encode() in review.body) == (403, False)
    assert service.request("DELETE", held, key=own).status == 200


@pytest.mark.parametrize("role", ["user", "deployer", "reader", "usage_reader", "auditor", "filter_manager"])
def test_nobody_but_an_owner_reads_a_text(service: Service, role: str) -> None:
    """No other built-in role reads what was kept; only who manages filters suspends."""
    key = key_of(service, role, everywhere=True)
    assert service.post(f"/admin/flagged/{KEPT[0]}/review", {"reason": "curious"}, key=key).status == 403
    may_read = role in {"auditor", "filter_manager"}
    assert service.get("/admin/abuse", key=key).status == (200 if may_read else 403)
    assert service.get("/admin/suspensions", key=key).status == (200 if may_read else 403)
    made = service.post("/admin/suspensions", {"end_user": role, "reason": "x"}, key=key)
    assert made.status == (201 if role == "filter_manager" else 403)


def test_a_suspended_end_user_is_refused_and_others_are_not(service: Service) -> None:
    """In the project and on every operation; the receipt says so, and lifting it lets requests pass at once."""
    project_id, key = make_project(service, "Suspending")
    _, neighbour = make_project(service, "Neighbour of it")
    assert ask(service, key, user=NAME).status == 200
    made = suspend(service, end_user=NAME, project_id=project_id)
    assert (made["type"], made["subject"], made["tell"]) == ("end_user", digest_of(service), False)
    refused = [
        ask(service, key, user=NAME),
        ask(service, key, safety_identifier=NAME, stream=True),
        service.request("POST", "/v1/completions", {"model": "echo", "prompt": "x", "user": NAME}, key=key),
        service.request(
            "POST",
            "/openai/deployments/echo/chat/completions?api-version=2024-10-21",
            {"messages": [{"role": "user", "content": "x"}], "user": NAME},
            key=key,
        ),
    ]
    for reply, code in zip(refused, ("suspended", "suspended", "suspended", "403"), strict=True):
        error = reply.json()["error"]
        assert (reply.status, error["code"]) == (403, code)
        assert "bananaphone" not in error["message"]
    noted = service.get(f"/v1/receipts/{refused[0].headers['x-request-id']}", key=key).json()["receipt"]
    assert (noted["authorization"], noted["outcome"], noted["error_code"]) == (
        "deny: suspended",
        "refused",
        "suspended",
    )
    assert [ask(service, *whom).status for whom in ((key,), (neighbour,))] == [200, 200]
    assert ask(service, neighbour, user=NAME).status == 200
    again = suspend(service, end_user=NAME, project_id=project_id, tell=True)
    assert again["id"] == made["id"]
    assert ask(service, key, user=NAME).json()["error"]["message"].endswith(": sends bananaphone")
    assert admin(service, "DELETE", f"/admin/suspensions/{made['id']}")["deleted"]
    assert ask(service, key, user=NAME).status == 200


def test_a_kept_answer_is_not_repeated_to_whoever_is_suspended(service: Service) -> None:
    """An answer that is kept for an `Idempotency-Key` is refused while its end user is suspended, and given after."""
    project_id, key = make_project(service, "Repeating")
    body = {"model": "echo", "messages": [{"role": "user", "content": "hello"}], "user": NAME}
    headers = {"idempotency-key": "once"}
    path = "/v1/chat/completions"
    first = service.request("POST", path, body, key=key, headers=headers)
    made = suspend(service, end_user=NAME, project_id=project_id)
    assert service.request("POST", path, body, key=key, headers=headers).json()["error"]["code"] == "suspended"
    admin(service, "DELETE", f"/admin/suspensions/{made['id']}")
    assert service.request("POST", path, body, key=key, headers=headers).body == first.body


def test_a_suspended_member_is_refused_everywhere(service: Service) -> None:
    """A suspended service account gets nothing done for itself or any end user, also after a restart elsewhere."""
    _, key = make_project(service, "Suspended member")
    account = next(row for row in admin(service, "GET", "/admin/keys")["data"] if key.endswith(row["last4"]))
    made = suspend(service, subject=account["owner_id"], tell=True, until=int(time.time()) + 3600)
    assert (made["type"], made["project_id"]) == ("principal", None)
    for reply in (ask(service, key), ask(service, key, user="anybody")):
        assert (reply.status, reply.json()["error"]["code"]) == (403, "suspended")
        assert reply.json()["error"]["message"] == "Your account is suspended: sends bananaphone"
    assert made["id"] in [row["id"] for row in admin(service, "GET", "/admin/suspensions?limit=100")["data"]]
    admin(service, "DELETE", f"/admin/suspensions/{made['id']}")
    assert ask(service, key).status == 200


@pytest.mark.parametrize("whom", ["end_user", "member"])
def test_suspending_ends_what_runs(service: Service, whom: str) -> None:
    """A running stream ends with the error within five seconds; a stream for another end user goes on."""
    project_id, key = make_project(service, f"Streams of {whom}")
    body = {"model": "slow", "messages": [{"role": "user", "content": WORDS}], "stream": True}
    owner = next(row for row in admin(service, "GET", "/admin/keys")["data"] if key.endswith(row["last4"]))["owner_id"]
    subject = {"end_user": NAME} if whom == "end_user" else {"subject": owner}
    with (
        service.open("POST", "/v1/chat/completions", {**body, "user": NAME}, key=key) as answer,
        service.open("POST", "/v1/chat/completions", {**body, "user": "somebody"}, key=key) as other,
    ):
        answer.readline()
        other.readline()
        made = suspend(service, **subject, project_id=project_id)
        suspended_at = time.monotonic()
        events = events_of(answer)
        assert time.monotonic() - suspended_at < 5  # the promise, not a speed: the stream would go on for 80 s
        assert events[-1]["error"]["code"] == "suspended"
        if whom == "member":
            assert events_of(other)[-1]["error"]["code"] == "suspended"
        else:
            assert b"error" not in b"".join(other.readline() for _ in range(6))
    admin(service, "DELETE", f"/admin/suspensions/{made['id']}")
    (segment,) = (service.home.root / "journal" / "main").glob("*.jsonl")
    assert '"error_code":"suspended"' in segment.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"reason": "x"}, 400, None),
        ({"reason": "x", "subject": "svc_1", "end_user": "e"}, 400, None),
        ({"reason": "  ", "end_user": "e"}, 400, "reason"),
        ({"end_user": "e"}, 400, "reason"),
        ({"reason": "x", "subject": "svc_nobody"}, 404, "subject"),
        ({"reason": "x", "subject": "proj-default"}, 400, "subject"),
        ({"reason": "x", "end_user": "e", "project_id": "proj_nothing"}, 404, None),
        ({"reason": "x", "end_user": "e", "until": 5}, 400, "until"),
        ({"reason": "x", "end_user": "e", "forever": True}, 400, "forever"),
        ({"reason": "x" * 1001, "end_user": "e"}, 400, "reason"),
    ],
)
def test_a_wrong_suspension_is_refused_by_name(
    service: Service, body: dict[str, Any], status: int, param: str | None
) -> None:
    """What is missing, unknown or over is named, and nobody is suspended."""
    known = len(admin(service, "GET", "/admin/suspensions?limit=100")["data"])
    reply = service.post("/admin/suspensions", body)
    assert (reply.status, reply.json()["error"]["param"]) == (status, param), reply
    assert len(admin(service, "GET", "/admin/suspensions?limit=100")["data"]) == known


def test_nobody_suspends_themselves_or_somebody_above(service: Service) -> None:
    """Oneself, and whoever may do more, cannot be suspended; a suspension of one's own cannot be lifted."""
    keys = admin(service, "GET", "/admin/keys")["data"]
    owner = next(row for row in keys if row["name"] == "admin")["owner_id"]
    assert service.post("/admin/suspensions", {"subject": owner, "reason": "x"}).status == 409
    manager = key_of(service, "filter_manager", everywhere=True)
    assert service.post("/admin/suspensions", {"subject": owner, "reason": "x"}, key=manager).status == 403
    me = next(row for row in admin(service, "GET", "/admin/keys")["data"] if manager.endswith(row["last4"]))["owner_id"]
    made = suspend(service, subject=me)
    assert service.request("DELETE", f"/admin/suspensions/{made['id']}", key=manager).status == 409
    admin(service, "DELETE", f"/admin/suspensions/{made['id']}")


def test_each_change_leaves_one_record(service: Service) -> None:
    """Suspending, changing and lifting are recorded once each: whom, by id or digest, why, and what changed."""
    project_id, _ = make_project(service, "Recorded suspensions")
    body = {"end_user": NAME, "project_id": project_id, "reason": "sends bananaphone"}
    made: dict[str, Any] = {}
    for method, more, event in (
        ("POST", {}, "suspension.created"),
        ("POST", {"tell": True}, "suspension.updated"),
        ("DELETE", None, "suspension.deleted"),
    ):
        known = len(records(service.home.root))
        path = "/admin/suspensions" + (f"/{made['id']}" if more is None else "")
        answer = admin(service, method, path, None if more is None else {**body, **more})
        made = answer if more is not None else made
        (record,) = records(service.home.root)[known:]
        assert (record["event"], record["resource_id"]) == (event, made["id"])
        assert record["resource_project_id"] == project_id
        assert record["details"]["reason"] == "sends bananaphone"
        assert record["details"]["subject"] == digest_of(service)
        assert record.get("before_sha256") != record.get("after_sha256")


def test_a_text_is_read_with_a_reason_and_leaves_one_record(service: Service) -> None:
    """Who read which text and why stands once in the journal; without a reason nothing is read."""
    listed = admin(service, "GET", "/admin/flagged?project=proj-default")
    assert {row["id"] for row in listed["data"]} == set(KEPT)
    assert TEXT not in str(listed)
    path = f"/admin/flagged/{KEPT[0]}/review"
    for wrong in ({}, {"reason": " "}, {"reason": "x", "more": 1}):
        refused = service.post(path, wrong)
        assert (refused.status, TEXT.encode() in refused.body) == (400, False)
    known = len(records(service.home.root))
    answer = admin(service, "POST", path, {"reason": "a complaint, case 7"})
    assert (answer["prompt"], answer["completion"], answer["found"]["prompt"]["hate"]) == (TEXT, "an answer", "high")
    (record,) = records(service.home.root)[known:]
    assert (record["event"], record["resource_id"], record["status"]) == ("flagged.reviewed", KEPT[0], 200)
    assert record["principal"].startswith("svc_")
    assert record["details"] == {"reason": "a complaint, case 7", "end_user": digest_of(service)}
    assert TEXT not in str(record)
    assert service.post("/admin/flagged/req_nothing/review", {"reason": "x"}).status == 404


def test_a_text_whose_project_is_closed_is_not_read(service: Service) -> None:
    """While the project's content key is revoked reviewing is refused with what is wrong, and recorded as refused."""
    key_path = "/admin/projects/proj-default/content-key"
    admin(service, "POST", f"{key_path}/revoke")
    known = len(records(service.home.root))
    reply = service.post(f"/admin/flagged/{KEPT[0]}/review", {"reason": "x"})
    assert (reply.status, reply.json()["error"]["code"]) == (403, "project_key_revoked")
    (record,) = records(service.home.root)[known:]
    assert (record["event"], record["status"]) == ("flagged.reviewed", 403)
    admin(service, "POST", f"{key_path}/restore")


def test_a_damaged_text_is_told_as_such(service: Service) -> None:
    """What cannot be decrypted is an error that says so, and the others are read on."""
    with closing(sqlite3.connect(service.home.database)) as database, database:
        found = database.execute("SELECT content FROM kept_flagged WHERE request_id = ?", (KEPT[1],)).fetchone()[0]
        damaged = found[:-1] + bytes([found[-1] ^ 1])
        database.execute("UPDATE kept_flagged SET content = ? WHERE request_id = ?", (damaged, KEPT[1]))
    reply = service.post(f"/admin/flagged/{KEPT[1]}/review", {"reason": "x"})
    assert (reply.status, reply.json()["error"]["code"]) == (500, "content_unreadable")
    assert service.post(f"/admin/flagged/{KEPT[0]}/review", {"reason": "x"}).status == 200


def test_what_is_kept_can_be_deleted(service: Service) -> None:
    """A deleted text is gone, with one record that names it."""
    known = len(records(service.home.root))
    assert admin(service, "DELETE", f"/admin/flagged/{ELSEWHERE}")["deleted"]
    (record,) = records(service.home.root)[known:]
    assert (record["event"], "after_sha256" in record) == ("flagged.deleted", False)
    assert service.post(f"/admin/flagged/{ELSEWHERE}/review", {"reason": "x"}).status == 404
    assert service.request("DELETE", f"/admin/flagged/{ELSEWHERE}", key=service.key).status == 404


def test_another_organization_sees_and_changes_nothing(service: Service) -> None:
    """Another organization's owner finds no report, suspension or text of this one, and suspends nobody in it."""
    key = str(admin(service, "POST", "/admin/organizations", {"name": "Others"})["api_key"]["value"])
    mine = suspend(service, end_user="trudy")
    place = "/v1/organization"
    for path in ("abuse", "abuse?group_by=project", "suspensions", "flagged"):
        assert service.get(f"{place}/{path}", key=key).json()["data"] == []
    assert service.get(f"{place}/abuse/{digest_of(service)}", key=key).status == 404
    assert service.request("DELETE", f"{place}/suspensions/{mine['id']}", key=key).status == 404
    assert service.post(f"{place}/flagged/{KEPT[0]}/review", {"reason": "x"}, key=key).status == 404
    member = {"subject": "svc_seed", "reason": "x"}
    assert service.post(f"{place}/suspensions", member, key=key).status == 404
    assert service.get(f"{place}/abuse/{quote('proj-default')}", key=key).status == 404


def test_no_name_and_no_text_is_left_behind(service: Service) -> None:
    """Database, journal, usage and log hold neither an end user's name nor a kept text."""
    files = [path for path in service.home.root.rglob("*") if path.is_file() and "secrets" not in path.parts]
    assert len(files) > 5
    for path in files:
        data = path.read_bytes()
        assert NAME.encode() not in data, path
        assert TEXT.encode() not in data, path
