"""Explanations of decisions: what they say is what happens."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cli.program import Program
from tests.service import Reply, Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[role]]
name = "limiter"
actions = ["limits:write", "limits:read"]

[[deployment]]
name = "chat"
engine = "echo"
model = "small"
aliases = ["gpt-4o"]

[[deployment]]
name = "own"
engine = "echo"
model = "small"
project = "proj-default"

[[deployment]]
name = "large"
engine = "echo"
model = "large"

[[blocklist]]
name = "own-words"
project = "proj-default"

[[blocklist]]
name = "all-words"

[[policy]]
name = "no-large"
applies_to = { roles = ["user"] }
models = { deny = ["large"] }
ceilings = { max_tokens = 100 }
"""
REFUSED = {401, 403, 404}


@dataclass(frozen=True, slots=True)
class Who:
    """A key, its id and its owner's."""

    key_id: str
    key: str
    owner_id: str


@dataclass(frozen=True, slots=True)
class World:
    """A server and those who call it."""

    service: Service
    other_project: str
    callers: dict[str, Who]

    def can(self, who: str, action: str, resource: str, **more: str) -> Any:
        """What the server explains."""
        query = "&".join(
            f"{k}={v}" for k, v in {"principal": who, "action": action, "resource": resource, **more}.items()
        )
        return self.service.get(f"/admin/can?{query}", key=self.service.key)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Service(tmp_path_factory.mktemp("can") / "home", CONFIG) as service:

        def admin(method: str, path: str, body: Any = None) -> Any:
            reply = service.request(method, path, body, key=service.key)
            assert reply.status in {200, 201}, (method, path, reply)
            return reply.json()

        def key(name: str, **body: Any) -> Who:
            made = admin("POST", "/admin/keys", {"name": name, **body})
            return Who(made["id"], made["key"], made["owner_id"])

        other = admin("POST", "/v1/organization/projects", {"name": "Other"})["id"]
        archived = admin("POST", "/v1/organization/projects", {"name": "Archived"})["id"]
        callers = {
            "owner": key("owner", role="owner"),
            "user": key("user", role="user"),
            "reader": key("reader", role="reader"),
            "deployer": key("deployer", role="deployer"),
            "limiter": key("limiter", role="limiter"),
            "filters": key("filters", role="filter_manager"),
            "filters elsewhere": key("filters elsewhere", role="filter_manager", project_id=other),
            "elsewhere": key("elsewhere", role="user", project_id=other),
            "scoped": key("scoped", role="user", scope={"models": ["gpt-*"]}),
            "models only": key("models only", role="owner", scope={"operations": ["models:read"]}),
            "revoked": key("revoked", role="user"),
            "archived": key("archived", role="user", project_id=archived),
        }
        admin("DELETE", f"/admin/keys/{callers['revoked'].key_id}")
        admin("POST", f"/v1/organization/projects/{archived}/archive")
        yield World(service, other, callers)


Call = Callable[[World, str], Reply]


def chat(deployment: str) -> Call:
    """A call of a deployment."""
    body = {"model": deployment, "messages": [{"role": "user", "content": "a"}], "max_tokens": 2}
    return lambda world, key: world.service.post("/v1/chat/completions", body, key=key)


def get(path: str) -> Call:
    """A GET of a path, in which `OTHER` is the other project."""
    return lambda world, key: world.service.get(path.replace("OTHER", world.other_project), key=key)


def delete(path: str) -> Call:
    """Deleting what stands in the file, which is a conflict for whoever may."""
    return lambda world, key: world.service.request("DELETE", path, key=key)


def put_limit(world: World, key: str) -> Reply:
    """A limit that changes nothing for anybody."""
    body = {"scope": "key", "id": "nobody", "requests_per_minute": 5}
    return world.service.request("PUT", "/admin/limits", body, key=key)


QUESTIONS: dict[tuple[str, str], Call] = {
    ("deployments:infer", "deployments/chat"): chat("chat"),
    ("deployments:infer", "deployments/gpt-4o"): chat("gpt-4o"),
    ("deployments:infer", "deployments/own"): chat("own"),
    ("deployments:infer", "deployments/large"): chat("large"),
    ("deployments:infer", "deployments/missing"): chat("missing"),
    ("models:read", "models"): get("/v1/models"),
    ("limits:read", "limits"): get("/admin/limits"),
    ("limits:write", "limits"): put_limit,
    ("policies:read", "policies"): get("/admin/policies"),
    ("deployments:read", "deployments/chat"): get("/admin/deployments/chat"),
    ("deployments:read", "deployments/own"): get("/admin/deployments/own"),
    ("projects:read", "projects/proj-default"): get("/v1/organization/projects/proj-default"),
    ("projects:read", "projects/OTHER"): get("/v1/organization/projects/OTHER"),
    ("users:read", "projects/proj-default"): get("/v1/organization/projects/proj-default/users"),
    ("filters:read", "content_filters/default"): get("/admin/content_filters/default"),
    ("filters:write", "content_filters/default"): delete("/admin/content_filters/default"),
    ("filters:read", "blocklists/own-words"): get("/admin/blocklists/own-words"),
    ("filters:write", "blocklists/own-words"): delete("/admin/blocklists/own-words"),
    ("filters:read", "blocklists/all-words"): get("/admin/blocklists/all-words"),
    ("filters:write", "blocklists/all-words"): delete("/admin/blocklists/all-words"),
    ("service:manage", "service"): get("/admin/status"),
}


@pytest.mark.parametrize(("action", "resource"), QUESTIONS)
def test_an_explanation_says_what_happens(world: World, action: str, resource: str) -> None:
    """For every kind of caller the explained decision is the one that a real call of it meets."""
    for name, caller in world.callers.items():
        told = world.can(caller.key_id, action, resource.replace("OTHER", world.other_project)).json()
        status = QUESTIONS[action, resource](world, caller.key).status
        assert told["allowed"] == (status not in REFUSED), (name, status, told)
        assert told["allowed"] == all(step["allowed"] for step in told["steps"])
        assert all(step["reason"] for step in told["steps"])


@pytest.mark.parametrize(
    ("who", "action", "resource", "step", "reason"),
    [
        ("user", "deployments:infer", "deployments/large", "policies", "policy 'no-large', rule 'models.deny'"),
        ("user", "deployments:infer", "deployments/chat", "policies", "max_tokens at most 100"),
        ("reader", "deployments:infer", "deployments/chat", "roles", "needs a role that gives it"),
        ("scoped", "deployments:infer", "deployments/chat", "key scope", "only be used for 'gpt-*'"),
        ("models only", "limits:read", "limits", "key scope", "only be used for models:read"),
        ("elsewhere", "deployments:infer", "deployments/own", "deployment", "another project's own"),
        ("revoked", "deployments:infer", "deployments/chat", "key", "was revoked"),
        ("archived", "deployments:infer", "deployments/chat", "project", "was archived"),
        ("user", "deployments:infer", "deployments/missing", "deployment", "there is no deployment 'missing'"),
        ("user", "deployments:infer", "deployments/chat", "roles", "the role 'user' in the project 'proj-default'"),
    ],
)
def test_the_step_that_matters_says_why(  # as many facts as a row has
    world: World, who: str, action: str, resource: str, step: str, reason: str
) -> None:
    """Each kind of refusal stands in its own step with a reason that helps."""
    steps = {each["step"]: each for each in world.can(world.callers[who].key_id, action, resource).json()["steps"]}
    assert reason in steps[step]["reason"]


def test_members_can_be_named_too(world: World) -> None:
    """A service account stands for itself, in a project of one's choice; a key in its own project only."""
    user = world.callers["user"]
    assert world.can(user.owner_id, "deployments:infer", "deployments/own").json()["allowed"] is True
    elsewhere = world.can(user.owner_id, "deployments:infer", "deployments/chat", project=world.other_project).json()
    assert (elsewhere["allowed"], elsewhere["project_id"]) == (False, world.other_project)
    assert world.can(user.key_id, "models:read", "models", project=world.other_project).status == 400


def test_questions_about_nothing_are_refused(world: World) -> None:
    """An unknown member, key, project or action is an error, the last with the likeliest meant one."""
    user = world.callers["user"].key_id
    for who in ("key_000000000000000000000000", "user-nobody", "nobody@example.com"):
        assert world.can(who, "models:read", "models").status == 404
    assert world.can(world.callers["user"].owner_id, "models:read", "models", project="proj-none").status == 404
    typo = world.can(user, "deploymnts:infer", "deployments/chat")
    assert (typo.status, typo.json()["error"]["param"]) == (400, "action")
    assert "did you mean 'deployments:infer'?" in typo.json()["error"]["message"]
    assert world.can(user, "deployments:infer", "models/chat").status == 400


def test_only_who_may_see_users_may_ask(world: World) -> None:
    """Who may not read users is not told what others may do."""
    path = f"/admin/can?principal={world.callers['user'].key_id}&action=models:read&resource=models"
    assert world.service.get(path, key=world.callers["user"].key).status == 403
    assert world.service.get(path, key=world.callers["limiter"].key).status == 403
    assert world.service.get(path).status == 401


def test_the_command_prints_every_step_and_ends_with_the_decision(world: World) -> None:
    """`freehold can` ends with 0 where it is allowed and with 1 where it is not, and prints JSON on demand."""
    program = Program(world.service.home.root)
    user = world.callers["user"].key_id
    table = program.fine("can", user, "deployments:infer", "deployments/chat")
    assert table.splitlines()[-1] == f"allowed: {user} deployments:infer deployments/chat"
    assert "the role 'user' in the project 'proj-default'" in table
    denied = program.run("can", user, "deployments:infer", "deployments/large")
    assert (denied.returncode, denied.stderr) == (1, "")
    assert "NO" in denied.stdout
    assert program.json("can", user, "deployments:infer", "deployments/chat")["allowed"] is True
    assert "did you mean" in program.refused(2, "can", user, "deployment:infer", "deployments/chat")
