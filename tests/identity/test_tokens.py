"""Tokens that are believed, and the many that are not."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from joserfc import jws

from freehold.errors import Unauthenticated
from freehold.identity.provider import Provider
from freehold.identity.tokens import MAX_TOKEN_BYTES, claimed_issuer, half_hash, header_of, looks_like_jwt
from tests.identity.issuer import AUDIENCE, Issuer, at_hash, rsa_key, running_issuer, unsigned

Forge = Callable[[Issuer], str]


def _hs256_with_public_key(issuer: Issuer) -> str:
    """Signed with HMAC, the secret being the provider's public key, which everybody has."""
    pem = issuer.keys["rsa"].public_key.public_bytes(  # type: ignore[union-attr]  # an RSA key
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = {"alg": "HS256", "typ": "JWT", "kid": "rsa"}
    signing_input = unsigned(head, issuer.claims()).rpartition(".")[0]
    signature = hmac.digest(pem, signing_input.encode(), "sha256")
    return f"{signing_input}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _own_key_in_the_header(issuer: Issuer) -> str:
    own = rsa_key("mine")
    issuer.keys["mine"] = own
    token = issuer.token(key="mine", jwk=own.as_dict(private=False), jku=f"{issuer.url}/evil", x5u=f"{issuer.url}/evil")
    del issuer.keys["mine"]
    return token


def _other_key_same_name(issuer: Issuer) -> str:
    real = issuer.keys["rsa"]
    issuer.keys["rsa"] = rsa_key("rsa", 2)
    token = issuer.token()
    issuer.keys["rsa"] = real
    return token


def _changed_claims(issuer: Issuer) -> str:
    head, _, signature = issuer.token().split(".")
    claims = base64.urlsafe_b64encode(json.dumps(issuer.claims(sub="owner")).encode()).rstrip(b"=").decode()
    return f"{head}.{claims}.{signature}"


def _signed_list(issuer: Issuer) -> str:
    return jws.serialize_compact({"alg": "RS256", "kid": "rsa"}, b"[1]", issuer.keys["rsa"])


def _with(**changes: Any) -> Forge:
    return lambda issuer: issuer.token(issuer.claims(**changes))


NOW = int(time.time())
FORGERIES: dict[str, tuple[Forge, str]] = {
    "alg none": (lambda issuer: unsigned({"alg": "none"}, issuer.claims(), b"x"), "algorithm"),
    "alg none in capitals": (lambda issuer: unsigned({"alg": "NONE"}, issuer.claims(), b"x"), "algorithm"),
    "alg none, and nothing signed": (lambda issuer: unsigned({"alg": "none"}, issuer.claims()), "not a signed token"),
    "no signature": (lambda issuer: issuer.token().rpartition(".")[0] + ".", "not a signed token"),
    "HS256 with the public key": (_hs256_with_public_key, "algorithm"),
    "an algorithm that is not pinned": (lambda issuer: issuer.token(alg="RS512"), "algorithm"),
    "the caller's own key, named in the header": (_own_key_in_the_header, "no key of that name"),
    "another key under the same name": (_other_key_same_name, "signature is wrong"),
    "an EC key's name on an RSA signature": (lambda issuer: issuer.token(kid="ec"), "no key of that name"),
    "claims changed after signing": (_changed_claims, "signature is wrong"),
    "wrong audience": (_with(aud="https://other.test"), "another audience"),
    "no audience": (_with(aud=None), "another audience"),
    "an audience that is no text": (_with(aud={"a": AUDIENCE}), "another audience"),
    "expired": (_with(exp=NOW - 61), "expired"),
    "no expiry": (_with(exp=None), "when it expires"),
    "an expiry that is no time": (_with(exp="never"), "not a time"),
    "an expiry that is true": (_with(exp=True), "not a time"),
    "issued in the future": (_with(iat=NOW + 3600), "from the future"),
    "no time of issue": (_with(iat=None), "when it was issued"),
    "not valid yet": (_with(nbf=NOW + 3600), "from the future"),
    "another issuer": (_with(iss="https://other.test"), "another issuer"),
    "no subject": (_with(sub=None), "about whom"),
    "an endless subject": (_with(sub="x" * 256), "about whom"),
    "unknown key": (lambda issuer: issuer.token(kid="unknown"), "no key of that name"),
    "a key's name that is none": (
        lambda issuer: unsigned({"alg": "RS256", "kid": 7}, issuer.claims(), b"x"),
        "name of its key",
    ),
    "a demanded extension": (
        lambda issuer: unsigned({"alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": False}, issuer.claims(), b"x"),
        "extension",
    ),
    "too large": (lambda issuer: issuer.token(issuer.claims(padding="x" * MAX_TOKEN_BYTES)), "too large"),
    "four parts": (lambda issuer: issuer.token() + ".x", "not a signed token"),
    "no base64": (lambda _: "eyJ!.eyJ9.x", "not a signed token"),
    "a header that is a list": (
        lambda issuer: unsigned({}, issuer.claims(), b"x").replace("e30.", "W10."),
        "not a signed token",
    ),
    "claims that are a list": (_signed_list, "not a JSON object"),
}


async def _bearer(issuer: Issuer, token: str) -> str:
    provider = Provider(issuer.settings(), None)
    try:
        return (await provider.bearer(token)).subject
    finally:
        await provider.close()


@pytest.mark.parametrize(("forge", "why"), [pytest.param(*each, id=name) for name, each in FORGERIES.items()])
def test_a_forged_token_is_refused(forge: Forge, why: str) -> None:
    """A token of which anything does not hold is refused, for just that reason."""

    async def scenario() -> Unauthenticated:
        async with running_issuer() as issuer:
            with pytest.raises(Unauthenticated) as refused:
                await _bearer(issuer, forge(issuer))
            return refused.value

    error = asyncio.run(scenario())
    assert error.code == "invalid_token"
    assert error.status == 401
    assert why in error.message


@pytest.mark.parametrize(
    "make",
    [
        lambda issuer: issuer.token(),
        lambda issuer: issuer.token(key="ec"),
        lambda issuer: issuer.token(issuer.claims(aud=["https://other.test", AUDIENCE])),
        lambda issuer: issuer.token(issuer.claims(exp=int(time.time()) - 20)),
        lambda issuer: issuer.token(x5c=["x" * 2000], jku="http://nowhere.test/keys"),
    ],
    ids=["RS256", "ES256", "several audiences", "expired within the skew", "a header with certificates"],
)
def test_a_good_token_is_believed(make: Forge) -> None:
    """A token that the provider signed for us names its subject, whatever else its header bears."""

    async def scenario() -> str:
        async with running_issuer() as issuer:
            return await _bearer(issuer, make(issuer))

    assert asyncio.run(scenario()) == "alice"


def test_what_a_header_says_of_keys_elsewhere_is_never_fetched() -> None:
    """A token whose header names other key addresses causes no request to them."""

    async def scenario() -> list[str]:
        async with running_issuer() as issuer:
            with pytest.raises(Unauthenticated):
                await _bearer(issuer, _own_key_in_the_header(issuer))
            return issuer.asked

    assert set(asyncio.run(scenario())) == {"/.well-known/openid-configuration", "/jwks"}


def test_deeply_nested_claims_break_nothing() -> None:
    """Claims nested thousands of times are refused before anybody has verified them."""
    nested = base64.urlsafe_b64encode(b"[" * 9000).rstrip(b"=").decode()
    with pytest.raises(Unauthenticated):
        claimed_issuer(f"eyJhbGciOiJSUzI1NiJ9.{nested}.x")


def test_the_form_of_a_token_tells_it_from_a_key() -> None:
    """Three parts with a JSON object in front are a token, and a key of ours is not."""
    assert looks_like_jwt(unsigned({"alg": "RS256"}, {}, b"x"))
    assert not looks_like_jwt("fh-" + "a" * 43)
    assert not looks_like_jwt("a.b.c")


def test_an_issuer_that_is_no_text_is_none() -> None:
    """The unverified issuer is only ever a text."""
    assert claimed_issuer(unsigned({}, {"iss": ["x"]}, b"x")) is None
    assert claimed_issuer(unsigned({}, {"iss": "x"}, b"x")) == "x"
    with pytest.raises(Unauthenticated):
        claimed_issuer("x" * (MAX_TOKEN_BYTES + 1))


def test_the_head_of_a_token_is_read_once_its_algorithm_is_pinned() -> None:
    """The head gives algorithm and key name where the algorithm is one of those that are pinned."""
    head = header_of(unsigned({"alg": "ES256", "kid": "k"}, {}, b"x"), ["ES256"])
    assert (head.algorithm, head.kid) == ("ES256", "k")


def test_the_hash_of_an_access_token_is_half_of_its_digest() -> None:
    """The hash that binds an ID token to an access token is made with the algorithm's own digest."""
    assert half_hash("RS256", "token") == at_hash("token")
    half = hashlib.sha384(b"token").digest()[:24]
    assert half_hash("ES384", "token") == base64.urlsafe_b64encode(half).rstrip(b"=").decode()
