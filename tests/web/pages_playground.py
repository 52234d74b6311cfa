"""The sights of the playground."""

import base64
import json
from typing import Any

from playwright.sync_api import Page

from tests.web.sights import Sight

TEXT = "What is the tallest mountain of Europe? Answer in one sentence, then get_weather for its top."
REQUEST = {"model": "echo", "messages": [{"role": "user", "content": TEXT}], "stream": True}
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a place",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["high", "low"]}, "metres": {"type": "integer"}},
    "required": ["label", "metres"],
}


def sights() -> list[Sight]:
    """The parts of a request and the views of an answer; needs a deployment `echo` and another one."""
    tools = [{"type": "function", "function": WEATHER}]
    schema = {"type": "json_schema", "json_schema": {"name": "answer", "strict": False, "schema": SCHEMA}}
    return [
        Sight("playground", _link({"seed": 1}), _answered),
        Sight("playground-parameters", _link({"top_p": 0.9, "logprobs": True}), _parameters),
        Sight("playground-tools", _link({"tools": tools}), _tools),
        Sight("playground-schema", _link({"response_format": schema}), _schema),
        Sight("playground-probabilities", _link({"logprobs": True, "top_logprobs": 5}), _probabilities),
        Sight("playground-raw", _link({"seed": 2}), _raw),
        Sight("playground-code", _link({"seed": 3}), _code),
        Sight("playground-failed", _link({"verbosity": "low"}), _failed),
        Sight("playground-compare", _link({"seed": 4}), _compare),
    ]


def _link(more: dict[str, Any]) -> str:
    """An address that opens the playground with a request."""
    kept = json.dumps({"endpoint": "chat", "body": {**REQUEST, **more}}).encode()
    return "/playground#r=" + base64.urlsafe_b64encode(kept).decode().rstrip("=")


def _request(page: Page, name: str) -> None:
    """Open a part of the request, which on a phone is behind a tab."""
    page.get_by_role("button", name="Run").wait_for()
    side = page.get_by_role("tab", name="Request", exact=True)
    if side.count():
        side.click()
    page.get_by_role("tab", name=name).first.click()


def _run(page: Page, view: str = "Answer") -> None:
    page.get_by_role("button", name="Run").click()
    page.get_by_role("button", name="Run").wait_for()
    page.get_by_role("tab", name=view, exact=True).last.click()


def _answered(page: Page) -> None:
    _run(page)
    page.get_by_role("button", name="Go on from here").wait_for()


def _parameters(page: Page) -> None:
    _request(page, "Parameters")
    page.get_by_label("temperature", exact=True).fill("3")


def _tools(page: Page) -> None:
    _request(page, "Tools")
    page.get_by_role("textbox", name="Parameters (JSON schema)").wait_for()
    _run(page)
    page.get_by_label("What get_weather gives").wait_for()


def _schema(page: Page) -> None:
    _request(page, "Format")
    page.get_by_role("textbox", name="JSON schema").wait_for()
    _run(page, "JSON")
    page.get_by_text("It meets the schema").wait_for()


def _probabilities(page: Page) -> None:
    _run(page, "Probabilities")
    page.get_by_role("list", name="Likeliest here").wait_for()


def _raw(page: Page) -> None:
    _request(page, "Messages")
    _run(page, "Raw")
    page.get_by_role("link", name="Open the receipt").wait_for()


def _code(page: Page) -> None:
    page.get_by_role("button", name="View code").click()
    page.get_by_text("import OpenAI").wait_for()


def _failed(page: Page) -> None:
    page.keyboard.press("Escape")
    _request(page, "Parameters")
    _run(page)
    page.get_by_role("alert").wait_for()


def _compare(page: Page) -> None:
    _request(page, "Messages")
    page.get_by_label("Compare").check()
    _run(page)
    page.get_by_role("button", name="Go on from here").last.wait_for()
