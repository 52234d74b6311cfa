"""The account: language and colours, sessions, the password, and keys of one's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.service import Service
from tests.web.browser import PASSWORD, Pages, make_person, open_browser, sign_in
from tests.web.pages_account import sights
from tests.web.review import review

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    home: Path = tmp_path_factory.mktemp("account")
    with Service(home) as running:
        yield running


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    """A browser."""
    with open_browser() as browser:
        yield browser


def calls_echo(service: Service, key: str) -> int:
    """The status of a call with a key."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "Hello"}]}
    return service.request("POST", "/v1/chat/completions", body, key=key).status


def test_language_and_colours_are_kept(service: Service, pages: Pages) -> None:
    """The pages speak German and are dark as soon as that is chosen, and still after a reload."""
    make_person(service, "gerda@example.org", name="Gerda")
    with pages.person(service, "gerda@example.org") as page:
        page.goto("/account")
        expect(page.get_by_text("gerda@example.org")).to_be_visible()
        page.get_by_label("Language").select_option("de")
        expect(page.get_by_role("heading", name="Konto")).to_be_visible()
        page.get_by_role("radio", name="Dunkel").check()
        page.reload()
        expect(page.get_by_role("radio", name="Dunkel")).to_be_checked()
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
        expect(page.locator("html")).to_have_attribute("lang", "de")


def test_keys_are_made_replaced_and_revoked(service: Service, pages: Pages) -> None:
    """A key is shown once and works; its successor works too; a revoked one is refused."""
    make_person(service, "kim@example.org", name="Kim")
    with pages.person(service, "kim@example.org") as page:
        page.goto("/account")
        expect(page.get_by_role("heading", name="No keys yet")).to_be_visible()
        page.get_by_role("button", name="New key").click()
        page.get_by_role("button", name="Make the key").click()
        expect(page.get_by_text("Give the key a name.")).to_be_visible()
        page.get_by_label("Name").fill("laptop")
        page.get_by_label("It ends").select_option(label="After 30 days")
        page.get_by_role("button", name="Make the key").click()
        first = shown_key(page)
        page.get_by_role("button", name="I have kept it").click()
        keys = page.get_by_role("list", name="API keys").get_by_role("listitem")
        expect(keys).to_have_count(1)
        expect(page.get_by_text(first)).to_have_count(0)
        assert calls_echo(service, first) == 200

        page.get_by_role("button", name="Replace laptop").click()
        second = shown_key(page)
        page.keyboard.press("Escape")
        expect(keys).to_have_count(2)
        assert (calls_echo(service, first), calls_echo(service, second)) == (200, 200)

        while keys.count():
            left = keys.count() - 1
            page.get_by_role("button", name="Revoke laptop").first.click()
            page.get_by_role("dialog").get_by_role("button", name="Revoke", exact=True).click()
            expect(keys).to_have_count(left)
        assert (calls_echo(service, first), calls_echo(service, second)) == (401, 401)


def shown_key(page: Page) -> str:
    """The value of the key that is shown."""
    expect(page.get_by_text("It is not shown again")).to_be_visible()
    return page.get_by_role("dialog").locator("code").inner_text()


def test_another_session_is_ended(service: Service, pages: Pages) -> None:
    """A second browser is in the list, and is signed out from the first."""
    make_person(service, "sam@example.org")
    with pages.person(service, "sam@example.org") as there, pages.person(service, "sam@example.org") as here:
        here.goto("/account")
        sessions = here.get_by_role("list", name="Sessions").get_by_role("listitem")
        expect(sessions).to_have_count(2)
        expect(sessions.first).to_contain_text("This browser")
        sessions.nth(1).get_by_role("button").click()
        here.get_by_role("dialog").get_by_role("button", name="Sign out").click()
        expect(sessions).to_have_count(1)
        there.goto("/account")
        there.get_by_label("Password").wait_for()


def test_the_password_is_changed(service: Service, pages: Pages) -> None:
    """What is wrong is said at its field; then one signs in with the new password only."""
    make_person(service, "pat@example.org")
    new = "another horse battery staple"
    with pages.person(service, "pat@example.org") as page:
        page.goto("/account")
        page.get_by_label("Current password").fill("not this one")
        page.get_by_label("New password", exact=True).fill("short")
        page.get_by_label("New password again").fill("shorter")
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_text("The two are not alike.")).to_be_visible()
        page.get_by_label("New password", exact=True).fill(new)
        page.get_by_label("New password again").fill(new)
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_text("That is not your current password.")).to_be_visible()
        page.get_by_label("Current password").fill(PASSWORD)
        page.get_by_role("button", name="Change password").click()
        page.get_by_label("E-mail").wait_for()
        sign_in(page, "pat@example.org", new)


def test_everywhere_is_signed_out(service: Service, pages: Pages) -> None:
    """Signing out everywhere leads to the sign-in page."""
    make_person(service, "eve@example.org")
    with pages.person(service, "eve@example.org") as page:
        page.goto("/account")
        page.get_by_role("button", name="Sign out everywhere").click()
        page.get_by_role("dialog").get_by_role("button", name="Sign out everywhere").click()
        page.get_by_label("E-mail").wait_for()
        assert page.request.get("/session").status == 401


def test_the_pages_are_as_they_should_be(service: Service, pages: Pages, full_size: bool) -> None:
    """The account passes the review."""
    make_person(service, "rev@example.org", name="Ann Reviewer")
    review(pages, service, "rev@example.org", sights(), every_look=full_size, in_order=True)
