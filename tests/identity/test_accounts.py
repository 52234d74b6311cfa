"""Local accounts on a real database file."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import Forbidden, InvalidRequest, NotFound, RateLimited, Unauthenticated
from freehold.governance.directory import ORGANIZATION, WHOLE
from freehold.identity.accounts import LINK_LIFETIME_S
from freehold.identity.throttle import ACCOUNT
from freehold.types.signin import IdentitySettings
from tests.identity.parts import PASSWORD, Parts, open_parts


def _run(folder: Path, scenario: Callable[[Parts], Awaitable[Any]], **settings: Any) -> Any:
    async def whole() -> Any:
        async with open_parts(folder, IdentitySettings(**settings)) as parts:
            return await scenario(parts)

    return asyncio.run(whole())


def test_address_and_password_lead_to_the_user(tmp_path: Path) -> None:
    """The address counts whatever its capitals; a wrong password, no password and no account are refused alike."""

    async def scenario(parts: Parts) -> set[str]:
        alice, bob = await parts.user("alice@example.org"), await parts.user("bob@example.org")
        await parts.accounts.set_password(alice, PASSWORD)
        assert (await parts.accounts.sign_in(" Alice@Example.ORG", PASSWORD, "1.2.3.4")).id == alice.id
        said = set()
        for email, password in ((alice.email, "wrong"), (bob.email, PASSWORD), ("nobody@example.org", PASSWORD)):
            with pytest.raises(Unauthenticated) as refused:
                await parts.accounts.sign_in(str(email), password, "1.2.3.4")
            said.add(refused.value.message)
        await parts.directory.update_member(alice.id, disabled=True)
        with pytest.raises(Unauthenticated) as refused:
            await parts.accounts.sign_in("alice@example.org", PASSWORD, "1.2.3.4")
        return said | {refused.value.message}

    assert len(_run(tmp_path, scenario)) == 1


def test_neither_password_nor_link_is_on_the_disk(tmp_path: Path) -> None:
    """The database holds an Argon2id hash, and digests of links."""

    async def scenario(parts: Parts) -> str:
        alice = await parts.user("alice@example.org")
        await parts.accounts.set_password(alice, PASSWORD)
        return await parts.accounts.link(alice)

    link = _run(tmp_path, scenario)
    for path in tmp_path.iterdir():
        assert PASSWORD.encode() not in path.read_bytes()
        assert link.encode() not in path.read_bytes()
    with sqlite3.connect(tmp_path / "freehold.db") as connection:
        ((kept,),) = connection.execute("SELECT hash FROM passwords").fetchall()
    connection.close()
    assert kept.startswith("$argon2id$")


def test_many_tries_at_once_are_no_way_around_the_throttle(tmp_path: Path) -> None:
    """Of many wrong passwords that come at once only so many are looked at as may fail."""

    async def scenario(parts: Parts) -> tuple[int, int]:
        alice = await parts.user("alice@example.org")
        await parts.accounts.set_password(alice, PASSWORD)
        tries = (parts.accounts.sign_in("alice@example.org", "wrong", f"1.2.3.{n}") for n in range(20))
        results = await asyncio.gather(*tries, return_exceptions=True)
        return sum(isinstance(each, Unauthenticated) for each in results), sum(
            isinstance(each, RateLimited) for each in results
        )

    assert _run(tmp_path, scenario) == (ACCOUNT.failures, 20 - ACCOUNT.failures)


def test_an_address_that_tries_many_accounts_is_held_up(tmp_path: Path) -> None:
    """Failures of one network address count together, whichever accounts they are of."""

    async def scenario(parts: Parts) -> None:
        for number in range(50):
            parts.accounts._addresses.begin("1.2.3.4")
            assert number < 50
        with pytest.raises(RateLimited):
            await parts.accounts.sign_in("nobody@example.org", PASSWORD, "1.2.3.4")
        with pytest.raises(Unauthenticated):
            await parts.accounts.sign_in("nobody@example.org", PASSWORD, "5.6.7.8")

    _run(tmp_path, scenario)


def test_a_link_sets_a_password_once_and_for_a_while(tmp_path: Path) -> None:
    """A link ends with its use, with a newer one, with a password set otherwise, and with time; a poor try keeps it."""

    async def scenario(parts: Parts) -> None:
        alice = await parts.user("alice@example.org")
        accounts = parts.accounts
        first = await accounts.link(alice)
        second = await accounts.link(alice)
        with pytest.raises(NotFound):
            await accounts.accept(first, "", PASSWORD)
        with pytest.raises(InvalidRequest):
            await accounts.accept(second, "", "short")
        assert (await accounts.accept(second, "", PASSWORD)).id == alice.id
        with pytest.raises(NotFound):
            await accounts.accept(second, "", PASSWORD)
        third = await accounts.link(alice)
        await accounts.set_password(alice, PASSWORD)
        with pytest.raises(NotFound):
            await accounts.invited(third)
        fourth = await accounts.link(alice)
        parts.clock.now += LINK_LIFETIME_S
        with pytest.raises(NotFound):
            await accounts.invited(fourth)

    _run(tmp_path, scenario)


def test_an_invitation_becomes_an_account(tmp_path: Path) -> None:
    """The invited person gets the invitation's role and signs in with the password that they chose."""

    async def scenario(parts: Parts) -> frozenset[str]:
        invite = await parts.invites.create(ORGANIZATION, "new@example.org", "reader")
        token = await parts.invites.link(ORGANIZATION, invite.id)
        assert (await parts.accounts.invited(token)).new
        results = await asyncio.gather(
            *(parts.accounts.accept(token, "New", PASSWORD) for _ in range(3)), return_exceptions=True
        )
        assert sum(isinstance(each, NotFound) for each in results) == 2
        member = await parts.accounts.sign_in("new@example.org", PASSWORD, "1.2.3.4")
        return parts.directory.held(member.id, WHOLE)

    assert _run(tmp_path, scenario) == {"reader"}


def test_the_first_person_begins_with_a_link(tmp_path: Path) -> None:
    """As long as there is no user a link makes an owner, once; a wrong address or password leaves it good."""

    async def scenario(parts: Parts) -> None:
        accounts = parts.accounts
        old, link = accounts.first_link(), accounts.first_link()
        assert old is not None
        assert link is not None
        for token, email, password, error in (
            (old, "ann@example.org", PASSWORD, NotFound),
            (link, "ann", PASSWORD, InvalidRequest),
            (link, "ann@example.org", "short", InvalidRequest),
        ):
            with pytest.raises(error):
                await accounts.accept(token, "Ann", password, email)
        assert (await accounts.invited(link)).first
        tries = [accounts.accept(link, "Ann", PASSWORD, f"{name}@example.org") for name in ("ann", "eve")]
        made = await asyncio.gather(*tries, return_exceptions=True)
        (ann,) = (each for each in made if not isinstance(each, BaseException))
        assert "owner" in parts.directory.held(ann.id, WHOLE)
        assert (await accounts.sign_in(str(ann.email), PASSWORD, "1.2.3.4")).id == ann.id
        assert accounts.first_link() is None

    _run(tmp_path, scenario)


def test_a_user_ends_the_first_link(tmp_path: Path) -> None:
    """A link for the first person is no good any more once somebody has become a user in another way."""

    async def scenario(parts: Parts) -> None:
        link = parts.accounts.first_link()
        assert link is not None
        await parts.user("bob@example.org")
        with pytest.raises(NotFound):
            await parts.accounts.accept(link, "Ann", PASSWORD, "ann@example.org")

    _run(tmp_path, scenario)


def test_the_first_link_does_not_come_back(tmp_path: Path) -> None:
    """Once there was a user, a link for the first person stays dead when that user is gone."""

    async def scenario(parts: Parts) -> None:
        link = parts.accounts.first_link()
        assert link is not None
        bob = await parts.user("bob@example.org")
        await parts.directory.delete_member(bob.id)
        with pytest.raises(NotFound):
            await parts.accounts.accept(link, "Ann", PASSWORD, "ann@example.org")

    _run(tmp_path, scenario)


def test_without_local_accounts_no_password_opens_anything(tmp_path: Path) -> None:
    """Where they are switched off, nobody signs in with a password, sets one or gets a link."""

    async def scenario(parts: Parts) -> None:
        alice = await parts.user("alice@example.org")
        with pytest.raises(Forbidden):
            await parts.accounts.sign_in("alice@example.org", PASSWORD, "1.2.3.4")
        with pytest.raises(Forbidden):
            await parts.accounts.set_password(alice, PASSWORD)
        with pytest.raises(Forbidden):
            await parts.accounts.link(alice)

    _run(tmp_path, scenario, local_accounts=False)
