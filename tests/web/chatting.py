"""What tests of the chat share: its server, and the steps that people take on its page."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.service import Service
from tests.web.browser import Pages, open_browser

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
options = { delay_s = 0.1 }

[[deployment]]
name = "paint"
engine = "echo"
model = "echo"
task = "images"
aliases = ["dall-e-2"]
"""


@contextmanager
def chat_server(home: Path, config: str = CONFIG) -> Iterator[tuple[Service, Pages]]:
    """A server that says back what it is told, and a browser."""
    with Service(home, config) as service, open_browser() as pages:
        yield service, pages


def box(page: Page) -> Locator:
    """Where one writes."""
    return page.get_by_role("textbox", name="Message", exact=True)


def begin(page: Page, model: str = "echo") -> None:
    """Open a new chat with a model."""
    page.goto("/")
    choose_model(page, model)


def choose_model(page: Page, model: str) -> None:
    """Choose who answers."""
    page.get_by_role("button", name="Model", exact=False).first.click()
    page.get_by_role("menuitemradio", name=model).click()


def tell(page: Page, text: str) -> None:
    """Write a message and send it with the Enter key."""
    box(page).fill(text)
    box(page).press("Enter")


def answers(page: Page) -> Locator:
    """What was answered, one element for each answer."""
    return page.get_by_role("article").filter(has=page.get_by_role("heading", name="Answer", exact=True))


def done(page: Page, count: int = 1) -> Locator:
    """Wait for so many whole answers; the last one."""
    last = answers(page).nth(count - 1)
    last.get_by_role("button", name="Answer again").wait_for()
    return last


def ask(page: Page, text: str, count: int = 1) -> Locator:
    """Say something and wait for the answer, which is the so-manieth."""
    tell(page, text)
    return done(page, count)


def entries(page: Page) -> Locator:
    """The conversations in the list."""
    return page.get_by_role("complementary").get_by_role("listitem").filter(has=page.locator("a[href^='/chat/']"))


def act(page: Page, action: str) -> None:
    """Do something with the conversation that is open, by its menu."""
    page.get_by_role("button", name="Actions for this chat").click()
    page.get_by_role("menuitem", name=action, exact=True).click()


def call(page: Page, method: str, path: str, body: Any = None) -> Any:
    """Call the API as the person whose page it is."""
    return page.evaluate(
        """async ([method, path, body]) => {
            const headers = body === null ? {} : {'content-type': 'application/json'};
            const answer = await fetch(path, {method, headers, body: body === null ? undefined : JSON.stringify(body)});
            return await answer.json();
        }""",
        [method, path, body],
    )


def in_list(page: Page, title: str) -> None:
    """Wait for a conversation in the list."""
    expect(entries(page).filter(has_text=title)).to_have_count(1)
