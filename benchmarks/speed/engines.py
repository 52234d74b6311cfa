"""The engines in turn, one small model: llama.cpp's server as it is, and Freehold's deployments through the gateway.

Tokens a second for some numbers of streams at once, greedy, each of the same length; and how fast a long prompt that
nobody has seen before is read. Everything that Freehold has is on; llama.cpp's server is asked directly.
"""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import family_mb, free_port, running
from benchmarks.serving import server
from benchmarks.speed.contenders import LIMITS
from benchmarks.speed.peers import llama_server
from benchmarks.speed.prompts import long_prompt, story_prompts
from benchmarks.speed.rounds import Samples, in_turn
from freehold.cli.bench_load import Place
from freehold.cli.bench_streams import Endpoint, Wave, wave
from freehold.engines.registry import ENGINES

MODEL: Final = "smollm2-135m-instruct"
CONTEXT: Final = 2048
PROMPT_TOKENS: Final = 1500
ATTEMPTS: Final = 5
CONFIG: Final = """
[server]
starter = false
log_level = "warning"

[supervisor]
fast_engines = ["openvino"]
measure = "on_demand"
"""
"""Nothing is measured by a server that waits for its turn: that would disturb the others."""
DEPLOYMENT: Final = """
[[deployment]]
name = "{name}"
model = "{model}"
engine = "{engine}"
context_length = {context}
parallel = {parallel}
price = {{ input = "0.15", output = "0.60" }}
"""


@dataclass(frozen=True, slots=True)
class Runner:
    """Something that generates.

    Args:
        name: what tables call it.
        endpoint: where it is asked.
        body: what each request to it has, besides prompt and length.
        pid: its process, with those that it started.
        does: how it runs, for the page.
        version: of what generates.
        home: of a Freehold server; its receipts tell which engine served.
    """

    name: str
    endpoint: Endpoint
    body: Mapping[str, Any]
    pid: int
    does: str
    version: str
    home: Path | None = None

    def served_by(self) -> dict[str, int]:
        """How many requests which engine served, as the receipts say; nothing without a home."""
        if self.home is None:
            return {}
        lines = [line for file in (self.home / "journal").rglob("*.jsonl") for line in file.read_bytes().splitlines()]
        records = [json.loads(line) for line in lines]
        return dict(Counter(str(each["body"]["engine"]) for each in records if each["kind"] == "receipt"))


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: rounds, numbers of streams at once, the tokens of each, and which of `RUNNERS`."""

    rounds: int = 5
    streams: tuple[int, ...] = (1, 16, 32)
    tokens: int = 64
    runners: tuple[str, ...] = ("llamacpp-server", "llama-server", "llamacpp", "openvino", "auto")


GREEDY: Final = {"temperature": 0}
LLAMACPP_PLAIN: Final = {"top_k": 1, "min_p": 0, "typical_p": 1, "repeat_penalty": 1, "cache_prompt": False}
"""The least sampling work that llama.cpp's server can be asked for; and no prompt is taken from its cache."""

Starting = Callable[[Path, Plan, Path], AbstractAsyncContextManager[list[Runner]]]


@asynccontextmanager
async def wheel_server(weights: Path, plan: Plan, folder: Path) -> AsyncIterator[list[Runner]]:
    """The wheel's server with the parameters of Freehold's own engine process."""
    socket = folder / "llamacpp.sock"
    spec = {
        "socket": str(socket), "model": str(weights), "task": "chat", "parallel": max(plan.streams),
        "context_length": CONTEXT, "options": {},
    }  # fmt: skip
    argv = [sys.executable, "-m", "freehold.engines.llamacpp_server", "--spec", json.dumps(spec)]
    async with running(argv, ready="http://localhost/health", socket=socket, log=folder / "llamacpp.log") as pid:
        endpoint = Endpoint(Place(socket=socket), shown=str(socket), headers=(("connection", "close"),))
        does = "asked directly on its socket; nothing else is on"
        yield [
            Runner("llama.cpp server (wheel)", endpoint, {"model": "x", **GREEDY, **LLAMACPP_PLAIN}, pid, does,
                   f"xllamacpp {version('xllamacpp')}")
        ]  # fmt: skip


@asynccontextmanager
async def native_server(weights: Path, plan: Plan, folder: Path) -> AsyncIterator[list[Runner]]:
    """A `llama-server` that the user has, with its own defaults but for slots and context; nothing where none is."""
    found = llama_server()
    if found is None:
        sys.stderr.write("no llama-server on PATH: llama.cpp's native build is left out\n")
        yield []
        return
    port, slots = free_port(), max(plan.streams)
    argv = [str(found.program), "-m", str(weights), "--host", "127.0.0.1", "--port", str(port)]
    argv += ["-np", str(slots), "-c", str(CONTEXT * slots)]
    async with running(argv, ready=f"http://127.0.0.1:{port}/health", log=folder / "llama-server.log") as pid:
        endpoint = Endpoint(Place(port=port), shown=f"port {port}")
        does = "asked directly over TCP; nothing else is on"
        body = {"model": "x", **GREEDY, **LLAMACPP_PLAIN}
        yield [Runner("llama.cpp server (native)", endpoint, body, pid, does, found.version)]


def deployment(engine: str) -> Starting:
    """Freehold with one deployment of that engine, on a home of its own."""

    @asynccontextmanager
    async def start(weights: Path, plan: Plan, folder: Path) -> AsyncIterator[list[Runner]]:
        if engine != "auto" and engine not in ENGINES:
            sys.stderr.write(f"this Freehold has no engine '{engine}': it is left out\n")
            yield []
            return
        model, parallel = f"file://{weights}", max(plan.streams)
        part = DEPLOYMENT.format(name=engine, model=model, engine=engine, context=CONTEXT, parallel=parallel)
        home = folder / engine
        async with server(home, CONFIG + part + LIMITS) as (url, key, pid):
            does, endpoint, body = "everything on; through the gateway", Endpoint.of_url(url, key), {"model": engine}
            name, library = f"Freehold, {engine}", _library(engine)
            yield [Runner(name, endpoint, {**body, **GREEDY}, pid, does, library, home)]

    return start


def _library(engine: str) -> str:
    names = {"llamacpp": ["xllamacpp"], "openvino": ["openvino-genai"], "auto": ["xllamacpp", "openvino-genai"]}[engine]
    return ", ".join(f"{name} {version(name)}" for name in names)


RUNNERS: Final[Mapping[str, Starting]] = {
    "llamacpp-server": wheel_server,
    "llama-server": native_server,
    "llamacpp": deployment("llamacpp"),
    "openvino": deployment("openvino"),
    "auto": deployment("auto"),
}
"""By the name that `--engines` takes; in the order of the tables."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Samples by runner, and who the runners are."""

    runners: tuple[Runner, ...]
    samples: Samples
    served_by: Mapping[str, Mapping[str, int]]
    plan: Plan

    def as_json(self) -> dict[str, Any]:
        """For the file of results."""
        return {
            "model": MODEL,
            "rounds": self.plan.rounds,
            "streams": list(self.plan.streams),
            "tokens": self.plan.tokens,
            "contenders": [{"name": r.name, "version": r.version, "does": r.does} for r in self.runners],
            "served_by": self.served_by,
            "samples": self.samples.values,
        }


async def measure(plan: Plan, weights: Path) -> Outcome:
    """Start all, measure them in turn, end them."""
    samples = Samples()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fh")))
        runners: list[Runner] = []
        for name in plan.runners:
            runners += await stack.enter_async_context(RUNNERS[name](weights, plan, folder))
        named = {runner.name: runner for runner in runners}
        for runner in runners:
            await _told(runner, "warm", 2, 8)
        for number, name in in_turn(list(named), plan.rounds):
            sys.stderr.write(f"round {number + 1} of {plan.rounds}: {name}\n")
            samples.add(name, await _turn(named[name], plan, f"{number}"))
        served_by = {runner.name: runner.served_by() for runner in runners if runner.home is not None}
    return Outcome(tuple(runners), samples, served_by, plan)


def _bodies(runner: Runner, nonce: str, streams: int, tokens: int) -> list[dict[str, Any]]:
    return [
        {**runner.body, "max_tokens": tokens, "messages": [{"role": "user", "content": prompt}]}
        for prompt in story_prompts(nonce, streams)
    ]


async def _told(runner: Runner, nonce: str, streams: int, tokens: int) -> Wave:
    """Streams that all have the same length: where a model ends a story before it is that long, others are asked for.

    Raises:
        SystemExit: a stream went wrong, or stories end early again and again.
    """
    short = 0
    for attempt in range(ATTEMPTS):
        name = f"{nonce}-{attempt}" if attempt else nonce
        found = _well(runner, await wave(runner.endpoint, _bodies(runner, name, streams, tokens)))
        short = sum(stream.completion_tokens != tokens for stream in found.streams)
        if not short:
            return found
    raise SystemExit(f"{runner.name}: {short} of {streams} streams had not {tokens} tokens, {ATTEMPTS} times in a row")


def _well(runner: Runner, found: Wave) -> Wave:
    """Hold that all streams went well.

    Raises:
        SystemExit: otherwise.
    """
    if found.errors:
        raise SystemExit(f"{runner.name}: {found.errors[0].http_status} {found.errors[0].message}")
    return found


async def _turn(runner: Runner, plan: Plan, nonce: str) -> dict[str, float | None]:
    """One runner's measures of one round."""
    found: dict[str, float | None] = {}
    for streams in plan.streams:
        run = await _told(runner, f"{nonce}-{streams}", streams, plan.tokens)
        found[f"tokens/s at {streams}"] = run.tokens_per_s
        found[f"first token ms at {streams}"] = sorted(s.first_s for s in run.streams)[streams // 2] * 1000
    prompt = long_prompt(nonce, PROMPT_TOKENS)
    body = {**runner.body, "max_tokens": 1, "messages": [{"role": "user", "content": prompt}]}
    (stream,) = _well(runner, await wave(runner.endpoint, [body])).streams
    if stream.cached_tokens > PROMPT_TOKENS // 10:
        raise SystemExit(f"{runner.name}: {stream.cached_tokens} tokens of a fresh prompt came from a cache")
    found["prompt tokens"] = float(stream.prompt_tokens)
    found["prefill tokens/s"] = stream.prompt_tokens / stream.first_s
    return found | {"memory MB": family_mb(runner.pid)}
