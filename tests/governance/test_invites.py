"""Invitations, on a real database file."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from freehold.errors import Conflict, NotFound
from freehold.governance.authorization import Roles
from freehold.governance.directory import ORGANIZATION, PROJECT, Directory
from freehold.governance.invites import LIFETIME_S, Invites
from freehold.store.database import Database
from freehold.types.identity import Role

NOW_S = 1_800_000_000
Scenario = Callable[[Directory, Invites, list[float]], Awaitable[None]]


def within(tmp_path: Path, scenario: Scenario) -> None:
    """Run a scenario on the invitations of a home, with a clock that it can set."""

    async def run() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        clock = [float(NOW_S)]
        try:
            directory = Directory(database, Roles())
            await directory.load()
            invites = Invites(database, b"p" * 32, directory, clock=lambda: clock[0])
            await invites.load()
            await scenario(directory, invites, clock)
        finally:
            await database.close()

    asyncio.run(run())


def test_an_invitation_is_accepted_once_by_its_link(tmp_path: Path) -> None:
    """Whoever has the newest link becomes a user with the invited roles; no link works twice."""

    async def scenario(directory: Directory, invites: Invites, _clock: list[float]) -> None:
        row = await invites.create(ORGANIZATION, "Ann@Example.org", Role.READER, [(PROJECT, Role.USER)])
        old = await invites.link(ORGANIZATION, row.id)
        token = await invites.link(ORGANIZATION, row.id)
        with pytest.raises(NotFound):
            invites.by_token(old)
        await invites.load()
        member = await invites.accept(invites.by_token(token), "Ann")
        assert member.email == "ann@example.org"
        assert directory.held(member.id, PROJECT) == {Role.READER, Role.USER}
        assert invites.status(invites.get(ORGANIZATION, row.id)) == "accepted"
        with pytest.raises(NotFound):
            invites.by_token(token)
        with pytest.raises(Conflict, match="accepted"):
            await invites.delete(ORGANIZATION, row.id)

    within(tmp_path, scenario)


def test_an_invitation_expires_and_can_be_taken_back(tmp_path: Path) -> None:
    """After its end neither link nor address accepts it; deleted, it is as if it had never been."""

    async def scenario(_directory: Directory, invites: Invites, clock: list[float]) -> None:
        row = await invites.create(ORGANIZATION, "ann@example.org", Role.READER)
        token = await invites.link(ORGANIZATION, row.id)
        assert invites.pending("ANN@example.org") is not None
        clock[0] += LIFETIME_S
        assert invites.pending("ann@example.org") is None
        with pytest.raises(NotFound):
            invites.by_token(token)
        with pytest.raises(Conflict, match="expired"):
            await invites.link(ORGANIZATION, row.id)
        await invites.delete(ORGANIZATION, row.id)
        with pytest.raises(NotFound):
            invites.get(ORGANIZATION, row.id)

    within(tmp_path, scenario)


def test_the_same_person_is_not_invited_twice(tmp_path: Path) -> None:
    """An address with a pending invitation, or with a user, is refused; another organization's invite is not found."""

    async def scenario(directory: Directory, invites: Invites, _clock: list[float]) -> None:
        row = await invites.create(ORGANIZATION, "ann@example.org", Role.READER)
        with pytest.raises(Conflict, match="invited already"):
            await invites.create(ORGANIZATION, "ann@example.org", Role.OWNER)
        await invites.accept(row, "Ann")
        with pytest.raises(Conflict, match="already a user"):
            await invites.create(ORGANIZATION, "ann@example.org", Role.OWNER)
        other = await directory.create_organization("Other")
        with pytest.raises(NotFound):
            invites.get(other.id, row.id)

    within(tmp_path, scenario)


def test_the_secret_of_a_link_is_nowhere_on_the_disk(tmp_path: Path) -> None:
    """Only its keyed hash is kept."""
    tokens: list[str] = []

    async def scenario(_directory: Directory, invites: Invites, _clock: list[float]) -> None:
        row = await invites.create(ORGANIZATION, "ann@example.org", Role.READER)
        tokens.append(await invites.link(ORGANIZATION, row.id))

    within(tmp_path, scenario)
    assert all(tokens[0].encode() not in path.read_bytes() for path in tmp_path.iterdir())
