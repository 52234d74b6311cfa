"""Sign-ins through a provider: the authorization code flow with PKCE (RFC 7636), bound to the browser that began it.

The browser holds 256 random bits in a short-lived cookie. Nonce and PKCE's verifier are derived from them and from the
state, so that what is stored, two digests, is of no use to whoever reads it. A sign-in can be finished once.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from freehold.errors import InvalidRequest, SignInFailed
from freehold.identity.claims import Statement
from freehold.identity.provider import Challenge, Provider
from freehold.store.database import Database
from freehold.store.signin import SigninRow, insert_signin, take_signin

LIFETIME_S = 600
AT_MOST = 10_000
"""How many may be under way; beyond that the oldest ends."""
MAX_RETURN_TO = 2048

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_CODE = re.compile(r"[\x20-\x7e]{1,4096}")


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that begins: where the browser goes, and what its cookie has to hold."""

    url: str
    browser: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A sign-in that has come to its end: who it is, and where they wanted to go."""

    said: Statement
    return_to: str


class SignIns:
    """Begins and finishes sign-ins.

    Args:
        database: where those under way are stored.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def begin(self, provider: Provider, browser: str | None, return_to: str, redirect_uri: str) -> Begun:
        """Begin a sign-in.

        Args:
            provider: where to sign in.
            browser: what the browser's cookie holds already, as when it begins a second one in another tab.
            return_to: a path of ours, to go to afterwards.
            redirect_uri: where the provider sends the browser.

        Raises:
            InvalidRequest: `return_to` leads elsewhere.
            IdentityProviderUnavailable: the provider cannot be asked for its address.
        """
        check_return_to(return_to)
        if browser is None or not _SECRET.fullmatch(browser):
            browser = secrets.token_urlsafe(32)
        state = secrets.token_urlsafe(32)
        url = await provider.authorization_url(_challenge(browser, state), redirect_uri)
        now = int(self._clock())
        row = SigninRow(_digest(state), _digest(browser), provider.settings.name, return_to, now + LIFETIME_S)
        await insert_signin(self._database, row, now=now, at_most=AT_MOST)
        return Begun(url, browser)

    async def finish(
        self, provider: Provider, query: Mapping[str, str], browser: str | None, redirect_uri: str
    ) -> Finished:
        """Finish the sign-in that a browser comes back from.

        Raises:
            SignInFailed: it was not begun in this browser or at this provider, is over, or the provider refused.
            Forbidden: the provider's word is not enough.
            IdentityProviderUnavailable: the provider cannot be asked.
        """
        state = query.get("state", "")
        row = await take_signin(self._database, _digest(state))
        if row is None or row.expires_at <= self._clock():
            raise SignInFailed(
                "This sign-in is over: it took too long, or its address was used before. Begin again.",
                code="signin_over",
            )
        if browser is None or not hmac.compare_digest(_digest(browser), row.browser_digest):
            raise SignInFailed("This sign-in was begun in another browser, or cookies are off. Begin again here.")
        if row.provider != provider.settings.name:
            raise SignInFailed("This sign-in was begun at another identity provider. Begin again.")
        await provider.check_issuer(query.get("iss"))
        if "error" in query:
            raise SignInFailed(_reason(query["error"], provider.settings.title))
        code = query.get("code", "")
        if not _CODE.fullmatch(code):
            raise SignInFailed("The identity provider's answer has no code. Begin again.")
        said = await provider.redeem(code, _challenge(browser, state), redirect_uri)
        return Finished(said, row.return_to)


def check_return_to(path: str) -> str:
    """A path of ours.

    Raises:
        InvalidRequest: it is an address elsewhere, or could be read as one.
    """
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and len(path) <= MAX_RETURN_TO
    if not ours or "\\" in path or not path.isascii() or not path.isprintable():
        raise InvalidRequest("Invalid value: 'return_to' must be a path on this server.", param="return_to")
    return path


def _challenge(browser: str, state: str) -> Challenge:
    verifier = _derived(browser, "verifier", state)
    code_challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return Challenge(state, _derived(browser, "nonce", state), verifier, code_challenge)


def _derived(browser: str, purpose: str, state: str) -> str:
    digest = hmac.digest(browser.encode(), f"freehold {purpose} {state}".encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _reason(error: str, title: str) -> str:
    if error == "access_denied":
        return f"'{title}' did not let you in, or you cancelled. Begin again, or ask your administrator."
    return f"'{title}' could not sign you in. Begin again; if it stays, ask your administrator."
