"""`GET /v1/receipts`: which requests there were, page by page, and who is told of whose."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.test_kept_content import admin, make_project
from tests.service import ECHO_CONFIG, Service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    with Service(tmp_path_factory.mktemp("home"), ECHO_CONFIG) as service:
        yield service


def ask(service: Service, key: str, model: str = "gpt-4o", **more: Any) -> str:
    """One chat request; its id."""
    body = {"model": model, "messages": [{"role": "user", "content": "word"}], **more}
    return service.post("/v1/chat/completions", body, key=key).headers["x-request-id"]


def listed(service: Service, key: str, query: str = "") -> list[str]:
    """The ids of all pages, two at a time."""
    found: list[str] = []
    after, more = "", True
    while more:
        page = service.get(f"/v1/receipts?limit=2{query}{after}", key=key).json()
        found += [each["id"] for each in page["data"]]
        assert (page["first_id"], page["last_id"]) == (
            (page["data"][0]["id"], page["data"][-1]["id"]) if page["data"] else (None, None)
        )
        after, more = f"&after={page['last_id']}", page["has_more"]
    return found


def test_receipts_are_listed_newest_first_and_by_what_they_say(service: Service) -> None:
    """Each filter gives its own, together what has all of them; reading the list is no request to a model."""
    project, key = make_project(service, "Listed")
    made = [ask(service, key, user="anna"), ask(service, key), ask(service, key, "nothing"), ask(service, key)]
    query = f"&project_id={project}"
    assert listed(service, service.key, query) == made[::-1]
    assert listed(service, service.key, f"{query}&outcome=refused") == [made[2]]
    assert listed(service, service.key, f"{query}&outcome=refused&outcome=finished") == made[::-1]
    assert listed(service, service.key, f"{query}&deployment=echo&kind=completions") == [made[3], made[1], made[0]]
    assert listed(service, service.key, f"{query}&deployment=echo&kind=embeddings") == []
    assert listed(service, service.key, f"{query}&start_time=4000000000") == []
    assert listed(service, service.key, f"{query}&end_time=4000000000&start_time=1") == made[::-1]
    told = {
        each["id"]: each for each in service.get(f"/v1/receipts?project_id={project}", key=service.key).json()["data"]
    }
    first, refused = told[made[0]], told[made[2]]
    assert listed(service, service.key, f"{query}&end_user={first['end_user']}") == [made[0]]
    assert (
        listed(service, service.key, f"{query}&key_id={first['key_id']}&principal={first['principal']}") == made[::-1]
    )
    assert (first["deployment"], first["requested"], first["model"]) == ("echo", "echo", "echo")
    assert (refused["status"], refused["error_code"], refused["deployment"]) == (404, "model_not_found", None)
    whole = service.get(f"/v1/receipts/{made[0]}", key=service.key).json()["receipt"]
    for name, value in first.items():
        if name not in {"object", "id"}:
            assert whole.get(name) == value, name


def test_who_is_told_of_whose(service: Service) -> None:
    """Members their own, who reads a project's usage everybody's there, an auditor the organization's, others none."""
    project, key = make_project(service, "Whose")
    other_project, other_key = make_project(service, "Elsewhere")
    made = {"project_id": project}
    second = admin(service, "POST", "/admin/keys", {"name": "second", "role": "user", **made})["key"]
    reader = admin(service, "POST", "/admin/keys", {"name": "auditor", "role": "auditor", **made})["key"]
    auditor = admin(service, "POST", "/admin/keys", {"name": "all", "role": "auditor", "everywhere": True})["key"]
    stranger = admin(service, "POST", "/admin/organizations", {"name": "Others"})["api_key"]["value"]
    usage = admin(service, "POST", "/admin/keys", {"name": "usage", "role": "usage_reader", **made})["key"]
    mine, theirs, elsewhere = ask(service, key), ask(service, second), ask(service, other_key)
    assert listed(service, key) == [mine]
    assert listed(service, second) == [theirs]
    assert listed(service, key, f"&project_id={other_project}") == []
    assert listed(service, reader) == [theirs, mine]
    assert listed(service, reader, f"&project_id={other_project}") == []
    assert listed(service, auditor, f"&project_id={other_project}") == [elsewhere]
    assert listed(service, auditor)[:3] == [elsewhere, theirs, mine]
    assert listed(service, stranger) == []
    assert service.get("/v1/receipts", key=usage).status == 403
    beside = service.get(f"/v1/receipts?after={theirs}", key=key)
    missing = service.get("/v1/receipts?after=req_0", key=key)
    assert beside.status == missing.status == 400
    assert beside.json()["error"]["message"].replace(theirs, "req_0") == missing.json()["error"]["message"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=1&limit=2", "limit"),
        ("outcome=good", "outcome"),
        ("kind=all", "kind"),
        ("start_time=-1", "start_time"),
        ("end_time=x", "end_time"),
        ("before=x", "before"),
        ("after=%00", "after"),
    ],
)
def test_a_wrong_query_is_refused(service: Service, query: str, param: str) -> None:
    """The parameter is named."""
    reply = service.get(f"/v1/receipts?{query}", key=service.key)
    assert (reply.status, reply.json()["error"]["param"]) == (400, param)
