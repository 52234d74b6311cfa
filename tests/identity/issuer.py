"""A small OpenID provider in Python that can be told to misbehave; it listens on the loopback address.

What the certified provider of `tests/openid_provider.py` never does, this one does on request.
"""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey

from freehold.types.signin import ProviderSettings

CLIENT_ID = "freehold"
AUDIENCE = "https://api.freehold.test"


class Issuer:
    """A provider.

    Args:
        url: its issuer.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, Key] = {"rsa": rsa_key("rsa"), "ec": ECKey.generate_key("P-256", {"kid": "ec"})}
        self.metadata: dict[str, Any] = {
            "issuer": url,
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "jwks_uri": f"{url}/jwks",
            "userinfo_endpoint": f"{url}/userinfo",
        }
        self.asked: list[str] = []
        """The paths that were asked for, in their order."""
        self.forms: list[dict[str, str]] = []
        """What was sent to the token endpoint."""
        self.answers: dict[str, web.Response] = {}
        """Path → what to answer instead of the truth."""
        self.token_answer: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {}
        self.more_keys: list[dict[str, Any]] = []

    def settings(self, **changes: Any) -> ProviderSettings:
        """How Freehold is configured for it."""
        values: dict[str, Any] = {
            "name": "corp",
            "issuer": self.url,
            "client_id": CLIENT_ID,
            "audiences": [AUDIENCE],
            "allow_http": True,
        }
        return ProviderSettings.model_validate({**values, **changes})

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Good claims of an access token, with changes; None takes a claim away."""
        now = int(time.time())
        values: dict[str, Any] = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "alice",
            "iat": now,
            "exp": now + 600,
            "email": "alice@example.org",
            "email_verified": True,
            "name": "Alice",
        }
        return {name: value for name, value in {**values, **changes}.items() if value is not None}

    def token(self, claims: Mapping[str, Any] | None = None, *, key: str = "rsa", **header: Any) -> str:
        """A token, signed with a key of this provider."""
        algorithm = "ES256" if key == "ec" else "RS256"
        head = {"alg": algorithm, "kid": key, **header}
        return jwt.encode(head, dict(claims or self.claims()), self.keys[key], algorithms=[head["alg"]])

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        self.asked.append(request.path)
        if request.path in self.answers:
            answer = self.answers[request.path]
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        match request.path:
            case "/.well-known/openid-configuration":
                return web.json_response(self.metadata)
            case "/jwks":
                public = [key.as_dict(private=False) for key in self.keys.values()]
                return web.json_response({"keys": public + self.more_keys})
            case "/token":
                self.forms.append({name: str(value) for name, value in (await request.post()).items()})
                return web.json_response(self.token_answer)
            case "/userinfo":
                return web.json_response(self.userinfo)
        return web.Response(status=404)


@cache
def rsa_key(kid: str, number: int = 0) -> RSAKey:  # noqa: ARG001  # to tell keys of one name apart
    """The RSA key of a name and a number, made once."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


def unsigned(header: Mapping[str, Any], claims: Mapping[str, Any], signature: bytes = b"") -> str:
    """A token put together by hand."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def at_hash(access_token: str) -> str:
    """The `at_hash` of an access token beside an ID token of RS256 or ES256."""
    half = hashlib.sha256(access_token.encode()).digest()[:16]
    return base64.urlsafe_b64encode(half).rstrip(b"=").decode()


@asynccontextmanager
async def running_issuer() -> AsyncIterator[Issuer]:
    """A provider on a free port."""
    issuer = Issuer("")

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await issuer.handle(request)

    server = web.Server(handle)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        issuer.__init__(f"http://127.0.0.1:{port}")  # type: ignore[misc]  # the port is known only now
        yield issuer
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)
