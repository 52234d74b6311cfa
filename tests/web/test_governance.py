"""What people do on the pages of access and record: keys, people, filters, suspensions, the audit log, retention."""

import json
import re
from collections.abc import Iterator

import openai
import pytest
from playwright.sync_api import Page, expect

from tests.service import Service
from tests.web.browser import PASSWORD, Pages, make_person, open_browser
from tests.web.governed import OWNER, ask, call, governed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with a past."""
    with governed(tmp_path_factory.mktemp("governance") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    """A browser."""
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(service: Service, pages: Pages) -> Iterator[Page]:
    """The owner's window."""
    with pages.person(service, OWNER) as opened:
        yield opened


def new_key(page: Page, name: str, budget: str = "") -> str:
    """A key that is made on the page."""
    page.goto("/console/keys")
    page.get_by_role("button", name="New key").first.click()
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("textbox", name="Budget").fill(budget)
    page.get_by_role("button", name="Make the key").click()
    return shown_key(page)


def shown_key(page: Page) -> str:
    """The key that is shown this once; the dialog is closed."""
    expect(page.get_by_role("heading", name="Copy the key now")).to_be_visible()
    value = page.get_by_label("The key", exact=True).inner_text()
    page.get_by_role("button", name="Done").click()
    return value


def act(page: Page, name: str, action: str) -> None:
    """Choose an action from the menu of a row."""
    page.get_by_role("button", name=f"Actions for {name}", exact=True).click()
    page.get_by_role("menuitem", name=action).click()


def spend(client: openai.OpenAI, served: list[str]) -> None:
    """Call until it is refused; what was answered until then is added to `served`."""
    for _ in range(100):
        answer = client.chat.completions.create(
            model="assistant", messages=[{"role": "user", "content": "Hello there"}], max_tokens=20
        )
        served.append(answer.id)


def test_a_key_with_a_budget_is_made_and_stops_when_it_is_spent(service: Service, page: Page) -> None:
    """The key works with the official client until its budget is spent, and the list says so."""
    value = new_key(page, "web shop", "9")
    served: list[str] = []
    with (
        openai.OpenAI(base_url=f"{service.url}/v1", api_key=value, max_retries=0) as client,
        pytest.raises(openai.RateLimitError) as refused,
    ):
        spend(client, served)
    assert served
    assert refused.value.code == "insufficient_quota"
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="web shop"))
    page.reload()
    expect(row.get_by_text("/ $9.00")).to_be_visible()
    act(page, "web shop", "Set the budget")
    page.get_by_label("a month").fill("lots")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Give an amount such as 10 or 2.50.")).to_be_visible()
    page.get_by_label("a month").fill("90")
    page.get_by_role("button", name="Save").click()
    expect(row.get_by_text("/ $90.00")).to_be_visible()
    assert ask(service, value, "Hello again").status == 200


def test_what_is_wrong_with_a_key_is_said_at_its_field(page: Page) -> None:
    """A network that is none is told where it was typed, and nothing that was typed is lost."""
    page.goto("/console/keys")
    page.get_by_role("button", name="New key").first.click()
    page.get_by_role("textbox", name="Name").fill("from home")
    page.get_by_text("Restrict models and networks").click()
    page.get_by_role("textbox", name="Networks").fill("10.0.0.0/99")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_role("textbox", name="Networks")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("textbox", name="Name")).to_have_value("from home")
    page.get_by_role("textbox", name="Networks").fill("127.0.0.0/8")
    page.get_by_role("button", name="Make the key").click()
    assert shown_key(page).startswith("fh-")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="from home"))
    expect(row.get_by_text("From: 127.0.0.0/8")).to_be_visible()


def test_a_key_is_rotated_and_revoked(service: Service, page: Page) -> None:
    """The successor works and the old key ends; revoked, the successor ends too."""
    old = new_key(page, "turning")
    act(page, "turning", "Rotate")
    page.get_by_label("The old key goes on for").select_option(index=0)
    page.get_by_role("button", name="Rotate").click()
    fresh = shown_key(page)
    assert (ask(service, old, "Hello").status, ask(service, fresh, "Hello").status) == (401, 200)
    page.reload()
    page.get_by_role("button", name="Actions for turning", exact=True).last.click()
    page.get_by_role("menuitem", name="Revoke").click()
    page.get_by_role("button", name="Revoke", exact=True).click()
    expect(page.get_by_text("The key turning is revoked.")).to_be_visible()
    assert ask(service, fresh, "Hello").status == 401


def test_an_invited_person_comes_in_by_the_link(service: Service, page: Page) -> None:
    """The link that is shown leads to a form; who fills it in is signed in, and stands among the people."""
    page.goto("/console/people/invitations")
    page.get_by_role("button", name="Invite somebody").click()
    page.get_by_role("textbox", name="E-mail").fill("finn@example.org")
    page.get_by_role("checkbox", name="Claims").check()
    page.get_by_role("button", name="Make the link").click()
    link = page.get_by_label("The link", exact=True).inner_text()
    page.get_by_role("button", name="Done").click()
    browser = page.context.browser
    assert browser is not None
    with browser.new_context(base_url=service.url, locale="en-US") as window:
        theirs = window.new_page()
        theirs.goto(link)
        theirs.get_by_label("Your name").fill("Finn Mertens")
        theirs.get_by_label("Choose a password").fill(PASSWORD)
        theirs.get_by_role("button", name="Accept and sign in").click()
        theirs.goto("/console/keys")
        expect(theirs.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
    page.goto("/console/people")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="Finn Mertens"))
    expect(row.get_by_text("Claims")).to_be_visible()
    act(page, "Finn Mertens", "Disable")
    page.get_by_role("button", name="Disable", exact=True).click()
    expect(row.get_by_text("Disabled")).to_be_visible()


def test_a_policy_is_tried_before_it_is_saved(service: Service, page: Page) -> None:
    """A stricter rule blocks a text in the trial, and callers only once it is saved."""
    text = "I hate you all"
    assert ask(service, service.key, text).status == 200
    page.goto("/console/filters/default")
    page.get_by_role("textbox", name="Text").fill(text)
    trial = page.get_by_role("region", name="Try it")
    trial.get_by_role("button", name="Try", exact=True).click()
    expect(trial.get_by_text("Passes")).to_be_visible()
    page.get_by_role("group", name="Hate, Prompts").get_by_label("Low").check()
    trial.get_by_role("button", name="Try", exact=True).click()
    expect(trial.get_by_text("Blocked")).to_be_visible()
    assert ask(service, service.key, text).status == 200
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("default is saved")).to_be_visible()
    assert ask(service, service.key, text).json()["error"]["code"] == "content_filter"
    page.get_by_role("button", name="Restore the built-in policy").click()
    page.get_by_role("dialog").get_by_role("button", name="Restore the built-in policy").click()
    expect(page.get_by_text("The policy default is deleted.")).to_be_visible()
    assert ask(service, service.key, text).status == 200


def test_a_blocklist_holds_for_a_project(service: Service, page: Page) -> None:
    """A term of a project's list is blocked from then on, and found in the trial; taken off, it passes."""
    page.goto("/console/filters/~lists")
    page.get_by_role("button", name="New blocklist").click()
    page.get_by_role("textbox", name="Name").fill("codenames")
    page.get_by_label("Holds for").select_option(label="Default project")
    page.get_by_role("textbox", name="Items").fill("kingfisher\n/her[o0]n/")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", name="2 items")).to_be_visible()
    assert ask(service, service.key, "About kingfisher").status == 400
    page.goto("/console/filters/default")
    page.get_by_role("textbox", name="Text").fill("About kingfisher")
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.locator("mark")).to_contain_text("kingfisher")
    page.goto("/console/filters/~list-codenames")
    page.get_by_role("button", name="Remove kingfisher").click()
    expect(page.get_by_role("heading", name="1 item")).to_be_visible()
    assert ask(service, service.key, "About kingfisher").status == 200


def test_an_end_user_is_suspended_and_let_in_again(service: Service, page: Page) -> None:
    """A suspended end user's requests are refused until the suspension is lifted."""
    page.goto("/console/abuse/suspended")
    page.get_by_role("button", name="Suspend an end user").click()
    page.get_by_role("textbox", name="End user").fill("shop-user-17")
    page.get_by_role("textbox", name="Reason").fill("Tries stolen cards")
    page.get_by_role("button", name="Suspend", exact=True).click()
    row = page.get_by_role("row").filter(has_text="Tries stolen cards")
    expect(row).to_be_visible()
    assert ask(service, service.key, "Hello", user="shop-user-17").status == 403
    row.get_by_role("button", name="Lift").click()
    page.get_by_role("dialog").get_by_role("button", name="Lift").click()
    expect(row).to_be_hidden()
    assert ask(service, service.key, "Hello", user="shop-user-17").status == 200


def test_a_blocked_text_is_read_with_a_reason(service: Service, page: Page) -> None:
    """The text of a blocked request is not on the page before a reason is given, which the audit log has."""
    page.goto("/console/abuse/flagged")
    page.get_by_role("row").filter(has_text="drafts").get_by_role("button", name="Review").click()
    expect(page.get_by_text("destroy bluebird")).to_be_hidden()
    page.get_by_role("textbox", name="Reason").fill("A complaint of the shop")
    page.get_by_role("button", name="Show the text").click()
    expect(page.get_by_text("destroy bluebird")).to_be_visible()
    page.get_by_role("button", name="Done").click()
    page.goto("/console/audit")
    page.get_by_label("Event", exact=True).select_option("flagged.*")
    page.get_by_role("button", name="flagged.reviewed").click()
    expect(page.get_by_text("A complaint of the shop")).to_be_visible()
    (record,) = call(service, "GET", "/admin/audit?event=flagged.reviewed")["data"]
    assert record["details"]["reason"] == "A complaint of the shop"


def test_the_audit_log_has_it_all(service: Service, page: Page) -> None:
    """What was done stands in the log, can be found by who did it, and is told in full."""
    page.goto("/console/people/projects")
    page.get_by_role("button", name="New project").click()
    page.get_by_role("textbox", name="Name").fill("Audited")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("rowheader", name="Audited")).to_be_visible()
    found = call(service, "GET", "/admin/audit?event=project.created&limit=1")["data"][0]
    page.goto("/console/audit")
    page.get_by_label("Who").fill(OWNER)
    page.get_by_label("Event", exact=True).select_option("project.*")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("button", name="project.created").click()
    expect(page.get_by_role("dialog").get_by_text(found["after_sha256"])).to_be_visible()


def test_the_journal_is_verified(service: Service, page: Page) -> None:
    """The page says that it is intact once the server has verified it."""
    page.goto("/console/audit/integrity")
    page.get_by_role("button", name="Verify now").click()
    expect(page.get_by_text("Intact", exact=True)).to_be_visible()
    assert call(service, "GET", "/admin/journal/verification")["state"] == "intact"


def test_the_compliance_report_says_what_holds(service: Service, page: Page) -> None:
    """Each statement leads to its evidence, and the facts can be saved as they are."""
    page.goto("/console/compliance")
    statement = page.get_by_role("listitem").filter(has_text="API keys that never end")
    expect(statement.get_by_role("link", name="Evidence")).to_have_attribute("href", "/console/keys")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as JSON").click()
    facts = json.loads(saved.value.path().read_text(encoding="utf-8"))
    assert facts["access"] == call(service, "GET", "/admin/compliance")["access"]


def test_retention_is_changed_for_a_project(service: Service, page: Page) -> None:
    """A time that is no time is refused on the page; another one holds, and the server says so."""
    page.goto("/console/settings/retention")
    page.get_by_label("For", exact=True).select_option(label="Claims")
    expect(page.get_by_role("radio", name="As the organization")).to_be_checked()
    page.get_by_label("Conversations: days").fill("soon")
    expect(page.get_by_role("alert")).to_contain_text("Give days between")
    page.get_by_label("Conversations: days").fill("30")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_text(re.compile("^Saved; "))).to_be_visible()
    claims = next(
        each for each in call(service, "GET", "/v1/organization/projects")["data"] if each["name"] == "Claims"
    )
    kept = call(service, "GET", f"/v1/organization/projects/{claims['id']}/retention")
    assert kept["keep_s"] == {"conversations": 30 * 86_400}


def test_a_policy_is_refused_with_the_servers_reason(service: Service, page: Page) -> None:
    """A policy that rules nothing is refused with why, and what was written stays."""
    page.goto("/console/settings/policies")
    page.get_by_role("button", name="New policy").click()
    field = page.get_by_role("textbox", name="The policy as JSON")
    field.fill('{"name": "empty"}')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("give at least one of")
    expect(field).to_have_value('{"name": "empty"}')
    field.fill('{"name": "zones", "zones": ["eu"], "applies_to": {"projects": ["proj-other"]}}')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="zones")).to_be_visible()
    assert [each["name"] for each in call(service, "GET", "/admin/policies")["data"]] == ["modest", "zones"]


def test_who_may_less_sees_less(service: Service, pages: Pages) -> None:
    """A caller of models sees keys of their own and none of the rest; an auditor reads and changes nothing."""
    make_person(service, "lee@example.org", "user", "Lee")
    with pages.person(service, "lee@example.org") as page:
        page.goto("/console/keys")
        expect(page.get_by_role("heading", name="No keys in this project yet")).to_be_visible()
        for hidden in ("People and roles", "Content filters", "Audit log", "Compliance", "Settings"):
            expect(page.get_by_role("link", name=hidden)).to_be_hidden()
        page.get_by_role("button", name="New key").first.click()
        expect(page.get_by_role("textbox", name="Budget")).to_be_hidden()
        page.get_by_role("textbox", name="Name").fill("mine")
        page.get_by_role("button", name="Make the key").click()
        shown_key(page)
        expect(page.get_by_role("rowheader", name="mine")).to_be_visible()
        page.goto("/console/audit")
        expect(page.get_by_role("heading", name="This page is not for your role")).to_be_visible()
    with pages.person(service, "chidi@example.org") as page:
        page.goto("/console/audit")
        expect(page.get_by_role("rowheader", name="project.created").first).to_be_visible()
        page.goto("/console/settings/retention")
        expect(page.get_by_label("Conversations: days")).to_be_disabled()
        expect(page.get_by_role("button", name="Save")).to_be_hidden()
