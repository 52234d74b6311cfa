"""The first minutes of somebody who has never seen Freehold, as `docs/tutorial/use-the-product.md` tells them.

The pictures of the tutorial are taken here: `make pictures` puts them in their place.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI, RateLimitError
from playwright.sync_api import Page, expect

from tests.conftest import StarterModels
from tests.service import Service
from tests.web.browser import DESKTOP, PASSWORD, Pages, open_browser, shoot

pytestmark = pytest.mark.slow

QUESTION = "Write one sentence about the sea."


@pytest.fixture(scope="module")
def service(starter_models: StarterModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server as `make serve` starts it for the first time."""
    home = starter_models.lay(tmp_path_factory.mktemp("first") / "home")
    with Service(home, "") as running:
        yield running


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    """A browser."""
    with open_browser() as browser:
        yield browser


def test_the_first_minutes(service: Service, pages: Pages) -> None:
    """From the link of the first start to an answer, from there to a picture, and to a key whose budget holds."""
    found = re.search(r"Begin\s+(\S+)", service.log())
    assert found is not None, service.log()
    with pages.anybody(service, size=DESKTOP) as page:
        page.goto(found[1])
        page.get_by_label("Your name").fill("Ann Weaver")
        page.get_by_label("Your e-mail").fill("ann@example.org")
        page.get_by_label("Choose a password").fill(PASSWORD)
        shoot(page, "tutorial-1-begin")
        page.get_by_role("button", name="Set the password and sign in").click()

        _ask(page)
        _paint(page)
        key = _make_key(page)

    priced = {"name": "dear", "engine": "echo", "model": "echo", "price": {"output": "1000"}}
    assert service.post("/admin/deployments", priced).status == 201
    with OpenAI(base_url=f"{service.url}/v1", api_key=key, max_retries=0) as client:
        ask = client.chat.completions.create
        made = ask(model="chat", messages=[{"role": "user", "content": "Hello"}], max_tokens=8)
        assert made.choices[0].message.content
        with pytest.raises(RateLimitError):
            ask(model="dear", messages=[{"role": "user", "content": "Hello"}], max_tokens=100)


def _ask(page: Page) -> None:
    expect(page.get_by_role("heading", name="Ann")).to_be_visible()
    shoot(page, "tutorial-2-welcome")
    page.get_by_role("textbox", name="Message").fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    assert len(page.get_by_role("article").last.inner_text()) > len("Answer")
    shoot(page, "tutorial-3-answer")


def _paint(page: Page) -> None:
    page.get_by_role("link", name="Studio").click()
    page.get_by_role("button", name="a cat on a red background").click()
    page.get_by_role("button", name="Paint", exact=True).click()
    picture = page.get_by_role("region", name="Pictures").get_by_role("img").first
    expect(picture).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_count(0)
    shoot(page, "tutorial-4-picture")


def _make_key(page: Page) -> str:
    """Make a key with a budget, by the console; the key."""
    page.get_by_role("link", name="Console").click()
    page.get_by_role("link", name="Keys").click()
    page.get_by_role("button", name="New key").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("my-app")
    dialog.get_by_label("Budget").fill("0.01")
    shoot(page, "tutorial-5-new-key")
    dialog.get_by_role("button", name="Make the key").click()
    key = dialog.get_by_text(re.compile(r"^fh-")).first
    expect(key).to_be_visible()
    shoot(page, "tutorial-6-key")
    return key.inner_text().strip()


def test_the_tutorial_shows_what_is_there() -> None:
    """Every picture that the tutorial shows is in the repository, and is one that is taken here."""
    folder = Path(__file__).parents[2] / "docs" / "tutorial"
    shown = re.findall(r"\]\((pictures/tutorial-[^)]+)\)", (folder / "use-the-product.md").read_text(encoding="utf-8"))
    taken = re.findall(r'"(tutorial-\d-[a-z-]+)"', Path(__file__).read_text(encoding="utf-8"))
    assert shown
    assert {Path(each).stem for each in shown} <= set(taken)
    assert all((folder / each).is_file() for each in shown)
