"""JWTs as bearer tokens: what is remembered of them, and for how long."""

import asyncio
import time
from pathlib import Path

import pytest

from freehold.errors import Forbidden, IdentityProviderUnavailable, NotFound, Unauthenticated
from freehold.governance.directory import ORGANIZATION, PROJECT, WHOLE
from freehold.identity import bearer
from freehold.identity.bearer import REMEMBERED_S, Bearers
from freehold.identity.provider import Provider
from tests.identity.issuer import Issuer, running_issuer, unsigned
from tests.identity.parts import Clock, Parts, open_parts

MAPPING = [{"group": "ml", "role": "user"}]


def _bearers(parts: Parts, issuer: Issuer, clock: Clock) -> tuple[Bearers, Provider]:
    provider = Provider(issuer.settings(map=MAPPING), None, clock=clock)
    return Bearers([provider], parts.admission, parts.directory, clock=clock), provider


def test_a_token_is_remembered_but_what_it_may_do_is_not(tmp_path: Path) -> None:
    """A known token asks the provider nothing, and still ends with the account, its roles and its own time."""

    async def scenario() -> None:
        clock = Clock(time.time())
        async with open_parts(tmp_path) as parts, running_issuer() as issuer:
            bearers, provider = _bearers(parts, issuer, clock)
            alice = await parts.user("alice@example.org", "reader")
            token = issuer.token(issuer.claims(groups=["ml"]))
            principal = await bearers.principal(token)
            assert (principal.id, principal.auth_method, principal.roles) == (
                alice.id,
                "jwt",
                frozenset({"reader", "user"}),
            )
            assert principal.expires_at is not None
            assert 600 < principal.expires_at - clock.now < 720
            asked = len(issuer.asked)
            await parts.directory.set_roles(alice.id, WHOLE, ["auditor"])
            assert (await bearers.principal(token)).roles == {"auditor", "user"}
            await parts.directory.update_member(alice.id, disabled=True)
            with pytest.raises(Unauthenticated):
                await bearers.principal(token)
            assert len(issuer.asked) == asked
            await provider.close()

    asyncio.run(scenario())


def test_a_remembered_token_ends_with_its_own_time(tmp_path: Path) -> None:
    """Nothing is remembered beyond the token's end, nor longer than some minutes without being verified again."""

    async def scenario() -> None:
        clock = Clock(time.time())
        async with open_parts(tmp_path) as parts, running_issuer() as issuer:
            bearers, provider = _bearers(parts, issuer, clock)
            await parts.user("alice@example.org")
            now = int(clock.now)
            brief = issuer.token(issuer.claims(iat=now, exp=now + 30))
            await bearers.principal(brief)
            clock.now += 91
            with pytest.raises(Unauthenticated, match="expired"):
                await bearers.principal(brief)
            long = issuer.token(issuer.claims(iat=now, exp=now + 4000))
            await bearers.principal(long)
            other = issuer.token(issuer.claims(iat=now, exp=now + 4000))[:-8] + "AAAAAAAA"
            with pytest.raises(Unauthenticated, match="signature"):
                await bearers.principal(other)
            clock.now += REMEMBERED_S
            await bearers.principal(long)
            assert [known.until <= clock.now + REMEMBERED_S for known in bearers._known.values()] == [True]
            await provider.close()

    asyncio.run(scenario())


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Of many tokens only so many are remembered, and each is known by a digest of all of it."""

    async def scenario() -> tuple[int, set[int]]:
        async with open_parts(tmp_path) as parts, running_issuer() as issuer:
            bearers, provider = _bearers(parts, issuer, Clock(time.time()))
            await parts.user("alice@example.org")
            for number in range(5):
                await bearers.principal(issuer.token(issuer.claims(jti=str(number))))
            await provider.close()
            return len(bearers._known), {len(digest) for digest in bearers._known}

    assert asyncio.run(scenario()) == (5, {32})
    assert bearer.MAX_REMEMBERED <= 10_000


def test_only_issuers_with_audiences_are_taken(tmp_path: Path) -> None:
    """A token of nobody's, and one of a provider that is only for sign-in, are refused without asking anybody."""

    async def scenario() -> list[str]:
        async with open_parts(tmp_path) as parts, running_issuer() as issuer:
            provider = Provider(issuer.settings(audiences=[]), None)
            bearers = Bearers([provider], parts.admission, parts.directory)
            for token in (issuer.token(), unsigned({"alg": "RS256"}, {"iss": "https://other.test"}, b"x")):
                with pytest.raises(Unauthenticated, match="issuer is not accepted"):
                    await bearers.principal(token)
            await provider.close()
            return issuer.asked

    assert asyncio.run(scenario()) == []


def test_a_provider_that_is_down_is_no_401(tmp_path: Path) -> None:
    """A token cannot be judged while the keys cannot be fetched, and nobody is told that it is wrong."""

    async def scenario() -> int:
        async with open_parts(tmp_path) as parts:
            async with running_issuer() as issuer:
                bearers, provider = _bearers(parts, issuer, Clock(time.time()))
                token = issuer.token()
            with pytest.raises(IdentityProviderUnavailable) as failed:
                await bearers.principal(token)
            await provider.close()
            return failed.value.status

    assert asyncio.run(scenario()) == 503


def test_a_program_names_the_project_to_act_in(tmp_path: Path) -> None:
    """A token acts in the project that the call names, and an unknown one is not found."""

    async def scenario() -> None:
        async with open_parts(tmp_path) as parts, running_issuer() as issuer:
            bearers, provider = _bearers(parts, issuer, Clock(time.time()))
            alice = await parts.user("alice@example.org")
            other = await parts.directory.create_project(ORGANIZATION, "Other")
            unknown = await parts.directory.create_project(ORGANIZATION, "Unknown to her")
            await parts.directory.set_roles(alice.id, other.id, ["user"])
            token = issuer.token()
            assert (await bearers.principal(token, other.id)).project_id == other.id
            for project_id in ("proj-none", unknown.id):
                with pytest.raises(NotFound):
                    await bearers.principal(token, project_id)
            await provider.close()

    asyncio.run(scenario())


def test_a_program_acts_as_its_service_account(tmp_path: Path) -> None:
    """A token without an address is a program's whose subject is configured, with the roles of its account alone."""

    async def scenario() -> None:
        async with open_parts(tmp_path) as parts, running_issuer() as issuer:
            account = await parts.directory.create_service_account(ORGANIZATION, PROJECT, "ci", ["user"])
            person = await parts.user("alice@example.org", "owner")
            programs = [
                {"subject": "ci-job", "service_account": account.id},
                {"subject": "gone", "service_account": "svc_gone"},
                {"subject": "impostor", "service_account": person.id},
            ]
            provider = Provider(issuer.settings(program=programs, map=MAPPING, users="create"), None)
            bearers = Bearers([provider], parts.admission, parts.directory)

            def token(subject: str) -> str:
                return issuer.token(issuer.claims(sub=subject, email=None, groups=["ml", "admins"]))

            principal = await bearers.principal(token("ci-job"))
            assert (principal.id, principal.kind.value, principal.project_id) == (
                account.id,
                "service_account",
                PROJECT,
            )
            assert principal.roles == {"user"}
            for subject in ("gone", "impostor", "unknown"):
                with pytest.raises(Forbidden):
                    await bearers.principal(token(subject))
            await parts.directory.update_member(account.id, disabled=True)
            with pytest.raises(Unauthenticated):
                await bearers.principal(token("ci-job"))
            await provider.close()

    asyncio.run(scenario())
