"""Requests to OpenID providers: only over TLS, within bounds of time and size, and without following redirects."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from freehold.errors import IdentityProviderUnavailable
from freehold.types.signin import LOOPBACK

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 1024 * 1024
_PIECE_BYTES = 64 * 1024


class Refusal(Exception):
    """The provider answered that it does not do what was asked (a status of 4xx).

    Args:
        status: of the answer.
        error: its OAuth error code; empty if it gave none.
    """

    def __init__(self, status: int, error: str) -> None:
        super().__init__(f"{status} {error}".strip())
        self.status = status
        self.error = error


class Outbound:
    """Calls one provider.

    Args:
        title: what the provider is called in errors.
        allow_http: whether `http://` addresses of this machine will do.
    """

    def __init__(self, title: str, *, allow_http: bool) -> None:
        self._title = title
        self._allow_http = allow_http
        self._session: aiohttp.ClientSession | None = None

    def check(self, url: str) -> str:
        """The address, if it may be used.

        Raises:
            IdentityProviderUnavailable: it is not one of TLS.
        """
        address = urlsplit(url)
        local = self._allow_http and address.scheme == "http" and address.hostname in LOOPBACK
        if not address.hostname or (address.scheme != "https" and not local):
            raise self._unavailable("it names an address that does not begin with https://")
        return url

    async def get(self, url: str, *, token: str | None = None) -> dict[str, Any]:
        """The JSON object at an address.

        Args:
            url: where.
            token: an access token to call with.

        Raises:
            IdentityProviderUnavailable: there is no such answer.
            Refusal: the provider refuses.
        """
        headers = {"accept": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return await self._call("GET", url, headers, None)

    async def post(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """The JSON object that answers a form. Raises: as `get`."""
        return await self._call("POST", url, {"accept": "application/json", **headers}, dict(fields))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _call(
        self, method: str, url: str, headers: dict[str, str], form: dict[str, str] | None
    ) -> dict[str, Any]:
        self.check(url)
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.request(
                method, url, headers=headers, data=form, allow_redirects=False
            ) as response:
                status, body = response.status, await _bounded(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise self._unavailable("it does not answer") from exc
        if body is None:
            raise self._unavailable("its answer is too large")
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if 400 <= status < 500 and status not in {404, 408, 429}:
            raise Refusal(status, _error_code(answer))
        if status != 200 or not isinstance(answer, dict):
            raise self._unavailable(f"it answered with status {status}, and not what it should")
        return answer

    def _unavailable(self, why: str) -> IdentityProviderUnavailable:
        return IdentityProviderUnavailable(f"The identity provider '{self._title}' cannot be used now: {why}.")


async def _bounded(response: aiohttp.ClientResponse) -> bytes | None:
    """The body; None if it is too large."""
    body = b""
    async for piece in response.content.iter_chunked(_PIECE_BYTES):
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            return None
    return body


def _error_code(answer: Any) -> str:
    code = answer.get("error") if isinstance(answer, dict) else None
    return code[:64] if isinstance(code, str) and code.isprintable() else ""
