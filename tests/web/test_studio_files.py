"""The studio and files: where a picture comes from, pictures of one's own, hostile names, and galleries of many."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect

from tests.service import Service
from tests.web.browser import Pages, make_person, open_browser
from tests.web.painting import CAT, ask_for, downloaded, drag, gallery, open_newest, paint, painting_service, pixels

pytestmark = pytest.mark.slow

HOSTILE = (
    "<img src=x onerror=window.hacked=1>",
    "\"><script>window.hacked=1</script><a href='javascript:window.hacked=1'>",
    "{{constructor.constructor('window.hacked=1')()}} ${window.hacked=1} \u202egnp.exe",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that paints."""
    with painting_service(tmp_path_factory.mktemp("studio-files")) as running:
        for name in ("ann", "ben", "cem", "dora", "eva"):
            make_person(running, f"{name}@example.org", name=name.title())
        yield running


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    """A browser."""
    with open_browser() as browser:
        yield browser


def choose(page: Page, button: str, name: str, data: bytes) -> None:
    """Give the page a file."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button).click()
    chooser.value.set_files(FilePayload(name=name, mimeType="image/png", buffer=data))


def plain(size: tuple[int, int] = (120, 80), colour: str = "teal") -> bytes:
    """A PNG of which nothing is known."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def call(page: Page, method: str, path: str, body: Any) -> Any:
    """Call the API as the person whose page it is."""
    return page.evaluate(
        """([method, path, body]) => fetch(path, {
            method, headers: {'content-type': 'application/json'}, body: JSON.stringify(body),
        }).then(answer => answer.json())""",
        [method, path, body],
    )


def test_where_a_picture_comes_from(service: Service, pages: Pages) -> None:
    """What was painted here is valid; a changed byte is noticed; of others nothing is known."""
    with pages.person(service, "ann@example.org") as page:
        paint(page, CAT, seed=21)
        open_newest(page, CAT)
        file = downloaded(page)
        page.get_by_role("link", name="Check provenance").click()
        page.get_by_role("heading", name="Made by this service, and unchanged").wait_for()
        expect(page.get_by_text("created (made by an AI model)")).to_be_visible()
        expect(page.get_by_text("starter-painter")).to_be_visible()
        expect(page.get_by_text("21", exact=True)).to_be_visible()
        choose(page, "Choose a file", "foreign.png", plain())
        page.get_by_role("heading", name="Nothing is known of its origin").wait_for()
        expect(page.get_by_text("foreign.png")).to_be_visible()
        broken = bytearray(file)
        broken[-2000 if len(file) > 8000 else -200] ^= 0xFF
        choose(page, "Choose a file", "changed.png", bytes(broken))
        page.get_by_role("heading", name="Changed after it was signed").wait_for()
        expect(page.get_by_text("Do not rely on what it says")).to_be_visible()
        choose(page, "Choose a file", "text.png", b"no picture at all")
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("PNG")
        choose(page, "Choose a file", HOSTILE[0], file)
        page.get_by_role("heading", name="Made by this service, and unchanged").wait_for()
        expect(page.get_by_text(HOSTILE[0])).to_be_visible()
        assert page.evaluate("window.hacked") is None


def test_a_picture_of_ones_own_is_edited(service: Service, pages: Pages) -> None:
    """A file of one's own comes into the history and is the parent of what is made of it; a text does not."""
    with pages.person(service, "ben@example.org") as page:
        page.goto("/studio")
        choose(page, "Open a picture of your own", "notes.txt", b"no picture")
        expect(page.get_by_text("“notes.txt” cannot be read as a picture.")).to_be_visible()
        choose(page, "Open a picture of your own", "lake.png", plain((300, 300)))
        page.get_by_role("heading", name="lake.png").wait_for()
        assert pixels(downloaded(page)).size == (300, 300)
        page.get_by_role("link", name="Edit a part").click()
        page.get_by_label("What the whole picture should show then").fill("a boat in the sea")
        drag(page, page.locator("canvas"), (0.3, 0.3), (0.7, 0.7))
        page.get_by_role("button", name="Zoom in").click()
        page.get_by_role("button", name="Zoom to fit").click()
        page.get_by_role("button", name="Paint marked part").click()
        lineage = page.get_by_role("region", name="Lineage")
        lineage.get_by_role("link", name="Edit").click()
        page.get_by_role("heading", name="a boat in the sea").wait_for()
        expect(lineage.get_by_role("link", name="Own picture")).to_have_count(1)
        assert pixels(downloaded(page)).getpixel((2, 2)) == (0, 128, 128)


def test_hostile_words_are_words(service: Service, pages: Pages) -> None:
    """Prompts and file names that are code for a browser stand there as text."""
    with pages.person(service, "cem@example.org") as page:
        page.goto("/studio")
        page.get_by_role("combobox", name="Model").select_option("sketch")
        for prompt in HOSTILE:
            ask_for(page, prompt)
            expect(page.get_by_alt_text(prompt, exact=True)).to_have_count(1)
        open_newest(page, HOSTILE[1])
        expect(page.get_by_role("region", name="Details").get_by_text(HOSTILE[1])).to_be_visible()
        page.goto("/studio")
        choose(page, "Open a picture of your own", HOSTILE[0], plain())
        page.get_by_role("heading", name=HOSTILE[0]).wait_for()
        studio = studio_of(page)
        elsewhere = {
            "operation": "generation",
            "file": "../../../session",
            "prompt": "odd",
            "parents": ["../x"],
            "size": "x",
        }
        part = {"type": "input_text", "text": str(elsewhere).replace("'", '"')}
        picture = {"type": "input_image", "image_url": "https://elsewhere.example/pixel.png"}
        item = {"type": "message", "role": "user", "content": [part, picture]}
        call(page, "POST", f"/v1/conversations/{studio}/items", {"items": [item]})
        page.goto("/studio")
        expect(gallery(page)).to_have_count(5)
        assert page.evaluate("window.hacked") is None


def studio_of(page: Page) -> str:
    """The id of the person's conversation of the studio."""
    found: str = page.evaluate(
        """() => fetch('/v1/conversations?metadata[kind]=studio').then(answer => answer.json())
            .then(body => body.data[0].id)"""
    )
    return found


def items_of(page: Page, conversation_id: str) -> list[dict[str, Any]]:
    """The items of a conversation."""
    script = "(id) => fetch(`/v1/conversations/${id}/items`).then(answer => answer.json()).then(body => body.data)"
    found: list[dict[str, Any]] = page.evaluate(script, conversation_id)
    return found


def test_many_pictures_come_page_by_page(service: Service, pages: Pages) -> None:
    """A gallery of a hundred fetches the newest first and the others as one scrolls or looks for one, but no file."""
    with pages.person(service, "dora@example.org") as page:
        paint(page, "a fish in the sea", seed=1)
        paint(page, CAT, seed=1)
        studio = studio_of(page)
        entry = items_of(page, studio)[0]
        item = {"type": "message", "role": "user", "content": entry["content"]}
        for _ in range(5):
            call(page, "POST", f"/v1/conversations/{studio}/items", {"items": [item] * 20})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/items" in request.url else None)
        page.goto("/studio")
        expect(gallery(page)).to_have_count(40)
        assert [url for url in asked if "limit=40" not in url] == []
        gallery(page).last.scroll_into_view_if_needed()
        expect(gallery(page)).to_have_count(80)
        page.get_by_label("Find by words of the prompt").fill("SEA fish")
        expect(gallery(page)).to_have_count(1)
        expect(page.get_by_text("1 picture", exact=True)).to_be_visible()
        page.get_by_label("Find by words of the prompt").fill("")
        expect(gallery(page)).to_have_count(102)
        assert [url for url in asked if "limit=40" not in url] == []


def test_a_picture_of_the_chat_is_opened(service: Service, pages: Pages) -> None:
    """The address that the chat links to takes a picture of a conversation into the studio, byte for byte."""
    with pages.person(service, "eva@example.org") as page:
        page.goto("/studio")
        data = plain((64, 64), "navy")
        item = {
            "type": "image_generation_call",
            "id": "any",
            "status": "completed",
            "result": base64.b64encode(data).decode("ascii"),
        }
        made = call(page, "POST", "/v1/conversations", {"items": [item]})
        (kept,) = items_of(page, made["id"])
        page.goto(f"/studio/open?conversation={made['id']}&item={kept['id']}")
        page.get_by_role("heading", name="Picture from a chat").wait_for()
        assert downloaded(page) == data
        page.goto("/studio/open?conversation=conv_none&item=ig_none")
        expect(page.get_by_role("alert")).to_be_visible()
