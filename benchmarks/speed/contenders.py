"""The gateways that are measured, each as a process of its own before the same upstream."""

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.processes import free_port, running
from benchmarks.serving import server
from benchmarks.speed.peers import NODES, litellm, portkey
from benchmarks.speed.upstream import MODEL
from freehold.cli.bench_load import Place

PATH: Final = "/v1/chat/completions"
FREEHOLD_ON: Final = (
    "key, limits of requests, tokens and money, content filter (default policy), metering by price, audit journal "
    "with a synced receipt for each request"
)
_FREEHOLD: Final = """
[server]
starter = false
log_level = "warning"

[supervisor]
measure = "on_demand"

[[deployment]]
name = "{model}"
engine = "remote"
model = "{model}"
base_url = "{upstream}/v1"
price = {{ input = "0.15", output = "0.60" }}

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
parallel = 256
price = {{ input = "0.15", output = "0.60" }}
"""
LIMITS: Final = """
[[limit]]
scope = "organization"
id = "*"
requests_per_minute = 100000000
tokens_per_minute = 100000000000
budget_per_month = "1000000000"

[[limit]]
scope = "project"
id = "*"
requests_per_minute = 100000000
tokens_per_minute = 100000000000
concurrent_requests = 100000
budget_per_day = "100000000"

[[limit]]
scope = "key"
id = "*"
requests_per_minute = 100000000
tokens_per_minute = 100000000000
budget_per_day = "100000000"
"""
"""Limits at every place where there can be some, so wide that none is reached."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One gateway that runs.

    Args:
        name: what tables call it.
        place: where it listens.
        pid: its process; 0 for the upstream asked directly.
        headers: what a request to it needs.
        model: what a request to it names.
        does: what is switched on in it, for the page.
        version: its own.
        streams: whether its streams are those of the upstream, so that they can be measured.
    """

    name: str
    place: Place
    pid: int
    does: str
    version: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    model: str = MODEL
    streams: bool = True


Starting = Callable[[str, Path, Path], AbstractAsyncContextManager[list[Contender]]]
"""What starts a contender: takes the upstream's URL, the cache's folder and a folder for its files."""


@asynccontextmanager
async def upstream(folder: Path) -> AsyncIterator[tuple[str, Contender]]:
    """The upstream; its URL, and it as a contender, which tells how fast the generator and it are."""
    port = free_port()
    argv = [sys.executable, "-m", "benchmarks.speed.upstream", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    async with running(argv, ready=f"{url}/v1/models", log=folder / "upstream.log") as pid:
        yield url, Contender("upstream", Place(port=port), pid, "nothing: the mock itself, asked directly")


@asynccontextmanager
async def bare(url: str, cache: Path, folder: Path) -> AsyncIterator[list[Contender]]:  # noqa: ARG001
    """The bare pass-through."""
    port = free_port()
    argv = [sys.executable, "-m", "benchmarks.speed.bare", "--upstream", url, "--port", str(port)]
    async with running(argv, ready=f"http://127.0.0.1:{port}/v1/models", log=folder / "bare.log") as pid:
        yield [Contender("bare pass-through", Place(port=port), pid, "nothing: forwards bodies (uvicorn, aiohttp)")]


@asynccontextmanager
async def freehold(url: str, cache: Path, folder: Path) -> AsyncIterator[list[Contender]]:  # noqa: ARG001
    """Freehold before the upstream and, on the same server, before its echo engine."""
    config = _FREEHOLD.format(model=MODEL, upstream=url) + LIMITS
    async with server(folder / "freehold", config) as (own, key, pid):
        place = Place(port=int(own.rpartition(":")[2]))
        headers = {"authorization": f"Bearer {key}"}
        yield [
            Contender("Freehold", place, pid, FREEHOLD_ON, headers=headers),
            Contender("Freehold, echo engine", place, pid, FREEHOLD_ON, "", headers, "echo", streams=False),
        ]


@asynccontextmanager
async def litellm_proxy(url: str, cache: Path, folder: Path) -> AsyncIterator[list[Contender]]:
    """LiteLLM's proxy with one worker, as `litellm --config` starts it, without a database."""
    installed = litellm(cache)
    port = free_port()
    config = folder / "litellm.yaml"
    model = {"model": f"openai/{MODEL}", "api_base": f"{url}/v1", "api_key": "none"}
    settings = {
        "model_list": [{"model_name": MODEL, "litellm_params": model}],
        "general_settings": {"master_key": "sk-benchmark"},
        "litellm_settings": {"telemetry": False},
    }
    config.write_text(json.dumps(settings), encoding="utf-8")  # YAML reads JSON
    argv = [str(installed.program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
    env = {**kept, "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    ready = f"http://127.0.0.1:{port}/health/liveliness"
    async with running([*argv, "--num_workers", "1"], ready=ready, log=folder / "litellm.log", env=env) as pid:
        does = "master key; no database, so no keys, budgets or spend records; no guardrails"
        headers = {"authorization": "Bearer sk-benchmark"}
        yield [Contender("LiteLLM", Place(port=port), pid, does, installed.version, headers)]


@asynccontextmanager
async def portkey_gateway(url: str, cache: Path, folder: Path) -> AsyncIterator[list[Contender]]:
    """Portkey's open-source gateway, on the Node of its own image and on the present one."""
    does = "nothing: the open-source gateway has no keys of its own, no limits and no records"
    headers = {"authorization": "Bearer none", "x-portkey-provider": "openai", "x-portkey-custom-host": f"{url}/v1"}
    async with AsyncExitStack() as stack:
        found = []
        for major in NODES:
            installed = portkey(cache, major)
            port = free_port()
            argv = [str(installed.runner), str(installed.program), f"--port={port}", "--headless"]
            log = folder / f"portkey-{major}.log"
            pid = await stack.enter_async_context(running(argv, ready=f"http://127.0.0.1:{port}/", log=log))
            name = f"Portkey, Node {major}"
            found.append(Contender(name, Place(port=port), pid, does, installed.version, headers))
        yield found


GATEWAYS: Final[Mapping[str, Starting]] = {
    "bare": bare,
    "freehold": freehold,
    "litellm": litellm_proxy,
    "portkey": portkey_gateway,
}
"""By the name that `--gateways` takes; in the order of the tables."""


def wrk() -> str | None:
    """The load generator of that name, where it is installed."""
    return shutil.which("wrk")
