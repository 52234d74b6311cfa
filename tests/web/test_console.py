"""The console: a deployment's life, a budget, receipts, jobs, usage as the API tells it, and who sees what."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.service import Service, eventually
from tests.web.browser import Pages, make_person, open_browser
from tests.web.console import CONFIG, OWNER, ask, send_batch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    home: Path = tmp_path_factory.mktemp("console")
    with Service(home, CONFIG) as running:
        make_person(running, OWNER, "owner", "Olga Rivera")
        yield running


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    """A browser."""
    with open_browser() as browser:
        yield browser


def test_an_unused_service_tells_how_to_begin(service: Service, pages: Pages) -> None:
    """Before the first request there are first steps with a command; after it there are figures without a reload."""
    with pages.person(service, OWNER) as page:
        page.goto("/console")
        expect(page.get_by_role("heading", name="First steps")).to_be_visible()
        expect(page.get_by_text(f"curl {service.url}/v1/chat/completions")).to_be_visible()
        ask(service)
        expect(page.get_by_role("group", name="Figures")).to_contain_text("Requests")
        expect(page.get_by_role("heading", name="First steps")).to_have_count(0)


def test_a_deployment_is_made_scaled_and_deleted(service: Service, pages: Pages) -> None:
    """Errors stand at their field; it is ready, answers, is scaled, has a log, and goes when its name is typed."""
    with pages.person(service, OWNER) as page:
        page.goto("/console/deployments")
        page.get_by_role("button", name="New deployment").click()
        form = page.get_by_role("dialog")
        form.get_by_label("Name").fill("not a name")
        form.get_by_label("Model", exact=True).fill("echo")
        form.get_by_label("Engine").select_option("echo")
        form.get_by_role("button", name="Create deployment").click()
        expect(form.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
        expect(form.get_by_label("Model", exact=True)).to_have_value("echo")
        form.get_by_label("Name").fill("oolong")
        form.get_by_role("button", name="Create deployment").click()

        expect(page.get_by_role("heading", name="oolong")).to_be_visible()
        expect(page.get_by_role("row", name="oolong-1")).to_contain_text("Ready")
        ask(service, model="oolong")
        log = page.get_by_role("log", name="Log")
        expect(log).to_contain_text("ready")

        page.get_by_role("button", name="Scale").click()
        page.get_by_role("button", name="One more").click()
        page.get_by_role("dialog").get_by_role("button", name="Scale").click()
        expect(page.get_by_role("row", name="oolong-2")).to_contain_text("Ready")
        assert len(service.get("/admin/deployments/oolong", key=service.key).json()["replicas"]) == 2

        page.get_by_role("button", name="Delete").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
        dialog.get_by_label("Type “oolong” to confirm").fill("oolong")
        dialog.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("heading", name="Deployments", exact=True)).to_be_visible()
        expect(page.get_by_role("rowheader", name="oolong")).to_have_count(0)
    assert service.get("/admin/deployments/oolong", key=service.key).status == 404


def test_the_buttons_of_a_budget_are_in_sight(service: Service, pages: Pages) -> None:
    """On a desk the table of budgets is as wide as its page, with long names, amounts and several rates in it."""
    subject = {"scope": "project_deployment", "id": "proj_0123456789abcdef01234567/oolong"}
    money = {"scope": "end_user", "id": "a.long.name@department.example.org", "budget_per_month": "25000"}
    rates = {"requests_per_minute": 600, "tokens_per_minute": 1000000}
    for limit in ({**subject, **rates}, {**money, "budget_per_day": "1000"}):
        assert service.request("PUT", "/admin/limits", limit, key=service.key).status == 200
    with pages.person(service, OWNER) as page:
        page.goto("/console/budgets")
        table = page.get_by_role("region", name="Budgets and limits")
        expect(table.get_by_text("Tokens per minute")).to_be_visible()
        assert table.evaluate("each => each.scrollWidth - each.clientWidth") == 0
    for limit in (subject, money):
        path = f"/admin/limits/{limit['scope']}/{limit['id']}"
        assert service.request("DELETE", path, key=service.key).status == 200


def test_a_budget_is_set_changed_and_removed(service: Service, pages: Pages) -> None:
    """What is no amount is told at its field; a budget shows how much of it is used, and holds."""
    with pages.person(service, OWNER) as page:
        page.goto("/console/budgets")
        page.get_by_role("button", name="New budget").first.click()
        form = page.get_by_role("dialog")
        month = form.get_by_role("textbox", name="Money per month")
        month.fill("much")
        form.get_by_role("button", name="Save").click()
        expect(month).to_have_attribute("aria-invalid", "true")
        month.fill("0")
        form.get_by_role("button", name="Save").click()
        row = page.get_by_role("row", name="Default project")
        expect(row).to_contain_text("of $0.00")
        assert service.request("POST", "/v1/chat/completions", _hello(), key=service.key).status == 429

        row.get_by_role("button", name="Change").click()
        month.fill("50")
        form.get_by_role("button", name="Save").click()
        expect(row).to_contain_text("of $50.00")
        assert service.request("POST", "/v1/chat/completions", _hello(), key=service.key).status == 200

        row.get_by_role("button", name="Delete").click()
        form.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("heading", name="Nothing is limited yet")).to_be_visible()


def _hello() -> dict[str, object]:
    return {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}


def test_a_receipt_is_found_and_read(service: Service, pages: Pages) -> None:
    """By a request's id its receipt is found, with the API's figures and its place in the journal."""
    request_id = ask(service, "find me again")
    told = service.get(f"/v1/receipts/{request_id}", key=service.key).json()["receipt"]
    with pages.person(service, OWNER) as page:
        page.goto("/console/receipts")
        expect(page.get_by_role("cell", name="chat").first).to_be_visible()
        page.get_by_placeholder("req_…").fill(request_id)
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
        main = page.get_by_role("main")
        expect(main).to_contain_text(told["prompt_digest"])
        expect(main).to_contain_text(str(told["prompt_tokens"]))
        expect(main).to_contain_text("Record in the journal")
        page.goto("/console/receipts/req_nothing")
        expect(page.get_by_role("heading", name="There is no such receipt")).to_be_visible()


def test_usage_is_what_the_api_tells(service: Service, pages: Pages) -> None:
    """The figures, the table and the file of usage have the numbers of the API; the reconciliation agrees."""
    ask(service, "for the bill")
    eventually(lambda: service.get("/admin/usage/projection", key=service.key).json()["lag"] == 0, "all is counted")
    told = service.get("/admin/usage?by=deployment", key=service.key).json()
    with pages.person(service, OWNER) as page:
        page.goto("/console/usage")
        for line in told["data"]:
            name = line["key"] or "Not named"
            row = page.get_by_role("region", name="Usage by Deployment").get_by_role("row", name=name)
            expect(row.get_by_role("cell").nth(0)).to_have_text(f"{line['requests']:,}")
            expect(row.get_by_role("cell").nth(1)).to_have_text(f"{line['prompt_tokens']:,}")
            expect(row.get_by_role("cell").nth(3)).to_have_text(f"{line['completion_tokens']:,}")
        with page.expect_download() as download:
            page.get_by_role("link", name="Export as CSV").click()
        rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
        assert {row["key"]: int(row["requests"]) for row in rows} == {
            line["key"] or "": line["requests"] for line in told["data"]
        }
        page.get_by_role("button", name="Compare now").click()
        expect(page.get_by_text("Everything agrees")).to_be_visible()
        page.get_by_label("By", exact=True).select_option("outcome")
        expect(page.get_by_role("region", name="Usage by Outcome").get_by_role("row", name="Finished")).to_be_visible()


def test_a_batch_is_watched_paused_and_cancelled(service: Service, pages: Pages) -> None:
    """A job's progress grows by itself; it is paused, goes on, and is cancelled after a question."""
    slow = {"name": "slow", "model": "echo", "engine": "echo", "options": {"delay_s": 0.25}}
    assert service.post("/admin/deployments", slow).status == 201
    batch = send_batch(service, 1000, "slow", "one two three four")
    with pages.person(service, OWNER) as page:
        page.goto("/console/jobs")
        row = page.get_by_role("row").filter(has_text=batch)
        expect(row).to_contain_text("Running")
        row.get_by_role("link", name="Batch").click()
        progress = page.get_by_role("progressbar", name=f"Progress of {batch}")
        expect(progress).not_to_have_attribute("value", "0")
        main = page.get_by_role("main")
        page.get_by_role("button", name="Pause").click()
        expect(main.get_by_text("Paused", exact=True)).to_be_visible()
        page.get_by_role("button", name="Resume").click()
        expect(main.get_by_text("Running", exact=True)).to_be_visible()
        page.get_by_role("button", name="Cancel the job").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
        expect(main.get_by_text("Cancelled", exact=True)).to_be_visible()
        expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    assert service.get(f"/v1/batches/{batch}", key=service.key).json()["status"] == "cancelled"
    service.request("DELETE", "/admin/deployments/slow", key=service.key)


def test_who_may_less_sees_less(service: Service, pages: Pages) -> None:
    """A reader of usage sees the pages of usage and no button that changes; what is not theirs says so."""
    make_person(service, "rita@example.org", "usage_reader", "Rita")
    with pages.person(service, "rita@example.org") as page:
        page.goto("/console")
        links = page.get_by_role("navigation", name="Console").get_by_role("link")
        expect(page.get_by_role("link", name="Usage")).to_be_visible()
        assert "Deployments" not in links.all_inner_texts()
        assert {"Overview", "Usage", "Budgets and limits"} <= set(links.all_inner_texts())
        page.get_by_role("link", name="Budgets and limits").click()
        expect(page.get_by_role("heading", name="Nothing is limited yet")).to_be_visible()
        expect(page.get_by_role("button", name="New budget")).to_have_count(0)
        page.goto("/console/deployments")
        expect(page.get_by_role("heading", name="This page is not for your role")).to_be_visible()
