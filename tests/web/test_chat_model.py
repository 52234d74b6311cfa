"""The chat with the starter models, as it is after the first start: a real answer, which is stopped."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import StarterModels
from tests.service import Service
from tests.web.browser import Pages, make_person, open_browser
from tests.web.chatting import answers, done, tell

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(starter_models: StarterModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Pages]]:
    """A server as a new home has it, on models that are already there, and a browser."""
    home = starter_models.lay(tmp_path_factory.mktemp("model") / "home")
    with Service(home, "") as service, open_browser() as pages:
        make_person(service, "ann@example.org", name="Ann Lee")
        yield service, pages


@pytest.fixture
def page(place: tuple[Service, Pages]) -> Iterator[Page]:
    """A window of Ann's."""
    service, pages = place
    with pages.person(service, "ann@example.org") as window:
        yield window


def test_a_model_answers_and_is_stopped(page: Page) -> None:
    """A long answer comes in words of the model's own, and is stopped by the button; what there was of it stays."""
    page.goto("/")
    tell(page, "Write a long story about a lighthouse, with many chapters.")
    expect(answers(page)).to_have_count(1)
    page.get_by_role("button", name="Stop").click()
    answer = done(page)
    expect(answer).to_contain_text("was stopped")
    assert len(answer.locator(".markdown").inner_text()) > 0


def test_a_picture_is_painted_in_the_place_of_an_answer(page: Page) -> None:
    """With the switch on the small model has a picture painted of what it is told, and says something behind it."""
    page.goto("/")
    page.get_by_role("button", name="Pictures").click()
    tell(page, "a cat on a red background")
    picture = page.get_by_role("img", name="a cat on a red background")
    expect(picture).to_be_visible()
    done(page)
    assert picture.evaluate("each => each.naturalWidth") > 0
