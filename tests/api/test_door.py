"""Who is let in, and who may go on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import Scope

from freehold.api.door import Door, People
from freehold.encryption.content_keys import ContentKeys
from freehold.errors import Forbidden, NotFound, ProjectKeyRevoked, Unauthenticated
from freehold.governance.authorization import Roles
from freehold.governance.directory import ORGANIZATION, PROJECT, WHOLE, Directory
from freehold.governance.invites import Invites
from freehold.governance.keys import KeyRing
from freehold.governance.suspensions import Suspensions
from freehold.identity.identity import open_identity
from freehold.store.database import Database
from freehold.types.identity import Action, Role
from freehold.types.signin import IdentitySettings
from tests.gateway.kept import content_keys_of


@asynccontextmanager
async def _open(
    folder: Path, public_url: str | None = None, *, content_keys: ContentKeys | None = None
) -> AsyncIterator[People]:
    """A door on a database of its own, and who may come through it."""
    database = await Database.open(folder / "freehold.db")
    directory = Directory(database, Roles())
    await directory.load()
    keys = KeyRing(database, b"p" * 32, directory)
    invites = Invites(database, b"p" * 32, directory)
    async with open_identity(database, directory, invites, IdentitySettings()) as identity:
        yield People(
            Door(keys, directory, identity, content_keys or content_keys_of(database), public_url),
            directory,
            keys,
            invites,
            identity,
            Suspensions(database),
        )
    await database.close()


def _request(method: str, *headers: tuple[str, str], scheme: str = "http", host: str = "ai.example.org") -> Scope:
    raw = [(b"host", host.encode()), *((name.encode(), value.encode()) for name, value in headers)]
    return {"type": "http", "method": method, "scheme": scheme, "headers": raw, "client": ("1.2.3.4", 5)}


def test_whoever_loses_the_role_may_not_go_on(tmp_path: Path) -> None:
    """A key, and a session, may go on as long as the role is held that allowed the request; then the reason is told."""

    async def scenario() -> None:
        async with _open(tmp_path) as people:
            await check(people)

    async def check(people: People) -> None:
        door, directory, keys = people.door, people.directory, people.keys
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

    asyncio.run(scenario())


def test_a_key_of_a_project_reaches_no_other_one(tmp_path: Path) -> None:
    """Roles that its owner holds elsewhere are not the key's; a session and a key of the organization have them."""

    async def scenario() -> None:
        async with _open(tmp_path) as people:
            await check(people)

    async def check(people: People) -> None:
        door, directory, keys = people.door, people.directory, people.keys
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

    asyncio.run(scenario())


async def _signed_in(people: People) -> tuple[str, str]:
    """The header of a browser in which a user is signed in."""
    alice = await people.directory.create_user(ORGANIZATION, "alice@example.org", "Alice", [Role.USER])
    cookie = await people.identity.sessions.open(alice.id, "password", "Test/1.0", instead_of=None)
    return "cookie", f"theme=dark; __Host-freehold={cookie}"


@pytest.mark.parametrize(
    ("public_url", "scheme", "origin", "welcome"),
    [
        (None, "http", "http://ai.example.org", True),
        (None, "http", "HTTPS://AI.example.org", True),
        (None, "https", "https://ai.example.org", True),
        (None, "https", "http://ai.example.org", False),
        (None, "http", "http://ai.example.org:8080", False),
        (None, "http", "http://ai.example.org.evil.test", False),
        ("https://ai.example.org", "http", "https://ai.example.org", True),
        ("https://ai.example.org", "http", "http://ai.example.org", False),
        ("https://other.example.org", "https", "https://ai.example.org", False),
    ],
)
def test_a_change_by_cookie_comes_from_our_own_origin(
    tmp_path: Path, public_url: str | None, scheme: str, origin: str, welcome: bool
) -> None:
    """Our origin is the public address or, without one, what the request was sent to, also behind a proxy with TLS."""

    async def scenario() -> bool:
        async with _open(tmp_path, public_url) as people:
            cookie = await _signed_in(people)
            scope = _request("POST", cookie, ("origin", origin), scheme=scheme)
            try:
                return (await people.door.authenticate(scope)).auth_method == "session"
            except Forbidden:
                return False

    assert asyncio.run(scenario()) is welcome


def test_a_header_for_credentials_is_never_replaced_by_a_cookie(tmp_path: Path) -> None:
    """A wrong, an empty and a malformed credential are refused although a good cookie is beside them."""

    async def scenario() -> None:
        async with _open(tmp_path) as people:
            cookie = await _signed_in(people)
            assert (await people.door.authenticate(_request("GET", cookie))).session_id
            for header in (
                ("authorization", "Bearer fh-wrong"),
                ("authorization", "Bearer "),
                ("authorization", "Basic YTpi"),
                ("authorization", ""),
                ("api-key", ""),
                ("api-key", "fh-wrong"),
            ):
                with pytest.raises(Unauthenticated):
                    await people.door.authenticate(_request("GET", cookie, header))

    asyncio.run(scenario())


def test_a_cookie_that_is_wrong_or_twice_is_refused(tmp_path: Path) -> None:
    """An unknown session is a 401 for each method, and so are two that differ; cookies of other names do not count."""

    async def scenario() -> None:
        async with _open(tmp_path) as people:
            name, value = await _signed_in(people)
            wrong = "__Host-freehold=" + "A" * 43
            for method in ("GET", "POST"):
                for headers in ([(name, wrong)], [(name, f"{value}; {wrong}")], [(name, value), (name, wrong)]):
                    with pytest.raises(Unauthenticated):
                        await people.door.authenticate(_request(method, *headers))
            with pytest.raises(Unauthenticated, match="didn't provide an API key"):
                await people.door.authenticate(_request("GET", (name, value.replace("__Host-freehold", "freehold"))))
            assert (await people.door.authenticate(_request("GET", (name, value), (name, value)))).session_id

    asyncio.run(scenario())


def test_who_runs_by_a_session_may_not_go_on_when_it_ends(tmp_path: Path) -> None:
    """There is no objection to a session that holds, and one to a session that was ended; the end is told."""

    async def scenario() -> None:
        async with _open(tmp_path) as people:
            principal = await people.door.authenticate(_request("GET", await _signed_in(people)))
            told: list[str] = []
            people.on_change(lambda: told.append("changed"))
            assert people.door.objection(principal) is None
            await people.identity.sessions.end(principal.id, principal.session_id)
            assert isinstance(people.door.objection(principal), Unauthenticated)
            assert told == ["changed"]

    asyncio.run(scenario())


def test_nothing_is_done_for_a_project_whose_content_key_is_revoked(tmp_path: Path) -> None:
    """Its members may not go on nor begin anything, by whatever credential; those of other projects may."""

    async def scenario() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        content_keys = content_keys_of(database)
        async with _open(tmp_path, content_keys=content_keys) as people:
            door, directory = people.door, people.directory
            bob = await directory.create_user(ORGANIZATION, "bob@example.org", "Bob", [Role.USER])
            project = await directory.create_project(ORGANIZATION, "Maps")
            here, there = (directory.principal(bob.id, each, auth_method="session") for each in (PROJECT, project.id))
            await content_keys.revoke(ORGANIZATION, PROJECT)
            assert isinstance(door.objection(here), ProjectKeyRevoked)
            with pytest.raises(ProjectKeyRevoked):
                door.check_served(here)
            door.check_served(there)
            await content_keys.restore(ORGANIZATION, PROJECT)
            door.check_served(here)
        await database.close()

    asyncio.run(scenario())
