"""Organizations, projects, members and roles, on a real database file."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from freehold.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from freehold.governance.authorization import Roles
from freehold.governance.directory import ORGANIZATION, PROJECT, WHOLE, Directory
from freehold.store.database import Database
from freehold.types.identity import Action, Role

Scenario = Callable[[Directory], Awaitable[None]]


def within(tmp_path: Path, scenario: Scenario, roles: Roles | None = None) -> None:
    """Run a scenario on the directory of a home."""

    async def run() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        try:
            directory = Directory(database, roles or Roles())
            await directory.load()
            await scenario(directory)
        finally:
            await database.close()

    asyncio.run(run())


def test_a_new_home_has_an_organization_and_a_project(tmp_path: Path) -> None:
    """The first organization and its project are there, and there just once after a restart."""

    async def scenario(directory: Directory) -> None:
        assert [row.id for row in directory.organizations()] == [ORGANIZATION]
        assert [row.id for row in directory.projects(ORGANIZATION)] == [PROJECT]
        await directory.load()
        assert [row.id for row in directory.projects(ORGANIZATION)] == [PROJECT]

    within(tmp_path, scenario)


def test_what_was_changed_is_there_after_a_restart(tmp_path: Path) -> None:
    """A second directory on the same file finds members, roles and projects as the first one left them."""

    async def scenario(directory: Directory) -> None:
        await directory.create_user(ORGANIZATION, " Ann@Example.org ", "Ann", [Role.OWNER])
        bob = await directory.create_user(ORGANIZATION, "bob@example.org", "Bob", [Role.READER])
        project = await directory.create_project(ORGANIZATION, "Maps")
        await directory.set_roles(bob.id, project.id, [Role.DEPLOYER, Role.USER])
        account = await directory.create_service_account(ORGANIZATION, project.id, "crawler", [Role.USER])
        before = (directory.users(ORGANIZATION), directory.held(bob.id, project.id))
        await directory.load()
        assert (directory.users(ORGANIZATION), directory.held(bob.id, project.id)) == before
        assert directory.held(bob.id, project.id) == {Role.READER, Role.DEPLOYER, Role.USER}
        assert directory.held(bob.id, PROJECT) == {Role.READER}
        assert directory.service_accounts(ORGANIZATION, project.id) == [account]
        found = directory.user_by_email("ANN@example.ORG")
        assert found is not None
        assert found.name == "Ann"

    within(tmp_path, scenario)


def test_what_was_made_in_one_second_is_listed_as_it_was_made(tmp_path: Path) -> None:
    """Twenty of each, made while the clock stands still, are in their order, before and after a restart."""

    async def run() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        directory = Directory(database, Roles(), clock=lambda: 1_800_000_000.0)
        await directory.load()
        made = {"organizations": [ORGANIZATION], "projects": [PROJECT], "users": [], "accounts": []}
        for number in range(20):
            made["organizations"].append((await directory.create_organization(f"{number}")).id)
            made["projects"].append((await directory.create_project(ORGANIZATION, f"{number}")).id)
            made["users"].append((await directory.create_user(ORGANIZATION, f"{number}@example.org", "", [])).id)
            account = await directory.create_service_account(ORGANIZATION, PROJECT, f"{number}", [Role.USER])
            made["accounts"].append(account.id)
        for _ in range(2):
            assert [row.id for row in directory.organizations()] == made["organizations"]
            assert [row.id for row in directory.projects(ORGANIZATION)] == made["projects"]
            assert [row.id for row in directory.users(ORGANIZATION)] == made["users"]
            assert [row.id for row in directory.service_accounts(ORGANIZATION, PROJECT)] == made["accounts"]
            await directory.load()
        await database.close()

    asyncio.run(run())


def test_objects_of_another_organization_do_not_exist(tmp_path: Path) -> None:
    """A project, user or service account of another organization is told exactly as one that was never made."""

    async def scenario(directory: Directory) -> None:
        other = await directory.create_organization("Other")
        (project,) = directory.projects(other.id)
        user = await directory.create_user(other.id, "eve@example.org", "Eve", [Role.OWNER])
        account = await directory.create_service_account(other.id, project.id, "bot", [Role.USER])
        for ask, there in (
            (directory.project, project.id),
            (directory.user, user.id),
            (lambda organization, name: directory.service_account(organization, PROJECT, name), account.id),
        ):
            messages = []
            for name in (there, "x" * len(there)):
                with pytest.raises(NotFound) as caught:
                    ask(ORGANIZATION, name)
                messages.append(caught.value.message.replace(name, "ID"))
            assert messages[0] == messages[1]
        assert directory.users(ORGANIZATION) == []

    within(tmp_path, scenario)


def test_an_organization_keeps_an_owner(tmp_path: Path) -> None:
    """The last owner can be demoted, disabled or removed by nobody; with a second one that is possible."""

    async def scenario(directory: Directory) -> None:
        ann = await directory.create_user(ORGANIZATION, "ann@example.org", "Ann", [Role.OWNER])
        for attempt in (
            lambda: directory.set_roles(ann.id, WHOLE, [Role.READER]),
            lambda: directory.update_member(ann.id, disabled=True),
            lambda: directory.delete_member(ann.id),
        ):
            with pytest.raises(Conflict, match="must keep an owner"):
                await attempt()
        bob = await directory.create_user(ORGANIZATION, "bob@example.org", "Bob", [Role.OWNER])
        await directory.update_member(ann.id, disabled=True)
        with pytest.raises(Conflict, match="must keep an owner"):
            await directory.delete_member(bob.id)
        await directory.update_member(ann.id, disabled=False)
        await directory.delete_member(bob.id)

    within(tmp_path, scenario)


def test_roles_of_two_sources_do_not_touch_each_other(tmp_path: Path) -> None:
    """What an identity provider gives is replaced by what it gives next, and what the API gave stays."""

    async def scenario(directory: Directory) -> None:
        ann = await directory.create_user(ORGANIZATION, "ann@example.org", "Ann", [Role.OWNER])
        await directory.set_roles(ann.id, PROJECT, [Role.USER])
        await directory.set_roles(ann.id, PROJECT, [Role.AUDITOR, Role.USER], source="corp")
        await directory.set_roles(ann.id, PROJECT, [Role.DEPLOYER], source="corp")
        assert directory.held(ann.id, PROJECT) == {Role.OWNER, Role.USER, Role.DEPLOYER}
        await directory.leave_project(ann.id, PROJECT)
        await directory.load()
        assert directory.held(ann.id, PROJECT) == {Role.OWNER}

    within(tmp_path, scenario)


def test_a_disabled_or_removed_member_is_nobody(tmp_path: Path) -> None:
    """A principal is refused once its member is disabled or removed, or its project archived."""

    async def scenario(directory: Directory) -> None:
        told: list[str] = []
        directory.on_change(lambda: told.append("changed"))
        await directory.create_user(ORGANIZATION, "ann@example.org", "Ann", [Role.OWNER])
        bob = await directory.create_user(ORGANIZATION, "bob@example.org", "Bob", [Role.USER])
        project = await directory.create_project(ORGANIZATION, "Maps")
        principal = directory.principal(bob.id, project.id, auth_method="session")
        assert principal.actions >= {Action.INFER}
        await directory.archive_project(ORGANIZATION, project.id)
        with pytest.raises(Unauthenticated, match="archived"):
            directory.principal(bob.id, project.id, auth_method="session")
        await directory.update_member(bob.id, disabled=True)
        with pytest.raises(Unauthenticated, match="disabled"):
            directory.principal(bob.id, auth_method="session")
        await directory.update_member(bob.id, disabled=False)
        assert directory.principal(bob.id, auth_method="session").project_id == PROJECT
        await directory.delete_member(bob.id)
        with pytest.raises(Unauthenticated):
            directory.principal(bob.id, auth_method="session")
        assert len(told) == 7

    within(tmp_path, scenario)


def test_wrong_changes_are_refused(tmp_path: Path) -> None:
    """An unknown role, a taken address and an archived project are told by name, and change nothing."""

    async def scenario(directory: Directory) -> None:
        ann = await directory.create_user(ORGANIZATION, "ann@example.org", "Ann", [Role.OWNER])
        with pytest.raises(InvalidRequest, match="no role 'king'"):
            await directory.set_roles(ann.id, WHOLE, ["king"])
        with pytest.raises(Conflict, match="already a user"):
            await directory.create_user(ORGANIZATION, "ANN@example.org", "Ann", [])
        with pytest.raises(Conflict, match="last project"):
            await directory.archive_project(ORGANIZATION, PROJECT)
        project = await directory.create_project(ORGANIZATION, "Maps")
        await directory.archive_project(ORGANIZATION, project.id)
        with pytest.raises(InvalidRequest, match="archived"):
            await directory.rename_project(ORGANIZATION, project.id, "Charts")
        assert [row.id for row in directory.projects(ORGANIZATION)] == [PROJECT]
        assert len(directory.projects(ORGANIZATION, archived=True)) == 2

    within(tmp_path, scenario)


def test_a_role_of_ones_own_allows_what_it_says(tmp_path: Path) -> None:
    """A role of the configuration allows its actions; once it is gone from there, it allows nothing."""

    async def scenario(directory: Directory) -> None:
        ann = await directory.create_user(ORGANIZATION, "ann@example.org", "Ann", ["billing"])
        assert directory.principal(ann.id, auth_method="session").actions == {Action.READ_USAGE}

    within(tmp_path, scenario, Roles({"billing": [Action.READ_USAGE]}))

    async def later(directory: Directory) -> None:
        (ann,) = directory.users(ORGANIZATION)
        assert directory.principal(ann.id, auth_method="session").actions == frozenset()

    within(tmp_path, later)
