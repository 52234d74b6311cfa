"""Sessions: how they begin, how they end, and that nothing of them is on the disk that opens one."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import NotFound, Unauthenticated
from freehold.governance.directory import ORGANIZATION, PROJECT
from freehold.identity.sessions import MAX_OF_ONE, Sessions
from freehold.types.signin import IdentitySettings
from tests.identity.parts import Parts, open_parts

SETTINGS = IdentitySettings(session_idle_s=600, session_max_s=3600)


def _run(folder: Path, scenario: Callable[[Parts], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        async with open_parts(folder, SETTINGS) as parts:
            return await scenario(parts)

    return asyncio.run(whole())


async def _open(parts: Parts, member_id: str, *, instead_of: str | None = None) -> str:
    return await parts.sessions.open(member_id, "password", "Test/1.0", instead_of=instead_of)


def _refused(parts: Parts, cookie: str) -> bool:
    try:
        parts.sessions.principal(cookie)
    except Unauthenticated:
        return True
    return False


def test_a_session_gives_its_principal_also_after_a_restart(tmp_path: Path) -> None:
    """The cookie leads to the member, with the roles that they hold now."""

    async def scenario(parts: Parts) -> None:
        alice = await parts.user("alice@example.org", "user")
        cookie = await _open(parts, alice.id)
        again = Sessions(parts.database, parts.directory, SETTINGS, clock=parts.clock)
        await again.load()
        for sessions in (parts.sessions, again):
            principal = sessions.principal(cookie)
            assert (principal.id, principal.auth_method, principal.roles) == (alice.id, "session", frozenset({"user"}))
            assert principal.expires_at == parts.clock.now + 3600
        await parts.directory.set_roles(alice.id, "", ["reader"])
        assert parts.sessions.principal(cookie).roles == {"reader"}

    _run(tmp_path, scenario)


def test_the_cookie_is_nowhere_on_the_disk(tmp_path: Path) -> None:
    """Neither the database nor its write-ahead log holds the cookie."""

    async def scenario(parts: Parts) -> str:
        return await _open(parts, (await parts.user("alice@example.org")).id)

    cookie = _run(tmp_path, scenario)
    assert len(cookie) == 43
    for path in tmp_path.iterdir():
        assert cookie.encode() not in path.read_bytes()


def test_a_session_ends_when_it_is_idle_and_at_last_in_any_case(tmp_path: Path) -> None:
    """Each use puts the idle end off, and none the absolute one."""

    async def scenario(parts: Parts) -> None:
        alice = await parts.user("alice@example.org")
        idle, used = await _open(parts, alice.id), await _open(parts, alice.id)
        for _ in range(5):
            parts.clock.now += 599
            assert not _refused(parts, used)
        assert _refused(parts, idle)
        parts.clock.now += 599
        assert not _refused(parts, used)
        parts.clock.now += 3600 - 6 * 599
        assert _refused(parts, used)

    _run(tmp_path, scenario)


def test_when_a_session_was_used_outlives_a_restart(tmp_path: Path) -> None:
    """The idle time counts from the last use, also if the server was restarted in between."""

    async def scenario(parts: Parts) -> None:
        alice = await parts.user("alice@example.org")
        cookie = await _open(parts, alice.id)
        parts.clock.now += 599
        parts.sessions.find(cookie)
        await parts.sessions.sweep()
        parts.clock.now += 599
        again = Sessions(parts.database, parts.directory, SETTINGS, clock=parts.clock)
        await again.load()
        assert again.find(cookie).member_id == alice.id

    _run(tmp_path, scenario)


def test_a_new_sign_in_ends_the_session_before_it(tmp_path: Path) -> None:
    """The cookie is another one after each sign-in, and the old one opens nothing."""

    async def scenario(parts: Parts) -> None:
        alice = await parts.user("alice@example.org")
        first = await _open(parts, alice.id)
        second = await _open(parts, alice.id, instead_of=first)
        assert first != second
        assert _refused(parts, first)
        assert not _refused(parts, second)

    _run(tmp_path, scenario)


@pytest.mark.parametrize("end", ["disable", "delete", "everywhere", "password"])
def test_sessions_end_at_once(tmp_path: Path, end: str) -> None:
    """A disabled or removed account, a sign-out everywhere and a new password end every session, for good."""

    async def scenario(parts: Parts) -> None:
        alice, bob = await parts.user("alice@example.org"), await parts.user("bob@example.org")
        cookies = [await _open(parts, alice.id) for _ in range(3)]
        others = await _open(parts, bob.id)
        match end:
            case "disable":
                await parts.directory.update_member(alice.id, disabled=True)
            case "delete":
                await parts.directory.delete_member(alice.id)
            case "everywhere":
                assert await parts.sessions.end_all(alice.id) == 3
            case "password":
                await parts.accounts.set_password(alice, "another good pass phrase")
        assert [_refused(parts, cookie) for cookie in cookies] == [True] * 3
        assert not _refused(parts, others)

    _run(tmp_path, scenario)


def test_one_session_is_ended_and_its_listeners_told(tmp_path: Path) -> None:
    """A person ends their own sessions by id, nobody else's, and whoever streams by one is told."""

    async def scenario(parts: Parts) -> None:
        alice, bob = await parts.user("alice@example.org"), await parts.user("bob@example.org")
        cookie = await _open(parts, alice.id)
        told: list[str] = []
        parts.sessions.on_end(lambda: told.append("ended"))
        (row,) = parts.sessions.of(alice.id)
        with pytest.raises(NotFound):
            await parts.sessions.end(bob.id, row.id)
        assert parts.sessions.alive(row.id)
        await parts.sessions.end(alice.id, row.id)
        assert not parts.sessions.alive(row.id)
        assert _refused(parts, cookie)
        assert told == ["ended"]

    _run(tmp_path, scenario)


def test_a_person_acts_in_the_project_that_they_chose(tmp_path: Path) -> None:
    """The choice holds, and where the project is archived the first one counts again."""

    async def scenario(parts: Parts) -> list[str]:
        alice = await parts.user("alice@example.org", "user")
        project = await parts.directory.create_project(ORGANIZATION, "Other")
        cookie = await _open(parts, alice.id)
        seen = [parts.sessions.principal(cookie).project_id]
        await parts.sessions.choose_project(parts.sessions.find(cookie).id, project.id)
        seen.append(parts.sessions.principal(cookie).project_id)
        await parts.directory.archive_project(ORGANIZATION, project.id)
        seen.append(parts.sessions.principal(cookie).project_id)
        return [project.id, *seen]

    other, *seen = _run(tmp_path, scenario)
    assert seen == [PROJECT, other, PROJECT]


def test_one_person_has_a_bounded_number_of_sessions(tmp_path: Path) -> None:
    """Beyond the bound the session goes that was not used for longest."""

    async def scenario(parts: Parts) -> tuple[int, bool, bool]:
        alice = await parts.user("alice@example.org")
        cookies = []
        for _ in range(MAX_OF_ONE + 1):
            parts.clock.now += 1
            cookies.append(await _open(parts, alice.id))
            parts.sessions.find(cookies[0])
        return len(parts.sessions.of(alice.id)), _refused(parts, cookies[0]), _refused(parts, cookies[1])

    assert _run(tmp_path, scenario) == (MAX_OF_ONE, False, True)


def test_expired_sessions_are_forgotten(tmp_path: Path) -> None:
    """A sweep removes sessions that have ended, and those of people who are gone, from the database too."""

    async def scenario(parts: Parts) -> list[str]:
        alice, bob = await parts.user("alice@example.org"), await parts.user("bob@example.org")
        await _open(parts, alice.id)
        parts.clock.now += 601
        await _open(parts, bob.id)
        kept = await _open(parts, (await parts.user("carol@example.org")).id)
        await parts.directory.delete_member(bob.id)
        await parts.sessions.sweep()
        again = Sessions(parts.database, parts.directory, SETTINGS, clock=parts.clock)
        await again.load()
        assert again.find(kept)
        return list(again._digests)

    assert len(_run(tmp_path, scenario)) == 1
