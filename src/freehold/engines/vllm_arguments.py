"""The options of the `vllm` engine, checked, and the command line of `vllm serve` that they become.

The arguments are those of https://docs.vllm.ai/en/stable/cli/serve/. What is not an option here is left as vLLM has it,
but for what Freehold itself holds: weights are safetensors, code of a model's own is never run, defaults of sampling
are OpenAI's, and no prompt is logged.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from freehold.engines.base import EngineSpec, check_options
from freehold.engines.picture_options import option_error
from freehold.errors import ConfigError
from freehold.types.deployment import DeploymentSettings

OPTIONS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "tensor_parallel": int,
    "pipeline_parallel": int,
    "executor": str,
    "devices": list,
    "dtype": str,
    "quantization": str,
    "kv_cache_dtype": str,
    "gpu_memory_utilization": (int, float),
    "cpu_offload_gib": (int, float),
    "max_batched_tokens": int,
    "prefix_caching": bool,
    "enforce_eager": bool,
    "chat_template": str,
    "tool_call_parser": str,
    "reasoning_parser": str,
    "structured_outputs": str,
    "limit_mm_per_prompt": dict,
    "pooling": str,
    "lora": str,
    "speculative": dict,
    "hf_overrides": dict,
}
DEFAULT_PARALLEL: Final = 256
"""Sequences at once, where the deployment does not say."""
MAX_TOP_LOGPROBS: Final = 20
"""As OpenAI has it."""
SERVED: Final = "model"
"""The name by which the model is asked for; an adapter on top of it has another."""
SERVED_ADAPTER: Final = "adapter"
RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` may be."""

CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "executor": ("auto", "mp"),
    "dtype": ("auto", "bfloat16", "float16", "float32"),
    "structured_outputs": ("auto", "xgrammar", "guidance", "outlines", "lm-format-enforcer"),
    "pooling": ("mean", "cls", "last"),
}
LEAST: Final = {"tensor_parallel": 1, "pipeline_parallel": 1, "max_batched_tokens": 1}
MOST_DEVICES: Final = 1024
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
"""What formats of weights and parsers are called; which there are depends on vLLM's version, which refuses others."""
_SPECULATIVE: Final = ("method", "model", "num_speculative_tokens", "prompt_lookup_max", "prompt_lookup_min")
_MODALITIES: Final = ("image", "video", "audio")
_WRITING_ONLY: Final = ("tool_call_parser", "reasoning_parser", "structured_outputs", "speculative", "lora")


def check(settings: DeploymentSettings) -> None:
    """Check all that can be checked before vLLM is started.

    Raises:
        ConfigError: names the key that is wrong.
    """
    options = check_options(settings, OPTIONS)
    if settings.base_url is not None:
        raise ConfigError("base_url: the engine 'vllm' runs here and has none; use 'remote'", param="base_url")
    if settings.task == "images":
        raise ConfigError("task: the engine 'vllm' writes and embeds; it does not paint", param="task")
    _check_words(options)
    _check_numbers(options)
    _check_devices(options)
    _check_nodes(settings, options)
    _check_tables(options)
    _check_task(settings.task, options)


def _check_words(options: Mapping[str, Any]) -> None:
    if options.get("executor") == "ray":
        raise option_error("executor", "'ray' is no choice any more: leave it out, an engine spans nodes without it")
    for name, choices in CHOICES.items():
        if name in options and options[name] not in choices:
            raise option_error(name, f"must be one of: {', '.join(choices)}")
    for name in ("quantization", "kv_cache_dtype", "tool_call_parser", "reasoning_parser"):
        if name in options and not _WORD.fullmatch(options[name]):
            raise option_error(name, "must be a name as vLLM writes it, such as 'fp8' or 'hermes'")
    for name in ("chat_template", "lora"):
        if name in options and not options[name].startswith("/"):
            raise option_error(name, "must be an absolute path")


def _check_numbers(options: Mapping[str, Any]) -> None:
    for name, least in LEAST.items():
        if name in options and options[name] < least:
            raise option_error(name, f"must be at least {least}")
    if not 0 < options.get("gpu_memory_utilization", 1) <= 1:
        raise option_error("gpu_memory_utilization", "must be above 0 and at most 1")
    if not 0 <= options.get("cpu_offload_gib", 0) <= 65_536:
        raise option_error("cpu_offload_gib", "must be from 0 to 65536")
    if members(options) > MOST_DEVICES:
        raise option_error("tensor_parallel", f"times pipeline_parallel must be at most {MOST_DEVICES}")


def _check_devices(options: Mapping[str, Any]) -> None:
    devices = options.get("devices")
    if devices is None:
        return
    if not all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in devices):
        raise option_error("devices", "must be a list of numbers of GPUs, such as [0, 1]")
    if len(set(devices)) != len(devices) or len(devices) != members(options):
        raise option_error("devices", f"must be {members(options)} different ones: tensor_parallel x pipeline_parallel")


def _check_nodes(settings: DeploymentSettings, options: Mapping[str, Any]) -> None:
    """The number of devices of a node, where it is given, is all that there are of one node, or an even part."""
    each, world = settings.resources.devices, members(options)
    if not 0 < each < world:
        return
    if "devices" in options:
        raise option_error("devices", f"are chosen by the cluster where an engine has {each} of {world} on each node")
    if world % each:
        raise ConfigError(
            f"resources.devices: {each} on each node do not make up {world}: tensor_parallel x pipeline_parallel",
            param="resources.devices",
        )


def _check_tables(options: Mapping[str, Any]) -> None:
    for name, value in options.get("limit_mm_per_prompt", {}).items():
        if name not in _MODALITIES or not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise option_error("limit_mm_per_prompt", f"must be a table of numbers of {', '.join(_MODALITIES)}")
    speculative = options.get("speculative")
    if speculative is not None:
        unknown = sorted(set(speculative) - set(_SPECULATIVE))
        if unknown or not isinstance(speculative.get("num_speculative_tokens"), int):
            raise option_error(
                "speculative", f"must be a table with 'num_speculative_tokens', and may have: {', '.join(_SPECULATIVE)}"
            )
    if "auto_map" in options.get("hf_overrides", {}):
        raise option_error("hf_overrides", "'auto_map' names code of the model's own, which is never run")


def _check_task(task: str, options: Mapping[str, Any]) -> None:
    if task == "embeddings":
        for name in _WRITING_ONLY:
            if name in options:
                raise option_error(name, "is for models that write, not for embeddings")
    elif "pooling" in options:
        raise option_error("pooling", "is for embeddings")


def members(options: Mapping[str, Any]) -> int:
    """How many GPUs the model is spread over."""
    return int(options.get("tensor_parallel", 1) * options.get("pipeline_parallel", 1))


def arguments(spec: EngineSpec, socket: Path | None) -> list[str]:
    """What follows `vllm serve`; an adapter's arguments are added where it lies ready.

    Args:
        spec: checked before; its weights are a folder.
        socket: the Unix socket on which it is to listen; None for a process that serves nobody.
    """
    settings, options = spec.settings, spec.settings.options
    found = [
        str(spec.weights),
        *("--served-model-name", SERVED),
        *(("--uds", str(socket)) if socket is not None else ()),
        *("--load-format", "safetensors"),
        *("--max-num-seqs", str(settings.parallel or DEFAULT_PARALLEL)),
        "--disable-uvicorn-access-log",
        "--disable-fastapi-docs",
        "--enable-prompt-tokens-details",
    ]
    if settings.context_length is not None:
        found += ["--max-model-len", str(settings.context_length)]
    if settings.task == "embeddings":
        found += ["--runner", "pooling"]
        if "pooling" in options:
            found += ["--pooler-config", json.dumps({"pooling_type": options["pooling"].upper()})]
    else:
        # OpenAI's defaults, not the model's; and one more likely token than is told, see `vllm_connection`
        found += ["--runner", "generate", "--generation-config", "vllm", "--max-logprobs", str(MAX_TOP_LOGPROBS + 1)]
        if "tool_call_parser" in options:
            found += ["--enable-auto-tool-choice", "--tool-call-parser", options["tool_call_parser"]]
    return [*found, *_named(options)]


def _named(options: Mapping[str, Any]) -> list[str]:
    """The arguments of which each is one option."""
    found: list[str] = []
    for name, argument in (
        ("tensor_parallel", "--tensor-parallel-size"),
        ("pipeline_parallel", "--pipeline-parallel-size"),
        ("dtype", "--dtype"),
        ("quantization", "--quantization"),
        ("kv_cache_dtype", "--kv-cache-dtype"),
        ("gpu_memory_utilization", "--gpu-memory-utilization"),
        ("cpu_offload_gib", "--cpu-offload-gb"),
        ("max_batched_tokens", "--max-num-batched-tokens"),
        ("chat_template", "--chat-template"),
        ("reasoning_parser", "--reasoning-parser"),
    ):
        if name in options:
            found += [argument, str(options[name])]
    for name, argument in (
        ("limit_mm_per_prompt", "--limit-mm-per-prompt"),
        ("speculative", "--speculative-config"),
        ("hf_overrides", "--hf-overrides"),
    ):
        if name in options:
            found += [argument, json.dumps(options[name], sort_keys=True)]
    if options.get("structured_outputs", "auto") != "auto":
        found += ["--structured-outputs-config", json.dumps({"backend": options["structured_outputs"]})]
    if options.get("executor", "auto") != "auto":
        found += ["--distributed-executor-backend", options["executor"]]
    if "prefix_caching" in options:
        found.append("--enable-prefix-caching" if options["prefix_caching"] else "--no-enable-prefix-caching")
    if options.get("enforce_eager"):
        found.append("--enforce-eager")
    return found


def adapter_arguments(folder: Path) -> list[str]:
    """The arguments for an adapter in PEFT's layout.

    Raises:
        ValueError: it is none, or one of a rank that vLLM does not serve.
        OSError: it cannot be read.
    """
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    rank = config.get("r") if isinstance(config, dict) and config.get("peft_type") == "LORA" else None
    if not isinstance(rank, int) or not (folder / "adapter_model.safetensors").is_file():
        raise ValueError("the adapter is no LoRA adapter in PEFT's layout with safetensors")
    room = next((most for most in RANKS if rank <= most), None)
    if room is None:
        raise ValueError(f"the adapter has rank {rank}; vLLM serves at most {RANKS[-1]}")
    module = {"name": SERVED_ADAPTER, "path": str(folder), "base_model_name": SERVED}
    return ["--enable-lora", "--max-loras", "1", "--max-lora-rank", str(room), "--lora-modules", json.dumps(module)]
