"""The directory of several gateways, each with its own copy in memory."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from freehold.errors import Conflict
from freehold.governance.authorization import Roles
from freehold.governance.directory import WHOLE, Directory
from freehold.store.database import Database
from freehold.types.identity import Role
from tests.postgres import PostgreSQL


async def _gateway(url: str) -> tuple[Database, Directory]:
    """A gateway's database and directory, which is read again at the beginning of each turn."""
    database = await Database.open(Path("none"), url=url)
    directory = Directory(database, Roles({}))

    async def read() -> None:
        now = await database.numbers()
        await directory.load()
        database.known = now

    await read()
    database.on_turn(read)
    return database, directory


@pytest.mark.slow
def test_an_owner_stays_whichever_gateways_take_them_away(postgres_server: PostgreSQL) -> None:
    """Of two owners who lose their role at two gateways at the same moment, one keeps it, every time."""
    url = postgres_server.new_home()

    async def scenario() -> list[list[bool]]:
        places = [await _gateway(url) for _ in range(2)]
        (first, directory), (second, other) = places
        found = []
        for number in range(5):
            organization = await directory.create_organization(f"org {number}")
            create = partial(directory.create_user, organization.id, name="x", roles=[Role.OWNER])
            owners = [await create(f"{name}{number}@example.org") for name in ("ann", "ben")]
            await other.load()

            async def leave(where: Directory, member_id: str) -> bool:
                try:
                    await where.set_roles(member_id, WHOLE, [])
                except Conflict:
                    return False
                return True

            found.append(sorted(await asyncio.gather(leave(directory, owners[0].id), leave(other, owners[1].id))))
        for database in (first, second):
            await database.close()
        return found

    assert asyncio.run(scenario()) == [[False, True]] * 5


def test_a_member_that_another_gateway_removed_is_not_found(postgres_server: PostgreSQL) -> None:
    """Whoever changes a member that was removed elsewhere is told that there is none."""
    url = postgres_server.new_home()

    async def scenario() -> str:
        (first, directory), (second, other) = [await _gateway(url) for _ in range(2)]
        organization = await directory.create_organization("org")
        await directory.create_user(organization.id, "owner@example.org", "owner", [Role.OWNER])
        member = await directory.create_user(organization.id, "ann@example.org", "ann", [])
        await other.load()
        await directory.delete_member(member.id)
        with pytest.raises(Exception, match="No member has the id") as told:
            await other.update_member(member.id, name="Ann")
        for database in (first, second):
            await database.close()
        return type(told.value).__name__

    assert asyncio.run(scenario()) == "NotFound"
