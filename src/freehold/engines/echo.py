"""An engine without a model: answers with the question, or paints by its letters, at once and always the same.

The first-class fake that tests and benchmarks run on, and a way to try Freehold's other parts without weights.
The process is `echo_server`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import orjson

from freehold.engines.base import Engine, EngineSpec, Launch, check_options
from freehold.engines.echo_pictures import SIZES
from freehold.engines.picture_http import PictureConnection
from freehold.errors import ConfigError
from freehold.types.address import Address
from freehold.types.chat import ChatRequest
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature, Traits, features_for

FEATURES = frozenset(Feature) - {Feature.VISION, Feature.SUFFIX, Feature.REASONING}
"""With `task = "images"` it paints, else it writes and embeds."""
CONTEXT_LENGTH = 32_768
DIMENSIONS = 64
MAX_DIMENSIONS = 4096

OPTIONS: Mapping[str, type | tuple[type, ...]] = {
    "delay_s": (int, float),
    "first_delay_s": (int, float),
    "context_length": int,
    "dimensions": int,
    "crash_on": str,
    "hang_on": str,
    "fail_on": str,
    "piece_length": int,
    "without": list,
}
"""`without` names features that the engine does as if it had not; the rest are told in `echo_server.EchoOptions`."""


class EchoConnection(PictureConnection):
    """Talks to an `echo_server`.

    Args:
        settings: the deployment's.
        socket: where the process listens.
    """

    def __init__(self, settings: DeploymentSettings, socket: Address) -> None:
        super().__init__(model=settings.model, socket=socket)
        self.traits = _traits(settings)

    async def open(self) -> Traits:
        """See `Connection.open`."""
        await self.check()
        return self.traits

    async def count_tokens(self, request: ChatRequest) -> int:
        """See `Connection.count_tokens`."""
        body = request.model_dump(mode="json", include={"messages"}, exclude_none=True)
        answer = await self.fetch("POST", self.url("count"), body, param="messages")
        return int(answer["tokens"])


class EchoEngine(Engine):
    """Says back what it is told."""

    name: ClassVar[str] = "echo"
    needs_weights: ClassVar[bool] = False

    def validate(self, settings: DeploymentSettings) -> None:
        """See `Engine.validate`."""
        options = check_options(settings, OPTIONS)
        for name in ("delay_s", "first_delay_s"):
            if not 0 <= options.get(name, 0) <= 3600:
                raise ConfigError(f"options.{name}: must be from 0 to 3600 seconds", param=f"options.{name}")
        if options.get("context_length", 1) < 1:
            raise ConfigError("options.context_length: must be at least 1", param="options.context_length")
        if not 1 <= options.get("dimensions", DIMENSIONS) <= MAX_DIMENSIONS:
            raise ConfigError(f"options.dimensions: must be from 1 to {MAX_DIMENSIONS}", param="options.dimensions")
        if options.get("piece_length", 0) < 0:
            raise ConfigError("options.piece_length: must not be negative", param="options.piece_length")
        for feature in options.get("without", ()):
            if not isinstance(feature, str) or feature not in set(Feature):
                raise ConfigError(f"options.without: there is no feature '{feature}'", param="options.without")
        if settings.base_url is not None:
            raise ConfigError("base_url: the engine 'echo' has none", param="base_url")

    def launch(self, spec: EngineSpec, socket: Path) -> Launch:
        """See `Engine.launch`."""
        options = orjson.dumps(_server_options(spec.settings)).decode()
        server = "freehold.engines.echo_server"
        return Launch((sys.executable, "-m", server, "--socket", str(socket), "--options", options))

    def expected(self, settings: DeploymentSettings) -> Traits:
        """See `Engine.expected`."""
        return _traits(settings)

    def connect(self, spec: EngineSpec, socket: Address) -> EchoConnection:
        """See `Engine.connect`."""
        return EchoConnection(spec.settings, socket)


def _traits(settings: DeploymentSettings) -> Traits:
    return Traits(
        features=features_for(settings.task, FEATURES) - set(settings.options.get("without", ())),
        context_length=_server_options(settings)["context_length"],
        embedding_dimensions=settings.options.get("dimensions", DIMENSIONS),
        fingerprint="fp_echo",
        parallel=settings.parallel,
        sizes=SIZES if settings.task == "images" else (),
    )


def _server_options(settings: DeploymentSettings) -> dict[str, Any]:
    """What the process is told: the options, and the deployment's context length unless an option has one."""
    own = {name: value for name, value in settings.options.items() if name != "without"}
    return {"context_length": settings.context_length or CONTEXT_LENGTH, **own}
