"""Nothing that a model, a colleague or a file's name says is run, styles the page or calls another host."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.service import Service
from tests.web.browser import Pages, make_person
from tests.web.chatting import CONFIG, answers, ask, begin, call, chat_server, done, entries, tell
from tests.web.hostile import HOSTILE

pytestmark = pytest.mark.slow

WATCH = """
window.hits = 0;
window.broken = [];
window.hit = () => { window.hits += 1; };
for (const name of ['alert', 'confirm', 'prompt']) window[name] = window.hit;
addEventListener('securitypolicyviolation', event => window.broken.push(
    `${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
HARMLESS = """() => {
    const found = [];
    const own = document.querySelectorAll('main script, main iframe, main object, main embed,'
        + 'main form:not(:has(textarea)), main base, main meta, main style, main link,'
        + '.markdown svg, .markdown input, .markdown [style]');
    for (const each of own) found.push(each.outerHTML.slice(0, 200));
    for (const each of document.querySelectorAll('main *, aside *')) {
        for (const {name, value} of each.attributes) {
            if (name.startsWith('on') || name === 'srcdoc') found.push(`${name}=${value}`);
            const own = /^(blob:|data:image\\/(png|jpeg|gif|webp);|\\/icon.svg$)/;
            if ((name === 'src' || name === 'srcset') && !own.test(value)) found.push(value);
        }
    }
    for (const each of document.querySelectorAll('.markdown [id], .markdown [name]')) found.push(each.outerHTML);
    for (const link of document.querySelectorAll('.markdown a')) {
        const away = link.rel === 'noopener noreferrer nofollow' && link.target === '_blank';
        if (!away || !/^(https?:|mailto:)/.test(link.href)) found.push(link.outerHTML);
    }
    return found;
}"""


@dataclass(slots=True)
class Watched:
    """A page, and what it must not do."""

    page: Page

    def harmless(self) -> None:
        """Assert that nothing ran, that the policy had nothing to stop, and that nothing hostile became an element."""
        found = self.page.evaluate("({hits: window.hits, broken: window.broken})")
        assert found == {"hits": 0, "broken": []}
        assert self.page.evaluate(HARMLESS) == []
        assert (
            self.page.evaluate("typeof document.getElementById + document.querySelectorAll('#app').length")
            == "function1"
        )
        assert "evil.example" not in self.page.url


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Pages]]:
    """A server, one of whose deployments is described in a hostile way, and a browser."""
    described = "".join(
        f'[[deployment]]\nname = "hostile-{number}"\nengine = "echo"\nmodel = "echo"\n'
        f"description = {json.dumps(text)}\n\n"
        for number, text in enumerate(HOSTILE[:12])
    )
    with chat_server(tmp_path_factory.mktemp("xss"), CONFIG + described) as (service, pages):
        make_person(service, "eve@example.org", name="<img src=x onerror=hit()>")
        yield service, pages


@pytest.fixture
def watched(place: tuple[Service, Pages]) -> Iterator[Watched]:
    """A window that is watched. Asking another host, and saying an error, fails the test as everywhere."""
    service, pages = place
    with pages.person(service, "eve@example.org") as page:
        page.add_init_script(WATCH)
        page.goto("/")
        yield Watched(page)


def conversation(page: Page, title: str, items: list[Any]) -> str:
    """Make a conversation of these items; its path."""
    made = call(page, "POST", "/v1/conversations", {"metadata": {"kind": "chat", "title": title, "folder": title[:60]}})
    for first in range(0, len(items), 20):
        call(page, "POST", f"/v1/conversations/{made['id']}/items", {"items": items[first : first + 20]})
    return f"/chat/{made['id']}"


def test_the_corpus_is_large() -> None:
    """There are at least sixty texts, no two alike."""
    assert len(set(HOSTILE)) == len(HOSTILE) >= 60


def test_replies_are_harmless(watched: Watched) -> None:
    """Each text is harmless as an answer of its own, and its words are there to read."""
    page = watched.page
    for first in range(0, len(HOSTILE), 30):
        items = [{"role": "assistant", "content": text} for text in HOSTILE[first : first + 30]]
        asked = [{"role": "user", "content": text} for text in HOSTILE[first : first + 30]]
        mixed = [each for pair in zip(asked, items, strict=True) for each in pair]
        page.goto(conversation(page, "replies", mixed))
        expect(answers(page).last).to_be_visible()
        page.wait_for_load_state("networkidle")
        watched.harmless()


def test_a_streamed_reply_is_harmless(watched: Watched) -> None:
    """All texts together are harmless while they arrive and when they are whole."""
    begin(watched.page)
    # Open fences would make harmless code of all that follows.
    together = "\n\n".join(sorted((text.replace("\0", "") for text in HOSTILE), key=lambda text: "```" in text))
    tell(watched.page, together)
    done(watched.page)
    watched.page.wait_for_load_state("networkidle")
    watched.harmless()


def test_titles_and_folders_are_harmless(watched: Watched) -> None:
    """Names of conversations and folders are shown as they were written."""
    page = watched.page
    for text in HOSTILE[::3]:
        conversation(page, text.replace("\0", ""), [{"role": "user", "content": "x"}])
    page.goto("/")
    expect(entries(page).filter(has_text="<script>hit()</script>").first).to_be_visible()
    entries(page).first.get_by_role("link").click()
    page.get_by_role("button", name="Actions for this chat").click()
    page.get_by_role("menuitem", name="Rename").click()
    watched.harmless()


def test_names_of_files_are_harmless(watched: Watched) -> None:
    """Files are listed by their names, before they are sent and after."""
    page = watched.page
    begin(page)
    names = ["<img src=x onerror=hit()>.txt", '"><svg onload=hit()>.md', "\u202etxt.exe.txt", "__proto__.txt"]
    page.locator("input[type=file]").set_input_files(
        [FilePayload(name=name, mimeType="text/plain", buffer=b"tea") for name in names]
    )
    expect(page.get_by_role("list", name="Attached files").get_by_role("listitem")).to_have_count(len(names))
    watched.harmless()
    ask(page, "what are these?")
    expect(page.get_by_text("<img src=x onerror=hit()>.txt").first).to_be_visible()
    watched.harmless()


def test_models_are_harmless(watched: Watched) -> None:
    """What is said of models is shown as it was written."""
    watched.page.get_by_role("button", name="Model", exact=False).first.click()
    expect(watched.page.get_by_role("menuitemradio", name="hostile-0")).to_be_visible()
    watched.harmless()


def test_errors_are_harmless(watched: Watched) -> None:
    """Errors that repeat what was asked for are shown as texts."""
    for text in [text for text in HOSTILE if text.startswith("<") and "/" not in text][::3]:
        watched.page.goto(f"/chat/{quote(text, safe='')}")
        expect(watched.page.get_by_role("heading", name="This chat cannot be shown")).to_be_visible()
        watched.harmless()


def test_descriptions_of_pictures_are_harmless(watched: Watched) -> None:
    """A picture has what it was painted after as its text, and nothing more."""
    begin(watched.page)
    watched.page.get_by_role("button", name="Pictures").click()
    tell(watched.page, '"><img src=x onerror=hit()>')
    done(watched.page)
    assert watched.page.locator("figure img").get_attribute("alt") == '"><img src=x onerror=hit()>'
    watched.harmless()
