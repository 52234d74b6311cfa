"""The `llamacpp` engine: any GGUF model, through llama.cpp's server in a process of its own.

What llama.cpp's server does well it does itself: batching, caching prompts, chat templates. What it does
differently from OpenAI, or only sometimes, is done here: sampling defaults, JSON that is held to its schema, and
tool calls that are there when they are demanded.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from freehold.engines.base import Connection, Engine, EngineSpec, Launch, check_options
from freehold.engines.cores import logical_cores, physical_cores
from freehold.engines.llamacpp_connection import EMBEDDING, WRITING, LlamaCppConnection
from freehold.engines.measure import AT_ONCE, Order, measurement
from freehold.errors import (
    ConfigError,
)
from freehold.types.address import Address
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature

OPTIONS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "threads": int,
    "batch_size": int,
    "chat_template": str,
    "lora": list,
    "mmproj": str,
    "flash_attention": bool,
    "cache_type_k": str,
    "cache_type_v": str,
    "gpu_layers": int,
    "pooling": str,
    "mlock": bool,
    "cache_ram_mib": int,
}
DEFAULT_PARALLEL: Final = 8
"""Sequences at once, where the deployment does not say."""
CACHE_TYPES: Final = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
POOLINGS: Final = ("mean", "cls", "last")
MEASURED_CONTEXT: Final = 1024
LEAST: Final = {"threads": 1, "batch_size": 32, "gpu_layers": -1, "cache_ram_mib": 0}


class LlamaCppEngine(Engine):
    """Serves GGUF models on this machine."""

    name: ClassVar[str] = "llamacpp"
    takes_adapter: ClassVar[bool] = True
    package: ClassVar[str | None] = "xllamacpp"

    def validate(self, settings: DeploymentSettings) -> None:
        """See `Engine.validate`."""
        options = check_options(settings, OPTIONS)
        if settings.base_url is not None:
            raise ConfigError("base_url: the engine 'llamacpp' runs here and has none", param="base_url")
        for name, least in LEAST.items():
            if name in options and options[name] < least:
                raise _option_error(name, f"must be at least {least}")
        for name, choices in (("cache_type_k", CACHE_TYPES), ("cache_type_v", CACHE_TYPES), ("pooling", POOLINGS)):
            if name in options and options[name] not in choices:
                raise _option_error(name, f"must be one of: {', '.join(choices)}")
        for entry in options.get("lora", []):
            scale = entry.get("scale", 1.0) if isinstance(entry, dict) else None
            known = isinstance(entry, dict) and entry.keys() <= {"path", "scale"} and isinstance(entry.get("path"), str)
            if not known or isinstance(scale, bool) or not isinstance(scale, int | float):
                raise _option_error("lora", "must be a list of tables with 'path' and, if need be, 'scale'")

    def potential(self, settings: DeploymentSettings) -> frozenset[Feature]:
        """See `Engine.potential`. Whether a model takes tools only its template tells."""
        if settings.task == "embeddings":
            return EMBEDDING
        return WRITING | {Feature.TOOLS} | ({Feature.VISION} if "mmproj" in settings.options else frozenset())

    def launch(self, spec: EngineSpec, socket: Path) -> Launch:
        """See `Engine.launch`."""
        if spec.weights is None or spec.weights.is_dir():
            raise ConfigError("model: the engine 'llamacpp' needs a GGUF file", param="model")
        body = _body(spec) | {"socket": str(socket)}
        return Launch((sys.executable, "-m", "freehold.engines.llamacpp_server", "--spec", json.dumps(body)))

    def measurement(self, spec: EngineSpec) -> Launch | None:
        """See `Engine.measurement`: the number of threads, of a model that writes and computes here.

        More threads than cores slow each other down, and threads that wait for each other spin, so the best number is
        not always that of the cores.
        """
        options = spec.settings.options
        if spec.weights is None or spec.settings.task != "chat" or "threads" in options or options.get("gpu_layers"):
            return None
        numbers = [physical := physical_cores(), logical_cores(), max(1, physical - 1), max(1, physical // 2)]
        return measurement(
            Order(
                server="freehold.engines.llamacpp_server",
                spec=_body(spec) | {"parallel": AT_ONCE, "context_length": MEASURED_CONTEXT},
                candidates=[{"threads": number} for number in dict.fromkeys(numbers)],
                health="/health",
                more={"cache_prompt": False, "ignore_eos": True},
            )
        )

    def connect(self, spec: EngineSpec, socket: Address) -> Connection:
        """See `Engine.connect`."""
        return LlamaCppConnection(spec, socket)


def _body(spec: EngineSpec) -> dict[str, object]:
    """What the process is told, but for the socket."""
    settings = spec.settings
    return {
        "model": str(spec.weights),
        "adapter": str(spec.adapter) if spec.adapter is not None else None,
        "task": settings.task,
        "parallel": settings.parallel or DEFAULT_PARALLEL,
        "context_length": settings.context_length,
        "options": settings.options,
    }


def _option_error(name: str, problem: str) -> ConfigError:
    return ConfigError(f"options.{name}: {problem}", param=f"options.{name}")
