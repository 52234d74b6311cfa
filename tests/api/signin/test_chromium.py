"""The pages of sign-in in a real browser, with its own rules for cookies, forms and policies."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chromium import chromium_program, open_chromium
from tests.openid_provider import CLIENT_ID, CLIENT_SECRET, OpenIdProvider
from tests.service import ECHO_CONFIG, Service

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def service(openid_provider: OpenIdProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    chromium_program()
    openid_provider.accounts["ann"] = {"email": "ann@example.org", "email_verified": True, "name": "Ann"}
    openid_provider.write()
    config = f"""{ECHO_CONFIG}
[[identity.provider]]
name = "corp"
label = "Example Corp"
issuer = "{openid_provider.issuer}"
client_id = "{CLIENT_ID}"
client_secret = {{ env = "TEST_OIDC_SECRET" }}
allow_http = true
"""
    home = tmp_path_factory.mktemp("served") / "home"
    with Service(home, config, environment={"TEST_OIDC_SECRET": CLIENT_SECRET}) as running:
        for name in ("ann", "bob"):
            body = {"email": f"{name}@example.org", "role": "user", "password": PASSWORD}
            assert running.post("/v1/organization/users", body).status == 200
        yield running


def test_a_browser_keeps_the_session_of_a_password(service: Service, tmp_path: Path) -> None:
    """A browser sends the form with its origin, keeps the cookie from scripts, and is signed out by the button."""

    async def scenario() -> None:
        async with open_chromium(tmp_path) as tab:
            await tab.open(f"{service.url}/signin?return_to=/signin")
            await tab.do("document.querySelector('#email').value = 'bob@example.org'")
            await tab.do(f"document.querySelector('#password').value = '{PASSWORD}'")
            await tab.do("document.querySelector('button.main').click()")
            await tab.until("document.querySelector('h1')?.textContent == 'You are signed in'")
            cookie = (await tab.cookies())["__Host-freehold"]
            assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Lax")
            assert await tab.do("document.cookie") == ""
            await tab.do("document.querySelector('button.main').click()")
            await tab.until("document.querySelector('#email')")
            assert "__Host-freehold" not in await tab.cookies()

    asyncio.run(scenario())


def test_a_browser_goes_through_a_provider(service: Service, tmp_path: Path) -> None:
    """The button leads to the provider and back, past the policies of both sides, without a script of ours."""

    async def scenario() -> None:
        async with open_chromium(tmp_path) as tab:
            await tab.open(f"{service.url}/signin?return_to=/signin")
            await tab.do("document.querySelector('form[action=\"/signin/with/corp\"] button').click()")
            await tab.until("document.querySelector('input[name=login]')")
            await tab.do("document.querySelector('input[name=login]').value = 'ann'")
            await tab.do("document.querySelector('input[name=password]').value = 'any'")
            await tab.do("document.querySelector('button[type=submit], input[type=submit]').click()")
            await tab.until("document.querySelector('input[value=consent]')")
            await tab.do("document.querySelector('button[type=submit], input[type=submit]').click()")
            await tab.until("document.querySelector('h1')?.textContent == 'You are signed in'")
            assert "ann@example.org" in await tab.do("document.body.textContent")
            assert set(await tab.cookies()) >= {"__Host-freehold"}

    asyncio.run(scenario())
