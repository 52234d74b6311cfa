"""The playground with the starter chat model: what it found likely, and JSON that meets a schema."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import StarterModels
from tests.service import Service
from tests.web.browser import make_person, open_browser

pytestmark = pytest.mark.slow

EMAIL = "dev@example.org"
CONFIG = """
[server]
starter = false

[[deployment]]
name = "chat"
model = "smollm2-135m-instruct"
"""


@pytest.fixture(scope="module")
def page(starter_models: StarterModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The playground of a server with the starter chat model."""
    home = starter_models.lay(tmp_path_factory.mktemp("model") / "home")
    with Service(home, CONFIG) as service, open_browser() as browser:
        make_person(service, EMAIL)
        with browser.person(service, EMAIL) as opened:
            opened.goto("/playground")
            yield opened


def run(page: Page) -> None:
    """Send the request, and wait until nothing runs any more."""
    page.get_by_role("button", name="Run").click()
    page.get_by_role("button", name="Run").wait_for()


def test_the_probabilities_are_the_models(page: Page) -> None:
    """The heat map has the answer's tokens, and for each the likeliest ones, with shares that are shares."""
    page.get_by_role("textbox", name="Message 1").fill("What is the capital of France?")
    page.get_by_role("tab", name="Parameters").click()
    for name, value in (("temperature", "0"), ("top_logprobs", "3"), ("max_completion_tokens", "24"), ("seed", "1")):
        page.get_by_label(name, exact=True).fill(value)
    page.get_by_label("logprobs", exact=True).select_option("true")
    run(page)
    answer = page.get_by_role("tabpanel", name="Answer of chat")
    page.get_by_role("button", name="Go on from here").wait_for()
    said = answer.locator("p").first.text_content() or ""
    assert said
    page.get_by_role("tab", name="Probabilities").click()
    tokens = answer.get_by_role("toolbar").get_by_role("button")
    shown = "".join(tokens.all_text_contents()).replace("\u00a0", " ").replace("↵", "\n")
    assert shown.strip() == said.strip()
    alternatives = answer.get_by_role("list", name="Likeliest here").get_by_role("listitem")
    for place in range(3):
        tokens.nth(place).click()
        expect(alternatives).to_have_count(3)
        name = tokens.nth(place).get_attribute("aria-label") or ""
        token, _, share = name.rpartition(" ")
        # At temperature 0 the likeliest token is the one that is taken.
        expect(alternatives.first).to_contain_text(token.strip())
        expect(alternatives.first).to_contain_text(share)


def test_the_answer_meets_the_schema(page: Page) -> None:
    """Under a schema the model's answer is JSON that meets it, drawn as a tree."""
    page.get_by_role("tab", name="Messages").click()
    page.get_by_role("textbox", name="Message 1").fill("The soup was cold and the waiter was rude.")
    page.get_by_role("tab", name="Parameters").click()
    page.get_by_label("max_completion_tokens", exact=True).fill("120")
    page.get_by_role("tab", name="Format").click()
    page.get_by_label("response_format").select_option("json_schema")
    page.get_by_label("Template").select_option("A label with a reason")
    run(page)
    page.get_by_role("tab", name="JSON", exact=True).click()
    answer = page.get_by_role("tabpanel", name="Answer of chat")
    expect(answer).to_contain_text("It meets the schema")
    expect(answer).to_contain_text("label")
