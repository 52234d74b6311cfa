"""The contract of engines.

An engine is a program in a process of its own, reached over HTTP on a Unix socket or, for somebody else's,
over TCP. Its two halves here are an `Engine`, which knows how to start such a process, and a `Connection`,
which knows how to talk to one. The process itself belongs to the supervisor.

What every implementation holds, and the shared suite in tests/engines/ checks:

- One request makes one sequence, unless the engine declares `Feature.N`; the gateway asks several times.
- A stream follows the grammar of `freehold.types.generation`: deltas, one finish reason a choice, one usage; of
  pictures, that of `freehold.types.images`.
- Closing a stream early (`aclose`) stops the engine's work on it within a second.
- What the engine did not declare as a feature never reaches it; what it declared, it does.
- Errors of the foreign program become `freehold.errors` here, and nowhere else.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from freehold.errors import ConfigError, UnsupportedParameter
from freehold.types.address import Address
from freehold.types.chat import ChatRequest
from freehold.types.cluster import Node, Resources
from freehold.types.completions import CompletionRequest, Prompt
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import EngineCounters, Feature, Traits, features_for
from freehold.types.generation import Embeddings, Event
from freehold.types.images import PaintEvent, PaintRequest


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """All that is needed to start an engine for a deployment and talk to it.

    Args:
        settings: the deployment's settings; `settings.options` are the engine's own.
        weights: the verified model file, for engines that load one.
        weights_sha256: the file's digest in hex, of an adapter that of the adapter's; part of the fingerprint.
        api_key: the credential for a `remote` endpoint.
        adapter: a verified LoRA adapter that is served with `weights`.
        members: how many processes it is spread over, each on a node of its own.
        misfit: why it can be on none of the nodes that there are, in words; empty where it can, or that is not known.
    """

    settings: DeploymentSettings
    weights: Path | None = None
    weights_sha256: str = ""
    api_key: str | None = field(default=None, repr=False)
    adapter: Path | None = None
    members: int = 1
    misfit: str = ""


@dataclass(frozen=True, slots=True)
class Launch:
    """A process to start: its arguments and what its environment has besides the gateway's own.

    Args:
        argv: the program.
        env: see above.
        others: the processes on other nodes that belong to it, where the engine is spread; these and the first may say
            `OWN_ADDRESS`, `MASTER_ADDRESS` and `MASTER_PORT` of `freehold.types.cluster`.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    others: "tuple[Launch, ...]" = ()


class Connection(ABC):
    """A way to one running engine. Safe for many requests at once; made and closed by the supervisor."""

    @abstractmethod
    async def open(self) -> Traits:
        """Ask the engine what it is, once it is ready.

        Raises:
            EngineUnavailable: it is not ready yet; ask again.
            EngineFailed: it never will be.
        """

    @abstractmethod
    async def check(self) -> None:
        """Return if the engine can work; take part in its work queue where it has one, so that a hung one shows.

        Raises:
            EngineUnavailable: no answer.
        """

    @abstractmethod
    def chat(self, request: ChatRequest) -> AsyncGenerator[Event]:
        """Answer a conversation. `n` is 1 or None unless `Feature.N` is declared; streams whatever `stream` says.

        Raises (while iterating):
            ContextLengthExceeded: the prompt does not fit.
            InvalidRequest: the engine refuses a value, such as a schema that it cannot enforce.
            EngineFailed: it broke off or answered nonsense.
            EngineUnavailable: it could not be reached; nothing was generated.
        """

    @abstractmethod
    def complete(self, request: CompletionRequest, prompt: Prompt) -> AsyncGenerator[Event]:
        """Continue one prompt; `request.prompt`, `best_of` and `echo` are the gateway's to handle.

        Raises: as `chat`.
        """

    @abstractmethod
    async def embed(self, inputs: Sequence[Prompt], dimensions: int | None) -> Embeddings:
        """Turn the inputs into vectors of unit length.

        Raises: as `chat`.
        """

    async def paint(self, request: PaintRequest) -> AsyncGenerator[PaintEvent]:
        """Paint `request.n` pictures; the one of index i from the seed `request.seed + i`, whatever the others are.

        The same request gives the same bytes, where the engine declares `Feature.SEED`. An engine that paints nothing,
        and so declares no feature of pictures, leaves this as it is.

        Raises (while iterating): as `chat`; UnsupportedParameter where the engine paints nothing.
        """
        raise UnsupportedParameter(f"The model does not paint: {request.operation}.", param="model")
        yield  # pragma: no cover  # makes it a generator

    async def count_tokens(self, request: ChatRequest) -> int | None:  # noqa: ARG002  # for those that can
        """How many tokens the prompt of a conversation has, its template and its tools included, before it is answered.

        None where the engine cannot say.

        Raises:
            EngineFailed, EngineTimeout, EngineUnavailable: there is no answer, or none that can be read.
            InvalidRequest: the conversation does not go into the model's template.
        """
        return None

    async def counters(self) -> EngineCounters | None:
        """What the engine itself says that it has done since it started; None for one that has no such counters.

        Raises:
            EngineFailed: the answer cannot be read.
            EngineTimeout, EngineUnavailable: there is none.
        """
        return None

    @abstractmethod
    async def close(self) -> None:
        """Release the connection; calls in flight fail with EngineUnavailable."""


class Engine(ABC):
    """One kind of engine. Has no state; found by name in `freehold.engines.registry`."""

    name: ClassVar[str]
    needs_weights: ClassVar[bool] = True
    """Whether the model must be in the catalog as a file."""
    takes_adapter: ClassVar[bool] = False
    """Whether it loads a LoRA adapter beside the weights."""
    reads_folders: ClassVar[bool] = False
    """Whether it wants language models as folders of safetensors that were not converted."""
    elsewhere: ClassVar[bool] = False
    """Whether it runs somewhere already, so that no process is started for it."""
    spans: ClassVar[bool] = False
    """Whether one replica may have processes on several nodes."""
    package: ClassVar[str | None] = None
    """The distribution that does its work, whose version decides with others what is fast."""

    @abstractmethod
    def validate(self, settings: DeploymentSettings) -> None:
        """Check what only this engine can judge: its options, a base URL it needs or cannot use.

        Raises:
            ConfigError: names the option.
        """

    def expected(self, settings: DeploymentSettings) -> Traits | None:  # noqa: ARG002  # for those that know
        """What it will turn out to be with these settings; None where that is not known before it has started."""
        return None

    def potential(self, settings: DeploymentSettings) -> frozenset[Feature]:
        """The features that it may turn out to have with these settings; asked for while it has never started."""
        expected = self.expected(settings)
        return features_for(settings.task) if expected is None else expected.features

    def spread(self, spec: EngineSpec, nodes: Sequence[Node]) -> EngineSpec:  # noqa: ARG002  # for those that can
        """The specification with how many processes one replica has on these nodes: one, for most engines.

        Also where it fits on none of them, with the reason.
        """
        return spec

    def needs(self, spec: EngineSpec) -> Resources:
        """What one replica needs of a node: what the settings say, and where they are silent what engines usually do.

        That is a core, and in memory 1.3 times the weights that the node computes with and half a GiB.
        """
        said = spec.settings.resources
        weights = sum(file.stat().st_size for file in _files(spec.weights)) / spec.members if spec.weights else 0
        return Resources(
            cores=1.0 if said.cores is None else said.cores,
            memory_bytes=said.memory_bytes if said.memory_bytes is not None else int(1.3 * weights) + (512 << 20),
            devices=said.devices,
            device_kind=said.device_kind,
        )

    def missing(self) -> str | None:
        """What is not installed here that it cannot do without, in words; None where it has all."""
        return None

    def measurement(self, spec: EngineSpec) -> Launch | None:  # noqa: ARG002  # for those that can
        """A process that finds the best of what the deployment's options leave open; None where nothing is.

        It writes a line `measured {"options": …, "figures": …}` for each candidate and ends with a line `best {…}` that
        has the options to take, none where the defaults are as good.
        """
        return None

    @abstractmethod
    def launch(self, spec: EngineSpec, socket: Path) -> Launch | None:
        """The process that serves the deployment on a Unix socket, or None where nothing is to be started."""

    @abstractmethod
    def connect(self, spec: EngineSpec, socket: Address) -> Connection:
        """A connection to the process that `launch` described. Does no input or output yet."""


def _files(path: Path) -> list[Path]:
    """The file itself, or the files in a folder."""
    return [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]


def check_options(settings: DeploymentSettings, known: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """The options, after checking names and types against `known`.

    Raises:
        ConfigError: an unknown option, or one of the wrong type.
    """
    for name, value in settings.options.items():
        expected = known.get(name)
        if expected is None:
            choices = ", ".join(sorted(known)) or "none"
            raise ConfigError(
                f"options.{name}: the engine '{settings.engine}' has no such option; it has: {choices}",
                param=f"options.{name}",
            )
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise ConfigError(f"options.{name}: has the wrong type", param=f"options.{name}")
    return dict(settings.options)
