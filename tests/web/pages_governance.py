"""The sights of access and record in the console, with something in them."""

from collections.abc import Callable

from playwright.sync_api import Page

from tests.web.sights import Sight


def sights() -> list[Sight]:
    """Each page, and the dialogs that matter most."""
    return [
        Sight("governance-keys", "/console/keys", _cell("nightly reports")),
        Sight("governance-new-key", "/console/keys", _new_key),
        Sight("governance-people", "/console/people", _cell("Bea Lind")),
        Sight("governance-invitations", "/console/people/invitations", _cell("eve@example.org")),
        Sight("governance-project", "/console/people/projects", _project),
        Sight("governance-roles", "/console/people/roles", _roles),
        Sight("governance-check", "/console/people/check", _check),
        Sight("governance-filters", "/console/filters", _cell("house")),
        Sight("governance-filter", "/console/filters/lenient", _filter),
        Sight("governance-blocklist", "/console/filters/~list-project-names", _text("bluebird")),
        Sight("governance-abuse", "/console/abuse", _subject),
        Sight("governance-flagged", "/console/abuse/flagged", _text("Review")),
        Sight("governance-audit", "/console/audit", _cell("suspension.created")),
        Sight("governance-integrity", "/console/audit/integrity", _verified),
        Sight("governance-compliance", "/console/compliance", _text("Evidence")),
        Sight("governance-retention", "/console/settings/retention", _text("Conversations")),
        Sight("governance-policies", "/console/settings/policies", _text("Small requests.")),
        Sight("governance-configuration", "/console/settings/configuration", _text("As it holds now, defaults")),
    ]


def _cell(name: str) -> Callable[[Page], None]:
    """Wait for a row by what its first cell says."""
    return lambda page: page.get_by_role("rowheader", name=name).first.wait_for()


def _text(text: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_text(text).first.wait_for()


def _new_key(page: Page) -> None:
    _cell("nightly reports")(page)
    page.get_by_role("button", name="New key").click()
    page.get_by_role("textbox", name="Name").fill("web shop")
    page.get_by_role("textbox", name="Budget").fill("25")
    page.get_by_text("Restrict models and networks").click()
    page.get_by_role("checkbox", name="assistant").wait_for()


def _project(page: Page) -> None:
    page.get_by_role("link", name="Claims").click()
    page.get_by_role("heading", name="Members").wait_for()
    _cell("Bea Lind")(page)


def _roles(page: Page) -> None:
    page.get_by_role("heading", name="filter_manager").wait_for()
    page.get_by_text("rights").first.click()


def _check(page: Page) -> None:
    page.get_by_label("Who", exact=True).fill("bea@example.org")
    page.get_by_label("Wants to").select_option("keys:write")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.get_by_text("Not allowed").wait_for()


def _filter(page: Page) -> None:
    page.get_by_role("group", name="Hate, Prompts").get_by_label("Low").check()
    page.get_by_role("textbox", name="Text").fill("I hate you all and I will kill you")
    page.get_by_role("button", name="Try", exact=True).click()
    page.get_by_role("region", name="Try it").get_by_text("Blocked").wait_for()


def _subject(page: Page) -> None:
    page.get_by_role("rowheader").first.get_by_role("link").click()
    page.get_by_role("heading", name="Day by day").wait_for()


def _verified(page: Page) -> None:
    page.get_by_role("button", name="Verify now").click()
    page.get_by_text("Intact", exact=True).wait_for()
