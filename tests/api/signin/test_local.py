"""Sign-in with a password, sessions, links and protection against other sites, against a real server."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.browser import Browser, Page, open_browser
from tests.service import ECHO_CONFIG, Service

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery staple"
SLOW = """
[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = { delay_s = 0.02 }
"""
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("served") / "home", ECHO_CONFIG + SLOW) as running:
        yield running


def _user(service: Service, name: str, role: str = "user") -> str:
    """The id of a new user with a password."""
    body = {"email": f"{name}@example.org", "name": name.title(), "role": role, "password": PASSWORD}
    made = service.post("/v1/organization/users", body)
    assert made.status == 200, made.body
    return str(made.json()["id"])


async def _sign_in(browser: Browser, name: str, password: str = PASSWORD, return_to: str = "/signin") -> Page:
    page = await browser.get(f"/signin?return_to={return_to}")
    return await browser.submit(page.form("/signin"), email=f"{name}@example.org", password=password)


def _browse(service: Service, scenario: Callable[[Browser], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        async with open_browser(service.url) as browser:
            return await scenario(browser)

    return asyncio.run(whole())


def test_a_user_signs_in_and_the_session_is_another_one_each_time(service: Service) -> None:
    """The password opens a session in a cookie that only this host gets, and a new sign-in ends the old one."""
    _user(service, "alice")

    async def scenario(browser: Browser) -> None:
        page = await _sign_in(browser, "alice")
        assert "You are signed in" in page.text
        first = browser.cookies()["__Host-freehold"]
        await browser.submit(page.form("/signout"))
        form = (await browser.get("/signin")).form("/signin")
        page = await browser.submit(form, follow=False, email="Alice@Example.org ", password=PASSWORD)
        assert page.status == 303
        cookie = page.headers.getall("set-cookie")[0]  # type: ignore[attr-defined]  # a multidict
        assert cookie.startswith("__Host-freehold=")
        assert {part.strip() for part in cookie.split(";")[1:]} >= {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"}
        assert browser.cookies()["__Host-freehold"] != first
        async with open_browser(service.url) as other:
            status, _ = await other.call("GET", "/session", headers={"cookie": f"__Host-freehold={first}"})
            assert status == 401

    _browse(service, scenario)


def test_a_wrong_password_and_an_unknown_address_read_alike(service: Service) -> None:
    """Neither the status nor the words tell whether there is such an account, and what was typed is not repeated."""
    _user(service, "bob")

    async def scenario(browser: Browser) -> list[tuple[int, str]]:
        seen = []
        for name in ("bob", "nobody"):
            page = await _sign_in(browser, name, "wrong password 123")
            assert "wrong password 123" not in page.text
            seen.append((page.status, page.text.replace(f"{name}@", "@")))
        return seen

    known, unknown = _browse(service, scenario)
    assert known == unknown
    assert known[0] == 401
    assert "The address or the password is wrong." in known[1]


def test_who_was_turned_away_stands_in_the_journal(service: Service) -> None:
    """A refused sign-in is recorded with its reason, with the user if there is one, and never with what was typed."""
    user = _user(service, "peggy")
    file = service.home.journal / "main" / "00000001.jsonl"
    before = len(file.read_bytes())

    async def scenario(browser: Browser) -> None:
        await _sign_in(browser, "peggy", "wrong password 123")
        await _sign_in(browser, "unknown-person", "wrong password 123")

    _browse(service, scenario)
    written = file.read_bytes()[before:]
    found = [json.loads(line)["body"] for line in written.split(b"\n") if b"login.failed" in line]
    assert [(each.get("principal"), each["code"]) for each in found] == [
        (user, "wrong_password"),
        (None, "wrong_password"),
    ]
    assert b"unknown-person" not in written
    assert b"wrong password" not in written


def test_too_many_tries_have_to_wait(service: Service) -> None:
    """After a few failures even the right password is not looked at for a while, and the page says so."""
    _user(service, "carol")

    async def scenario(browser: Browser) -> Page:
        for _ in range(6):
            page = await _sign_in(browser, "carol", "wrong password 123")
        return await _sign_in(browser, "carol") if page.status == 401 else page

    page = _browse(service, scenario)
    assert page.status == 429
    assert int(page.headers["retry-after"]) >= 1
    assert "try again in" in page.text


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"origin": "SELF"}, 200),
        ({"origin": "SELF", "sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://evil.test"}, 403),
        ({"origin": "SELF.evil.test"}, 403),
        ({"origin": "SELF", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "SELF", "sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "SELF", "authorization": "Bearer fh-wrong"}, 401),
        ({"origin": "SELF", "api-key": ""}, 401),
    ],
)
def test_a_cookie_changes_things_only_from_our_own_pages(
    service: Service, headers: dict[str, str], expected: int
) -> None:
    """Requests of other sites, and of nowhere, are refused; a credential in a header is never replaced by a cookie."""

    async def scenario(browser: Browser) -> list[int]:
        page = await _sign_in(browser, "dora")
        assert page.status == 200
        said = {name: value.replace("SELF", service.url) for name, value in headers.items()}
        return [
            (await browser.call("POST", "/v1/chat/completions", CHAT, said))[0],
            (await browser.call("POST", "/session/project", {"project_id": "proj-default"}, said))[0],
        ]

    if not any(user["email"] == "dora@example.org" for user in _users(service)):
        _user(service, "dora")
    assert _browse(service, scenario) == [expected, expected]


def test_the_forms_of_sign_in_are_taken_only_from_our_own_pages(service: Service) -> None:
    """Another site can sign nobody in, nor out."""

    async def scenario(browser: Browser) -> list[int]:
        form = (await browser.get("/signin")).form("/signin")
        form.page = form.page.with_host("evil.test")
        form.action = f"{service.url}/signin"
        page = await browser.submit(form, email="alice@example.org", password=PASSWORD)
        form.action, form.fields = f"{service.url}/signout", {}
        return [page.status, (await browser.submit(form)).status]

    assert _browse(service, scenario) == [403, 403]


def test_sessions_are_listed_and_ended(service: Service) -> None:
    """A person sees where they are signed in, ends one session there and the rest everywhere."""
    _user(service, "erin")

    async def scenario() -> None:
        async with (
            open_browser(service.url) as one,
            open_browser(service.url) as two,
            open_browser(service.url) as three,
        ):
            for browser in (one, two, three):
                await _sign_in(browser, "erin")
            _, listed = await one.call("GET", "/sessions")
            rows: Any = listed["data"]
            assert [row["current"] for row in rows] == [True, False, False]
            status, _ = await one.call("DELETE", f"/sessions/{rows[1]['id']}")
            assert status == 200
            assert (await two.call("GET", "/session"))[0] == 401
            assert (await three.call("GET", "/session"))[0] == 200
            assert (await three.call("DELETE", "/sessions/sess_none"))[0] == 404
            _, ended = await one.call("DELETE", "/sessions")
            assert ended["deleted"] == 2
            assert [(await each.call("GET", "/session"))[0] for each in (one, three)] == [401, 401]

    asyncio.run(scenario())


def test_a_person_chooses_the_project_to_act_in(service: Service) -> None:
    """The session says which projects there are, acts in the one that was chosen, and in no unknown one."""
    user = _user(service, "frank", "reader")
    other = service.post("/v1/organization/projects", {"name": "Other"}).json()["id"]
    service.post(f"/v1/organization/projects/{other}/users", {"user_id": user, "role": "member"})

    async def scenario(browser: Browser) -> None:
        await _sign_in(browser, "frank")
        _, who = await browser.call("GET", "/session")
        assert who["project_id"] == other
        status, chosen = await browser.call("POST", "/session/project", {"project_id": "proj-default"})
        assert (status, chosen["project_id"]) == (200, "proj-default")
        assert (await browser.call("POST", "/v1/chat/completions", CHAT))[0] == 403
        await browser.call("POST", "/session/project", {"project_id": other})
        assert (await browser.call("POST", "/v1/chat/completions", CHAT))[0] == 200
        assert (await browser.call("POST", "/session/project", {"project_id": "proj-none"}))[0] == 404

    _browse(service, scenario)


def test_a_session_tells_what_holds_in_the_project_alone(service: Service) -> None:
    """Whoever owns a project but not the organization is told that their rights end there."""
    user = _user(service, "greta", "reader")
    own = service.post("/v1/organization/projects", {"name": "Greta's"}).json()["id"]
    service.post(f"/v1/organization/projects/{own}/users", {"user_id": user, "role": "owner"})

    async def scenario(browser: Browser) -> None:
        await _sign_in(browser, "greta")
        _, who = await browser.call("POST", "/session/project", {"project_id": own})
        here, everywhere = who["actions"], who["organization_actions"]
        assert isinstance(here, list)
        assert isinstance(everywhere, list)
        assert "limits:write" in here
        assert "limits:write" not in everywhere
        assert set(everywhere) < set(here)
        assert everywhere == sorted(everywhere)

    _browse(service, scenario)


@pytest.mark.parametrize("end", ["disable", "delete", "password", "sessions"])
def test_a_session_dies_at_once_with_what_it_rests_on(service: Service, end: str) -> None:
    """A disabled or removed user, a new password and a sign-out by an administrator end sessions, and their streams."""
    user = _user(service, f"gone-{end}")
    path = f"/v1/organization/users/{user}"

    async def scenario(browser: Browser) -> tuple[int, float, str]:
        await _sign_in(browser, f"gone-{end}")
        long = [{"role": "user", "content": "word " * 2000}]
        body = {"model": "slow", "stream": True, "messages": long}
        session, url = browser._session, f"{service.url}/v1/chat/completions"
        async with session.post(url, json=body, headers={"origin": service.url}) as answer:
            assert answer.status == 200
            await answer.content.readline()
            began = time.monotonic()
            calls = {
                "disable": ("POST", f"{path}/disable", None),
                "delete": ("DELETE", path, None),
                "password": ("POST", f"{path}/password", {"password": "another good pass phrase"}),
                "sessions": ("DELETE", f"{path}/sessions", None),
            }
            done = await asyncio.to_thread(service.request, *calls[end], key=service.key)
            assert done.status == 200, done.body
            rest = (await answer.content.read()).decode()
        return (await browser.call("GET", "/session"))[0], time.monotonic() - began, rest

    status, took_s, rest = _browse(service, scenario)
    assert status == 401
    assert took_s < 5
    assert "revoked" in rest
    assert "[DONE]" not in rest


def test_an_invited_person_follows_the_link_once(service: Service) -> None:
    """The link lets them choose a password that is good enough, makes them a user, signs them in, and is used up."""
    invite = service.post("/v1/organization/invites", {"email": "new@example.org", "role": "reader"}).json()
    link = service.post(f"/v1/organization/invites/{invite['id']}/link", None).json()["url"]

    async def scenario(browser: Browser) -> None:
        page = await browser.get(link)
        assert "new@example.org" in page.text
        form = page.forms[0]
        page = await browser.submit(form, name="<b>New</b>", password="short")
        assert page.status == 400
        assert "at least 12 characters" in page.text
        assert "<b>New" not in page.text
        page = await browser.submit(form, name="<b>New</b>", password=PASSWORD)
        assert page.url.path == "/"
        _, who = await browser.call("GET", "/session")
        assert who["roles"] == ["reader"]
        page = await browser.get("/signin")
        assert "&lt;b&gt;New" in page.text
        page = await browser.get(link)
        assert (page.status, "does not exist, was used, or has expired" in page.text) == (404, True)

    _browse(service, scenario)
    assert service.get(f"/v1/organization/invites/{invite['id']}", key=service.key).json()["status"] == "accepted"
    assert link.rpartition("/")[2].encode() not in (service.home.journal / "main" / "00000001.jsonl").read_bytes()


def test_a_lost_password_is_replaced_by_a_link(service: Service) -> None:
    """An administrator's link sets a new password once; the old one no longer holds."""
    user = _user(service, "heidi")
    link = service.post(f"/v1/organization/users/{user}/password_link", None).json()["url"]

    async def scenario(browser: Browser) -> list[int]:
        page = await browser.get(link)
        page = await browser.submit(page.forms[0], password="a quite different phrase")
        assert page.url.path == "/"
        async with open_browser(service.url) as other:
            old = await _sign_in(other, "heidi")
            new = await _sign_in(other, "heidi", "a quite different phrase")
        return [old.status, new.status, (await browser.get(link)).status]

    assert _browse(service, scenario) == [401, 200, 404]


def test_a_person_changes_their_password(service: Service) -> None:
    """Whoever knows the current one gives another, and has to sign in anew everywhere."""
    _user(service, "ivan")

    async def scenario(browser: Browser) -> list[int]:
        await _sign_in(browser, "ivan")
        new = "a quite different phrase"
        wrong = {"current_password": "no", "password": new}
        right = {"current_password": PASSWORD, "password": new}
        weak = {"current_password": PASSWORD, "password": "ivan@example.org"}
        statuses = [(await browser.call("POST", "/session/password", body))[0] for body in (wrong, weak, right)]
        statuses.append((await browser.call("GET", "/session"))[0])
        statuses.append((await _sign_in(browser, "ivan", new)).status)
        return statuses

    assert _browse(service, scenario) == [401, 400, 200, 401, 200]


def test_nobody_raises_themselves_by_managing_accounts(service: Service) -> None:
    """Who may manage users cannot take over the account of somebody who may do more, nor make one."""
    owner = _user(service, "judy", "owner")
    project = "proj-default"
    account = service.post(f"/v1/organization/projects/{project}/service_accounts", {"name": "helper"}).json()
    key = account["api_key"]["value"]
    path = f"/v1/organization/users/{owner}"
    for method, where, body in (
        ("POST", f"{path}/password", {"password": PASSWORD}),
        ("POST", f"{path}/password_link", None),
        ("POST", f"{path}/disable", None),
        ("POST", "/v1/organization/users", {"email": "k@example.org", "role": "owner"}),
    ):
        assert service.request(method, where, body, key=key).status == 403


def test_pages_bear_a_strict_policy_and_no_script(service: Service) -> None:
    """No page of sign-in has a script, may be framed, is kept by caches or sends its address elsewhere."""

    async def scenario(browser: Browser) -> Page:
        return await browser.get("/signin")

    page = _browse(service, scenario)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"
    assert "<script" not in page.text


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"email=a&email=b", "application/x-www-form-urlencoded"),
        (b'{"email": "a"}', "application/json"),
        (b"email=%ff", "application/x-www-form-urlencoded"),
        (b"\xff=1", "application/x-www-form-urlencoded"),
        (b"&".join(b"f%d=1" % number for number in range(20)), "application/x-www-form-urlencoded"),
    ],
)
def test_a_form_that_is_none_is_refused(service: Service, body: bytes, kind: str) -> None:
    """Fields twice, too many of them, JSON and broken encodings are refused with a page."""
    refused = service.request("POST", "/signin", body, headers={"origin": service.url, "content-type": kind})
    assert refused.status == 400
    assert b"<html" in refused.body


def _users(service: Service) -> list[dict[str, Any]]:
    return list(service.get("/v1/organization/users?limit=100", key=service.key).json()["data"])
