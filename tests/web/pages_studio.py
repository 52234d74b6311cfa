"""The sights of the studio, and the pictures that are in it then."""

from playwright.sync_api import Page, expect

from tests.web.painting import CAT, drag, gallery, open_newest, paint
from tests.web.sights import Sight

WORDS = ("three balloons at sunset", "a snowman in the snow", "a rocket in the night", "two apples on the grass")


def furnish(page: Page) -> None:
    """Paint what there is to see: some pictures, one of them with a variation and an edit."""
    for prompt in WORDS:
        paint(page, prompt, seed=1)
    paint(page, CAT, seed=2, count=2)
    open_newest(page, CAT)
    page.get_by_role("button", name="Variations").click()
    lineage = page.get_by_role("region", name="Lineage")
    expect(lineage.get_by_role("link")).to_have_count(2)
    page.get_by_role("link", name="Edit a part").click()
    drag(page, page.locator("canvas"), (0.3, 0.4), (0.7, 0.7))
    page.get_by_label("What the whole picture should show then").fill("an owl on a red background")
    page.get_by_role("button", name="Paint marked part").click()
    expect(lineage.get_by_role("link")).to_have_count(3)


def sights() -> list[Sight]:
    """The gallery, a picture, its edit, the painted mask, a refusal, and where a picture comes from."""
    return [
        Sight("studio-gallery", "/studio", _gallery),
        Sight("studio-refused", "/studio", _refused),
        Sight("studio-picture", "/studio", _lineage),
        Sight("studio-mask", "/studio", _mask),
        Sight("studio-gone", "/studio/msg_none", _gone),
        Sight("studio-provenance", "/studio", _provenance),
    ]


def empty_sights() -> list[Sight]:
    """What somebody sees who has painted nothing yet."""
    return [Sight("studio-empty", "/studio", _empty)]


def _empty(page: Page) -> None:
    page.get_by_role("heading", name="What should be painted?").wait_for()


def _gallery(page: Page) -> None:
    expect(gallery(page)).to_have_count(8)
    page.get_by_role("button", name="Paint", exact=True).wait_for()


def _refused(page: Page) -> None:
    _gallery(page)
    page.get_by_role("textbox", name="Prompt").fill("a red falcon in the sky, a sun and a moon, " * 4)
    page.get_by_role("textbox", name="Prompt").press("Enter")
    page.get_by_role("alert").wait_for()
    options = page.get_by_role("button", name="Size, count and seed")
    if options.count():
        options.click()
    page.get_by_role("textbox", name="Seed").fill("seven")
    page.get_by_text("A seed is a whole number").wait_for()


def _picture(page: Page) -> None:
    _gallery(page)
    open_newest(page, WORDS[0])
    page.get_by_role("main").get_by_role("img", name=WORDS[0]).first.wait_for()


def _lineage(page: Page) -> None:
    _gallery(page)
    open_newest(page, "an owl on a red background")
    page.get_by_role("region", name="Lineage").scroll_into_view_if_needed()
    expect(page.get_by_role("region", name="Lineage").get_by_role("link")).to_have_count(2)


def _mask(page: Page) -> None:
    _picture(page)
    page.get_by_role("link", name="Edit a part").click()
    drag(page, page.locator("canvas"), (0.2, 0.2), (0.6, 0.6))
    page.get_by_text("of the picture is marked").wait_for()
    page.get_by_text("Mark an area in numbers").click()
    page.get_by_role("button", name="Mark area", exact=True).wait_for()


def _gone(page: Page) -> None:
    page.get_by_role("heading", name="This picture is not here").wait_for()


def _provenance(page: Page) -> None:
    _lineage(page)
    page.get_by_role("link", name="Check provenance").click()
    page.get_by_role("heading", name="Made by this service").wait_for()
