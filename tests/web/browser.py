"""A real browser for the product's pages: Debian's Chromium, driven by Playwright.

    with open_browser() as browser, browser.person(service, "ann@example.org") as page:
        page.goto("/")
        page.get_by_role("textbox", name="Message").fill("Hello")

Whatever a page says on its console as an error, throws, or asks of another host is a failure of the test that saw it.
Tests that need the browser are skipped where it is not installed.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.chromium import chromium_program
from tests.service import Service

PASSWORD = "correct horse battery staple"
PATIENCE_MS = 60_000
"""How long a test waits for what should take a moment; only a broken page takes so long."""

DESKTOP = (1280, 800)
PHONE = (390, 844)
SCREENSHOTS = Path(os.environ.get("FREEHOLD_SCREENSHOTS", Path(__file__).parents[2] / "build" / "screenshots"))
"""Where pictures of the pages are put for review."""

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


@dataclass(slots=True)
class Complaints:
    """What went wrong in pages, and requests to hosts that are not the server."""

    own: str
    said: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Note what a page says."""
        # Playwright puts a mark on what it is given, which a bound method does not take.
        page.on("console", lambda message: self._console(message))  # noqa: PLW0108
        page.on("pageerror", lambda error: self.said.append(f"thrown: {error}"))
        page.on("request", lambda request: self._request(request))  # noqa: PLW0108

    def _console(self, message: ConsoleMessage) -> None:
        # That an answer is no 2xx is told by the page, and looked for by the test that expects it.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.said.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.own, "data:", "blob:")):
            self.said.append(f"asked another host: {request.url}")


class Pages:
    """One browser, which opens pages for people."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @contextmanager
    def person(
        self,
        service: Service,
        email: str,
        *,
        size: tuple[int, int] = DESKTOP,
        dark: bool = False,
        locale: str = "en-US",
        password: str = PASSWORD,
        complaints: Literal["fail", "ignore"] = "fail",
    ) -> Iterator[Page]:
        """A page in a browser window of its own, signed in by the form. Paths are relative to the server's address."""
        looks = self.anybody(service, size=size, dark=dark, locale=locale, complaints=complaints, watch=False)
        with looks as page:
            sign_in(page, email, password)
            heard = Complaints(service.url)
            heard.watch(page)
            yield page
            if complaints == "fail":
                assert heard.said == []

    @contextmanager
    def anybody(
        self,
        service: Service,
        *,
        size: tuple[int, int] = DESKTOP,
        dark: bool = False,
        locale: str = "en-US",
        complaints: Literal["fail", "ignore"] = "fail",
        watch: bool = True,
    ) -> Iterator[Page]:
        """A page in a browser window of its own, with nobody signed in."""
        context = self._browser.new_context(
            base_url=service.url,
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            locale=locale,
            timezone_id="Europe/Berlin",
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE_MS)
        heard = Complaints(service.url)
        try:
            page = context.new_page()
            if watch:
                heard.watch(page)
            yield page
            if complaints == "fail":
                assert heard.said == []
        finally:
            context.close()


@contextmanager
def open_browser() -> Iterator[Pages]:
    """A new browser without a window."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_program(), args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        try:
            yield Pages(browser)
        finally:
            browser.close()


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """Sign in by the form, and land on the sign-in page's own view of who one is."""
    page.goto("/signin?return_to=/signin")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="You are signed in").wait_for()


def make_person(service: Service, email: str, role: str = "user", name: str | None = None) -> str:
    """Make an account that can sign in; the user's id."""
    body = {"email": email, "role": role, "password": PASSWORD, **({"name": name} if name else {})}
    made = service.post("/v1/organization/users", body)
    assert made.status == 200, made.body
    found: str = made.json()["id"]
    return found


def violations(page: Page) -> list[str]:
    """What axe-core holds against the page as it is now, by the rules of WCAG 2.2 AA and its best practices."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found: list[dict[str, Any]] = page.evaluate(
        f"axe.run(document, {{runOnly: {json.dumps(tags)}}}).then(result => result.violations)"
    )
    return [
        f"{each['id']}: {each['help']}: {node['html'][:200]} ({node.get('failureSummary', '')[:300]})"
        for each in found
        for node in each["nodes"]
    ]


def cut_off(page: Page) -> list[str]:
    """What sticks out of the page sideways, so that it would have to be scrolled: selectors and by how many pixels."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('body *')]
            .filter(each => each.checkVisibility({visibilityProperty: true, opacityProperty: true}))
            .filter(each => {
                const box = each.getBoundingClientRect();
                if (box.width === 0 || box.right <= innerWidth + 1 || box.left >= innerWidth) return false;
                for (let at = each; at; at = at.parentElement) {
                    const style = getComputedStyle(at);
                    if (['auto', 'scroll', 'hidden', 'clip'].includes(style.overflowX) && at !== document.body
                        && at !== document.documentElement && at !== each) return false;
                    if (style.position === 'fixed' && at !== each) return false;
                }
                return true;
            })
            .map(each => `${each.tagName.toLowerCase()}.${each.className}: ${each.getBoundingClientRect().right}`)"""
    )
    return found


def shoot(page: Page, name: str) -> Path:
    """Take a picture of the page for review."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    file = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=file)
    return file


def context_of(page: Page) -> BrowserContext:
    """The window that a page is in, for cookies and more pages."""
    return page.context
