"""One OpenID provider (OpenID Connect Core and Discovery 1.0): its addresses, its keys, and what it says of people."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode

from freehold.errors import IdentityProviderUnavailable, SignInFailed, Unauthenticated
from freehold.identity.claims import Statement, statement
from freehold.identity.keyset import KeySource
from freehold.identity.outbound import Outbound, Refusal
from freehold.identity.tokens import Expected, Header, audiences_of, half_hash, header_of, same, verified
from freehold.types.signin import ProviderSettings

METADATA_FRESH_S = 3600.0
METADATA_USABLE_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the provider says of itself (OpenID Connect Discovery 1.0; RFC 9207 for `names_itself`)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    basic: bool
    """Whether it takes the client's secret as HTTP Basic."""
    names_itself: bool
    """Whether its answers by way of the browser have the parameter `iss`."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What binds one sign-in together: state, nonce and PKCE's verifier."""

    state: str
    nonce: str
    verifier: str
    code_challenge: str


class Provider:
    """A configured provider.

    Args:
        settings: how it is configured.
        secret: the client's secret; None for a public client.
        clock: seconds since the epoch.
    """

    def __init__(
        self, settings: ProviderSettings, secret: str | None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self._secret = secret
        self._clock = clock
        self._outbound = Outbound(settings.title, allow_http=settings.allow_http)
        self._metadata: Metadata | None = None
        self._metadata_at = 0.0
        self._discovering = asyncio.Lock()
        self._keys = KeySource(self._fetch_keys, settings.algorithms)

    async def close(self) -> None:
        """Close the connections."""
        await self._outbound.close()

    async def metadata(self) -> Metadata:
        """Its addresses, asked for once an hour.

        Raises:
            IdentityProviderUnavailable: it cannot be asked, and was not for a day.
        """
        async with self._discovering:
            age = time.monotonic() - self._metadata_at
            if self._metadata is not None and age < METADATA_FRESH_S:
                return self._metadata
            try:
                self._metadata = await self._discover()
            except IdentityProviderUnavailable:
                if self._metadata is None or age >= METADATA_USABLE_S:
                    raise
                return self._metadata
            self._metadata_at = time.monotonic()
            return self._metadata

    async def authorization_url(self, challenge: Challenge, redirect_uri: str) -> str:
        """Where the browser goes to sign in. Raises: as `metadata`."""
        endpoint = (await self.metadata()).authorization_endpoint
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": challenge.state,
            "nonce": challenge.nonce,
            "code_challenge": challenge.code_challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def check_issuer(self, said: str | None) -> None:
        """See that an answer by way of the browser is this provider's (RFC 9207).

        Raises:
            SignInFailed: it is another's, or does not say whose it is although this provider's do.
            IdentityProviderUnavailable: as `metadata`.
        """
        metadata = await self.metadata()
        if said is None and not metadata.names_itself:
            return
        if said != self.settings.issuer:
            raise SignInFailed("The answer is from another identity provider than the one that was asked.")

    async def redeem(self, code: str, challenge: Challenge, redirect_uri: str) -> Statement:
        """Exchange a code for the person who signed in.

        Raises:
            SignInFailed: the provider refuses the code, or its ID token does not hold.
            Forbidden: as `statement`.
            IdentityProviderUnavailable: the provider cannot be asked.
        """
        metadata = await self.metadata()
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": challenge.verifier,
        }
        headers: dict[str, str] = {}
        if self._secret is not None and metadata.basic:
            pair = f"{quote_plus(self.settings.client_id)}:{quote_plus(self._secret)}"
            headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            fields["client_id"] = self.settings.client_id
            if self._secret is not None:
                fields["client_secret"] = self._secret
        try:
            answer = await self._outbound.post(metadata.token_endpoint, fields, headers)
        except Refusal as exc:
            raise self._refused(exc) from exc
        access_token = answer.get("access_token")
        try:
            claims = await self._id_token(answer.get("id_token"), access_token, challenge.nonce)
        except Unauthenticated as exc:
            raise SignInFailed(f"The identity provider's answer does not hold: {exc.message}") from exc
        return statement(await self._completed(claims, access_token, metadata), self.settings)

    async def bearer(self, token: str) -> Statement:
        """The person or program that a JWT names, which was sent as a bearer token.

        Raises:
            Unauthenticated: the token does not hold.
            Forbidden: as `statement`.
            IdentityProviderUnavailable: the keys cannot be fetched.
        """
        _, claims = await self._verified(token, self.settings.audiences)
        return statement(claims, self.settings)

    async def _verified(self, token: str, audiences: list[str]) -> tuple[Header, dict[str, Any]]:
        header = header_of(token, self.settings.algorithms)
        key = await self._keys.key(header)
        expected = Expected(self.settings.issuer, audiences, self.settings.algorithms, self.settings.clock_skew_s)
        return header, verified(token, header, key, expected, clock=self._clock)

    async def _id_token(self, token: Any, access_token: Any, nonce: str) -> dict[str, Any]:
        """The claims of an ID token (OpenID Connect Core, 3.1.3.7)."""
        if not isinstance(token, str):
            raise SignInFailed("The identity provider's answer has no ID token.")
        client_id = self.settings.client_id
        header, claims = await self._verified(token, [client_id])
        party = claims.get("azp")
        if (party is not None or len(audiences_of(claims)) > 1) and party != client_id:
            raise SignInFailed("The ID token was issued to another client.")
        if not same(claims.get("nonce"), nonce):
            raise SignInFailed("The ID token belongs to another sign-in.")
        if "at_hash" in claims and not (
            isinstance(access_token, str) and same(claims["at_hash"], half_hash(header.algorithm, access_token))
        ):
            raise SignInFailed("The ID token belongs to another access token.")
        return claims

    async def _completed(self, claims: dict[str, Any], access_token: Any, metadata: Metadata) -> Mapping[str, Any]:
        """The claims with those that the provider gives only at its userinfo endpoint; the ID token's go first."""
        wanted = {self.settings.email_claim}
        if self.settings.map:
            wanted.add(self.settings.groups_claim.split(".")[0])
        if wanted <= claims.keys() or metadata.userinfo_endpoint is None or not isinstance(access_token, str):
            return claims
        try:
            more = await self._outbound.get(metadata.userinfo_endpoint, token=access_token)
        except Refusal as exc:
            raise self._refused(exc) from exc
        if more.get("sub") != claims["sub"]:
            raise SignInFailed("The identity provider told of another person than the one who signed in.")
        return {**more, **claims}

    async def _discover(self) -> Metadata:
        """Ask the provider for its addresses; those of others are not taken."""
        issuer = self.settings.issuer
        try:
            found = await self._outbound.get(issuer.rstrip("/") + "/.well-known/openid-configuration")
        except Refusal as exc:
            raise self._nonsense("it does not tell its configuration") from exc
        if found.get("issuer") != issuer:
            raise self._nonsense("it calls itself by another name than the configured issuer")
        methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        userinfo = found.get("userinfo_endpoint")
        return Metadata(
            authorization_endpoint=self._address(found, "authorization_endpoint"),
            token_endpoint=self._address(found, "token_endpoint"),
            jwks_uri=self._address(found, "jwks_uri"),
            userinfo_endpoint=None if userinfo is None else self._address(found, "userinfo_endpoint"),
            basic=not isinstance(methods, list) or "client_secret_basic" in methods,
            names_itself=found.get("authorization_response_iss_parameter_supported") is True,
        )

    def _address(self, found: dict[str, Any], name: str) -> str:
        value = found.get(name)
        if not isinstance(value, str):
            raise self._nonsense(f"its configuration lacks '{name}'")
        return self._outbound.check(value)

    async def _fetch_keys(self) -> dict[str, Any]:
        try:
            return await self._outbound.get((await self.metadata()).jwks_uri)
        except Refusal as exc:
            raise self._nonsense("it does not give its keys") from exc

    def _refused(self, refusal: Refusal) -> SignInFailed | IdentityProviderUnavailable:
        """What a refusal at the token endpoint means: a bad code, or a client that is configured wrongly."""
        if refusal.error in {"invalid_client", "unauthorized_client"}:
            return self._nonsense("it does not know this service's client, or its secret is wrong")
        return SignInFailed(f"The identity provider '{self.settings.title}' did not accept the sign-in; begin again.")

    def _nonsense(self, why: str) -> IdentityProviderUnavailable:
        return IdentityProviderUnavailable(
            f"The identity provider '{self.settings.title}' cannot be used now: {why}.", retry_after_s=30
        )
