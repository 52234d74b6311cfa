"""Who is let in by a provider's word, and with which roles."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import Forbidden
from freehold.governance.directory import ORGANIZATION, PROJECT, WHOLE
from freehold.identity.claims import Statement
from freehold.store.directory import MemberRow
from freehold.types.signin import ProviderSettings
from tests.identity.parts import Parts, open_parts

Scenario = Callable[[Parts], Awaitable[Any]]


def _run(folder: Path, scenario: Scenario) -> Any:
    async def whole() -> Any:
        async with open_parts(folder) as parts:
            return await scenario(parts)

    return asyncio.run(whole())


def _provider(**changes: Any) -> ProviderSettings:
    values = {"name": "corp", "issuer": "https://login.example.org", "client_id": "freehold"}
    return ProviderSettings.model_validate({**values, **changes})


def _said(subject: str = "a1", email: str | None = "alice@example.org", at: int = 100, **roles: set[str]) -> Statement:
    places = {{"whole": WHOLE, "project": PROJECT}[place]: frozenset(names) for place, names in roles.items()}
    return Statement(subject, email, "Alice", places, at, at + 600)


def test_an_invited_person_comes_in_with_the_roles_of_the_invitation(tmp_path: Path) -> None:
    """Who signs in with an invited address accepts the invitation by that."""

    async def scenario(parts: Parts) -> tuple[MemberRow, list[str], str]:
        invite = await parts.invites.create(ORGANIZATION, "alice@example.org", "reader", [(PROJECT, "user")])
        member = await parts.admission.admit(_provider(), _said())
        status = parts.invites.status(parts.invites.get(ORGANIZATION, invite.id))
        return member, sorted(parts.directory.held(member.id, PROJECT)), status

    member, roles, status = _run(tmp_path, scenario)
    assert member.email == "alice@example.org"
    assert roles == ["reader", "user"]
    assert status == "accepted"


@pytest.mark.parametrize(
    ("settings", "said", "why"),
    [
        ({}, _said(), "not been invited"),
        ({"users": "create"}, _said(), "none of your groups"),
        ({"users": "create"}, _said(email=None, whole={"user"}), "does not vouch"),
        ({"users": "create", "email_domains": ["example.com"]}, _said(whole={"user"}), "addresses of 'example.org'"),
    ],
)
def test_strangers_stay_outside(tmp_path: Path, settings: dict[str, Any], said: Statement, why: str) -> None:
    """Who was not invited, has no role, no address or one of another domain is not let in, and no user is made."""

    async def scenario(parts: Parts) -> int:
        with pytest.raises(Forbidden, match=why) as refused:
            await parts.admission.admit(_provider(**settings), said)
        assert refused.value.code == "signin_not_allowed"
        return len(parts.directory.users(ORGANIZATION))

    assert _run(tmp_path, scenario) == 0


def test_a_provider_may_make_users(tmp_path: Path) -> None:
    """Where the provider may, whoever has a role by their groups becomes a user with just that role."""

    async def scenario(parts: Parts) -> frozenset[str]:
        member = await parts.admission.admit(_provider(users="create"), _said(whole={"user"}))
        return parts.directory.held(member.id, WHOLE)

    assert _run(tmp_path, scenario) == {"user"}


def test_a_person_is_known_by_the_subject_and_not_by_the_address(tmp_path: Path) -> None:
    """Another address of the same person changes nothing; another person with the address does not get the account."""

    async def scenario(parts: Parts) -> None:
        alice = await parts.user("alice@example.org", "user")
        assert (await parts.admission.admit(_provider(), _said())).id == alice.id
        moved = await parts.admission.admit(_provider(), _said(email="alice@new.example.org", at=101))
        assert moved.id == alice.id
        with pytest.raises(Forbidden, match="belongs to somebody else"):
            await parts.admission.admit(_provider(users="create"), _said(subject="b2", whole={"owner"}))

    _run(tmp_path, scenario)


def test_two_providers_may_know_one_person(tmp_path: Path) -> None:
    """An address leads to the same user from each provider that vouches for it."""

    async def scenario(parts: Parts) -> set[str]:
        alice = await parts.user("alice@example.org")
        other = _provider(name="other", issuer="https://other.example.org")
        return {
            alice.id,
            (await parts.admission.admit(_provider(), _said("a1"))).id,
            (await parts.admission.admit(other, _said("x9"))).id,
        }

    assert len(_run(tmp_path, scenario)) == 1


def test_the_roles_of_now_replace_those_that_the_provider_gave_before(tmp_path: Path) -> None:
    """Losing a group takes its role away at the next sign-in; roles that were given here stay."""

    async def scenario(parts: Parts) -> list[list[str]]:
        alice = await parts.user("alice@example.org", "reader")
        seen = []
        for said in (
            _said(at=1, project={"deployer", "user"}, whole={"auditor"}),
            _said(at=2, project={"user"}),
            _said(at=3),
        ):
            await parts.admission.admit(_provider(), said)
            seen.append(sorted(parts.directory.held(alice.id, PROJECT)))
        return seen

    assert _run(tmp_path, scenario) == [["auditor", "deployer", "reader", "user"], ["reader", "user"], ["reader"]]


def test_an_older_token_does_not_bring_a_lost_role_back(tmp_path: Path) -> None:
    """Of two tokens the one that was issued later says what somebody may do, in whichever order they come."""

    async def scenario(parts: Parts) -> frozenset[str]:
        alice = await parts.user("alice@example.org")
        await parts.admission.admit(_provider(), _said(at=200))
        await parts.admission.admit(_provider(), _said(at=100, whole={"owner"}))
        return parts.directory.held(alice.id, WHOLE)

    assert _run(tmp_path, scenario) == frozenset()


def test_a_project_that_is_gone_gives_no_role_and_stops_nobody(tmp_path: Path) -> None:
    """A mapping to an unknown project is passed over."""

    async def scenario(parts: Parts) -> frozenset[str]:
        alice = await parts.user("alice@example.org")
        user = frozenset({"user"})
        said = Statement("a1", "alice@example.org", "A", {"proj-gone": user, WHOLE: user}, 1, 2)
        await parts.admission.admit(_provider(), said)
        return parts.directory.held(alice.id, WHOLE)

    assert _run(tmp_path, scenario) == {"user"}


def test_a_disabled_account_stays_disabled(tmp_path: Path) -> None:
    """A provider's word does not open an account that was disabled here."""

    async def scenario(parts: Parts) -> None:
        alice = await parts.user("alice@example.org", "user")
        await parts.admission.admit(_provider(), _said())
        await parts.directory.update_member(alice.id, disabled=True)
        with pytest.raises(Forbidden) as refused:
            await parts.admission.admit(_provider(), _said(at=200))
        assert refused.value.code == "account_disabled"

    _run(tmp_path, scenario)


def test_the_last_owner_is_not_lost_to_a_group(tmp_path: Path) -> None:
    """Where the owner's role came from a group, the last owner keeps it, and still gets in."""

    async def scenario(parts: Parts) -> frozenset[str]:
        alice = await parts.user("alice@example.org")
        await parts.admission.admit(_provider(), _said(at=1, whole={"owner"}))
        await parts.admission.admit(_provider(), _said(at=2))
        return parts.directory.held(alice.id, WHOLE)

    assert _run(tmp_path, scenario) == {"owner"}
