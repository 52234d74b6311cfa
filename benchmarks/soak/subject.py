"""The server that a soak is about: a home of its own, several deployments, and all that keeps count switched on."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from benchmarks.processes import free_port, running
from benchmarks.speed.contenders import LIMITS, upstream
from freehold.cli.bench_load import Place
from freehold.governance.directory import ORGANIZATION, PROJECT
from freehold.store.home import Home

DEPLOYMENTS: Final = ("quick", "twin", "far")
ENGINES: Final = ("quick", "twin", "twin")
"""Of which deployments engines are killed; of the one with two replicas twice as often."""
KEYS: Final = ("callers", "leavers", "readers", "pipers", "poor")
"""A key for each kind of caller, so that the receipts of each can be counted."""
POOR_REQUESTS: Final = 120
"""A minute, for the key that is to run into its limit."""
READERS: Final = 6
"""Requests at once of slow readers; those above are refused."""
_BUDGET: Final = "100000"
_CONFIG: Final = """
[server]
starter = false
log_level = "warning"
drain_s = 10
workers = {workers}

[supervisor]
probe_timeout_s = 10.0
backoff_initial_s = 0.1
backoff_max_s = 1.0

[[deployment]]
name = "quick"
engine = "echo"
model = "echo"
parallel = 64
price = {{ input = "0.15", output = "0.60" }}

[[deployment]]
name = "twin"
engine = "echo"
model = "echo"
replicas = 2
parallel = 32
options = {{ delay_s = 0.002 }}
price = {{ input = "0.15", output = "0.60" }}

[[deployment]]
name = "far"
engine = "remote"
model = "mock"
base_url = "{upstream}/v1"
price = {{ input = "0.15", output = "0.60" }}
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A caller's key: by which id receipts name it, and what is sent."""

    id: str
    secret: str


@dataclass(frozen=True, slots=True)
class Subject:
    """A server that runs.

    Args:
        place: where it listens.
        url: the same as a URL.
        home: its folder.
        log: what it printed and logged.
        pid: its process.
        session: asks its admin API as the owner.
        keys: the callers', by their names in `KEYS`.
    """

    place: Place
    url: str
    home: Path
    log: Path
    pid: int
    session: aiohttp.ClientSession
    keys: Mapping[str, Key]

    async def get(self, path: str) -> Any:
        """What a path of the admin API says; raises SystemExit with what it says instead."""
        return await self._ask("GET", path, None)

    async def send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Change something by the admin API."""
        return await self._ask(method, path, body)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        async with self.session.request(method, self.url + path, json=body) as answer:
            if answer.status >= 300:
                raise SystemExit(f"{method} {path} was answered with {answer.status}: {await answer.text()}")
            return await answer.json() if answer.content_type == "application/json" else await answer.text()

    async def ready(self) -> bool:
        """Whether every deployment serves."""
        async with self.session.get(f"{self.url}/health/ready") as answer:
            return answer.status == 200


@asynccontextmanager
async def subject(folder: Path, *, workers: int = 1) -> AsyncIterator[Subject]:
    """Run the server while the block runs, with its keys and limits made."""
    home, log, port = folder / "home", folder / "server.log", free_port()
    home.mkdir()
    async with AsyncExitStack() as stack:
        far, _ = await stack.enter_async_context(upstream(folder))
        config = home / "soak.toml"
        config.write_text(_CONFIG.format(upstream=far, workers=workers) + LIMITS, encoding="utf-8")
        argv = [sys.executable, "-m", "freehold", "serve", "--home", str(home), "--config", str(config)]
        url = f"http://127.0.0.1:{port}"
        argv += ["--host", "127.0.0.1", "--port", str(port)]
        pid = await stack.enter_async_context(running(argv, ready=f"{url}/health/live", log=log))
        owner = Home(home).admin_key.read_text(encoding="utf-8").strip()
        session = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"authorization": f"Bearer {owner}"}, timeout=aiohttp.ClientTimeout(total=60))
        )
        found = Subject(Place(port=port), url, home, log, pid, session, {})
        while not await found.ready():  # noqa: ASYNC110  # it is another process
            await asyncio.sleep(0.1)
        keys = {name: await _key(found, name) for name in KEYS}
        await _limit(found, "organization", ORGANIZATION, budget_per_month=_BUDGET)
        await _limit(found, "project", PROJECT, budget_per_month=_BUDGET)
        yield Subject(found.place, url, home, log, pid, session, keys)


async def _key(found: Subject, name: str) -> Key:
    """Make a key and a limit of its own, whose use the API then tells."""
    made = await found.send("POST", "/admin/keys", {"name": name})
    own: dict[str, Any] = {"budget_per_month": _BUDGET}
    if name == "poor":
        own["requests_per_minute"] = POOR_REQUESTS
    elif name == "readers":
        own["concurrent_requests"] = READERS
    await _limit(found, "key", made["id"], **own)
    return Key(made["id"], made["key"])


async def _limit(found: Subject, scope: str, subject_id: str, **limits: Any) -> None:
    await found.send("PUT", "/admin/limits", {"scope": scope, "id": subject_id, **limits})
