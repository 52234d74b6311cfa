"""The command line of `vllm serve`, as https://docs.vllm.ai/en/stable/cli/serve/ has it, and what vLLM refuses of it.

Of the documented arguments those that a server for one deployment may be given, with their types and choices. An
argument that vLLM does not know ends it, as here.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TOOL_PARSERS = ("deepseek_v3", "granite", "hermes", "internlm", "jamba", "llama3_json", "mistral", "openai", "pythonic")
REASONING_PARSERS = ("deepseek_r1", "gptoss", "granite", "mistral", "qwen3")
QUANTIZATIONS = ("awq", "awq_marlin", "bitsandbytes", "compressed-tensors", "fp8", "gptq", "gptq_marlin", "modelopt")
KV_CACHE_DTYPES = ("auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc")
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
BACKENDS = ("auto", "xgrammar", "guidance", "outlines", "lm-format-enforcer")


class ServeRefusedError(ValueError):
    """vLLM ends with this message before it has loaded anything."""


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments after `vllm`.

    Raises:
        SystemExit: they are not as documented.
        ServeRefusedError: they do not go together, or not with the model.
    """
    parser = argparse.ArgumentParser(prog="vllm", allow_abbrev=False)
    serve = parser.add_subparsers(dest="subparser", required=True).add_parser("serve", allow_abbrev=False)
    serve.add_argument("model_tag")
    for name in ("--served-model-name", "--uds", "--host", "--chat-template", "--revision", "--tokenizer"):
        serve.add_argument(name)
    for name in ("--port", "--max-model-len", "--max-num-seqs", "--max-num-batched-tokens", "--max-logprobs", "--seed",
                 "--tensor-parallel-size", "--pipeline-parallel-size", "--max-loras"):  # fmt: skip
        serve.add_argument(name, type=int)
    for name, least in (("--nnodes", 1), ("--node-rank", 0)):
        serve.add_argument(name, type=int, default=least)
    serve.add_argument("--master-addr", default="127.0.0.1")
    serve.add_argument("--master-port", type=int, default=29501)
    for name in ("--gpu-memory-utilization", "--cpu-offload-gb"):
        serve.add_argument(name, type=float)
    for name in ("--pooler-config", "--limit-mm-per-prompt", "--speculative-config", "--hf-overrides",
                 "--structured-outputs-config"):  # fmt: skip
        serve.add_argument(name, type=_table)
    for name in ("--disable-uvicorn-access-log", "--disable-fastapi-docs", "--enable-prompt-tokens-details",
                 "--enable-auto-tool-choice", "--headless"):  # fmt: skip
        serve.add_argument(name, action="store_true")
    for name in ("--enable-prefix-caching", "--enforce-eager", "--enable-lora", "--trust-remote-code"):
        serve.add_argument(name, action=argparse.BooleanOptionalAction)
    serve.add_argument("--max-lora-rank", type=int, choices=LORA_RANKS, default=16)
    serve.add_argument("--lora-modules", nargs="+", type=_module, default=[])
    serve.add_argument("--generation-config", default="auto")
    serve.add_argument("--runner", choices=("auto", "draft", "generate", "pooling"), default="auto")
    serve.add_argument("--dtype", choices=("auto", "bfloat16", "float", "float16", "float32", "half"), default="auto")
    serve.add_argument("--quantization", choices=QUANTIZATIONS)
    serve.add_argument("--kv-cache-dtype", choices=KV_CACHE_DTYPES, default="auto")
    serve.add_argument("--load-format", choices=("auto", "pt", "safetensors", "dummy", "gguf"), default="auto")
    serve.add_argument("--distributed-executor-backend", choices=("external_launcher", "mp", "ray", "uni"))
    serve.add_argument("--tool-call-parser")
    serve.add_argument("--reasoning-parser", choices=REASONING_PARSERS)
    found = parser.parse_args(argv)
    _check(found, _config(Path(found.model_tag)))
    return found


def _table(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("is no JSON object")
    return value


def _module(text: str) -> dict[str, str]:
    """An adapter as `name=path` or as JSON; other fields than vLLM's are refused."""
    if "=" in text and "," not in text:
        name, path = text.split("=")
        return {"name": name, "path": path}
    value = _table(text)
    if not {"name", "path"} <= value.keys() <= {"name", "path", "base_model_name"}:
        raise argparse.ArgumentTypeError(f"Invalid fields for --lora-modules: {text}")
    return value


def _config(model: Path) -> Mapping[str, Any]:
    if not (model / "config.json").is_file() or not list(model.glob("*.safetensors")):
        raise ServeRefusedError(f"Cannot find any model weights with `{model}`")
    config: Mapping[str, Any] = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return config


def _check(given: argparse.Namespace, config: Mapping[str, Any]) -> None:
    """What vLLM finds wrong when it puts its configuration together."""
    _check_nodes(given)
    if given.enable_auto_tool_choice and not given.tool_call_parser:
        raise ServeRefusedError("Error: --enable-auto-tool-choice requires --tool-call-parser")
    if given.tool_call_parser and given.tool_call_parser not in TOOL_PARSERS:
        raise ServeRefusedError(
            f"invalid tool call parser: {given.tool_call_parser} (chose from {{ {','.join(TOOL_PARSERS)} }})"
        )
    if given.chat_template is not None and not Path(given.chat_template).is_file():
        raise ServeRefusedError(f"The supplied chat template ({given.chat_template}) is no file")
    longest = config.get("max_position_embeddings", 2048)
    if (given.max_model_len or 0) > longest:
        raise ServeRefusedError(
            f"User-specified max_model_len ({given.max_model_len}) is greater than the derived max_model_len "
            f"(max_position_embeddings={longest})"
        )
    heads, spread = config.get("num_attention_heads", 1), given.tensor_parallel_size or 1
    if heads % spread:
        raise ServeRefusedError(
            f"Total number of attention heads ({heads}) must be divisible by tensor parallel size ({spread})."
        )
    if not 0 < (1 if given.gpu_memory_utilization is None else given.gpu_memory_utilization) <= 1:
        raise ServeRefusedError("GPU memory utilization must be in (0, 1].")
    backend = (given.structured_outputs_config or {}).get("backend", "auto")
    if backend not in BACKENDS:
        raise ServeRefusedError(f"Input should be one of {BACKENDS}, not '{backend}'")
    for module in given.lora_modules:
        adapter = json.loads((Path(module["path"]) / "adapter_config.json").read_text(encoding="utf-8"))
        if not given.enable_lora or adapter["r"] > given.max_lora_rank:
            raise ServeRefusedError(f"LoRA rank {adapter['r']} is greater than max_lora_rank {given.max_lora_rank}.")


def _check_nodes(given: argparse.Namespace) -> None:
    """What of several nodes does not go together: see `ParallelConfig` in https://docs.vllm.ai/en/stable/api/."""
    world = (given.tensor_parallel_size or 1) * (given.pipeline_parallel_size or 1)
    if given.nnodes > 1 and given.distributed_executor_backend != "mp":
        raise ServeRefusedError("nnodes > 1 can only be set when distributed executor backend is mp.")
    if given.nnodes < 1 or not 0 <= given.node_rank < given.nnodes:
        raise ServeRefusedError(f"node_rank ({given.node_rank}) must be from 0 to nnodes - 1 ({given.nnodes - 1})")
    if world % given.nnodes:
        raise ServeRefusedError(f"world size ({world}) must be divisible by nnodes ({given.nnodes})")
    if given.node_rank and not given.headless:
        raise ServeRefusedError("collective_rpc should not be called on follower node")
