"""The sights of the account."""

from playwright.sync_api import Page

from tests.web.sights import Sight


def sights() -> list[Sight]:
    """The account, a key that was just made, and what is asked before one is revoked."""
    return [
        Sight("account", "/account", _arrive),
        Sight("account-new-key", "/account", _new_key),
        Sight("account-revoke", "/account", _revoke),
    ]


def _arrive(page: Page) -> None:
    page.get_by_role("heading", name="Account", exact=True).wait_for()
    page.get_by_role("list", name="Sessions").wait_for()
    page.get_by_role("button", name="New key").wait_for()


def _new_key(page: Page) -> None:
    _arrive(page)
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name").fill("Nightly report")
    page.get_by_role("button", name="Make the key").click()
    page.get_by_text("It is not shown again").wait_for()


def _revoke(page: Page) -> None:
    _arrive(page)
    page.get_by_role("button", name="Revoke Nightly report").first.click()
    page.get_by_role("heading", name="Revoke “Nightly report”?").wait_for()
