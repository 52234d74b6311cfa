"""Suspending end users and members of a running server."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.flagged_past import CONFIG, NAME, ask, digest_of, key_of, seed, suspend
from tests.api.test_kept_content import admin, make_project, records
from tests.service import Service, events_of

pytestmark = pytest.mark.slow

WORDS = "word " * 400


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server on a home with a past."""
    home = tmp_path_factory.mktemp("abuse") / "home"
    home.mkdir()
    asyncio.run(seed(home))
    with Service(home, CONFIG) as service:
        yield service


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
