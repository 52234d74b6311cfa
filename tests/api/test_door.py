"""Who is let in, and who may go on."""

import asyncio
from pathlib import Path

import pytest

from freehold.api.door import Door
from freehold.errors import Forbidden, NotFound, ProjectKeyRevoked, Unauthenticated
from freehold.governance.authorization import Roles
from freehold.governance.directory import ORGANIZATION, PROJECT, WHOLE, Directory
from freehold.governance.keys import KeyRing
from freehold.store.database import Database
from freehold.types.identity import Action, Role
from tests.gateway.kept import content_keys_of


def test_whoever_loses_the_role_may_not_go_on(tmp_path: Path) -> None:
    """A key, and a session, may go on as long as the role is held that allowed the request; then the reason is told."""

    async def scenario() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        directory = Directory(database, Roles())
        await directory.load()
        keys = KeyRing(database, b"p" * 32, directory)
        door = Door(keys, directory, content_keys_of(database))
        await directory.create_user(ORGANIZATION, "ann@example.org", "Ann", [Role.OWNER])
        bob = await directory.create_user(ORGANIZATION, "bob@example.org", "Bob", [Role.READER])
        await directory.set_roles(bob.id, PROJECT, [Role.USER])
        row, _ = await keys.create("app", bob, PROJECT)
        running = [keys.principal(row.id), directory.principal(bob.id, PROJECT, auth_method="session")]
        assert [door.objection(principal) for principal in running] == [None, None]
        await directory.set_roles(bob.id, PROJECT, [Role.READER])
        assert [type(door.objection(principal)) for principal in running] == [Forbidden, Forbidden]
        await directory.delete_member(bob.id)
        assert [type(door.objection(principal)) for principal in running] == [Unauthenticated, Unauthenticated]
        await database.close()

    asyncio.run(scenario())


def test_a_key_of_a_project_reaches_no_other_one(tmp_path: Path) -> None:
    """Roles that its owner holds elsewhere are not the key's; a session and a key of the organization have them."""

    async def scenario() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        directory = Directory(database, Roles())
        await directory.load()
        keys = KeyRing(database, b"p" * 32, directory)
        door = Door(keys, directory, content_keys_of(database))
        bob = await directory.create_user(ORGANIZATION, "bob@example.org", "Bob", [])
        project = await directory.create_project(ORGANIZATION, "Maps")
        await directory.set_roles(bob.id, project.id, [Role.OWNER])
        await directory.set_roles(bob.id, PROJECT, [Role.USER])
        bound = keys.principal((await keys.create("app", bob, PROJECT))[0].id)
        whole = keys.principal((await keys.create("script", bob, WHOLE))[0].id)
        session = directory.principal(bob.id, PROJECT, auth_method="session")
        assert door.actions_in(bound, project.id) == frozenset()
        assert not door.administers(bound)
        with pytest.raises(NotFound):
            door.actions_in_known(bound, project.id)
        for reaching in (whole, session):
            assert Action.WRITE_USERS in door.actions_in_known(reaching, project.id)
            assert door.administers(reaching)
            with pytest.raises(NotFound):
                door.actions_in_known(reaching, "proj_nothing")
        assert Action.INFER not in door.actions_in(whole, project.id)
        await database.close()

    asyncio.run(scenario())


def test_nothing_is_done_for_a_project_whose_content_key_is_revoked(tmp_path: Path) -> None:
    """Its members may not go on nor begin anything, by whatever credential; those of other projects may."""

    async def scenario() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        directory = Directory(database, Roles())
        await directory.load()
        content_keys = content_keys_of(database)
        door = Door(KeyRing(database, b"p" * 32, directory), directory, content_keys)
        bob = await directory.create_user(ORGANIZATION, "bob@example.org", "Bob", [Role.USER])
        project = await directory.create_project(ORGANIZATION, "Maps")
        here, there = (directory.principal(bob.id, each, auth_method="session") for each in (PROJECT, project.id))
        await content_keys.revoke(ORGANIZATION, PROJECT)
        assert isinstance(door.objection(here), ProjectKeyRevoked)
        with pytest.raises(ProjectKeyRevoked):
            door.check_served(here)
        assert door.objection(there) is None
        door.check_served(there)
        await content_keys.restore(ORGANIZATION, PROJECT)
        assert door.objection(here) is None
        await database.close()

    asyncio.run(scenario())
