"""The host of an engine on its node, without Ray: found, taken over, left, and ended when it is forgotten."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from freehold.cluster.authority import Authority
from freehold.cluster.host import PACKAGE, TAKEN, EngineHost
from freehold.errors import Conflict, NotFound

PATIENCE_S = 60.0
GRACE_S = 120.0
SAYS = "import time; print('here', flush=True); time.sleep(600)"
RECORD = {"workload": "chat-1", "deployment": "chat", "digest": "ab"}


class _Hosting:
    """A host, and whether it has ended itself."""

    def __init__(self) -> None:
        self.left = Event()
        self.now_s = 0.0
        self.host = EngineHost("a.1", "a", 1, GRACE_S, self.left.set, lambda: self.now_s)

    async def start(self, folder: Path, code: str = SAYS) -> dict[str, int]:
        """Start an engine of that code, as a gateway does."""
        authority = Authority.load_or_make(folder)
        certificate = authority.sign(await self.host.request_certificate("one"), name="one")
        order = {
            "argv": [sys.executable, "-c", code],
            "env": {},
            "python": sys.executable,
            "package": str(PACKAGE),
            "socket": str(folder / "engine.sock"),
            "digests": {},
            "host": "127.0.0.1",
            "certificate": certificate,
            "authority": authority.certificate_pem,
            "record": RECORD,
        }
        return await self.host.start(order)


@contextmanager
def _hosting() -> Iterator[_Hosting]:
    """A host for the length of a block."""
    hosting = _Hosting()
    try:
        yield hosting
    finally:
        hosting.host.close()


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await scenario()

    asyncio.run(main())


async def _heard(host: EngineHost, hand: str, kind: str) -> list[Any]:
    """The first news of that kind."""
    while True:
        for piece in await host.news(hand):
            if piece[0] == kind:
                return piece


def test_it_tells_what_it_has(tmp_path: Path) -> None:
    """Any gateway is told in whose hands it is, whether its engine runs, where, and with what it was started."""

    async def scenario() -> None:
        with _hosting() as hosting:
            had = {"owner": "a", "epoch": 1, "silent_s": 0.0, "held": True}
            assert await hosting.host.record() == {**had, "runs": False}
            started = await hosting.start(tmp_path)
            found = await hosting.host.record()
            assert found == {**RECORD, "host": "127.0.0.1", **started, **had, "runs": True}
            await hosting.host.kill("a.1")
            assert not (await hosting.host.record())["runs"]

    _run(scenario)


def test_another_gateway_takes_it_over(tmp_path: Path) -> None:
    """The engine goes on, the new gateway hears it and ends it; the old one is told, and can do nothing to it."""

    async def scenario() -> None:
        with _hosting() as hosting:
            host, started = hosting.host, await hosting.start(tmp_path)
            assert await _heard(host, "a.1", "line") == ["line", "here"]
            waiting = asyncio.create_task(host.news("a.1"))
            await asyncio.sleep(0)
            assert await host.attach("b.1", "b", 2, "chat-7") == started["pid"]
            assert await waiting == [[TAKEN, "b"]]
            with pytest.raises(Conflict, match="The gateway 'b' has the engine now"):
                await host.terminate("a.1", 5.0)
            with pytest.raises(Conflict):
                await host.kill("a.1")
            assert not await host.give_up("a.1")
            assert await host.renew("b.1", 3)
            assert not await host.renew("a.1", 4)
            found = await host.record()
            assert (found["workload"], found["owner"], found["epoch"]) == ("chat-7", "b", 3)
            os.kill(started["pid"], 0)
            await host.terminate("b.1", 5.0)
            assert await _heard(host, "b.1", "exit") == ["exit", -15]
            with pytest.raises(NotFound):
                await host.attach("c.1", "c", 3, "chat-8")

    _run(scenario)


def test_what_is_released_is_anybodys(tmp_path: Path) -> None:
    """A gateway that hands over leaves the engine running, and another one has it at once."""

    async def scenario() -> None:
        with _hosting() as hosting:
            host, started = hosting.host, await hosting.start(tmp_path)
            await host.release("a.1")
            found = await host.record()
            assert not found["held"]
            assert await host.attach("b.1", "b", 1, "chat-1") == started["pid"]
            await host.kill("b.1")

    _run(scenario)


def test_a_forgotten_one_ends_itself_with_its_engine(tmp_path: Path) -> None:
    """When no gateway is heard for the time of grace, the engine is asked to end, and then the host leaves."""
    last = "import signal, sys, time\n"
    last += f"signal.signal(15, lambda *_: (open({str(tmp_path / 'asked')!r}, 'w').close(), sys.exit(0)))\n"
    last += "print('here', flush=True); time.sleep(600)\n"

    async def scenario() -> None:
        with _hosting() as hosting:
            started = await hosting.start(tmp_path, last)
            assert await _heard(hosting.host, "a.1", "line") == ["line", "here"]
            hosting.now_s = GRACE_S + 1
            assert await asyncio.to_thread(hosting.left.wait, PATIENCE_S)
            assert (tmp_path / "asked").exists()
            with pytest.raises(ProcessLookupError):
                os.kill(started["pid"], 0)
            with pytest.raises(NotFound):
                await hosting.host.attach("b.1", "b", 2, "chat-1")

    _run(scenario)


def test_who_ends_it_has_it_come_into_no_other_hands(tmp_path: Path) -> None:
    """From when its holder says that it ends, nobody takes it over, who would lose it at once."""

    async def scenario() -> None:
        with _hosting() as hosting:
            host, _ = hosting.host, await hosting.start(tmp_path)
            assert not await host.give_up("b.1")
            assert await host.give_up("a.1")
            with pytest.raises(NotFound):
                await host.attach("b.1", "b", 2, "chat-1")
            await host.kill("a.1")

    _run(scenario)
