"""Sign-ins under way: bound to their browser, good once, and of no use to whoever reads the database."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from freehold.errors import InvalidRequest, SignInFailed
from freehold.identity.provider import Provider
from freehold.identity.signins import LIFETIME_S, Finished, SignIns, check_return_to
from tests.identity.issuer import CLIENT_ID, Issuer, running_issuer
from tests.identity.parts import Clock, Parts, open_parts

BACK = "https://ai.example.org/signin/callback/corp"
Scenario = Callable[[Parts, Issuer, Provider, SignIns, Clock], Awaitable[Any]]


def _run(folder: Path, scenario: Scenario) -> Any:
    async def whole() -> Any:
        async with open_parts(folder) as parts, running_issuer() as issuer:
            provider, clock = Provider(issuer.settings(), "s3cret"), Clock()
            try:
                return await scenario(parts, issuer, provider, SignIns(parts.database, clock=clock), clock)
            finally:
                await provider.close()

    return asyncio.run(whole())


def _query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


async def _answered(issuer: Issuer, url: str) -> dict[str, str]:
    """The provider lets the person in: what it has the browser bring back."""
    asked = _query(url)
    claims = issuer.claims(aud=CLIENT_ID, nonce=asked["nonce"])
    issuer.token_answer = {"access_token": "at", "id_token": issuer.token(claims)}
    return {"state": asked["state"], "code": "the-code"}


def test_a_sign_in_asks_for_a_code_with_state_nonce_and_challenge(tmp_path: Path) -> None:
    """The provider's address bears what the code flow with PKCE needs, and the verifier fits the challenge."""

    async def scenario(_: Parts, issuer: Issuer, provider: Provider, signins: SignIns, __: Clock) -> Finished:
        begun = await signins.begin(provider, None, "/chat?x=1", BACK)
        asked = _query(begun.url)
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert (asked["client_id"], asked["redirect_uri"], asked["scope"]) == (CLIENT_ID, BACK, "openid email profile")
        assert len({asked["state"], asked["nonce"], asked["code_challenge"], begun.browser}) == 4
        finished = await signins.finish(provider, await _answered(issuer, begun.url), begun.browser, BACK)
        assert len(issuer.forms[0]["code_verifier"]) == 43
        return finished

    finished = _run(tmp_path, scenario)
    assert (finished.said.subject, finished.return_to) == ("alice", "/chat?x=1")


def test_a_sign_in_is_good_once_and_for_a_while(tmp_path: Path) -> None:
    """A state that was used, that is too old or that nobody began is refused, also if the first try failed."""

    async def scenario(_: Parts, issuer: Issuer, provider: Provider, signins: SignIns, clock: Clock) -> None:
        begun = await signins.begin(provider, None, "/", BACK)
        answer = await _answered(issuer, begun.url)
        await signins.finish(provider, answer, begun.browser, BACK)
        late = await signins.begin(provider, None, "/", BACK)
        wrong = await signins.begin(provider, None, "/", BACK)
        with pytest.raises(SignInFailed):
            await signins.finish(provider, await _answered(issuer, wrong.url), "x" * 43, BACK)
        for query, browser in (
            (answer, begun.browser),
            ({"state": "x" * 43, "code": "c"}, begun.browser),
            ({}, begun.browser),
            (await _answered(issuer, wrong.url), wrong.browser),
        ):
            with pytest.raises(SignInFailed, match="is over"):
                await signins.finish(provider, query, browser, BACK)
        clock.now += LIFETIME_S
        with pytest.raises(SignInFailed, match="is over"):
            await signins.finish(provider, await _answered(issuer, late.url), late.browser, BACK)

    _run(tmp_path, scenario)


def test_a_sign_in_belongs_to_its_browser_and_its_provider(tmp_path: Path) -> None:
    """No cookie, another browser's cookie and another provider's redirect address are refused."""

    async def scenario(_: Parts, issuer: Issuer, provider: Provider, signins: SignIns, __: Clock) -> None:
        for browser in (None, "y" * 43):
            begun = await signins.begin(provider, None, "/", BACK)
            with pytest.raises(SignInFailed, match="another browser"):
                await signins.finish(provider, await _answered(issuer, begun.url), browser, BACK)
        begun = await signins.begin(provider, None, "/", BACK)
        other = Provider(issuer.settings(name="other"), None)
        with pytest.raises(SignInFailed, match="another identity provider"):
            await signins.finish(other, await _answered(issuer, begun.url), begun.browser, BACK)
        await other.close()

    _run(tmp_path, scenario)


def test_a_nonce_of_another_sign_in_is_refused(tmp_path: Path) -> None:
    """An ID token that was made for one sign-in does not finish another, in the same browser either."""

    async def scenario(_: Parts, issuer: Issuer, provider: Provider, signins: SignIns, __: Clock) -> None:
        one = await signins.begin(provider, None, "/", BACK)
        two = await signins.begin(provider, one.browser, "/", BACK)
        assert one.browser == two.browser
        state = _query(two.url)["state"]
        await _answered(issuer, one.url)
        with pytest.raises(SignInFailed, match="belongs to another sign-in"):
            await signins.finish(provider, {"state": state, "code": "c"}, two.browser, BACK)
        await signins.finish(provider, await _answered(issuer, one.url), one.browser, BACK)

    _run(tmp_path, scenario)


def test_what_is_stored_finishes_nothing(tmp_path: Path) -> None:
    """State, nonce, verifier and the cookie are nowhere on the disk."""

    async def scenario(_: Parts, issuer: Issuer, provider: Provider, signins: SignIns, __: Clock) -> list[str]:
        begun = await signins.begin(provider, None, "/", BACK)
        asked = _query(begun.url)
        return [begun.browser, asked["state"], asked["nonce"], asked["code_challenge"], issuer.url]

    secrets = _run(tmp_path, scenario)
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in data]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "//evil.test",
        "///evil.test",
        "/\\evil.test",
        "/a\\b",
        "https://evil.test/",
        "javascript:alert(1)",
        "/a\r\nset-cookie: x=y",
        "/a\tb",
        "/é",
        "/" + "x" * 2048,
    ],
)
def test_one_can_only_return_to_this_server(path: str) -> None:
    """Whatever could lead elsewhere, or break a header, is refused."""
    with pytest.raises(InvalidRequest):
        check_return_to(path)


@pytest.mark.parametrize("path", ["/", "/chat?model=a&b=c#d", "/%2F%2Fevil.test", "/a//b"])
def test_paths_of_this_server_are_fine(path: str) -> None:
    """A path of this server comes back as it is."""
    assert check_return_to(path) == path
