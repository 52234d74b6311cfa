"""A real engine for trying the supervisor: a process of its own on a Unix socket, with any bad habit wanted."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from freehold.engines.base import Connection, Engine, EngineSpec, Launch
from freehold.engines.registry import get_engine
from freehold.errors import ConfigError, EngineFailed, EngineUnavailable
from freehold.types.address import Address
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest, Prompt
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature, Traits
from freehold.types.generation import Delta, Embeddings, Event, Usage

PROCESS = Path(__file__).with_name("trial_process.py")
FAR_AWAY = "far"
"""The option that makes the engine one that runs elsewhere, on the socket which it names."""


class TrialConnection(Connection):
    """Asks one line and reads one line, each time on a new connection to the socket.

    The prompt of a completion is the number of seconds to work; the answer is the id of the process.
    """

    def __init__(self, socket: Path, traits: Traits) -> None:
        self._socket = socket
        self._traits = traits

    async def ask(self, line: str) -> str:
        """One answer; what goes wrong is told as the contract says."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError as exc:
            raise EngineUnavailable("the engine does not listen") from exc
        try:
            writer.write(f"{line}\n".encode())
            answer = (await reader.readline()).decode().strip()
        except OSError as exc:
            raise EngineFailed("the engine broke off") from exc
        finally:
            writer.close()
        if not answer:
            raise EngineFailed("the engine broke off")
        if answer == "wait":
            raise EngineUnavailable("loading 50 %")
        return answer

    async def open(self) -> Traits:
        await self.ask("open")
        return self._traits

    async def check(self) -> None:
        await self.ask("check")

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Event]:
        del request
        yield Delta(text=await self.ask("work 0"), finish_reason="stop")
        yield Usage()

    async def complete(self, request: CompletionRequest, prompt: Prompt) -> AsyncGenerator[Event]:
        del request
        yield Delta(text=await self.ask(f"work {prompt}"), finish_reason="stop")
        yield Usage()

    async def embed(self, inputs: Sequence[Prompt], dimensions: int | None) -> Embeddings:
        del dimensions
        await self.ask("work 0")
        return Embeddings(vectors=tuple((1.0,) for _ in inputs), usage=Usage())

    async def close(self) -> None:
        """Nothing is kept open between two questions."""


class TrialEngine(Engine):
    """The options are those that trial_process.py reads, and those that are read here."""

    name = "trial"
    needs_weights = False

    def validate(self, settings: DeploymentSettings) -> None:
        if settings.options.get("broken"):
            raise ConfigError("options.broken: is set")

    def potential(self, settings: DeploymentSettings) -> frozenset[Feature]:
        options = settings.options
        return frozenset(Feature(name) for name in (*options.get("features", ["chat"]), *options.get("hoped", [])))

    def measurement(self, spec: EngineSpec) -> Launch | None:
        script = spec.settings.options.get("measurement")
        return None if script is None else Launch((sys.executable, "-I", "-S", "-c", script))

    def launch(self, spec: EngineSpec, socket: Path) -> Launch | None:
        options = spec.settings.options
        if "unreadable" in options:
            raise ConfigError(f"model: the architecture '{options['unreadable']}' cannot be read")
        if FAR_AWAY in options:
            return None
        return Launch((sys.executable, "-I", "-S", str(PROCESS), json.dumps(options), str(socket)))

    def connect(self, spec: EngineSpec, socket: Address) -> Connection:
        options = spec.settings.options
        features = frozenset(Feature(name) for name in options.get("features", ["chat"]))
        traits = Traits(features, fingerprint=spec.settings.model, parallel=spec.settings.parallel)
        return TrialConnection(Path(options.get(FAR_AWAY, socket)), traits)


class QuickEngine(TrialEngine):
    """The same under another name: the faster engine of a deployment with `engine = "auto"`."""

    name = "quick"

    def missing(self) -> str | None:
        return self.lacks

    lacks: str | None = None


class AbsentEngine(QuickEngine):
    """One that is not installed."""

    name = "absent"
    lacks = "its package is not installed"


TRIALS = {engine.name: engine for engine in (TrialEngine, QuickEngine, AbsentEngine)}


def find_engine(name: str) -> Engine:
    """A trial engine, or one of Freehold's own."""
    return TRIALS[name]() if name in TRIALS else get_engine(name)
