"""A real browser for tests: Chromium without a window, told what to do over its DevTools protocol.

async with open_chromium(tmp_path) as tab:
    await tab.open("http://127.0.0.1:8080/signin")
    await tab.do("document.querySelector('#email').value = 'a'")
    await tab.until("location.pathname == '/'")

Tests that need it are skipped where it is not installed.
"""

import asyncio
import base64
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest

_PATIENCE_S = 120.0
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def chromium_program() -> str:
    """Where Chromium is; skips the test where it is not."""
    found = next((path for name in _PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed: none of {', '.join(_PROGRAMS)}")
    return found


class Tab:
    """One tab."""

    def __init__(self, socket: "aiohttp.ClientWebSocketResponse") -> None:
        self._socket = socket
        self._numbers = count(1)
        self._session = ""

    async def attach(self) -> None:
        """Open an empty tab."""
        target = await self._call("Target.createTarget", url="about:blank")
        attached = await self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]

    async def open(self, url: str) -> None:
        """Go to an address."""
        await self._call("Page.navigate", url=url)
        await self.until(f"location.href.startsWith({json.dumps(url)}) && document.readyState == 'complete'")

    async def do(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = await self._call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer.get("result", {}).get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression is true, on whichever page the tab then is."""
        for _ in range(int(_PATIENCE_S / 0.05)):
            if await self.do(f"!!({condition})"):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"did not happen: {condition}; at {await self.do('location.href')}")

    async def cookies(self) -> dict[str, dict[str, Any]]:
        """What the browser keeps for the page's server."""
        answer = await self._call("Network.getCookies")
        return {cookie["name"]: cookie for cookie in answer["cookies"]}

    async def picture(self) -> bytes:
        """How the page looks, as a PNG file."""
        answer = await self._call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        await self._socket.send_json(message | ({"sessionId": self._session} if self._session else {}))
        while True:
            answer = await self._socket.receive_json(timeout=_PATIENCE_S)
            if answer.get("id") == number:
                assert "error" not in answer or method == "Runtime.evaluate", answer
                return dict(answer.get("result", {}))


@asynccontextmanager
async def open_chromium(folder: Path) -> AsyncIterator[Tab]:
    """A new browser with a profile in `folder`."""
    process = await asyncio.create_subprocess_exec(
        chromium_program(),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder / 'chromium'}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(folder)},
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(_PATIENCE_S):
            url = ""
            while not url:
                line = (await process.stderr.readline()).decode("utf-8", "replace")
                assert line, "Chromium did not start"
                url = line.partition("listening on ")[2].strip()
        async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
            tab = Tab(socket)
            await tab.attach()
            yield tab
    finally:
        process.kill()
        await process.wait()
