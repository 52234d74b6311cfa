"""Projects, members, keys, invitations, organizations and the audit log from the command line."""

import asyncio

import pytest

from freehold.governance.authorization import Roles
from freehold.governance.directory import ORGANIZATION, Directory
from freehold.store.database import Database
from tests.cli.program import Program, Server

pytestmark = pytest.mark.slow

Served = tuple[Program, Server]


def test_a_project_lives_and_is_archived(echo_server: Served) -> None:
    """A project is made, renamed and archived, called by its name; archived, it is listed when asked for."""
    program, _ = echo_server
    project = program.fine("projects", "create", "Search team").strip()
    assert project.startswith("proj_")
    program.fine("projects", "rename", "Search team", "Search")
    assert (project, "Search") in {(each["id"], each["name"]) for each in program.json("projects")["data"]}
    assert "--yes" in program.refused(2, "projects", "archive", "Search")
    program.fine("projects", "archive", "Search", "--yes")
    assert project not in {each["id"] for each in program.json("projects", "list")["data"]}
    assert project in {each["id"] for each in program.json("projects", "list", "--archived")["data"]}
    assert "freehold projects list" in program.refused(2, "projects", "rename", "nothing", "x")


def test_a_key_is_cut_down_and_rotated(echo_server: Served) -> None:
    """A key has the scope and the end that were asked for, as has its successor; the old one ends after the overlap."""
    program, _ = echo_server
    scope = ("--model", "echo", "--operation", "deployments:infer", "--from", "127.0.0.0/8")
    made = program.json("keys", "create", "narrow", *scope, "--expires", "90d")
    assert made["scope"] == {
        "models": ["echo"],
        "operations": ["deployments:infer"],
        "ip_ranges": ["127.0.0.0/8"],
    }
    assert made["expires_at"] - made["created_at"] == 90 * 86_400
    rotated = program.json("keys", "rotate", "narrow", "--overlap", "1h")
    assert rotated["scope"] == made["scope"]
    assert rotated["replaces"]["id"] == made["id"]
    assert rotated["replaces"]["expires_at"] <= rotated["created_at"] + 3600
    assert made["id"] in program.refused(2, "keys", "rotate", "narrow"), "two of the name are valid"
    program.fine("keys", "rotate", made["id"], "--overlap", "0")
    program.fine("keys", "revoke", rotated["id"])
    program.fine("keys", "revoke", "narrow")
    listed = program.fine("keys", "list")
    assert "models: echo" in listed
    assert "network" in program.refused(2, "keys", "create", "x", "--from", "nowhere")


def test_a_role_holds_where_it_was_given(echo_server: Served) -> None:
    """An auditor of the whole organization reads the audit log; one of a project does not."""
    program, _ = echo_server
    whole = program.json("keys", "create", "audits-all", "--role", "auditor", "--everywhere")["key"]
    part = program.json("keys", "create", "audits-one", "--role", "auditor")["key"]
    created = program.with_env(FREEHOLD_API_KEY=whole).json("audit", "log", "--event", "api_key.*", "-n", "2")
    assert [record["resource_type"] for record in created["data"]] == ["api_key", "api_key"]
    program.with_env(FREEHOLD_API_KEY=part).refused(4, "audit", "log")
    program.with_env(FREEHOLD_API_KEY=whole).refused(4, "keys", "create", "more")


def test_programs_and_people_join_a_project(echo_server: Served) -> None:
    """Service accounts come with a key and go; people are invited, and who is no user yet cannot be added."""
    program, _ = echo_server
    project = program.fine("projects", "create", "Team").strip()
    key = program.fine("service-accounts", "create", "crawler", "--project", "Team").strip()
    assert key.startswith("fh-")
    program.fine("service-accounts", "create", "quiet", "--project", project, "--no-key")
    listed = program.json("service-accounts", "list", "--project", "Team")["data"]
    assert [account["name"] for account in listed] == ["crawler", "quiet"]
    program.fine("service-accounts", "delete", "crawler", "--project", "Team", "--yes")
    assert "invite" in program.refused(2, "members", "add", "ann@example.org", "--project", "Team")
    assert program.json("members", "list", "--project", "Team")["data"] == []
    invite = program.json("invites", "create", "Ann@example.org", "--project", "Team")
    assert invite["projects"] == [{"id": project, "role": "member"}]
    assert program.json("invites", "link", "ann@example.org")["token"] != invite["link"]["token"]
    assert [each["status"] for each in program.json("invites")["data"]] == ["pending"]
    program.fine("invites", "delete", "ann@example.org")
    assert "can be accepted" in program.refused(2, "invites", "link", "ann@example.org")


def test_a_user_joins_and_leaves_a_project(program: Program) -> None:
    """A user is given a role in a project by address, then another one, and is taken out; all without a server."""

    async def make_user() -> None:
        database = await Database.open(program.home / "freehold.db")
        directory = Directory(database, Roles())
        await directory.load()
        await directory.create_user(ORGANIZATION, "ann@example.org", "Ann", [])
        await database.close()

    program.fine("projects", "create", "Team")
    asyncio.run(make_user())
    for role in ("user", "owner"):
        program.fine("members", "add", "Ann@example.org", "--project", "Team", "--role", role)
        (member,) = program.json("members", "list", "--project", "Team")["data"]
        assert (member["email"], member["role"]) == ("ann@example.org", "member" if role == "user" else role)
    assert "king" in program.refused(2, "members", "add", "ann@example.org", "--project", "Team", "--role", "king")
    program.fine("members", "remove", "ann@example.org", "--project", "Team")
    assert program.json("members", "list", "--project", "Team")["data"] == []
    assert "members list" in program.refused(2, "members", "remove", "ann@example.org", "--project", "Team")


def test_organizations_are_the_operators(echo_server: Served) -> None:
    """An organization comes with a key that owns it and nothing beyond it, or with an invitation for its owner."""
    program, _ = echo_server
    made = program.json("organizations", "create", "Example Ltd")
    owner = program.with_env(FREEHOLD_API_KEY=made["api_key"]["value"])
    assert [each["name"] for each in owner.json("projects")["data"]] == ["Default project"]
    owner.refused(2, "organizations", "list")
    invited = program.json("organizations", "create", "Other Ltd", "--owner", "bob@example.org")
    assert invited["api_key"] is None
    assert invited["invite"]["link"]["token"]
    assert "bob@example.org" in program.refused(2, "organizations", "create", "Third", "--owner", "bob@example.org")
    names = [each["name"] for each in program.json("organizations")["data"]]
    assert names[1:] == ["Example Ltd", "Other Ltd"]


def test_roles_are_listed_with_what_they_allow(echo_server: Served) -> None:
    """Each role stands in the list with its actions."""
    program, _ = echo_server
    roles = {role["name"]: role["permissions"] for role in program.json("roles")["data"]}
    assert "audit:read" in roles["auditor"]
    assert "keys:write" not in roles["auditor"]
    assert "deployments:infer" in program.fine("roles")


def test_the_audit_log_is_filtered(echo_server: Served) -> None:
    """Records are chosen by event, object and time, and those of refused calls are there when they are asked for."""
    program, _ = echo_server
    project = program.fine("projects", "create", "Audited").strip()
    program.fine("projects", "rename", project, "Audited again")
    log = program.json("audit", "log", "--event", "project.*", "--resource", project)
    assert [record["event"] for record in log["data"]] == ["project.updated", "project.created"]
    assert log["data"][0]["before_sha256"] == log["data"][1]["after_sha256"]
    assert "project.updated" in program.fine("audit", "log", "--project", project)
    program.refused(2, "members", "add", "nobody@example.org", "--project", project)
    refused = program.json("audit", "log", "--all", "-n", "1")
    assert (refused["data"][0]["status"], refused["has_more"]) == (404, True)
    assert program.json("audit", "log", "--until", "2020-01-01")["data"] == []
