"""`/admin/content_filters` and `/admin/blocklists`."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.test_administration import make_project, records
from tests.service import Reply, Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[content_filter]]
name = "house"
blocklists = ["house-words"]
personal_data = { prompt = "mask" }

[[blocklist]]
name = "house-words"
items = [{ term = "bananaphone" }, { pattern = "project [a-z]+ falcon" }]

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
content_filter = "house"
"""
FILTERS, LISTS = "/admin/content_filters", "/admin/blocklists"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with a policy and a list in its file."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def told(reply: Reply, status: int) -> str:
    """What a refusal says."""
    assert reply.status == status, reply
    message: str = reply.json()["error"]["message"]
    return message


def manager_of(service: Service, project_id: str) -> str:
    """A key of somebody who manages filters in one project only."""
    body = {"name": f"{project_id} filters", "role": "filter_manager", "project_id": project_id}
    key: str = service.post("/admin/keys", body, key=service.key).json()["key"]
    return key


def call(service: Service, method: str, path: str, body: Any = None, key: str | None = None) -> Reply:
    """An administrative call, by default the owner's."""
    return service.request(method, path, body, key=key or service.key)


def test_policies_are_listed_with_where_they_come_from(service: Service) -> None:
    """The list has the built-in policy and the file's, each with its settings and with who uses it."""
    found = {each["name"]: each for each in call(service, "GET", FILTERS).json()["data"]}
    assert (found["default"]["origin"], found["default"]["settings"]) == ("starter", {"name": "default"})
    assert (found["house"]["origin"], found["house"]["deployments"]) == ("config", ["echo"])
    assert found["house"]["settings"]["blocklists"] == ["house-words"]


def test_a_policy_is_set_changed_and_deleted(service: Service) -> None:
    """What is put is what is got; putting it again changes nothing; deleted, it is not found."""
    body = {"name": "strict", "hate": {"prompt": {"threshold": "low"}}, "mode": "asynchronous"}
    assert call(service, "PUT", f"{FILTERS}/strict", body).json()["changed"]
    assert not call(service, "PUT", f"{FILTERS}/strict", body).json()["changed"]
    assert call(service, "GET", f"{FILTERS}/strict").json()["settings"] == body
    assert call(service, "DELETE", f"{FILTERS}/strict").json()["deleted"]
    assert "No content-filter policy has the name 'strict'" in told(call(service, "GET", f"{FILTERS}/strict"), 404)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("PUT", f"{FILTERS}/a", {"name": "b"}, 400, "name: must be 'a'"),
        ("PUT", f"{FILTERS}/a", {"name": "a", "hat": {}}, 400, "hat: Extra inputs are not permitted"),
        ("PUT", f"{FILTERS}/a", {"name": "a", "blocklists": ["ghost"]}, 400, "blocklists[0]: there is no blocklist"),
        ("PUT", f"{FILTERS}/house", {"name": "house"}, 409, "defined in the configuration file"),
        ("DELETE", f"{FILTERS}/default", None, 409, "is built in"),
        ("PUT", FILTERS, {}, 400, "nothing to set"),
        ("DELETE", f"{LISTS}/house-words", None, 409, "defined in the configuration file"),
        ("PUT", f"{LISTS}/x", {"name": "x", "project": "proj-ghost"}, 400, "there is no project 'proj-ghost'"),
        ("PUT", f"{LISTS}/x", {"name": "x", "items": [{"pattern": "a("}]}, 400, "items[0].pattern: The pattern 'a('"),
        ("PUT", f"{LISTS}/x", {"name": "x", "items": [{}]}, 400, "give either 'term' or 'pattern'"),
        ("DELETE", f"{LISTS}/house-words/items", None, 400, "Give either 'term'"),
        ("POST", f"{LISTS}/ghost/items", {"items": [{"term": "x"}]}, 404, "No blocklist has the name 'ghost'"),
        ("POST", f"{FILTERS}/ghost/test", {"text": "x"}, 404, "No content-filter policy has the name 'ghost'"),
        ("POST", f"{FILTERS}/house/test", {"text": ""}, 400, "text"),
        ("POST", f"{FILTERS}/house/test", {"text": "x", "project_id": "nowhere"}, 404, "No project has the id"),
        (
            "PUT",
            "/admin/deployments/new",
            {"name": "new", "engine": "echo", "model": "echo", "content_filter": "ghost"},
            400,
            "content_filter: there is no content-filter policy 'ghost'",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    service: Service, method: str, path: str, body: Any, status: int, message: str
) -> None:
    """A wrong change is refused, the error names what is wrong, and nothing has changed."""
    before = [call(service, "GET", path).json() for path in (FILTERS, LISTS)]
    assert message in told(call(service, method, path, body), status)
    assert [call(service, "GET", path).json() for path in (FILTERS, LISTS)] == before


def test_a_policy_is_tried_before_it_is_set(service: Service) -> None:
    """A draft is what a text is tried on, is checked like a policy that is put, and changes nothing."""
    path = f"{FILTERS}/draft"
    draft = {"name": "draft", "personal_data": {"prompt": "block"}, "blocklists": ["house-words"]}
    asked = {"text": "write to ann@example.org", "settings": draft}
    tried = call(service, "POST", f"{path}/test", asked).json()
    assert (tried["blocked"], tried["spans"][0]["name"]) == (["personal_data"], "email")
    assert call(service, "GET", path).status == 404
    other = {**asked, "settings": {**draft, "name": "another"}}
    assert "must be 'draft'" in told(call(service, "POST", f"{path}/test", other), 400)
    unknown = {**asked, "settings": {**draft, "blocklists": ["ghosts"]}}
    assert "ghosts" in told(call(service, "POST", f"{path}/test", unknown), 400)
    manager = manager_of(service, "proj-default")
    assert "to try 'settings'" in told(call(service, "POST", f"{path}/test", asked, key=manager), 403)


def test_several_are_set_together_or_not_at_all(service: Service) -> None:
    """Policies and lists that need each other are set by one call, with one record, or none of them is."""
    together: dict[str, list[Any]] = {
        "content_filters": [{"name": "veggie", "blocklists": ["greens"]}],
        "blocklists": [{"name": "greens", "items": [{"term": "kale"}]}],
    }
    wrong = {**together, "content_filters": [*together["content_filters"], {"name": "x", "blocklists": ["ghost"]}]}
    assert "content_filter[1].blocklists[0]" in told(call(service, "PUT", FILTERS, wrong), 400)
    assert call(service, "GET", f"{LISTS}/greens").status == 404
    known = len(records(service.home.root))
    answer = call(service, "PUT", FILTERS, together).json()
    assert [(each["object"], each["name"], each["changed"]) for each in answer["data"]] == [
        ("content_filter", "veggie", True),
        ("blocklist", "greens", True),
    ]
    (record,) = records(service.home.root)[known:]
    assert (record["event"], record["resource_id"]) == ("content_filter.updated", "veggie,greens")
    assert "kale" not in str(record)
    assert "named by the policy 'veggie'" in told(call(service, "DELETE", f"{LISTS}/greens"), 409)
    assert call(service, "DELETE", f"{FILTERS}/veggie").status == 200
    assert call(service, "DELETE", f"{LISTS}/greens").status == 200


def test_a_policy_in_use_stays(service: Service) -> None:
    """A policy that a deployment names is not deleted, and the answer names the deployment."""
    settings = {"name": "second", "engine": "echo", "model": "echo", "content_filter": "in-use"}
    call(service, "PUT", f"{FILTERS}/in-use", {"name": "in-use"})
    assert call(service, "PUT", "/admin/deployments/second", settings).status == 200
    assert "used by the deployment 'second'" in told(call(service, "DELETE", f"{FILTERS}/in-use"), 409)
    assert call(service, "DELETE", "/admin/deployments/second").status == 200
    assert call(service, "DELETE", f"{FILTERS}/in-use").status == 200


def test_items_are_added_and_removed(service: Service) -> None:
    """Items come and go one by one; each change tells how many, and the list shows them."""
    call(service, "PUT", f"{LISTS}/fruit", {"name": "fruit", "items": [{"term": "mango"}]})
    items = [{"term": "Mango"}, {"term": "fig"}, {"pattern": "ba+na+na"}]
    assert call(service, "POST", f"{LISTS}/fruit/items", {"items": items}).json()["added"] == 2
    assert call(service, "DELETE", f"{LISTS}/fruit/items?pattern=ba%2Bna%2Bna").json()["removed"] == 1
    assert "has no term 'kiwi'" in told(call(service, "DELETE", f"{LISTS}/fruit/items?term=kiwi"), 404)
    found = call(service, "GET", f"{LISTS}/fruit").json()
    assert found["settings"]["items"] == [{"term": "mango"}, {"term": "fig"}]
    listed = next(each for each in call(service, "GET", LISTS).json()["data"] if each["name"] == "fruit")
    assert (listed["item_count"], "items" in listed["settings"]) == (2, False)
    assert call(service, "DELETE", f"{LISTS}/fruit").json()["deleted"]


def test_a_filter_manager_of_a_project_keeps_its_lists_only(service: Service) -> None:
    """In a project only, one sees and changes the lists of that project, reads policies, and changes none."""
    ours, theirs = make_project(service, "ours"), make_project(service, "theirs")
    manager, other = manager_of(service, ours), manager_of(service, theirs)
    mine = {"name": "mine", "project": ours, "items": [{"term": "plum"}]}
    assert call(service, "PUT", f"{LISTS}/mine", mine, key=manager).json()["changed"]
    assert "your own project" in told(call(service, "PUT", f"{LISTS}/all", {"name": "all"}, key=manager), 403)
    moved = {"name": "mine", "project": theirs}
    assert call(service, "PUT", f"{LISTS}/mine", moved, key=manager).status == 403
    for method, path, body in (
        ("GET", f"{LISTS}/mine", None),
        ("PUT", f"{LISTS}/mine", moved),
        ("DELETE", f"{LISTS}/mine", None),
        ("POST", f"{LISTS}/mine/items", {"items": [{"term": "pear"}]}),
        ("DELETE", f"{LISTS}/mine/items?term=plum", None),
    ):
        assert "No blocklist has the name 'mine'" in told(call(service, method, path, body, key=other), 404)
    assert [each["name"] for each in call(service, "GET", LISTS, key=manager).json()["data"]] == ["mine"]
    assert call(service, "GET", LISTS, key=other).json()["data"] == []
    assert call(service, "GET", f"{FILTERS}/house", key=manager).status == 200
    changes: list[tuple[str, str, Any]] = [
        ("PUT", f"{FILTERS}/mine", {"name": "mine"}),
        ("PUT", FILTERS, {"blocklists": [mine]}),
        ("DELETE", f"{FILTERS}/house", None),
    ]
    for method, path, body in changes:
        assert "'filters:write' needs a role" in told(call(service, method, path, body, key=manager), 403)
    asked = {"text": "a text", "project_id": ours}
    assert call(service, "POST", f"{FILTERS}/house/test", asked, key=manager).json()["project_id"] == ours
    assert call(service, "POST", f"{FILTERS}/house/test", {"text": "a"}, key=manager).json()["project_id"] == ours
    assert "No project has the id" in told(call(service, "POST", f"{FILTERS}/house/test", asked, key=other), 404)
    assert call(service, "DELETE", f"{LISTS}/mine", key=manager).json()["deleted"]


def test_who_may_only_read_changes_nothing(service: Service) -> None:
    """A reader in a project sees policies and the lists of the project, and is refused every change."""
    own = {"name": "seen", "project": "proj-default", "items": [{"term": "plum"}]}
    assert call(service, "PUT", f"{LISTS}/seen", own).status == 200
    key = service.post("/admin/keys", {"name": "reader", "role": "reader"}, key=service.key).json()["key"]
    assert call(service, "GET", FILTERS, key=key).status == 200
    assert call(service, "GET", f"{LISTS}/seen", key=key).json()["item_count"] == 1
    for method, path, body in (
        ("PUT", f"{LISTS}/x", {"name": "x"}),
        ("PUT", f"{FILTERS}/x", {"name": "x"}),
        ("DELETE", f"{LISTS}/seen", None),
    ):
        assert call(service, method, path, body, key=key).status == 403
    assert call(service, "DELETE", f"{LISTS}/seen").status == 200
