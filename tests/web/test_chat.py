"""The chat, with an engine that says back what it is told: asking, stopping, branching, leaving and coming back."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.service import Service
from tests.web.browser import Pages, make_person
from tests.web.chatting import (
    act,
    answers,
    ask,
    begin,
    box,
    call,
    chat_server,
    choose_model,
    done,
    entries,
    in_list,
    tell,
)
from tests.web.relay import Relay

pytestmark = pytest.mark.slow

LONG = " ".join(f"word{number}" for number in range(60))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Pages]]:
    """A server and a browser; Ann has an account."""
    with chat_server(tmp_path_factory.mktemp("chat")) as (service, pages):
        make_person(service, "ann@example.org", name="Ann Lee")
        yield service, pages


@pytest.fixture
def page(place: tuple[Service, Pages]) -> Iterator[Page]:
    """A window of Ann's."""
    service, pages = place
    with pages.person(service, "ann@example.org") as window:
        yield window


def test_a_first_answer_is_one_click_away(page: Page) -> None:
    """The first page greets by name and says that an AI answers; a suggestion is answered and stands in the list."""
    page.goto("/")
    expect(page.get_by_role("heading", level=1, name="Ann")).to_be_visible()
    expect(page.get_by_text("You are talking to an AI.")).to_be_visible()
    page.get_by_role("button", name="three names for a small tea shop").click()
    expect(done(page)).to_contain_text("three names for a small tea shop")
    assert "/chat/conv_" in page.url
    in_list(page, "three names for a small tea shop")
    page.reload()
    expect(done(page)).to_contain_text("three names for a small tea shop")


def test_markdown_is_shown(page: Page) -> None:
    """Tables, code with its language and mathematics in an answer are what they mean."""
    begin(page)
    answer = ask(page, "| tea | cups |\n|---|--:|\n| green | 3 |\n\n```python\nx = 1\n```\n\nSo \\(x^2\\) it is.")
    expect(answer.get_by_role("cell", name="green")).to_be_visible()
    expect(answer.locator(".code-head")).to_contain_text("python")
    expect(answer.locator(".hljs-number")).to_have_text("1")
    expect(answer.locator("math msup")).to_be_visible()


def test_stopping_keeps_what_was_said(page: Page) -> None:
    """Escape stops an answer; what there was of it stays, also after a reload, and one can go on."""
    begin(page, "slow")
    tell(page, LONG)
    expect(answers(page)).to_contain_text("word3")
    page.keyboard.press("Escape")
    answer = done(page)
    expect(answer).to_contain_text("was stopped")
    expect(answer).not_to_contain_text("word59")
    page.reload()
    expect(done(page)).to_contain_text("word3")
    expect(answers(page)).not_to_contain_text("word59")
    ask(page, "go on", 2)


def test_an_answer_goes_on_elsewhere(page: Page) -> None:
    """An answer goes on while another chat is read, and after the tab was closed, and is there on return."""
    begin(page, "slow")
    tell(page, LONG)
    expect(answers(page)).to_contain_text("word3")
    address = page.url
    page.get_by_role("complementary").get_by_role("button", name="New chat").click()
    expect(page.get_by_role("heading", level=1, name="Ann")).to_be_visible()
    page.go_back()
    expect(answers(page)).to_contain_text("word5")
    window = page.context
    page.close()
    again = window.new_page()
    again.goto(address)
    expect(done(again)).to_contain_text("word59")


def test_a_lost_connection_is_found_again(place: tuple[Service, Pages]) -> None:
    """While the network is away the page says so; afterwards the answer is complete, and nothing is there twice."""
    service, pages = place
    with (
        Relay.to(service.url) as relay,
        pages.person(service, "ann@example.org", complaints="ignore") as page,
    ):
        page.goto(f"{relay.url}/")
        choose_model(page, "slow")
        tell(page, LONG)
        expect(answers(page)).to_contain_text("word3")
        relay.cut()
        expect(page.get_by_role("region", name="Conversation")).to_contain_text("The connection is lost")
        relay.mend()
        expect(done(page)).to_contain_text("word59")
        assert answers(page).inner_text().count("word7 ") == 1


def test_what_could_not_be_sent_is_kept(place: tuple[Service, Pages]) -> None:
    """A first message is sent again into a conversation of its own; one that was not is a draft after a reload."""
    service, pages = place
    with (
        Relay.to(service.url) as relay,
        pages.person(service, "ann@example.org", complaints="ignore") as page,
    ):
        page.goto(f"{relay.url}/")
        choose_model(page, "echo")
        relay.cut()
        tell(page, "said without a network")
        expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
        relay.mend()
        page.get_by_role("alert").get_by_role("button", name="Try again").click()
        expect(done(page)).to_contain_text("said without a network")
        assert "/chat/conv_" in page.url
        expect(box(page)).to_have_value("")
        relay.cut()
        tell(page, "said later")
        expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
        relay.mend()
        page.reload()
        expect(box(page)).to_have_value("said later")


def test_answers_and_questions_have_versions(page: Page) -> None:
    """Answers made again and questions asked anew are versions to switch between; the list has one entry."""
    begin(page)
    ask(page, "first question")
    before = entries(page).count()
    answers(page).nth(0).get_by_role("button", name="Answer again").click()
    expect(answers(page).nth(0)).to_contain_text("2/2")
    done(page)
    ask(page, "second question", 2)
    page.get_by_role("button", name="Edit message").nth(1).click()
    page.get_by_role("textbox", name="Edit message").fill("another question")
    page.keyboard.press("Enter")
    expect(answers(page).nth(1)).to_contain_text("another question")
    done(page, 2)
    asked = page.get_by_role("article").nth(2)
    expect(asked).to_contain_text("2/2")
    asked.get_by_role("button", name="Previous version").click()
    expect(page.get_by_role("article").nth(3)).to_contain_text("second question")
    answers(page).nth(0).get_by_role("button", name="Previous version").click()
    expect(page.get_by_role("article")).to_have_count(2)
    expect(answers(page).nth(0)).to_contain_text("1/2")
    assert entries(page).count() == before
    page.reload()
    expect(answers(page).nth(0)).to_contain_text("1/2")


def test_conversations_are_put_in_order(page: Page) -> None:
    """Renamed, pinned, put into a folder, found by what was said in them, and deleted after a question."""
    begin(page)
    ask(page, "a word about xylophones")
    act(page, "Rename")
    page.get_by_role("dialog").locator("input").fill("Music")
    page.keyboard.press("Enter")
    in_list(page, "Music")
    act(page, "Pin")
    expect(page.get_by_role("heading", name="Pinned")).to_be_visible()
    act(page, "Unpin")
    act(page, "Move to a folder")
    page.get_by_role("dialog").locator("input").fill("Instruments")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Instruments")).to_be_visible()
    page.keyboard.press("Control+k")
    page.get_by_role("searchbox", name="Search chats").fill("XYLOPHONES")
    expect(page.get_by_role("heading", name="Found")).to_be_visible()
    in_list(page, "Music")
    page.get_by_role("searchbox", name="Search chats").fill("")
    act(page, "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", level=1, name="Ann")).to_be_visible()
    expect(entries(page).filter(has_text="Music")).to_have_count(0)


def test_a_draft_survives(page: Page) -> None:
    """What was written and not sent is there after a reload, for each conversation by itself."""
    begin(page)
    ask(page, "a chat with a draft")
    box(page).fill("half a thought")
    page.reload()
    expect(box(page)).to_have_value("half a thought")
    page.goto("/")
    expect(box(page)).to_have_value("")


def test_a_temporary_chat_is_not_kept(page: Page) -> None:
    """It answers with what was said before, is in no list, and leaves nothing at the server."""
    begin(page)
    page.get_by_role("button", name="Temporary chat").click()
    expect(page.get_by_text("This chat is temporary")).to_be_visible()
    ask(page, "between us")
    ask(page, "and this", 2)
    expect(page.get_by_text("Temporary", exact=True)).to_be_visible()
    expect(entries(page).filter(has_text="between us")).to_have_count(0)
    found = call(page, "GET", "/v1/conversations?limit=100")
    assert not any("between us" in str(each["metadata"]) for each in found["data"])
    page.reload()
    expect(page.get_by_role("article")).to_have_count(0)


def test_a_temporary_chat_leaves_drafts_alone(place: tuple[Service, Pages]) -> None:
    """What is written in it is not kept by the browser either, and the draft of a new chat is there afterwards."""
    service, pages = place
    with pages.person(service, "ann@example.org", complaints="ignore") as page:
        begin(page)
        box(page).fill("half a thought")
        page.get_by_role("button", name="Temporary chat").click()
        expect(box(page)).to_have_value("")
        tell(page, "I will kill you, kill them all with a knife and blood")
        box(page).fill("to be kept")
        page.get_by_role("button", name="Change the message").click()
        expect(box(page)).to_have_value("I will kill you, kill them all with a knife and blood\n\nto be kept")
        kept = page.evaluate("JSON.stringify(localStorage)")
        assert "kill" not in kept
        assert "to be kept" not in kept
        page.goto("/")
        expect(box(page)).to_have_value("half a thought")


def test_a_refusal_is_said_plainly(page: Page) -> None:
    """The notice says what was found and that the model did not get it; the message can be changed and sent."""
    begin(page)
    tell(page, "I will kill you, kill them all with a knife and blood")
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("The content filter refused this message")
    expect(notice).to_contain_text("violence (severity:")
    expect(notice).to_contain_text("not sent to the model")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("refused this message")
    page.get_by_role("button", name="Change the message").click()
    expect(box(page)).to_have_value("I will kill you, kill them all with a knife and blood")
    ask(page, "a kinder message")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_everything_by_keyboard(page: Page) -> None:
    """A new chat, an answer, an edit, the help and the search need no mouse, and the focus comes back."""
    page.goto("/")
    expect(box(page)).to_be_focused()
    page.keyboard.type("typed")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two lines")
    page.keyboard.press("Enter")
    done(page)
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("textbox", name="Edit message")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Edit message")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Edit message")).to_be_focused()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("searchbox", name="Search chats")).to_be_focused()
    page.keyboard.press("Control+Shift+O")
    expect(page.get_by_role("heading", level=1, name="Ann")).to_be_visible()
    page.keyboard.press("Shift+Escape")
    expect(box(page)).to_be_focused()
    assert page.url.endswith("/")
