"""A browser without scripts: cookies, forms, redirects, and what browsers say of where a request comes from.

async with open_browser(service.url) as browser:
    page = await browser.get("/signin")
    page = await browser.submit(page.form("/signin"), email="alice@example.org", password="…")
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser

import aiohttp
from yarl import URL

_HOPS = 12


@dataclass(slots=True)
class Form:
    """One form of a page."""

    page: URL
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    """Finds the forms and where a page leads by itself."""

    def __init__(self, url: URL) -> None:
        super().__init__()
        self._url = url
        self.forms: list[Form] = []
        self.refresh: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(self._url, found.get("action") or str(self._url), found.get("method", "get")))
        elif tag == "input" and self.forms and found.get("name"):
            self.forms[-1].fields[found["name"]] = found.get("value", "")
        elif tag == "meta" and found.get("http-equiv") == "refresh":
            self.refresh = found["content"].partition("url=")[2]


@dataclass(frozen=True, slots=True)
class Page:
    """What a browser shows.

    Args:
        url: where it is.
        status: of the last answer.
        text: of the page.
        headers: of the last answer.
        forms: that it has.
        went: every address on the way, this one last.
    """

    url: URL
    status: int
    text: str
    headers: Mapping[str, str]
    forms: list[Form]
    went: list[URL]

    def form(self, action: str) -> Form:
        """The form that is sent to a path."""
        return next(form for form in self.forms if URL(form.action).path == action)


class Browser:
    """One browser."""

    def __init__(self, session: aiohttp.ClientSession, home: URL) -> None:
        self._session = session
        self._home = home

    def cookies(self) -> dict[str, str]:
        """What it would send to the server."""
        return {name: cookie.value for name, cookie in self._session.cookie_jar.filter_cookies(self._home).items()}

    async def get(self, url: str | URL, *, follow: bool = True) -> Page:
        """Open an address."""
        return await self._go("GET", self._home.join(URL(url)), None, {"sec-fetch-site": "none"}, follow=follow)

    async def submit(self, form: Form, *, follow: bool = True, **fields: str) -> Page:
        """Fill a form in and send it."""
        url = form.page.join(URL(form.action))
        site = "same-origin" if url.origin() == form.page.origin() else "cross-site"
        said = {"origin": str(form.page.origin()), "sec-fetch-site": site}
        return await self._go(form.method.upper(), url, {**form.fields, **fields}, said, follow=follow)

    async def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, object]]:
        """A request of a page's own script; `headers` say where the page is, by default on the server."""
        said = {"origin": str(self._home.origin())} if headers is None else dict(headers)
        async with self._session.request(method, self._home.join(URL(path)), json=body, headers=said) as answer:
            return answer.status, await answer.json()

    async def _go(
        self, method: str, url: URL, form: dict[str, str] | None, headers: Mapping[str, str], *, follow: bool
    ) -> Page:
        went: list[URL] = []
        for _ in range(_HOPS):
            went.append(url)
            async with self._session.request(method, url, data=form, headers=headers, allow_redirects=False) as answer:
                text = await answer.text()
                reader = _Reader(url)
                reader.feed(text)
                page = Page(url, answer.status, text, answer.headers, reader.forms, went)
                leads = answer.headers.get("location") or reader.refresh
            if not follow or leads is None or not (300 <= answer.status < 400 or reader.refresh):
                return page
            method, url, form = "GET", url.join(URL(leads)), None
            headers = {"sec-fetch-site": "cross-site"}
        raise AssertionError(f"too many redirects: {went}")


@asynccontextmanager
async def open_browser(home: str) -> AsyncIterator[Browser]:
    """A new browser, which takes the loopback address for as good as TLS, as browsers do."""
    jar = aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=home)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Browser(session, URL(home))
