"""Sign-in through a certified OpenID provider, and its JWTs as bearer tokens, against a real server."""

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from openai import AzureOpenAI, OpenAI
from yarl import URL

from tests.browser import Browser, Page, open_browser
from tests.openid_provider import API, CLIENT_ID, CLIENT_SECRET, OpenIdProvider
from tests.service import ECHO_CONFIG, Service

pytestmark = pytest.mark.slow

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}


def _config(issuer: str) -> str:
    return f"""{ECHO_CONFIG}
[[identity.provider]]
name = "corp"
label = "Example Corp"
issuer = "{issuer}"
client_id = "{CLIENT_ID}"
client_secret = {{ env = "TEST_OIDC_SECRET" }}
scopes = ["openid", "email", "profile", "groups"]
audiences = ["{API}"]
users = "create"
allow_http = true

[[identity.provider.map]]
group = "ml"
role = "user"

[[identity.provider.map]]
group = "admins"
role = "owner"
"""


def _account(name: str, *groups: str) -> dict[str, Any]:
    return {"email": f"{name}@example.org", "email_verified": True, "name": name.title(), "groups": list(groups)}


@pytest.fixture(scope="module")
def service(openid_provider: OpenIdProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    people = ("alice", "bob", "carol", "dave")
    openid_provider.accounts |= {name: _account(name, "ml") for name in people} | {"stranger": _account("stranger")}
    openid_provider.write()
    environment = {"TEST_OIDC_SECRET": CLIENT_SECRET}
    with Service(
        tmp_path_factory.mktemp("served") / "home", _config(openid_provider.issuer), environment=environment
    ) as running:
        yield running


async def _at_provider(browser: Browser, return_to: str = "/") -> Page:
    """The provider's page on which one signs in."""
    page = await browser.get(f"/signin?return_to={return_to}")
    return await browser.submit(page.form("/signin/with/corp"))


async def _finish(browser: Browser, page: Page, login: str) -> Page:
    """Sign in at the provider, and consent."""
    page = await browser.submit(page.forms[0], login=login, password="any")
    return await browser.submit(page.forms[0]) if page.forms and "consent" in page.text else page


async def _sign_in(browser: Browser, login: str, return_to: str = "/") -> Page:
    return await _finish(browser, await _at_provider(browser, return_to), login)


def test_a_person_signs_in_calls_and_signs_out(service: Service, openid_provider: OpenIdProvider) -> None:
    """From the button on the page through the provider and back, with the roles that the groups give, and out again."""

    async def scenario() -> None:
        async with open_browser(service.url) as browser:
            page = await _sign_in(browser, "alice", "/signin?return_to=/")
            assert page.url.path == "/signin"
            assert "alice@example.org" in page.text
            cookies = browser.cookies()
            assert len(cookies["__Host-freehold"]) == 43
            assert "__Host-freehold-signin" not in cookies
            status, who = await browser.call("GET", "/session")
            assert status == 200
            assert (who["auth_method"], who["roles"]) == ("session", ["user"])
            status, _ = await browser.call("POST", "/v1/chat/completions", CHAT)
            assert status == 200
            page = await browser.submit(page.form("/signout"))
            assert page.form("/signin/with/corp")
            status, _ = await browser.call("GET", "/session")
            assert status == 401
            assert (await browser.get("/signin")).form("/signin")

    before = len(_admin_records(service))
    asyncio.run(scenario())
    kinds = [line["body"].get("event") for line in _admin_records(service)[before:]]
    assert kinds == ["login.succeeded", "logout.succeeded"]
    assert openid_provider.issuer not in json.dumps(_admin_records(service))


def test_the_roles_follow_the_groups_at_each_sign_in(service: Service, openid_provider: OpenIdProvider) -> None:
    """Who has joined a group holds its role from the next sign-in on, and who has left it does not."""

    async def scenario() -> list[Any]:
        seen = []
        for groups in (["ml"], ["ml", "admins"], []):
            openid_provider.accounts["carol"]["groups"] = groups
            openid_provider.write()
            async with open_browser(service.url) as browser:
                await _sign_in(browser, "carol")
                _, who = await browser.call("GET", "/session")
                seen.append(who["roles"])
        return seen

    assert asyncio.run(scenario()) == [["user"], ["owner", "user"], []]


def test_a_stranger_and_somebody_who_cancels_are_told_so(service: Service) -> None:
    """Who has no role stays outside with a page that says why, and so does who gives up at the provider."""

    async def scenario() -> None:
        async with open_browser(service.url) as browser:
            page = await _sign_in(browser, "stranger")
            assert page.status == 403
            assert "none of your groups has a role here" in page.text
            assert "__Host-freehold" not in browser.cookies()
        async with open_browser(service.url) as browser:
            page = await _at_provider(browser)
            page = await browser.get(str(page.url) + "/abort")
            assert page.status == 400
            assert "did not let you in, or you cancelled" in page.text
            assert "__Host-freehold" not in browser.cookies()

    asyncio.run(scenario())


def test_a_sign_in_is_finished_once_and_in_its_own_browser(service: Service) -> None:
    """The address that the provider leads back to works once, only in the browser that began, and only unchanged."""

    async def scenario() -> None:
        async with open_browser(service.url) as browser, open_browser(service.url) as thief:
            done = await _sign_in(browser, "alice")
            back = next(url for url in done.went if url.path == "/signin/callback/corp")
            again = await browser.get(back)
            assert (again.status, "is over" in again.text) == (400, True)
            # A thief leads a victim's browser to the end of the thief's own sign-in, or takes the victim's address.
            page = await _at_provider(thief)
            page = await thief.submit(page.forms[0], login="alice", password="any")
            page = await thief.submit(page.forms[0], follow=False)
            while URL(page.headers["location"]).path != "/signin/callback/corp":
                page = await thief.get(page.headers["location"], follow=False)
            stolen = URL(page.headers["location"])
            async with open_browser(service.url) as victim:
                lured = await victim.get(stolen)
                assert (lured.status, "another browser" in lured.text) == (400, True)
                assert "__Host-freehold" not in victim.cookies()
            spent = await thief.get(stolen)
            assert (spent.status, "is over" in spent.text) == (400, True)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"iss": "https://evil.test"}, "another identity provider"),
        ({"iss": None}, "another identity provider"),
        ({"state": "x" * 43}, "is over"),
        ({"state": None}, "is over"),
        ({"code": "x" * 43}, "did not accept"),
        ({"code": None}, "no code"),
    ],
)
def test_a_changed_answer_signs_nobody_in(service: Service, change: dict[str, str | None], why: str) -> None:
    """Another issuer, another state and another code than the provider's lead to an error, and to no session."""

    async def scenario() -> None:
        async with open_browser(service.url) as browser:
            page = await _at_provider(browser)
            page = await browser.submit(page.forms[0], login="alice", password="any")
            page = await browser.submit(page.forms[0], follow=False)
            while URL(page.headers["location"]).path != "/signin/callback/corp":
                page = await browser.get(page.headers["location"], follow=False)
            url = URL(page.headers["location"])
            query = {**url.query, **change}
            page = await browser.get(url.with_query({name: value for name, value in query.items() if value}))
            assert page.status == 400
            assert why in page.text
            assert "__Host-freehold" not in browser.cookies()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "return_to", ["//evil.test", "https://evil.test", "/\\evil.test", "evil", "/a%0d%0ab", "javascript:alert(1)"]
)
def test_nobody_is_led_elsewhere(service: Service, return_to: str) -> None:
    """After sign-in the browser goes to a path of this server, or the sign-in does not begin."""

    async def scenario() -> None:
        async with open_browser(service.url) as browser:
            page = await browser.get(f"/signin?return_to={return_to}")
            assert (page.status, "must be a path on this server" in page.text) == (400, True)
            form = (await browser.get("/signin")).form("/signin/with/corp")
            form.fields["return_to"] = return_to.replace("%0d%0a", "\r\n")
            page = await browser.submit(form)
            assert page.status == 400

    asyncio.run(scenario())


async def _access_token(issuer: str, login: str) -> str:
    """A JWT for the API, as a program on a person's machine gets it (RFC 8252)."""
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    redirect = "http://127.0.0.1/done"
    query = {
        "response_type": "code",
        "client_id": "program",
        "redirect_uri": redirect,
        "scope": "openid email groups",
        "resource": API,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    async with open_browser(issuer) as browser:
        page = await browser.get(f"/auth?{urlencode(query)}")
        page = await browser.submit(page.forms[0], login=login, password="any")
        page = await browser.submit(page.forms[0], follow=False)
        while not page.headers["location"].startswith(redirect):
            page = await browser.get(page.headers["location"], follow=False)
        code = URL(page.headers["location"]).query["code"]
    form = {
        "grant_type": "authorization_code",
        "client_id": "program",
        "code": code,
        "redirect_uri": redirect,
        "code_verifier": verifier,
        "resource": API,
    }
    async with aiohttp.ClientSession() as session, session.post(f"{issuer}/token", data=form) as answer:
        found = await answer.json()
        return str(found["access_token"])


def test_a_jwt_of_the_provider_opens_the_api(service: Service, openid_provider: OpenIdProvider) -> None:
    """An access token for our audience is a bearer token: its person and their roles count, in either header."""
    token = asyncio.run(_access_token(openid_provider.issuer, "bob"))
    assert service.post("/v1/chat/completions", CHAT, key=token).status == 200
    assert service.request("POST", "/v1/chat/completions", CHAT, headers={"api-key": token}).status == 200
    who = service.get("/session", key=token).json()
    assert (who["auth_method"], who["principal"]["email"], who["id"]) == ("jwt", "bob@example.org", None)
    assert service.get("/admin/keys", key=token).status == 403
    assert service.get("/sessions", key=token).json()["error"]["code"] == "session_required"
    other = {"authorization": f"Bearer {token}", "openai-project": "proj-none"}
    assert service.request("GET", "/session", headers=other).status == 404
    head, claims, signature = token.split(".")
    refused = service.post("/v1/chat/completions", CHAT, key=f"{head}.{claims}.{signature[:-6]}AAAAAA")
    assert (refused.status, refused.json()["error"]["code"]) == (401, "invalid_token")
    disabled = service.post(f"/v1/organization/users/{who['principal']['id']}/disable", None)
    assert disabled.json()["user"]["enabled"] is False
    assert service.post("/v1/chat/completions", CHAT, key=token).status == 401


def test_the_official_clients_send_a_jwt(service: Service, openid_provider: OpenIdProvider) -> None:
    """OpenAI's client takes the token for its key, and Azure's as the Entra ID token that it knows."""
    token = asyncio.run(_access_token(openid_provider.issuer, "dave"))
    plain = OpenAI(base_url=f"{service.url}/v1", api_key=token)
    azure = AzureOpenAI(azure_endpoint=service.url, azure_ad_token=token, api_version="2024-10-21")
    for client in (plain, azure):
        with client:
            answer = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "hi"}])
            assert answer.choices[0].message.content


def test_a_jwt_of_somebody_without_a_role_is_a_403(service: Service, openid_provider: OpenIdProvider) -> None:
    """A good token of a person who is nobody here is no wrong credential, and opens nothing."""
    token = asyncio.run(_access_token(openid_provider.issuer, "stranger"))
    refused = service.post("/v1/chat/completions", CHAT, key=token)
    assert (refused.status, refused.json()["error"]["code"]) == (403, "signin_not_allowed")


def _admin_records(service: Service) -> list[dict[str, Any]]:
    """What the journal has of administration and sign-in."""
    segment = service.home.journal / "main" / "00000001.jsonl"
    lines = [json.loads(line) for line in segment.read_bytes().split(b"\n")[:-1]]
    return [line for line in lines if line["kind"] == "admin"]
