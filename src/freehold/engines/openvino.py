"""The `openvino` engine: text on CPUs by OpenVINO GenAI's continuous batching, many answers at once.

Reads GGUF files of the architectures that the library knows (see `openvino_formats`) and folders of models that were
exported to OpenVINO. What the library cannot do, such as `logit_bias` and the likelihoods of other tokens, is not
declared; `llamacpp` does that. The process is `openvino_server`.
"""

import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

from freehold.engines.base import Connection, Engine, EngineSpec, Launch, check_options
from freehold.engines.cores import physical_cores, short_precisions
from freehold.engines.measure import AT_ONCE, Order, measurement
from freehold.engines.openvino_connection import OpenVinoConnection, declared
from freehold.engines.openvino_formats import CACHE_PRECISIONS, refused_architecture
from freehold.errors import ConfigError
from freehold.types.address import Address
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature

OPTIONS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "precision": str,
    "activations": str,
    "threads": int,
    "cache_gib": (int, float),
    "kv_cache_precision": str,
    "batch_tokens": int,
    "max_waiting": int,
    "prefix_cache": bool,
    "chat_template": str,
}
ACTIVATIONS: Final = ("u8", "exact")
PRECISIONS: Final = ("f32", "bf16", "f16", "auto")
DEFAULT_PARALLEL: Final = 32
"""Answers at once, where the deployment does not say."""
DEFAULT_WAITING: Final = 64
DEFAULT_PRECISION: Final = "f32"
MANY_CORES: Final = 4
"""So many, and half of them may be enough threads."""
MEASURED_CONTEXT: Final = 1024
LEAST: Final = {"threads": 1, "batch_tokens": 32, "max_waiting": 0}


class OpenVinoEngine(Engine):
    """Writes with a model on this machine's CPU."""

    name: ClassVar[str] = "openvino"
    package: ClassVar[str | None] = "openvino-genai"

    def validate(self, settings: DeploymentSettings) -> None:
        """See `Engine.validate`."""
        options = check_options(settings, OPTIONS)
        if settings.task != "chat":
            raise ConfigError("task: the engine 'openvino' writes texts; it has only the task 'chat'", param="task")
        if settings.base_url is not None:
            raise ConfigError("base_url: the engine 'openvino' runs here and has none", param="base_url")
        for name, least in LEAST.items():
            if name in options and options[name] < least:
                raise _option_error(name, f"must be at least {least}")
        if not 0 < options.get("cache_gib", 1) <= 4096:
            raise _option_error("cache_gib", "must be more than 0 and at most 4096")
        words = {
            "precision": PRECISIONS,
            "activations": ACTIVATIONS,
            "kv_cache_precision": tuple(CACHE_PRECISIONS),
        }
        for name, choices in words.items():
            if name in options and options[name] not in choices:
                raise _option_error(name, f"must be one of: {', '.join(choices)}")

    def potential(self, settings: DeploymentSettings) -> frozenset[Feature]:
        """See `Engine.potential`. Whether a model converses, and takes tools, only its template tells."""
        return declared(chat=True, tools=True, exact=settings.options.get("activations") == "exact")

    def missing(self) -> str | None:
        """See `Engine.missing`."""
        if find_spec("openvino_genai") is None:
            return "the package openvino-genai is not installed: pip install 'freehold[openvino]'"
        return None

    def measurement(self, spec: EngineSpec) -> Launch | None:
        """See `Engine.measurement`: the precision and the number of threads."""
        options = spec.settings.options
        candidates: list[dict[str, object]] = [{}]
        if "precision" not in options:
            candidates = [{"precision": name} for name in (DEFAULT_PRECISION, *short_precisions())]
        if "threads" not in options and physical_cores() >= MANY_CORES:
            candidates.append({"threads": physical_cores() // 2})
        if spec.weights is None or len(candidates) == 1:
            return None
        body = _body(spec) | {"parallel": AT_ONCE, "context_length": MEASURED_CONTEXT}
        return measurement(Order("freehold.engines.openvino_server", body, candidates, health="/v1/health", more={}))

    def launch(self, spec: EngineSpec, socket: Path) -> Launch:
        """See `Engine.launch`.

        Raises:
            ConfigError: there is no model, or one of an architecture that only another engine reads.
        """
        if spec.weights is None:
            raise ConfigError("model: the engine 'openvino' needs a GGUF file or an exported model", param="model")
        try:
            reason = refused_architecture(spec.weights)
        except (OSError, ValueError) as exc:
            raise ConfigError(f"model: {exc}", param="model") from exc
        if reason is not None:
            raise ConfigError(f"model: {reason}", param="model")
        body = _body(spec) | {"socket": str(socket)}
        return Launch((sys.executable, "-m", "freehold.engines.openvino_server", "--spec", json.dumps(body)))

    def connect(self, spec: EngineSpec, socket: Address) -> Connection:
        """See `Engine.connect`."""
        return OpenVinoConnection(spec, socket)


def _body(spec: EngineSpec) -> dict[str, object]:
    """What the process is told, but for the socket."""
    settings = spec.settings
    return {
        "model": str(spec.weights),
        "weights_sha256": spec.weights_sha256,
        "parallel": settings.parallel or DEFAULT_PARALLEL,
        "max_waiting": settings.options.get("max_waiting", DEFAULT_WAITING),
        "context_length": settings.context_length,
        "options": settings.options,
    }


def _option_error(name: str, problem: str) -> ConfigError:
    return ConfigError(f"options.{name}: {problem}", param=f"options.{name}")
