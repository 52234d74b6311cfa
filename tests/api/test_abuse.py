"""Abuse monitoring of a running server: reports, and what is kept for review."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlencode

import pytest

from tests.api.flagged_past import CONFIG, ELSEWHERE, KEPT, NAME, TEXT, digest_of, key_of, seed, suspend
from tests.api.test_kept_content import admin, make_project, records
from tests.service import Service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server on a home with a past."""
    home = tmp_path_factory.mktemp("abuse") / "home"
    home.mkdir()
    asyncio.run(seed(home))
    with Service(home, CONFIG) as service:
        yield service


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
    with closing(sqlite3.connect(service.home.database, timeout=30)) as database, database:
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
    assert service.get(f"{place}/abuse/proj-default", key=key).status == 404


def test_no_name_and_no_text_is_left_behind(service: Service) -> None:
    """Database, journal, usage and log hold neither an end user's name nor a kept text."""
    files = [path for path in service.home.root.rglob("*") if path.is_file() and "secrets" not in path.parts]
    assert len(files) > 5
    for path in files:
        data = path.read_bytes()
        assert NAME.encode() not in data, path
        assert TEXT.encode() not in data, path
