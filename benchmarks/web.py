"""How fast the chat is in a browser: the first load, a long conversation, and how busy the page is while text streams.

    python -m benchmarks.web --rounds 5

Printed are medians over rounds; tasks are the longest of all rounds, in processor time. The machine's own speed goes
into all of them, so a yardstick is printed too: how long the same browser takes for a fixed computation.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.service import Service
from tests.web.browser import Pages, make_person, open_browser
from tests.web.chatting import begin, box, call, done

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
options = { delay_s = 0.005 }
"""
"""200 tokens a second."""

PERSON = "ann@example.org"
TRACED = ["toplevel"]
"""What the browser is asked to record: each task of each thread, with the processor time that it took."""
YARDSTICK = """() => {
    const begun = performance.now();
    let found = 0;
    for (let at = 0; at < 3e7; at++) found = (found * 31 + at) | 0;
    return performance.now() - begun + 0 * found;
}"""
PARAGRAPH = (
    "Tea is **grown** in many places, see [the list](https://example.org), and `brewed` with \\(m = 2c\\) grams.\n\n"
    "- warm the pot\n- pour the water\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\ny = x + 2\n```\n\n"
)


def first_load(page: Page) -> float:
    """Milliseconds from the start of the navigation until one can write, with an empty cache."""
    page.goto("/", wait_until="commit")
    page.get_by_role("textbox", name="Message").wait_for()
    found: float = page.evaluate("performance.now()")
    return found


def opened(page: Page, address: str, last: str) -> float:
    """Milliseconds from the start of the navigation until the last message is there."""
    page.goto(address, wait_until="commit")
    page.get_by_text(last, exact=True).wait_for()
    found: float = page.evaluate("performance.now()")
    return found


def streamed(page: Page) -> float:
    """The longest task of the page's main thread, in milliseconds of processor time, while 1,000 tokens arrive."""
    begin(page)
    browser = page.context.browser
    assert browser is not None
    box(page).fill(" ".join((PARAGRAPH * 40).split(" ")[:1000]))
    browser.start_tracing(page=page, categories=TRACED)
    box(page).press("Enter")
    done(page)
    return longest_task(json.loads(browser.stop_tracing())["traceEvents"])


def longest_task(events: list[dict[str, Any]]) -> float:
    """Processor time, not time on the wall: what else the machine does meanwhile is no work of the page's."""
    threads = {(each["pid"], each["tid"]): each["args"]["name"] for each in events if each.get("name") == "thread_name"}
    return max(
        float(each["tdur"]) / 1000
        for each in events
        if "RunTask" in each.get("name", "")
        and "tdur" in each
        and threads.get((each["pid"], each["tid"])) == "CrRendererMain"
    )


def long_conversation(page: Page, count: int) -> str:
    """A conversation with so many messages; its path."""
    page.goto("/")
    made = call(page, "POST", "/v1/conversations", {"metadata": {"kind": "chat", "title": "Long"}})
    for first in range(0, count, 20):
        items = [
            {"role": "user" if at % 2 == 0 else "assistant", "content": f"message {at}\n\n{PARAGRAPH}"}
            for at in range(first, first + 19)
        ]
        items.append({"role": "assistant", "content": f"message {first + 19}"})
        call(page, "POST", f"/v1/conversations/{made['id']}/items", {"items": items})
    return f"/chat/{made['id']}"


def measured(pages: Pages, service: Service, rounds: int, take: Callable[[Page], float]) -> list[float]:
    """What each round found, in a window of its own with an empty cache."""
    found = []
    for _ in range(rounds):
        with pages.person(service, PERSON) as page:
            found.append(take(page))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder), CONFIG) as service, open_browser() as pages:
        make_person(service, PERSON, name="Ann")
        with pages.person(service, PERSON) as page:
            address = long_conversation(page, given.messages)
        last = f"message {given.messages - 1}"
        yard = measured(pages, service, given.rounds, lambda page: float(page.evaluate(YARDSTICK)))
        load = measured(pages, service, given.rounds, first_load)
        long = measured(pages, service, given.rounds, lambda page: opened(page, address, last))
        busy = measured(pages, service, given.rounds, streamed)
    print(f"yardstick                     {statistics.median(yard):7.0f} ms")
    print(f"first load until interactive  {statistics.median(load):7.0f} ms")
    print(f"{given.messages} messages until shown     {statistics.median(long):7.0f} ms")
    print(f"longest task while streaming  {max(busy):7.0f} ms   (each round: {', '.join(f'{x:.0f}' for x in busy)})")


if __name__ == "__main__":
    main()
