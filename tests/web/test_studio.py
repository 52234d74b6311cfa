"""The studio: from words to pictures, variations, edits, what is kept of them, and what can be said of their origin."""

from collections.abc import Iterator

import pytest
from PIL import ImageChops
from playwright.sync_api import Locator, Page, expect

from tests.service import Service
from tests.web.browser import PHONE, Pages, make_person, open_browser
from tests.web.painting import CAT, ask_for, downloaded, drag, gallery, open_newest, paint, painting_service, pixels

pytestmark = pytest.mark.slow

HEARD = """() => {
    window.heard = [];
    const status = [...document.querySelectorAll('[role=status]')].at(-1);
    new MutationObserver(() => window.heard.push(status.textContent)).observe(
        status, {childList: true, characterData: true, subtree: true});
}"""
"""Notes what the page's last live region says."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that paints."""
    with painting_service(tmp_path_factory.mktemp("studio")) as running:
        for name in ("ann", "ben", "cem", "dora", "eva", "fay", "gil"):
            make_person(running, f"{name}@example.org", name=name.title())
        yield running


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    """A browser."""
    with open_browser() as browser:
        yield browser


def test_words_become_pictures(service: Service, pages: Pages) -> None:
    """Two pictures of an idea are painted in places that do not move, progress is told, and a reload has them still."""
    with pages.person(service, "ann@example.org") as page:
        page.goto("/studio")
        page.get_by_role("button", name=CAT).click()
        expect(page.get_by_role("textbox", name="Prompt")).to_have_value(CAT)
        page.evaluate(HEARD)
        ask_for(page, CAT, seed=7, count=2)
        places = page.get_by_role("region", name="Pictures").get_by_role("listitem")
        expect(places).to_have_count(2)
        expect(page.get_by_role("progressbar")).to_have_count(2)
        before = [places.nth(place).bounding_box() for place in range(2)]
        expect(gallery(page)).to_have_count(2)
        expect(page.get_by_role("progressbar")).to_have_count(0)
        assert [places.nth(place).bounding_box() for place in range(2)] == before
        heard = page.evaluate("window.heard")
        assert "Painting picture 1 of 2, step 1 of 4" in heard
        assert "2 pictures are finished." in heard
        assert any("step 3 of 4" in each for each in heard)
        page.reload()
        expect(gallery(page)).to_have_count(2)
        expect(page.get_by_alt_text(CAT)).to_have_count(2)
        open_newest(page, CAT)
        facts = page.get_by_role("region", name="Details")
        expect(facts).to_contain_text("Painted from words")
        expect(facts).to_contain_text("256 \N{MULTIPLICATION SIGN} 256")
        page.get_by_role("button", name="Older picture").click()
        expect(facts).to_contain_text("Seed 8")
        expect(page.get_by_role("button", name="Older picture")).to_be_disabled()
        page.keyboard.press("ArrowLeft")
        expect(facts).to_contain_text("Seed 7")
        expect(page.get_by_role("button", name="Newer picture")).to_be_disabled()
        request = facts.get_by_text("req_").inner_text()
        receipt = service.get(f"/v1/receipts/{request}", key=service.key).json()["receipt"]
        assert receipt["images"] == 2
        assert receipt["parameters"]["seed"] == 7


def test_a_seed_paints_the_same_again(service: Service, pages: Pages) -> None:
    """The same seed gives the same pixels; prompt and seed of a picture are taken over into the composer."""
    with pages.person(service, "ben@example.org") as page:
        paint(page, "a fish in the sea", seed=11)
        open_newest(page, "a fish in the sea")
        first = downloaded(page)
        page.get_by_role("button", name="Same seed").click()
        twins = page.get_by_role("region", name="Same prompt").get_by_role("link")
        expect(twins).to_have_count(1)
        twins.first.click()
        expect(page.get_by_role("region", name="Details")).to_contain_text("11")
        expect(twins).to_have_count(1)
        second = downloaded(page)
        assert first != second, "each file is signed anew"
        assert ImageChops.difference(pixels(first), pixels(second)).getbbox() is None
        page.get_by_role("button", name="Use prompt and seed").click()
        expect(page.get_by_role("textbox", name="Prompt")).to_have_value("a fish in the sea")
        expect(page.get_by_role("textbox", name="Seed")).to_have_value("11")
        page.reload()
        expect(page.get_by_role("textbox", name="Prompt")).to_have_value("a fish in the sea")


def test_variation_edit_and_lineage(service: Service, pages: Pages) -> None:
    """A variation and an edit stand under what they came from; an edit changes what was marked, and only that."""
    with pages.person(service, "cem@example.org") as page:
        paint(page, CAT, seed=3)
        open_newest(page, CAT)
        root = page.url
        parent = pixels(downloaded(page))
        page.get_by_role("button", name="Variations").click()
        lineage = page.get_by_role("region", name="Lineage")
        expect(lineage.get_by_role("link", name="Variation")).to_have_count(1)
        page.get_by_role("link", name="Edit a part").click()
        canvas = page.locator("canvas")
        drag(page, canvas, (0.4, 0.5), (0.6, 0.5))
        told = page.get_by_text("of the picture is marked")
        expect(told).to_be_visible()
        first = told.inner_text()
        drag(page, canvas, (0.1, 0.9), (0.9, 0.9))
        expect(told).not_to_have_text(first)
        page.get_by_role("button", name="Undo").click()
        expect(told).to_have_text(first)
        page.get_by_role("button", name="Redo").click()
        expect(told).not_to_have_text(first)
        page.keyboard.press("Control+z")
        expect(told).to_have_text(first)
        page.get_by_role("button", name="Eraser").click()
        drag(page, canvas, (0.2, 0.5), (0.9, 0.5))
        expect(page.get_by_text("Paint over the part that should change")).to_be_visible()
        page.get_by_role("button", name="Undo").click()
        page.get_by_label("What the whole picture should show then").fill("a dog on a red background")
        page.get_by_role("button", name="Paint marked part").click()
        expect(lineage.get_by_role("link", name="Edit")).to_have_count(1)
        lineage.get_by_role("link", name="Edit").click()
        page.get_by_role("heading", name="a dog on a red background").wait_for()
        expect(lineage.get_by_role("link")).to_have_count(2)
        file = downloaded(page)
        changed = ImageChops.difference(parent, pixels(file)).getbbox()
        assert changed is not None
        side = parent.width
        # The brush is 12 % wide, from 40 % to 60 % of the width, and half way down.
        assert changed[0] >= 0.33 * side
        assert changed[1] >= 0.43 * side
        assert changed[2] <= 0.67 * side
        assert changed[3] <= 0.57 * side
        report = service.request("POST", "/v1/provenance", file, key=service.key).json()
        assert report["convincing"] is True
        assert report["origin"]["made_from"][0]["holds"] is True
        edit = page.url
        page.goto(root)
        page.get_by_role("heading", name=CAT).wait_for()
        expect(lineage.get_by_role("link")).to_have_count(3)
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(gallery(page)).to_have_count(2)
        page.goto(edit)
        expect(page.get_by_text("A deleted picture")).to_be_visible()
        page.goto(root)
        expect(page.get_by_role("heading", name="This picture is not here")).to_be_visible()


def tab_to(page: Page, role: str, name: str) -> None:
    """Press the tabulator until the focus is on a control."""
    tab_until(page, page.get_by_role(role, name=name, exact=True))  # type: ignore[arg-type]


def tab_until(page: Page, control: Locator) -> None:
    """The same for any control."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if control.and_(page.locator(":focus")).count() == 1:
            return
    raise AssertionError(f"not reached by the keyboard: {control}")


def test_everything_by_keyboard(service: Service, pages: Pages) -> None:
    """Painting, marking an area in numbers, editing and deleting need no mouse; the focus is never lost."""
    with pages.person(service, "dora@example.org") as page:
        page.goto("/studio")
        page.get_by_role("button", name=CAT).wait_for()
        tab_to(page, "textbox", "Prompt")
        page.keyboard.type("a pumpkin on a white background")
        page.keyboard.press("Enter")
        expect(gallery(page)).to_have_count(1)
        tab_to(page, "link", "a pumpkin on a white background")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="a pumpkin").wait_for()
        tab_to(page, "link", "Edit a part")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Edit a part").wait_for()
        tab_until(page, page.get_by_text("Mark an area in numbers"))
        page.keyboard.press("Enter")
        tab_to(page, "spinbutton", "From the left")
        page.keyboard.press("Control+a")
        page.keyboard.type("999")
        tab_to(page, "button", "Mark area")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("This area lies outside the picture.")
        page.get_by_label("From the left").fill("0")
        tab_to(page, "button", "Mark area")
        page.keyboard.press("Enter")
        expect(page.get_by_text("25% of the picture is marked")).to_be_visible()
        tab_to(page, "button", "Paint marked part")
        page.keyboard.press("Enter")
        expect(page.get_by_role("region", name="Lineage").get_by_role("link", name="Edit")).to_have_count(1)
        tab_to(page, "button", "Delete")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="Delete")).to_be_focused()


def test_refusals_are_said_plainly(service: Service, pages: Pages) -> None:
    """A filtered prompt, a limit and a wrong seed are told with what to do, and what was written stays."""
    with pages.person(service, "eva@example.org") as page:
        page.goto("/studio")
        ask_for(page, "the red falcon", seed=1)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("The content filter stopped this prompt")
        expect(alert.get_by_role("button", name="Try again")).to_have_count(0)
        expect(page.get_by_role("textbox", name="Prompt")).to_have_value("the red falcon")
        alert.get_by_role("button", name="Close").click()
        expect(alert).to_have_count(0)
        page.get_by_role("combobox", name="Model").select_option("sketch")
        limit = {"scope": "deployment", "id": "sketch", "requests_per_minute": 1}
        assert service.request("PUT", "/admin/limits", limit, key=service.key).status == 200
        ask_for(page, "lines")
        expect(gallery(page)).to_have_count(1)
        ask_for(page, "lines")
        expect(alert).to_contain_text("more than may be asked for")
        expect(alert).to_contain_text("It can be tried again at")
        assert service.request("DELETE", "/admin/limits/deployment/sketch", key=service.key).status == 200
        alert.get_by_role("button", name="Try again").click()
        expect(gallery(page)).to_have_count(2)
        expect(alert).to_have_count(0)
        page.get_by_role("textbox", name="Seed").fill("many")
        page.get_by_role("button", name="Paint", exact=True).click()
        expect(page.get_by_text("A seed is a whole number")).to_be_visible()
        page.get_by_role("textbox", name="Seed").fill("")
        page.get_by_role("textbox", name="Prompt").fill(" ")
        page.get_by_role("button", name="Paint", exact=True).click()
        expect(page.get_by_text("Say what the picture should show.")).to_be_visible()


def test_on_a_phone_in_german(service: Service, pages: Pages) -> None:
    """On a phone the composer is below the pictures, in two columns; the words are in the language that was chosen."""
    with pages.person(service, "fay@example.org", size=PHONE) as page:
        page.goto("/studio")
        page.evaluate("localStorage.setItem('freehold.language', 'de')")
        page.reload()
        page.get_by_role("textbox", name="Prompt").fill("a rocket in the night")
        page.get_by_role("button", name="Größe, Anzahl und Seed").click()
        page.get_by_role("combobox", name="Anzahl").select_option("2")
        page.get_by_role("button", name="Malen", exact=True).click()
        expect(page.get_by_role("region", name="Bilder").get_by_role("link")).to_have_count(2)
        boxes = [page.get_by_alt_text("a rocket in the night").nth(place).bounding_box() for place in range(2)]
        assert boxes[0] is not None
        assert boxes[1] is not None
        assert boxes[0]["y"] == boxes[1]["y"], "two columns"
        prompt = page.get_by_role("textbox", name="Prompt").bounding_box()
        assert prompt is not None
        assert prompt["y"] > PHONE[1] / 2


def test_nothing_is_kept_where_nothing_is_to_be_kept(service: Service, pages: Pages) -> None:
    """In a project of zero retention one can paint and download; the page says that nothing is kept, and nothing is."""
    retention = "/v1/organization/projects/proj-default/retention"
    assert service.request("PUT", retention, {"type": "zero_data_retention"}, key=service.key).status == 200
    try:
        with pages.person(service, "gil@example.org") as page:
            page.goto("/studio")
            ask_for(page, CAT, seed=5)
            expect(page.get_by_text("This project keeps no content")).to_be_visible()
            expect(gallery(page)).to_have_count(1)
            open_newest(page, CAT)
            expect(page.get_by_text("Not saved")).to_be_visible()
            assert pixels(downloaded(page)).size == (256, 256)
            page.get_by_role("link", name="All pictures").click()
            expect(gallery(page)).to_have_count(1)
            page.reload()
            expect(page.get_by_role("heading", name="What should be painted?")).to_be_visible()
    finally:
        service.request("PUT", retention, {"type": "organization_default"}, key=service.key)
