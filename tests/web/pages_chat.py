"""The sights of the chat."""

from playwright.sync_api import Page

from tests.web.chatting import call, choose_model, done, tell
from tests.web.sights import Sight

ANSWER = """Tea grows in **three** places that matter here:

| Region | Season | Leaves per kilogram |
|:--|:--|--:|
| Darjeeling | March to May | 22,000 |
| Uji | April to June | 18,500 |
| Assam | May to July | 14,000 |

## How to brew it

1. Warm the pot.
2. Take one spoon for each cup, where \\(c\\) cups need \\(m = 2.5\\,c\\) grams.
3. Wait for three minutes.

\\[ T(t) = T_0 + (T_1 - T_0)\\, e^{-kt} \\]

```python
def steep(cups: int, minutes: float = 3.0) -> str:
    \"\"\"How much tea, and for how long.\"\"\"
    return f"{2.5 * cups} g for {minutes} minutes"  # by the spoon
```

> Water from [the spring](https://example.org/spring) is best. ![The spring](https://example.org/spring.png)
"""
TITLES = ("Notes for Monday's meeting", "Translate the invitation", "Ideas for the summer party in the garden", "SQL")


def sights() -> list[Sight]:
    """The first page, a conversation, what is being answered, trouble, a picture, and the dialogs."""
    return [
        Sight("chat-first", "/", _first),
        Sight("chat-conversation", "/", _conversation),
        Sight("chat-answering", "/", _answering),
        Sight("chat-refused", "/", _refused),
        Sight("chat-picture", "/", _picture),
        Sight("chat-models", "/", _models),
        Sight("chat-settings", "/", _settings),
        Sight("chat-missing", "/chat/conv_missing", _missing),
    ]


def _make(page: Page, title: str, items: list[dict[str, str]], **more: str) -> str:
    """A conversation that is there once, however often the page is visited; its id."""
    found = call(page, "GET", f"/v1/conversations?metadata[title]={title}")["data"]
    if found:
        kept: str = found[0]["id"]
        return kept
    metadata = {"kind": "chat", "title": title, **more}
    made: str = call(page, "POST", "/v1/conversations", {"metadata": metadata, "items": items})["id"]
    return made


def _first(page: Page) -> None:
    for title in TITLES:
        _make(page, title, [{"role": "user", "content": title}])
    _make(page, "Quarterly figures", [{"role": "user", "content": "x"}], pinned="1")
    _make(page, "Letter to the council", [{"role": "user", "content": "x"}], folder="Town hall")
    page.reload()
    page.get_by_role("heading", level=1, name="Ann").wait_for()
    page.get_by_role("button", name="three names for a small tea shop").wait_for()


def _open(page: Page) -> None:
    items = [
        {"role": "user", "content": "Where does tea grow, and how does one brew it?"},
        {"role": "assistant", "content": ANSWER},
    ]
    page.goto(f"/chat/{_make(page, 'All about tea', items)}")
    page.locator("math").first.wait_for()
    page.locator(".hljs-keyword").first.wait_for()


def _conversation(page: Page) -> None:
    _open(page)
    page.get_by_role("region", name="Conversation").evaluate("each => { each.scrollTop = 0; }")


def _answering(page: Page) -> None:
    choose_model(page, "slow")
    tell(page, "one two three four five six seven eight nine ten " * 6)
    page.get_by_role("article").nth(1).get_by_text("three").wait_for()


def _refused(page: Page) -> None:
    choose_model(page, "echo")
    tell(page, "I will kill you, kill them all with a knife and blood")
    page.get_by_role("alert").wait_for()


def _picture(page: Page) -> None:
    choose_model(page, "echo")
    page.get_by_role("button", name="Pictures").click()
    tell(page, "a teapot on the moon")
    done(page)


def _models(page: Page) -> None:
    page.get_by_role("button", name="Model", exact=False).first.click()
    page.get_by_role("menuitemradio", name="echo").wait_for()


def _settings(page: Page) -> None:
    page.get_by_role("button", name="Instructions and parameters").click()
    page.get_by_label("Instructions", exact=True).fill("Answer like a librarian: briefly, and with sources.")


def _missing(page: Page) -> None:
    page.get_by_role("heading", name="This chat cannot be shown").wait_for()
