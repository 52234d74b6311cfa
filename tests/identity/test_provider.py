"""What a provider must be and say before it is believed."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from freehold.errors import IdentityProviderUnavailable, SignInFailed
from freehold.identity.claims import Statement
from freehold.identity.outbound import MAX_ANSWER_BYTES, Outbound
from freehold.identity.provider import Challenge, Provider
from tests.identity.issuer import CLIENT_ID, Issuer, at_hash, running_issuer

CHALLENGE = Challenge(state="state", nonce="the-nonce", verifier="the-verifier", code_challenge="x")
SECRET = "s3cret"
CONFIGURATION = "/.well-known/openid-configuration"


def _id_claims(issuer: Issuer, **changes: Any) -> dict[str, Any]:
    return issuer.claims(**{"aud": CLIENT_ID, "nonce": "the-nonce", "groups": ["ml"], **changes})


async def _redeem(issuer: Issuer, secret: str | None = SECRET, **settings: Any) -> Statement:
    provider = Provider(issuer.settings(**settings), secret)
    try:
        return await provider.redeem("the-code", CHALLENGE, "https://ai.example.org/back")
    finally:
        await provider.close()


def test_a_code_is_redeemed_with_its_verifier() -> None:
    """The code goes to the token endpoint with PKCE's verifier, and what comes back names the person."""

    async def scenario() -> tuple[Statement, dict[str, str]]:
        async with running_issuer() as issuer:
            issuer.token_answer = {"access_token": "at", "id_token": issuer.token(_id_claims(issuer))}
            return await _redeem(issuer), issuer.forms[0]

    said, form = asyncio.run(scenario())
    assert (said.subject, said.email, said.name) == ("alice", "alice@example.org", "Alice")
    assert form == {
        "grant_type": "authorization_code",
        "code": "the-code",
        "redirect_uri": "https://ai.example.org/back",
        "code_verifier": "the-verifier",
    }


def test_a_public_client_and_one_that_posts_its_secret_name_themselves() -> None:
    """Where there is no secret, or the provider takes no HTTP Basic, the form has the client's name."""

    async def scenario() -> list[dict[str, str]]:
        async with running_issuer() as issuer:
            issuer.token_answer = {"access_token": "at", "id_token": issuer.token(_id_claims(issuer))}
            await _redeem(issuer, secret=None)
            issuer.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
            await _redeem(issuer)
            return issuer.forms

    public, posting = asyncio.run(scenario())
    assert public["client_id"] == CLIENT_ID
    assert "client_secret" not in public
    assert (posting["client_id"], posting["client_secret"]) == (CLIENT_ID, "s3cret")


WRONG_ID_TOKENS: dict[str, Callable[[Issuer], Any]] = {
    "a nonce of another sign-in": lambda issuer: issuer.token(_id_claims(issuer, nonce="replayed")),
    "no nonce": lambda issuer: issuer.token(_id_claims(issuer, nonce=None)),
    "for another client": lambda issuer: issuer.token(_id_claims(issuer, aud="other")),
    "issued to another party": lambda issuer: issuer.token(_id_claims(issuer, azp="other")),
    "for several clients, to none": lambda issuer: issuer.token(_id_claims(issuer, aud=[CLIENT_ID, "other"])),
    "of another access token": lambda issuer: issuer.token(_id_claims(issuer, at_hash=at_hash("other"))),
    "expired": lambda issuer: issuer.token(_id_claims(issuer, exp=int(time.time()) - 600)),
    "of another issuer": lambda issuer: issuer.token(_id_claims(issuer, iss="https://other.test")),
    "no text": lambda _: 7,
    "none": lambda _: None,
}


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in WRONG_ID_TOKENS.items()])
def test_an_id_token_that_does_not_hold_signs_nobody_in(make: Callable[[Issuer], Any]) -> None:
    """Each thing that OpenID Connect has a client check is checked."""

    async def scenario() -> None:
        async with running_issuer() as issuer:
            issuer.token_answer = {"access_token": "at", "id_token": make(issuer)}
            with pytest.raises(SignInFailed):
                await _redeem(issuer)

    asyncio.run(scenario())


def test_an_id_token_that_is_bound_to_its_access_token_is_believed() -> None:
    """A right `at_hash`, a right `azp` and several audiences are no obstacle."""

    async def scenario() -> Statement:
        async with running_issuer() as issuer:
            claims = _id_claims(issuer, at_hash=at_hash("at"), azp=CLIENT_ID, aud=[CLIENT_ID, "other"])
            issuer.token_answer = {"access_token": "at", "id_token": issuer.token(claims)}
            return await _redeem(issuer)

    assert asyncio.run(scenario()).subject == "alice"


def test_what_the_id_token_lacks_is_asked_for_and_must_be_of_the_same_person() -> None:
    """Address and groups come from the userinfo endpoint if they must, and never those of somebody else."""

    async def scenario() -> Statement:
        async with running_issuer() as issuer:
            lean = _id_claims(issuer, email=None, email_verified=None, groups=None)
            issuer.token_answer = {"access_token": "at", "id_token": issuer.token(lean)}
            issuer.userinfo = {"sub": "alice", "email": "Alice@Example.org", "email_verified": True}
            said = await _redeem(issuer)
            issuer.userinfo["sub"] = "mallory"
            with pytest.raises(SignInFailed):
                await _redeem(issuer)
            return said

    assert asyncio.run(scenario()).email == "alice@example.org"


def test_a_refused_code_is_the_persons_matter_and_a_refused_client_is_not() -> None:
    """A code that is used up asks for a new sign-in; a wrong client secret is a defect of the configuration, a 503."""

    async def scenario() -> None:
        async with running_issuer() as issuer:
            issuer.answers["/token"] = web.json_response({"error": "invalid_grant"}, status=400)
            with pytest.raises(SignInFailed):
                await _redeem(issuer)
            issuer.answers["/token"] = web.json_response({"error": "invalid_client"}, status=401)
            with pytest.raises(IdentityProviderUnavailable):
                await _redeem(issuer)

    asyncio.run(scenario())


BAD_CONFIGURATIONS: dict[str, Callable[[Issuer], Any]] = {
    "another issuer": lambda issuer: issuer.metadata.update(issuer="https://other.test"),
    "no token endpoint": lambda issuer: issuer.metadata.pop("token_endpoint"),
    "keys without TLS elsewhere": lambda issuer: issuer.metadata.update(jwks_uri="http://keys.test/jwks"),
    "a file as token endpoint": lambda issuer: issuer.metadata.update(token_endpoint="file:///etc/passwd"),
    "a redirect": lambda issuer: issuer.answers.update(
        {CONFIGURATION: web.Response(status=302, headers={"location": f"{issuer.url}/elsewhere"})}
    ),
    "an endless answer": lambda issuer: issuer.answers.update(
        {CONFIGURATION: web.Response(body=b" " * (MAX_ANSWER_BYTES + 1))}
    ),
    "no JSON": lambda issuer: issuer.answers.update({CONFIGURATION: web.Response(body=b"<html>")}),
    "an error": lambda issuer: issuer.answers.update({CONFIGURATION: web.Response(status=500)}),
    "a refusal": lambda issuer: issuer.answers.update({CONFIGURATION: web.Response(status=403)}),
}


@pytest.mark.parametrize("spoil", [pytest.param(spoil, id=name) for name, spoil in BAD_CONFIGURATIONS.items()])
def test_a_provider_that_does_not_answer_as_one_is_not_used(spoil: Callable[[Issuer], Any]) -> None:
    """Discovery must name the configured issuer and addresses of TLS, without redirects and within bounds."""

    async def scenario() -> tuple[IdentityProviderUnavailable, list[str]]:
        async with running_issuer() as issuer:
            spoil(issuer)
            provider = Provider(issuer.settings(), None)
            with pytest.raises(IdentityProviderUnavailable) as failed:
                await provider.metadata()
            await provider.close()
            return failed.value, issuer.asked

    error, asked = asyncio.run(scenario())
    assert error.status == 503
    assert error.retry_after_s is not None
    assert asked == [CONFIGURATION]


def test_a_provider_that_is_down_is_a_503() -> None:
    """A connection that is refused is no statement about anybody's credential."""

    async def scenario() -> IdentityProviderUnavailable:
        async with running_issuer() as issuer:
            settings = issuer.settings()
        provider = Provider(settings, None)
        with pytest.raises(IdentityProviderUnavailable) as failed:
            await provider.bearer(issuer.token())
        await provider.close()
        return failed.value

    assert asyncio.run(scenario()).code == "identity_provider_unavailable"


def test_the_answer_of_another_provider_is_refused() -> None:
    """Where a provider says that its answers name it, one that names another or none is a mix-up (RFC 9207)."""

    async def scenario() -> None:
        async with running_issuer() as issuer:
            provider = Provider(issuer.settings(), None)
            await provider.check_issuer(None)
            await provider.check_issuer(issuer.url)
            with pytest.raises(SignInFailed):
                await provider.check_issuer("https://other.test")
            await provider.close()
            issuer.metadata["authorization_response_iss_parameter_supported"] = True
            strict = Provider(issuer.settings(), None)
            with pytest.raises(SignInFailed):
                await strict.check_issuer(None)
            await strict.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("url", "allow_http", "good"),
    [
        ("https://login.example.org/x", False, True),
        ("http://127.0.0.1:1/x", True, True),
        ("http://127.0.0.1:1/x", False, False),
        ("http://login.example.org/x", True, False),
        ("http://127.0.0.1.example.org/x", True, False),
        ("https:///x", False, False),
        ("ftp://login.example.org", False, False),
    ],
)
def test_only_addresses_of_tls_are_called(url: str, allow_http: bool, good: bool) -> None:
    """Without TLS nothing is called but, where that is allowed, this machine itself."""
    outbound = Outbound("corp", allow_http=allow_http)
    if good:
        assert outbound.check(url) == url
    else:
        with pytest.raises(IdentityProviderUnavailable):
            outbound.check(url)
