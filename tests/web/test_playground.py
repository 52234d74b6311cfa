"""The playground: requests with any parameter, answers in every view, two deployments side by side."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.service import Service, eventually
from tests.web.browser import PHONE, Pages, make_person, open_browser

pytestmark = pytest.mark.slow

EMAIL = "dev@example.org"
CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
price = { input = "1000", output = "2000" }

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
[deployment.options]
delay_s = 0.5

[[deployment]]
name = "plain"
engine = "echo"
model = "echo"
[deployment.options]
without = ["logprobs", "tools"]
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with three deployments."""
    with Service(tmp_path_factory.mktemp("playground"), CONFIG) as running:
        make_person(running, EMAIL, name="Dev")
        yield running


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    """A browser."""
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def window(service: Service, pages: Pages) -> Iterator[Page]:
    """A browser window in which somebody is signed in."""
    with pages.person(service, EMAIL) as opened:
        yield opened


@pytest.fixture
def page(window: Page) -> Page:
    """The playground, empty."""
    window.goto("/account")
    window.evaluate("localStorage.clear()")
    window.goto("/playground")
    window.get_by_role("textbox", name="Message 1").wait_for()
    return window


def run(page: Page) -> None:
    """Send the request, and wait until nothing runs any more."""
    page.get_by_role("button", name="Run").click()
    page.get_by_role("button", name="Run").wait_for()


def part(page: Page, name: str) -> None:
    """Open a part of the request, or a view of the answer."""
    page.get_by_role("tab", name=name).first.click()


def set_parameter(page: Page, name: str, value: str) -> None:
    """Type or choose a parameter's value."""
    field = page.get_by_label(name, exact=True)
    if field.evaluate("each => each.tagName") == "SELECT":
        field.select_option(value)
    else:
        field.fill(value)


def figure(page: Page, name: str) -> str:
    """What a figure below the answer says."""
    return page.locator("dl div").filter(has=page.get_by_text(name, exact=True)).locator("dd").first.inner_text()


def test_a_request_is_answered_and_gone_on_with(page: Page) -> None:
    """The answer streams in, its figures and its receipt are there, and it becomes part of the conversation."""
    page.get_by_role("textbox", name="Message 1").fill("Hello there, world")
    page.keyboard.press("Control+Enter")
    answer = page.get_by_role("tabpanel", name="Answer of echo")
    expect(answer).to_contain_text("Hello there, world")
    expect(page.get_by_role("button", name="Go on from here")).to_be_visible()
    expect(page.locator("dl")).to_contain_text("$0.009")
    assert (figure(page, "In / out"), figure(page, "Ended by")) == ("3 / 3", "stop")
    assert figure(page, "First token").endswith("ms") or figure(page, "First token").endswith("sec")
    part(page, "Raw")
    expect(answer).to_contain_text("POST /v1/chat/completions")
    expect(answer).to_contain_text("x-request-id")
    expect(answer.get_by_role("link", name="Open the receipt")).to_have_attribute("href", receipt_of(page))

    part(page, "Answer")
    page.get_by_role("button", name="Go on from here").click()
    expect(page.get_by_role("textbox", name="Message 2")).to_have_value("Hello there, world")
    page.get_by_role("textbox", name="Message 3").fill("And again")
    page.get_by_role("button", name="Move Message 3 up").click()
    expect(page.get_by_role("textbox", name="Message 2")).to_have_value("And again")
    expect(page.get_by_role("button", name="Move Message 2 up")).to_be_focused()
    page.get_by_role("button", name="Delete Message 3").click()
    page.get_by_role("combobox", name="Role of Message 1").select_option("system")
    run(page)
    expect(answer).to_contain_text("And again")


def receipt_of(page: Page) -> str:
    """The path of the receipt whose id the headers tell."""
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="x-request-id"))
    return f"/console/receipts/{row.get_by_role('cell').inner_text()}"


def test_parameters_are_checked_as_they_are_typed(page: Page) -> None:
    """What is wrong is said beside it and is not sent; what a deployment cannot do is told by the server too."""
    page.get_by_role("textbox", name="Message 1").fill("one two three four")
    part(page, "Parameters")
    set_parameter(page, "temperature", "3")
    expect(page.get_by_text("From 0 to 2.")).to_be_visible()
    expect(page.get_by_role("tab", name="Parameters (!)")).to_be_visible()
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("Not sent: temperature has to be corrected first.")).to_be_visible()
    set_parameter(page, "temperature", "0.5")
    set_parameter(page, "n", "2")
    set_parameter(page, "stop", "three")
    page.get_by_role("searchbox").fill("bias")
    set_parameter(page, "logit_bias", '{"5": "x"}')
    expect(page.get_by_text("Token ids with numbers from -100 to 100")).to_be_visible()
    set_parameter(page, "logit_bias", '{"5": -100}')
    run(page)
    answer = page.get_by_role("tabpanel", name="Answer of echo")
    expect(answer.get_by_role("heading", name="Choice 2")).to_be_visible()
    expect(answer).not_to_contain_text("three")

    page.get_by_label("Deployment", exact=True).select_option("plain")
    page.get_by_role("searchbox").fill("logprobs")
    set_parameter(page, "logprobs", "true")
    run(page)
    expect(page.get_by_role("alert")).to_contain_text("'logprobs' is not supported with the model 'plain'")
    expect(page.get_by_role("alert")).to_contain_text("req_")


def test_probabilities_are_shown_by_token(page: Page) -> None:
    """Tokens are gone through with the arrow keys, each with its alternatives; a table says the same."""
    page.get_by_role("textbox", name="Message 1").fill("red green blue")
    part(page, "Parameters")
    set_parameter(page, "logprobs", "true")
    set_parameter(page, "top_logprobs", "3")
    run(page)
    part(page, "Probabilities")
    tokens = page.get_by_role("toolbar", name="3 tokens and how likely they were").get_by_role("button")
    expect(tokens).to_have_count(3)
    tokens.first.focus()
    page.keyboard.press("ArrowRight")
    expect(tokens.nth(1)).to_be_focused()
    expect(tokens.nth(1)).to_have_accessible_name("␣green 81.7%")
    alternatives = page.get_by_role("list", name="Likeliest here").get_by_role("listitem")
    expect(alternatives).to_have_count(3)
    expect(alternatives.first).to_contain_text("81.7%")
    page.get_by_text("As a table").click()
    expect(page.get_by_role("row").filter(has_text="␣green")).to_contain_text("␣other1")


def test_a_schema_is_written_and_met(page: Page) -> None:
    """A template is changed in the editor; mistakes are told; the answer is shown as a tree that meets it."""
    page.get_by_role("textbox", name="Message 1").fill("Judge this")
    part(page, "Format")
    page.get_by_label("response_format").select_option("json_schema")
    expect(page.get_by_text("Write a schema, or begin with a template.")).to_be_visible()
    page.get_by_label("Template").select_option("A label with a reason")
    editor = page.get_by_role("textbox", name="JSON schema")
    expect(editor).to_contain_text("neutral")
    editor.click()
    page.keyboard.press("Control+End")
    page.keyboard.type(",")
    expect(page.get_by_text("This is not JSON.")).to_be_visible()
    page.keyboard.press("Backspace")
    run(page)
    part(page, "JSON")
    answer = page.get_by_role("tabpanel", name="Answer of echo")
    expect(answer).to_contain_text("It meets the schema")
    expect(answer).to_contain_text('"positive"')


def test_calls_of_tools_are_answered_by_hand(page: Page) -> None:
    """The model asks for a call, gets what is typed, and goes on; likewise for responses."""
    for endpoint in ("chat", "responses"):
        page.get_by_label("Operation").select_option(endpoint)
        page.get_by_role("tab", name="Messages").click()
        page.get_by_role("textbox", name="Message 1").fill("Please get_weather in Berlin")
        page.get_by_role("tab", name="Tools").click()
        if endpoint == "chat":
            page.get_by_role("button", name="Add a function").click()
        run(page)
        answer = page.get_by_role("tabpanel", name="Answer of echo")
        expect(answer).to_contain_text('"city"')
        answer.get_by_label("What get_weather gives").fill("Rain, 9 degrees")
        answer.get_by_role("button", name="Send the results and go on").click()
        expect(answer.get_by_text("Rain, 9 degrees")).to_be_visible()
        page.get_by_role("tab", name="Messages").click()
        expect(page.get_by_role("textbox", name="Message 3")).to_have_value("Rain, 9 degrees")
        page.get_by_role("button", name="Delete Message 3").click()
        page.get_by_role("button", name="Delete Message 2").click()


def place_of(view: Locator) -> int:
    """How far an answer is scrolled, in percent."""
    found: float = view.evaluate("view => 100 * view.scrollTop / (view.scrollHeight - view.clientHeight)")
    return round(found)


def test_two_deployments_are_compared(page: Page) -> None:
    """Both get the same request; the slow one is stopped, and what it had said stays."""
    page.get_by_role("textbox", name="Message 1").fill("one two three four five six seven eight " * 8)
    page.get_by_label("Compare").check()
    page.get_by_label("Second deployment").select_option("slow")
    page.get_by_role("button", name="Run").click()
    fast, slow = (page.get_by_role("region", name=f"Answer of {name}") for name in ("echo", "slow"))
    expect(fast.get_by_role("button", name="Go on from here")).to_be_visible()
    expect(slow).to_contain_text("one two")
    slow.get_by_role("button", name="Stop").click()
    expect(slow).to_contain_text("Stopped. What came before is above.")
    expect(slow).to_contain_text("one two")
    expect(fast).to_contain_text("65 / 65")
    page.get_by_role("button", name="Run").wait_for()

    page.get_by_label("Second deployment").select_option("plain")
    page.get_by_role("textbox", name="Message 1").fill("word " * 2000)
    run(page)
    views = [page.get_by_role("tabpanel", name=f"Answer of {name}") for name in ("echo", "plain")]
    for view in views:
        expect(view).to_contain_text("word word")
        expect(view.get_by_role("button", name="Go on from here")).to_be_visible()
    for place in ("view.scrollHeight / 3", "0"):  # an answer that comes at once stays at its top, so it is moved first
        views[1].evaluate(f"view => {{ view.scrollTop = {place}; }}")
        eventually(lambda: place_of(views[0]) == place_of(views[1]), "the first answer follows")
    assert place_of(views[0]) == 0
    views[0].evaluate("view => { view.scrollTop = view.scrollHeight; }")
    eventually(lambda: views[1].evaluate("view => view.scrollTop") > 0, "the second answer follows down")
    assert views[1].get_by_role("button", name="Go on from here").is_visible()


def test_requests_are_kept_linked_and_carried_over(page: Page) -> None:
    """A draft is there after a reload; presets, links and files bring a request back as it was."""
    page.get_by_role("textbox", name="Message 1").fill("Keep “this” — ünd 日本")
    part(page, "Parameters")
    set_parameter(page, "seed", "41")
    with page.expect_download() as download:
        more(page, "Export as JSON")
    exported = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert exported["body"]["messages"] == [{"role": "user", "content": "Keep “this” — ünd 日本"}]
    assert exported["body"]["seed"] == 41

    more(page, "Presets")
    page.get_by_label("Name for this request").fill("mine")
    page.get_by_role("button", name="Keep as a preset").click()
    page.keyboard.press("Escape")
    more(page, "Copy a link to this request")
    expect(page).to_have_url(re.compile("/playground#r="))
    link = page.url

    more(page, "Start over")
    expect(page.get_by_label("seed", exact=True)).to_have_value("")
    kept = "localStorage['freehold.playground.draft']"
    eventually(lambda: "ünd" not in page.evaluate(kept), "the empty request is kept")
    page.evaluate("history.replaceState(null, '', '/playground')")
    page.reload()
    expect(page.get_by_role("textbox", name="Message 1")).to_have_value("")
    page.goto(link)
    expect(page.get_by_role("textbox", name="Message 1")).to_have_value("Keep “this” — ünd 日本")

    page.get_by_role("textbox", name="Message 1").fill("Something else")
    more(page, "Presets")
    page.get_by_role("list", name="Presets").get_by_role("button", name="mine").first.click()
    expect(page.get_by_role("textbox", name="Message 1")).to_have_value("Keep “this” — ünd 日本")

    exported["body"]["messages"][0]["content"] = "From a file"
    page.get_by_label("Import JSON").set_input_files(files=[file_of(json.dumps(exported).encode())])
    expect(page.get_by_role("textbox", name="Message 1")).to_have_value("From a file")
    page.get_by_label("Import JSON").set_input_files(files=[file_of(b"[1")])
    expect(page.get_by_text("r.json is not a request as JSON. Nothing was changed.")).to_be_visible()
    expect(page.get_by_role("textbox", name="Message 1")).to_have_value("From a file")


def file_of(data: bytes) -> FilePayload:
    """A file to be imported."""
    return {"name": "r.json", "mimeType": "application/json", "buffer": data}


def more(page: Page, name: str) -> None:
    """Choose something of the menu."""
    page.get_by_role("button", name="More", exact=True).click()
    page.get_by_role("menuitem", name=name).click()


def test_a_phone_shows_one_side_at_a_time(service: Service, pages: Pages) -> None:
    """Running leads to the answer, and a tab back to the request; in a comparison each answer has a tab."""
    with pages.person(service, EMAIL, size=PHONE) as page:
        page.goto("/playground")
        page.get_by_role("textbox", name="Message 1").fill("Small")
        page.get_by_label("Compare").check()
        page.get_by_label("Second deployment").select_option("plain")
        run(page)
        expect(page.get_by_role("textbox", name="Message 1")).to_be_hidden()
        expect(page.get_by_role("region", name="Answer of echo")).to_contain_text("Small")
        expect(page.get_by_role("region", name="Answer of plain")).to_be_hidden()
        page.get_by_role("tab", name="plain").click()
        expect(page.get_by_role("region", name="Answer of plain")).to_contain_text("Small")
        page.get_by_role("tab", name="Request").click()
        expect(page.get_by_role("textbox", name="Message 1")).to_be_visible()
