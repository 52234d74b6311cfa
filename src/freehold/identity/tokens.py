"""Signed tokens (RFC 7519) of OpenID providers: what must hold before a word of one is believed.

Only the algorithms that the configuration pins for the provider are taken, and only keys of the provider's own key
set: whatever a token says of where its key is (`jku`, `x5u`, `jwk`, `x5c`) is not read. Knows nothing of HTTP.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

from freehold.errors import Unauthenticated

MAX_TOKEN_BYTES = 16 * 1024
_MAX_KID = 256
_HASHES = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}


class _Registry(jws.JWSRegistry):
    """The library's rules; parameters that it does not know are no errors, and a head may carry certificates."""

    max_header_length = MAX_TOKEN_BYTES


@dataclass(frozen=True, slots=True)
class Header:
    """What the head of a token says, unverified: with what it was signed, and with which key."""

    algorithm: str
    kid: str | None


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say.

    Args:
        issuer: who must have issued it.
        audiences: for one of whom it must be meant.
        algorithms: with one of which it must be signed.
        skew_s: how far the provider's clock may be off.
    """

    issuer: str
    audiences: Sequence[str]
    algorithms: Sequence[str]
    skew_s: int


def looks_like_jwt(credential: str) -> bool:
    """Whether a credential has the form of a signed token: three parts, the first a JSON object."""
    return credential.count(".") == 2 and credential.startswith("eyJ")


def invalid(why: str) -> Unauthenticated:
    """The error of a token that is not believed."""
    return Unauthenticated(f"The bearer token is not accepted: {why}.", code="invalid_token")


def header_of(token: str, algorithms: Sequence[str]) -> Header:
    """The head of a token.

    Raises:
        Unauthenticated: the token is too large, malformed, or not signed with one of the algorithms.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise invalid("it is too large")
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        raise invalid("it is not a signed token")
    head = _object(parts[0])
    algorithm, kid = head.get("alg"), head.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise invalid("it is not signed with an algorithm that is accepted of its issuer")
    if "crit" in head or "b64" in head:
        raise invalid("it demands an extension that is not supported")
    if kid is not None and (not isinstance(kid, str) or len(kid) > _MAX_KID):
        raise invalid("the name of its key is not one")
    return Header(algorithm, kid)


def claimed_issuer(token: str) -> str | None:
    """Who a token says that it is from, unverified: good for choosing whose keys to try, and for nothing else.

    Raises:
        Unauthenticated: the token is too large or malformed.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise invalid("it is too large")
    parts = token.split(".")
    if len(parts) != 3:
        raise invalid("it is not a signed token")
    issuer = _object(parts[1]).get("iss")
    return issuer if isinstance(issuer, str) else None


def verified(
    token: str, header: Header, key: Key, expected: Expected, *, clock: Callable[[], float] = time.time
) -> dict[str, Any]:
    """The claims of a token, once its signature and everything that `expected` says hold.

    Args:
        token: the whole token.
        header: its head, from `header_of`.
        key: the key that the head names, from the issuer's key set.
        expected: what it must say.
        clock: seconds since the epoch.

    Raises:
        Unauthenticated: something does not hold; the message says what.
    """
    registry = _Registry(algorithms=[header.algorithm], strict_check_header=False)
    try:
        signed = jws.deserialize_compact(token, key, registry=registry)
    except (JoseError, ValueError) as exc:
        raise invalid("its signature is wrong") from exc
    try:
        claims = orjson.loads(signed.payload or b"")
    except orjson.JSONDecodeError as exc:
        raise invalid("its claims are not JSON") from exc
    if not isinstance(claims, dict):
        raise invalid("its claims are not a JSON object")
    _check_claims(claims, expected, clock())
    return claims


def _check_claims(claims: dict[str, Any], expected: Expected, now: float) -> None:
    if claims.get("iss") != expected.issuer:
        raise invalid("it is from another issuer")
    if not set(audiences_of(claims)) & set(expected.audiences):
        raise invalid("it is meant for another audience")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise invalid("it does not say about whom it is")
    expires, issued, not_before = (_time(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None or issued is None:
        raise invalid("it does not say when it was issued and when it expires")
    if expires <= now - expected.skew_s:
        raise invalid("it has expired")
    if max(issued, not_before or 0) > now + expected.skew_s:
        raise invalid("it is from the future")


def audiences_of(claims: dict[str, Any]) -> list[str]:
    """For whom a token is meant."""
    value = claims.get("aud")
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str)]


def half_hash(algorithm: str, value: str) -> str:
    """What `at_hash` must be for an access token (OpenID Connect Core, 3.1.3.6)."""
    made = _HASHES[algorithm[-3:]](value.encode())
    digest = made.digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def same(one: object, other: str) -> bool:
    """Whether a claim is that text, told in a time that does not depend on where they differ."""
    return isinstance(one, str) and hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode())


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(f"its '{name}' is not a time")
    return float(value)


def _object(part: str) -> dict[str, Any]:
    """The JSON object in one part of a token."""
    try:
        value = orjson.loads(base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError) as exc:  # orjson's error is a ValueError
        raise invalid("it is not a signed token") from exc
    if not isinstance(value, dict):
        raise invalid("it is not a signed token")
    return value
