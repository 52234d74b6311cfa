"""The chat's larger things: sharing, files, pictures, exports and long conversations."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.service import Service
from tests.web.browser import Pages, make_person
from tests.web.chatting import act, answers, ask, begin, box, call, chat_server, done, tell

pytestmark = pytest.mark.slow

MOST_REQUESTS = 12
"""To show a conversation: the page's own, and not more for a long one."""
MOST_TURNS = 120
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000"
    "050001a5f645400000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Pages]]:
    """A server and a browser; Ann and Bob are colleagues."""
    with chat_server(tmp_path_factory.mktemp("things")) as (service, pages):
        make_person(service, "ann@example.org", name="Ann Lee")
        make_person(service, "bob@example.org", name="Bob")
        yield service, pages


@pytest.fixture
def page(place: tuple[Service, Pages]) -> Iterator[Page]:
    """A window of Ann's."""
    service, pages = place
    with pages.person(service, "ann@example.org") as window:
        yield window


def long_conversation(page: Page, count: int) -> str:
    """A conversation with so many messages, made by the API; its id."""
    made = call(page, "POST", "/v1/conversations", {"metadata": {"kind": "chat", "title": "A long one"}})
    for first in range(0, count, 20):
        items = [
            {"role": "user" if number % 2 == 0 else "assistant", "content": f"message {number}\n\n" + "tea " * 40}
            for number in range(first, first + 20)
        ]
        call(page, "POST", f"/v1/conversations/{made['id']}/items", {"items": items})
    found: str = made["id"]
    return found


def test_a_shared_chat_is_read_and_copied(place: tuple[Service, Pages], page: Page) -> None:
    """A colleague reads what is shared, goes on in a copy, and sees it no more when the sharing has ended."""
    service, pages = place
    begin(page)
    ask(page, "for all eyes")
    act(page, "Share")
    page.get_by_role("dialog").get_by_role("button", name="Share", exact=True).click()
    address = page.get_by_label("Link for colleagues").input_value()
    assert address == page.url
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_text("Shared", exact=True)).to_be_visible()
    with pages.person(service, "bob@example.org") as other:
        other.goto("/")
        other.get_by_text("Shared by colleagues").click()
        other.get_by_role("complementary").get_by_role("link", name="for all eyes").click()
        expect(other.get_by_text("Ann Lee shares this chat.")).to_be_visible()
        expect(box(other)).to_have_count(0)
        expect(other.get_by_role("button", name="Answer again")).to_have_count(0)
        other.get_by_role("button", name="Continue in a copy").click()
        expect(box(other)).to_be_visible()
        ask(other, "on my own", 2)
        expect(answers(page)).to_have_count(1)
        act(page, "Share")
        page.get_by_role("button", name="Stop sharing").click()
        expect(page.get_by_text("Shared", exact=True)).to_have_count(0)
        other.goto(address)
        expect(other.get_by_role("heading", name="This chat cannot be shown")).to_be_visible()


def test_what_is_sent_while_a_chat_still_opens_is_sent_when_it_is_there(page: Page) -> None:
    """Enter before the conversation has come is not lost."""
    begin(page)
    ask(page, "the first")
    held: list[Route] = []
    page.route("**/v1/conversations/*/items*", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/v1/conversations/*/items*"):
        page.goto(page.url)
    tell(page, "the second")
    expect(box(page)).to_have_value("the second")
    held[0].continue_()
    assert "the second" in done(page, 2).inner_text()
    expect(box(page)).to_have_value("")


def test_a_chat_is_saved_as_files(page: Page) -> None:
    """Markdown and JSON have all that was said."""
    begin(page)
    ask(page, "keep: this/that")
    with page.expect_download() as download:
        act(page, "Export as Markdown")
    assert download.value.suggested_filename == "keep this that.md"
    text = download.value.path().read_text(encoding="utf-8")
    assert text.startswith("# keep: this/that\n")
    assert text.count("keep: this/that") == 3
    with page.expect_download() as download:
        act(page, "Export as JSON")
    saved = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert [each["role"] for each in saved["items"]] == ["user", "assistant"]


def test_files_are_sent_along(page: Page, tmp_path: Path) -> None:
    """A text goes into the prompt; what cannot be sent is refused with the reason, and the others are kept."""
    begin(page)
    text, large, program = tmp_path / "notes.csv", tmp_path / "large.txt", tmp_path / "tool.exe"
    text.write_text("tea,cups\ngreen,3\n", encoding="utf-8")
    large.write_text("x" * 300_000, encoding="utf-8")
    program.write_bytes(b"MZ")
    picture = tmp_path / "dot.png"
    picture.write_bytes(PNG)
    page.locator("input[type=file]").set_input_files([text, large, program, picture])
    expect(page.get_by_role("list", name="Attached files").get_by_role("listitem")).to_have_count(1)
    expect(page.get_by_text("large.txt is too large. The limit is")).to_be_visible()
    expect(page.get_by_text("tool.exe is neither a text nor a picture")).to_be_visible()
    expect(page.get_by_text("does not see pictures, so dot.png")).to_be_visible()
    expect(ask(page, "What is in it?")).to_contain_text("green,3")
    page.reload()
    expect(page.get_by_role("article").first).to_contain_text("notes.csv")


def test_a_file_is_dropped(page: Page) -> None:
    """A file that is dropped anywhere on the page is attached."""
    begin(page)
    page.evaluate(
        """() => {
            const moved = new DataTransfer();
            moved.items.add(new File(['hello'], 'dropped.txt', {type: 'text/plain'}));
            document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: moved, bubbles: true, cancelable: true}));
        }"""
    )
    expect(page.get_by_role("list", name="Attached files")).to_contain_text("dropped.txt")
    page.get_by_role("button", name="Remove dropped.txt").click()
    expect(page.get_by_role("list", name="Attached files")).to_have_count(0)


def test_a_picture_is_painted(page: Page) -> None:
    """With the switch on, a message becomes a picture with the message as its text, which is saved as it came."""
    begin(page)
    page.get_by_role("button", name="Pictures").click()
    tell(page, "a teapot on the moon")
    picture = page.get_by_role("img", name="a teapot on the moon")
    expect(picture).to_be_visible()
    done(page)
    assert picture.evaluate("each => each.naturalWidth") > 0
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert b"c2pa" in download.value.path().read_bytes()
    page.reload()
    expect(page.get_by_role("img", name="a teapot on the moon")).to_be_visible()
    page.get_by_role("link", name="Open in studio").click()
    page.wait_for_url(re.compile(r"/studio/(?!open)"))


def test_a_long_conversation_is_shown_in_parts(page: Page) -> None:
    """2,000 messages take as few requests as two, few of them are in the page, and scrolling up does not jump."""
    page.goto("/")
    address = f"/chat/{long_conversation(page, 2000)}"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    expect(page.get_by_text("message 1999")).to_be_visible()
    calls = [url for url in asked if "/v1/" in url or "/session" in url]
    assert len(calls) <= MOST_REQUESTS, calls
    assert page.get_by_role("article").count() < MOST_TURNS
    region = page.get_by_role("region", name="Conversation")
    jumps: list[Any] = []
    seen = 1999
    for _ in range(12):
        jumps.append(region.evaluate(SCROLL_UP))
        first = int(page.get_by_role("article").first.inner_text().split("message ")[1].split()[0])
        assert first <= seen
        seen = first
        assert page.get_by_role("article").count() < MOST_TURNS
    assert seen < 1950
    assert max(jumps) <= 2
    page.get_by_role("button", name="Jump to the end").click()
    expect(page.get_by_text("message 1999")).to_be_visible()


SCROLL_UP = """async box => {
    // Scrolls a little, and looks whether what was seen stays where it is while more is put above it.
    const turn = () => [...box.querySelectorAll('[data-turn]')].find(
        each => each.getBoundingClientRect().bottom > box.getBoundingClientRect().top + 60);
    box.scrollTop = Math.max(0, box.scrollTop - 700);
    const anchor = turn();
    const place = anchor.getBoundingClientRect().top;
    const until = performance.now() + 400;
    let most = 0;
    while (performance.now() < until) {
        await new Promise(requestAnimationFrame);
        if (anchor.isConnected) most = Math.max(most, Math.abs(anchor.getBoundingClientRect().top - place));
    }
    return most;
}"""
