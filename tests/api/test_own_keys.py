"""Users keep their own API keys in the projects where they can call deployments, and reach no others'."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from freehold.api.admin.project_keys import MOST_OWN_KEYS
from freehold.governance.directory import ORGANIZATION, PROJECT, WHOLE
from freehold.types.identity import Action, KeyScope
from tests.api.signed_in import Organization, open_organization

KEYS = f"/projects/{PROJECT}/api_keys"
ValueT = TypeVar("ValueT")


def on_organization(home: Path, scenario: Callable[[Organization], Awaitable[ValueT]]) -> ValueT:
    """What a scenario gives."""

    async def run() -> ValueT:
        async with open_organization(home) as organization:
            return await scenario(organization)

    return asyncio.run(run())


async def user(organization: Organization, name: str, role: str = "user", project: str = PROJECT) -> str:
    """A new user's id, with a role in a project."""
    row = await organization.directory.create_user(ORGANIZATION, f"{name}@example.org", name, [])
    await organization.directory.set_roles(row.id, project, [role])
    return row.id


def test_the_list_tells_scopes_and_ends_where_asked(tmp_path: Path) -> None:
    """With `details` each key of the list tells what it is cut down to and when it ends; else it is as OpenAI's."""

    async def scenario(organization: Organization) -> None:
        ann = await user(organization, "ann")
        body = {"name": "laptop", "scope": {"models": ["chat"]}, "expires_in_seconds": 3600}
        _, made = await organization.call("POST", KEYS, body, member=ann)
        _, plain = await organization.call("GET", KEYS, member=ann)
        _, detailed = await organization.call("GET", f"{KEYS}?details=true", member=ann)
        assert "scope" not in plain["data"][0]
        assert detailed["data"][0]["scope"] == {"models": ["chat"]}
        assert detailed["data"][0]["expires_at"] == made["expires_at"]

    on_organization(tmp_path, scenario)


def test_a_user_keeps_keys_of_its_own(tmp_path: Path) -> None:
    """A user makes a key, sees it, rotates it and revokes it; the key calls deployments and does not administer."""

    async def scenario(organization: Organization) -> None:
        ann = await user(organization, "ann")
        status, made = await organization.call("POST", KEYS, {"name": "laptop"}, member=ann)
        assert (status, made["owner"]["user"]["id"]) == (200, ann)
        principal = organization.keys.authenticate(made["value"])
        assert (principal.id, Action.INFER in principal.actions) == (ann, True)
        assert (await organization.call("GET", KEYS, key=made["value"]))[0] == 403
        _, listed = await organization.call("GET", KEYS, member=ann)
        assert [key["id"] for key in listed["data"]] == [made["id"]]
        status, rotated = await organization.call("POST", f"{KEYS}/{made['id']}/rotate", {}, member=ann)
        assert (status, rotated["replaces"]["id"]) == (200, made["id"])
        assert (await organization.call("GET", f"{KEYS}/{rotated['id']}", member=ann))[0] == 200
        assert (await organization.call("DELETE", f"{KEYS}/{made['id']}", member=ann))[0] == 200
        _, left = await organization.call("GET", KEYS, member=ann)
        assert [key["id"] for key in left["data"]] == [rotated["id"]]

    on_organization(tmp_path, scenario)


def test_others_keys_are_not_there_for_a_user(tmp_path: Path) -> None:
    """Another's key is not listed, cannot be read, rotated or revoked, and none can be made for somebody else."""

    async def scenario(organization: Organization) -> None:
        ann, ben = await user(organization, "ann"), await user(organization, "ben")
        _, his = await organization.call("POST", KEYS, {"name": "his"}, member=ben)
        assert (await organization.call("GET", KEYS, member=ann))[1]["data"] == []
        _, never = await organization.call("GET", f"{KEYS}/key_nothing", member=ann)
        for method, path, body in (
            ("GET", f"{KEYS}/{his['id']}", None),
            ("POST", f"{KEYS}/{his['id']}/rotate", {}),
            ("DELETE", f"{KEYS}/{his['id']}", None),
        ):
            status, answer = await organization.call(method, path, body, member=ann)
            assert status == 404
            assert answer["error"]["message"].replace(his["id"], "key_nothing") == never["error"]["message"]
        for owner in (ben, "user-nobody"):
            status, _ = await organization.call("POST", KEYS, {"name": "x", "owner_id": owner}, member=ann)
            assert status == 403
        assert organization.keys.authenticate(his["value"]).id == ben

    on_organization(tmp_path, scenario)


def test_a_user_reaches_nothing_else(tmp_path: Path) -> None:
    """The other routes stay closed, as does a project in which the user holds no role."""

    async def scenario(organization: Organization) -> None:
        other = (await organization.directory.create_project(ORGANIZATION, "Other")).id
        ann = await user(organization, "ann")
        assert (await organization.call("GET", "/projects", member=ann))[0] == 403
        assert (await organization.call("POST", "/projects", {"name": "mine"}, member=ann))[0] == 403
        assert (await organization.call("GET", f"/projects/{PROJECT}", member=ann))[0] == 403
        for path in (f"/projects/{other}/api_keys", "/projects/proj-none/api_keys"):
            assert (await organization.call("POST", path, {"name": "x"}, member=ann))[0] == 404

    on_organization(tmp_path, scenario)


def test_who_cannot_call_deployments_keeps_no_keys(tmp_path: Path) -> None:
    """A role that calls no deployments gives no keys; nor does a role that was taken away."""

    async def scenario(organization: Organization) -> None:
        reader, ann = await user(organization, "rea", "reader"), await user(organization, "ann")
        assert (await organization.call("POST", KEYS, {"name": "x"}, member=reader))[0] == 403
        await organization.directory.set_roles(ann, PROJECT, [])
        assert (await organization.call("POST", KEYS, {"name": "x"}, member=ann))[0] == 403

    on_organization(tmp_path, scenario)


def test_a_key_makes_no_keys(tmp_path: Path) -> None:
    """With an API key, even of all that its user may do, no further key is made: a leaked one must not multiply."""

    async def scenario(organization: Organization) -> None:
        ann = await user(organization, "ann")
        row = organization.directory.user(ORGANIZATION, ann)
        for scope in (None, KeyScope(operations=tuple(Action))):
            _, value = await organization.keys.create("k", row, PROJECT, scope)
            assert (await organization.call("POST", KEYS, {"name": "x"}, key=value))[0] == 403

    on_organization(tmp_path, scenario)


def test_an_auditor_who_calls_deployments_changes_only_its_own_keys(tmp_path: Path) -> None:
    """Who may see all keys and keep its own sees all of them, and is told that it may not change others'."""

    async def scenario(organization: Organization) -> None:
        ann, eve = await user(organization, "ann"), await user(organization, "eve")
        await organization.directory.set_roles(eve, WHOLE, ["auditor"])
        _, hers = await organization.call("POST", KEYS, {"name": "hers"}, member=ann)
        _, own = await organization.call("POST", KEYS, {"name": "own"}, member=eve)
        _, listed = await organization.call("GET", KEYS, member=eve)
        assert {key["id"] for key in listed["data"]} == {hers["id"], own["id"]}
        assert (await organization.call("DELETE", f"{KEYS}/{hers['id']}", member=eve))[0] == 403
        assert (await organization.call("DELETE", f"{KEYS}/{own['id']}", member=eve))[0] == 200

    on_organization(tmp_path, scenario)


def test_a_user_keeps_so_many_keys_and_no_more(tmp_path: Path) -> None:
    """Beyond the bound a key must be revoked first."""

    async def scenario(organization: Organization) -> None:
        ann = await user(organization, "ann")
        row = organization.directory.user(ORGANIZATION, ann)
        made = [(await organization.keys.create("k", row, PROJECT))[0].id for _ in range(MOST_OWN_KEYS)]
        status, answer = await organization.call("POST", KEYS, {"name": "x"}, member=ann)
        assert (status, "revoke one first" in answer["error"]["message"]) == (409, True)
        await organization.keys.revoke(made[0])
        assert (await organization.call("POST", KEYS, {"name": "x"}, member=ann))[0] == 200

    on_organization(tmp_path, scenario)
