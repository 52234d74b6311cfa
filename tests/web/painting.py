"""A server that paints, for the tests of the studio, and what they look for in its pages."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.service import Service
from tests.web.browser import PATIENCE_MS

CONFIG = """
[server]
starter = false

[[deployment]]
name = "paint"
model = "starter-painter"
engine = "painter"
task = "images"
aliases = ["dall-e-2"]
start = "on_demand"
content_filter = "studio"

[[deployment]]
name = "sketch"
model = "echo"
engine = "echo"
task = "images"

[[content_filter]]
name = "studio"
blocklists = ["codenames"]

[[blocklist]]
name = "codenames"
items = [{ term = "red falcon" }]
"""

CAT = "a cat on a red background"


@contextmanager
def painting_service(home: Path) -> Iterator[Service]:
    """A server with the starter painter, which starts with the first picture, and the echo engine's quick patterns."""
    expect.set_options(timeout=PATIENCE_MS)
    with Service(home, CONFIG) as service:
        yield service


def ask_for(page: Page, prompt: str, *, seed: int | None = None, count: int = 1) -> None:
    """Say what to paint, and press the button."""
    page.get_by_role("textbox", name="Prompt").fill(prompt)
    page.get_by_role("combobox", name="Count").select_option(str(count))
    page.get_by_role("textbox", name="Seed").fill("" if seed is None else str(seed))
    page.get_by_role("button", name="Paint", exact=True).click()


def gallery(page: Page) -> Locator:
    """The finished pictures of the gallery."""
    return page.get_by_role("region", name="Pictures").get_by_role("link")


def paint(page: Page, prompt: str, *, seed: int | None = None, count: int = 1) -> None:
    """Have pictures painted in the gallery, and wait until they are there: the first of these words."""
    page.goto("/studio")
    page.get_by_role("button", name="Paint", exact=True).wait_for()
    ask_for(page, prompt, seed=seed, count=count)
    expect(gallery(page).filter(has=page.get_by_alt_text(prompt, exact=True))).to_have_count(count)


def open_newest(page: Page, prompt: str) -> None:
    """Go to the page of the newest picture of a prompt."""
    gallery(page).filter(has=page.get_by_alt_text(prompt)).first.click()
    page.get_by_role("heading", name=prompt).wait_for()


def downloaded(page: Page) -> bytes:
    """The file that the picture's page gives."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    return Path(download.value.path()).read_bytes()


def pixels(data: bytes) -> Image.Image:
    """The picture in a file."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def drag(page: Page, canvas: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw with the mouse; the places are shares of the canvas's sides."""
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + end[0] * box["width"], box["y"] + end[1] * box["height"], steps=6)
    page.mouse.up()
