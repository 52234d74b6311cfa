"""The sights of the console's first half: how the service fares, what it runs, what is used and by whom."""

from collections.abc import Callable

from playwright.sync_api import Page

from tests.web.sights import Sight


def sights(receipt: str, job: str) -> list[Sight]:
    """Every page with data in it, and the forms.

    Args:
        receipt: the id of a request that has ended.
        job: the id of a batch's job that has ended.
    """
    return [
        Sight("console-overview", "/console", _text("Figures as of")),
        Sight("console-deployments", "/console/deployments", _row("tea")),
        Sight("console-deployment", "/console/deployments/tea", _row("tea-1")),
        Sight("console-deployment-broken", "/console/deployments/broken", _text("There is no model")),
        Sight("console-deployment-new", "/console/deployments", _dialog("New deployment", "Create deployment")),
        Sight("console-capacity", "/console/capacity", _row("tea")),
        Sight("console-models", "/console/models", _row("tiny-1")),
        Sight("console-model", "/console/models/tiny-1", _text("Digest given beforehand")),
        Sight("console-model-fetch", "/console/models", _dialog("Fetch a model", "Fetch")),
        Sight("console-jobs", "/console/jobs", _row("Batch")),
        Sight("console-job", f"/console/jobs/{job}", _text("4 answered, 0 failed, of 4")),
        Sight("console-usage", "/console/usage", _row("tea")),
        Sight("console-budgets", "/console/budgets", _row("Default project")),
        Sight("console-budget-new", "/console/budgets", _dialog("New budget", "Save")),
        Sight("console-receipts", "/console/receipts", _text("Refused")),
        Sight("console-receipt", f"/console/receipts/{receipt}", _text("Record in the journal")),
        Sight("console-nothing", "/console/nowhere", _text("The address leads nowhere")),
    ]


def _text(text: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("main").get_by_text(text).locator("visible=true").first.wait_for()


def _row(name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("rowheader", name=name, exact=True).first.wait_for()


def _dialog(opener: str, action: str) -> Callable[[Page], None]:
    def arrive(page: Page) -> None:
        page.get_by_role("button", name=opener).first.click()
        page.get_by_role("dialog").get_by_role("button", name=action, exact=True).wait_for()

    return arrive
