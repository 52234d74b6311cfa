"""The `vllm` engine: language models on GPUs, through vLLM's own server in a process of its own.

What vLLM does well it does itself: batching, paged attention, caching of prefixes, parallelism over GPUs, JSON that is
held to its schema, parsers of tool calls and of reasoning. It reads models as their makers gave them, safetensors that
the catalog has not converted (`freehold pull --no-convert`). The process is `vllm_server`; vLLM itself comes with
`pip install 'freehold[gpu]'`.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

from freehold.engines.base import Connection, Engine, EngineSpec, Launch
from freehold.engines.picture_options import option_error
from freehold.engines.vllm_arguments import OPTIONS, arguments, check, members
from freehold.engines.vllm_connection import EMBEDDING, WRITING, VllmConnection
from freehold.engines.vllm_spanning import rank_arguments, spread
from freehold.errors import ConfigError
from freehold.types.address import Address
from freehold.types.cluster import OWN_ADDRESS, Node, Resources
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature

__all__ = ["OPTIONS", "VllmEngine"]

ENVIRONMENT: Final = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_SERVER_DEV_MODE": "0",
}
"""Nothing is fetched behind the catalog's back, and nothing told; no endpoints that are meant for development."""
LOOPBACK: Final = "127.0.0.1"


class VllmEngine(Engine):
    """Serves safetensors models on GPUs."""

    name: ClassVar[str] = "vllm"
    takes_adapter: ClassVar[bool] = True
    reads_folders: ClassVar[bool] = True
    spans: ClassVar[bool] = True
    package: ClassVar[str | None] = "vllm"

    def validate(self, settings: DeploymentSettings) -> None:
        """See `Engine.validate`."""
        check(settings)

    def potential(self, settings: DeploymentSettings) -> frozenset[Feature]:
        """See `Engine.potential`. Whether a model converses and sees pictures only its files tell."""
        if settings.task == "embeddings":
            return EMBEDDING
        return WRITING | {Feature.CHAT, Feature.VISION} | declared(settings)

    def missing(self) -> str | None:
        """See `Engine.missing`."""
        if find_spec("vllm") is None:
            return "the package vllm is not installed: pip install 'freehold[gpu]'"
        return None

    def spread(self, spec: EngineSpec, nodes: Sequence[Node]) -> EngineSpec:
        """See `Engine.spread`."""
        return spread(spec, nodes)

    def needs(self, spec: EngineSpec) -> Resources:
        """See `Engine.needs`. The GPUs follow from the options."""
        needs = super().needs(spec)
        return replace(needs, devices=needs.devices or members(spec.settings.options) // spec.members)

    def launch(self, spec: EngineSpec, socket: Path) -> Launch:
        """See `Engine.launch`."""
        if spec.weights is None or not spec.weights.is_dir():
            raise ConfigError(
                "model: the engine 'vllm' reads safetensors as they came; fetch them with "
                "freehold pull URI --no-convert",
                param="model",
            )
        options = spec.settings.options
        if spec.adapter is not None and "lora" in options:
            raise option_error("lora", "cannot be given for a model that is an adapter itself")
        first, *others = (_process(spec, socket, rank) for rank in range(spec.members))
        return replace(first, others=tuple(others))

    def connect(self, spec: EngineSpec, socket: Address) -> Connection:
        """See `Engine.connect`."""
        return VllmConnection(spec, socket, declared(spec.settings))


def _process(spec: EngineSpec, socket: Path, rank: int) -> Launch:
    """The process of that rank; the first is the one that serves."""
    options = spec.settings.options
    one = spec.members == 1
    given = arguments(spec, socket if rank == 0 else None)
    body = {
        "socket": str(socket),
        "model": str(spec.weights),
        "lora": options.get("lora"),
        "adapter": str(spec.adapter) if spec.adapter is not None else None,
        "arguments": given if one else [*given, *rank_arguments(spec.members, rank)],
    }
    env = {**ENVIRONMENT, "VLLM_HOST_IP": LOOPBACK if one else OWN_ADDRESS}
    if "devices" in options:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, options["devices"]))
    argv = (sys.executable, "-m", "freehold.engines.vllm_server", "--spec", json.dumps(body))
    return Launch(argv, env)


def declared(settings: DeploymentSettings) -> frozenset[Feature]:
    """The features that a deployment has by its options: vLLM reads neither calls nor thoughts without a parser."""
    parsers = {Feature.TOOLS: "tool_call_parser", Feature.REASONING: "reasoning_parser"}
    return frozenset(feature for feature, option in parsers.items() if option in settings.options)
