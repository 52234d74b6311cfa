"""The vLLM engine judges its options, builds vLLM's command line, and evens out what vLLM does its own way."""

import asyncio
import json
import math
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.config import engine_environment
from freehold.engines.base import Connection, EngineSpec
from freehold.engines.vllm import VllmEngine
from freehold.engines.vllm_connection import VllmConnection
from freehold.errors import ConfigError, ContextLengthExceeded, EngineUnavailable, InvalidRequest
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature, Traits
from tests.engines.subject import chat_request, completion_request, hear
from tests.engines.vllm_arguments import parse
from tests.engines.vllm_program import HANG
from tests.engines.vllm_subject import lay_model, lay_vllm, refusal, settings_of, vllm
from tests.service import eventually

CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "options",
    [
        {"gpu": 1},
        {"tensor_parallel": 0},
        {"tensor_parallel": 64, "pipeline_parallel": 64},
        {"executor": "slurm"},
        {"devices": [0], "tensor_parallel": 2},
        {"devices": [0, 0], "tensor_parallel": 2},
        {"devices": ["0"]},
        {"executor": "ray"},
        {"dtype": "int4"},
        {"quantization": "--trust-remote-code"},
        {"gpu_memory_utilization": 1.5},
        {"chat_template": "{{ messages }}"},
        {"lora": "adapter"},
        {"limit_mm_per_prompt": {"image": "many"}},
        {"speculative": {"method": "ngram"}},
        {"hf_overrides": {"auto_map": {"AutoModel": "theirs.Model"}}},
        {"pooling": "mean"},
        {"prefix_caching": 1},
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any]) -> None:
    """An option that the engine does not have, or a value that it cannot use, is a configuration error naming it."""
    with pytest.raises(ConfigError) as refused:
        VllmEngine().validate(settings_of(options=options))
    assert refused.value.param == f"options.{next(iter(options))}"


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"task": "images"}, "task"),
        ({"base_url": "http://127.0.0.1:8000/v1"}, "base_url"),
        ({"task": "embeddings", "options": {"tool_call_parser": "hermes"}}, "options.tool_call_parser"),
    ],
)
def test_a_deployment_for_something_else_is_refused(given: dict[str, Any], param: str) -> None:
    """A task or an endpoint that is not for this engine is a configuration error naming the key."""
    with pytest.raises(ConfigError) as refused:
        VllmEngine().validate(settings_of(**given))
    assert refused.value.param == param


def test_a_converted_model_is_not_launched(tmp_path: Path) -> None:
    """For a GGUF file the error says how to fetch the safetensors."""
    with pytest.raises(ConfigError, match="--no-convert"):
        VllmEngine().launch(EngineSpec(settings_of(), tmp_path / "m.gguf"), Path("s"))


def _argv(settings: DeploymentSettings, model: Path) -> list[str]:
    launch = VllmEngine().launch(EngineSpec(settings, model), Path("/run/e1.sock"))
    arguments: list[str] = json.loads(launch.argv[-1])["arguments"]
    return arguments


def test_the_options_become_vllms_arguments(tmp_path: Path) -> None:
    """Every option is an argument that vLLM documents, with its value."""
    template = tmp_path / "template.jinja"
    template.write_text("{{ messages }}", encoding="utf-8")
    options = {
        "tensor_parallel": 2,
        "pipeline_parallel": 2,
        "executor": "mp",
        "devices": [0, 1, 2, 3],
        "dtype": "bfloat16",
        "quantization": "fp8",
        "kv_cache_dtype": "fp8",
        "gpu_memory_utilization": 0.85,
        "cpu_offload_gib": 4,
        "max_batched_tokens": 8192,
        "prefix_caching": False,
        "enforce_eager": True,
        "chat_template": str(template),
        "tool_call_parser": "hermes",
        "reasoning_parser": "qwen3",
        "structured_outputs": "xgrammar",
        "limit_mm_per_prompt": {"image": 2},
        "speculative": {"method": "ngram", "num_speculative_tokens": 4},
        "hf_overrides": {"rope_theta": 500000.0},
    }
    settings = settings_of(options=options, context_length=800, parallel=16)
    VllmEngine().validate(settings)
    given = parse(["serve", *_argv(settings, lay_model(tmp_path / "m"))])
    assert (given.tensor_parallel_size, given.pipeline_parallel_size) == (2, 2)
    assert (given.distributed_executor_backend, given.dtype, given.quantization) == ("mp", "bfloat16", "fp8")
    assert (given.kv_cache_dtype, given.gpu_memory_utilization, given.cpu_offload_gb) == ("fp8", 0.85, 4.0)
    assert (given.max_num_batched_tokens, given.max_model_len, given.max_num_seqs) == (8192, 800, 16)
    assert (given.enable_prefix_caching, given.enforce_eager, given.chat_template) == (False, True, str(template))
    assert (given.tool_call_parser, given.enable_auto_tool_choice, given.reasoning_parser) == ("hermes", True, "qwen3")
    assert given.structured_outputs_config == {"backend": "xgrammar"}
    assert given.limit_mm_per_prompt == {"image": 2}
    assert given.speculative_config == options["speculative"]
    assert given.hf_overrides == options["hf_overrides"]


def test_what_freehold_holds_does_not_depend_on_options(tmp_path: Path) -> None:
    """Weights are safetensors, defaults of sampling OpenAI's, no code of the model's own runs."""
    given = parse(["serve", *_argv(settings_of(), lay_model(tmp_path / "m"))])
    assert (given.load_format, given.generation_config, given.runner) == ("safetensors", "vllm", "generate")
    assert (given.trust_remote_code, given.uds, given.max_logprobs) == (None, "/run/e1.sock", 21)
    assert given.disable_uvicorn_access_log


def test_gpus_and_addresses_are_of_the_environment(tmp_path: Path) -> None:
    """Chosen GPUs are the only ones that vLLM sees, and on one node its processes speak on the loopback address."""
    model = lay_model(tmp_path / "m")
    chosen = settings_of(options={"devices": [2, 3], "tensor_parallel": 2})
    launch = VllmEngine().launch(EngineSpec(chosen, model), Path("s"))
    assert (launch.env["CUDA_VISIBLE_DEVICES"], launch.env["VLLM_HOST_IP"]) == ("2,3", "127.0.0.1")
    plain = VllmEngine().launch(EngineSpec(settings_of(options={"pipeline_parallel": 2}), model), Path("s"))
    assert "CUDA_VISIBLE_DEVICES" not in plain.env


@pytest.mark.parametrize(
    ("given", "devices"),
    [
        ({}, 1),
        ({"options": {"tensor_parallel": 4, "pipeline_parallel": 2}}, 8),
        ({"resources": {"devices": 2, "device_kind": "NVIDIA H100"}}, 2),
    ],
)
def test_a_replica_needs_the_gpus_of_its_options(given: dict[str, Any], devices: int, tmp_path: Path) -> None:
    """So many GPUs are asked of one node as the model is spread over, or as the deployment says."""
    needs = VllmEngine().needs(EngineSpec(settings_of(**given), lay_model(tmp_path)))
    assert needs.devices == devices
    assert needs.device_kind == given.get("resources", {}).get("device_kind")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"options": {"tool_call_parser": "nobodys"}}, "invalid tool call parser: nobodys"),
        ({"options": {"tensor_parallel": 3}}, "must be divisible by tensor parallel size"),
        ({"context_length": 5000}, "greater than the derived max_model_len"),
        ({"options": {"quantization": "q4_k_m"}}, "invalid choice: 'q4_k_m'"),
    ],
)
def test_what_vllm_refuses_is_its_last_line(given: dict[str, Any], told: str, tmp_path: Path) -> None:
    """What only vLLM can judge ends its process, whose last line says what is wrong."""
    assert told in refusal(EngineSpec(settings_of(**given), lay_model(tmp_path))).strip().splitlines()[-1]


def test_a_missing_vllm_is_told(tmp_path: Path) -> None:
    """Without the package the process ends with a line that says how to get it."""
    launch = VllmEngine().launch(EngineSpec(settings_of(), lay_model(tmp_path)), tmp_path / "s")
    env = engine_environment(launch.env)
    done = subprocess.run(launch.argv, env=env, input="", capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "the model cannot be served: the package vllm is not installed: pip install 'freehold[gpu]'\n"


OF_8192 = "This model's maximum context length is 8192"
AT_LEAST = "contains at least 8093 input tokens, for a total of at least 8193 tokens"
OF_4096 = "However, the model's context length is only 4096 tokens, resulting in a maximum input length of"


@pytest.mark.parametrize(
    ("message", "limit", "requested"),
    [
        ("This model's maximum context length is 512 tokens. However, your request has 600 input tokens.", 512, 600),
        (f"'max_tokens' is too large: 4096. {OF_8192} tokens and your request has 5000 input tokens.", 8192, 9096),
        (f"{OF_8192} tokens. However, you requested 100 output tokens and your prompt {AT_LEAST}.", 8192, 8193),
        (f"You passed 3997 input tokens and requested 100 output tokens. {OF_4096} 3996 tokens.", 4096, 4097),
        (f"You passed 90000 input characters and requested 10 output tokens. {OF_4096} 4086 tokens.", 4096, 22500),
        ("The decoder prompt (length 600) is longer than the maximum model length of 512.", 512, 600),
    ],
)
def test_every_way_to_say_too_long_is_understood(message: str, limit: int, requested: int) -> None:
    """A prompt that does not fit is refused with its numbers, in whichever words vLLM says so."""
    connection = VllmConnection(EngineSpec(settings_of()), Path("s"), frozenset())
    body = json.dumps({"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}})
    error = connection.translate(400, body.encode(), {}, param="messages")
    assert isinstance(error, ContextLengthExceeded)
    assert (error.limit, error.requested, error.param) == (limit, requested, "messages")


@pytest.mark.slow
def test_a_model_without_parsers_declares_neither_tools_nor_reasoning() -> None:
    """Calls are read only with a parser, so without one they are not declared; what the model's files say is."""

    async def trial(_: Connection, traits: Traits) -> None:
        assert {Feature.CHAT, Feature.VISION, Feature.JSON_SCHEMA} <= traits.features
        assert not traits.features & {Feature.TOOLS, Feature.REASONING, Feature.N, Feature.SUFFIX}
        assert (traits.context_length, traits.parallel) == (500, 7)

    with vllm(config={"vision_config": {}}, options={}, context_length=500, parallel=7) as subject:
        subject.try_out(trial)


@pytest.mark.slow
def test_an_engine_whose_files_are_elsewhere_is_connected_to() -> None:
    """A gateway without the model's files opens a connection; it tells what the options say, and answers come."""

    async def trial(_: Connection, traits: Traits) -> None:
        far = VllmConnection(replace(subject.spec, weights=None), subject.socket, frozenset({Feature.TOOLS}))
        told = await far.open()
        assert Feature.VISION in traits.features - told.features
        assert {Feature.TOOLS, Feature.JSON_SCHEMA} <= told.features
        assert told.context_length == traits.context_length
        assert (await hear(far.chat(chat_request("one two")))).text == "one two"
        await far.close()

    with vllm(config={"vision_config": {}}) as subject:
        subject.try_out(trial)


@pytest.mark.slow
def test_what_vllm_does_otherwise_is_evened_out() -> None:
    """Alternatives are the likeliest alone, forbidden tools are not read, a hung engine shows."""

    async def trial(connection: Connection, _: Traits) -> None:
        heard = await hear(connection.chat(chat_request("one two three four five", logprobs=True, top_logprobs=2)))
        tops = [entry.top for delta in heard.deltas for entry in delta.logprobs]
        assert all(len(top) == 2 and top[0].logprob >= top[1].logprob for top in tops)
        unlikely = [entry for delta in heard.deltas for entry in delta.logprobs if entry.logprob == -5.0]
        assert unlikely
        assert all(top.token != entry.token for entry in unlikely for top in entry.top)
        none = chat_request("Hi", tools=[CLOCK], tool_choice="none")
        assert await connection.count_tokens(none) == await connection.count_tokens(chat_request("Hi"))
        with pytest.raises(InvalidRequest, match="logit_bias"):
            await hear(connection.complete(completion_request(logit_bias={str(2**24 + 1): 1}), "Hi"))
        assert (
            await hear(connection.complete(completion_request(), "a b " * 29 + "a b"))
        ).usage.completion_tokens == 60

    async def hung(_: Connection, __: Traits) -> None:
        wary = VllmConnection(subject.spec, subject.socket, frozenset(), stuck_s=0.0)
        stream = wary.chat(chat_request(HANG))
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.to_thread(eventually, lambda: subject.active() == 1, "the request runs")
        await wary.check()
        with pytest.raises(EngineUnavailable, match="stopped computing"):
            await wary.check()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await wary.close()

    with vllm() as subject:
        subject.try_out(trial)
        subject.try_out(hung)


@pytest.mark.slow
def test_the_engines_counters_are_its_receipts() -> None:
    """What vLLM counts is what its answers' usages say."""

    async def trial(connection: Connection, _: Traits) -> None:
        before = await connection.counters()
        heard = await hear(connection.chat(chat_request("one two three")))
        after = await connection.counters()
        assert before is not None
        assert after is not None
        assert (before.prompt_tokens, before.completion_tokens, before.since) == (0, 0, after.since)
        assert (after.prompt_tokens, after.completion_tokens) == (
            heard.usage.prompt_tokens,
            heard.usage.completion_tokens,
        )

    with vllm() as subject:
        subject.try_out(trial)


@pytest.mark.slow
def test_embeddings_come_at_unit_length_and_shortened() -> None:
    """A pooling model embeds texts and token ids; vectors are shortened here, and not made longer than they are."""

    async def trial(connection: Connection, traits: Traits) -> None:
        assert traits.features == {Feature.EMBEDDINGS, Feature.TOKEN_PROMPT, Feature.DIMENSIONS}
        found = await connection.embed(["a cat", [1, 2, 3]], 16)
        assert [len(vector) for vector in found.vectors] == [16, 16]
        assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-6) for vector in found.vectors)
        with pytest.raises(InvalidRequest, match="64 dimensions"):
            await connection.embed(["a cat"], 65)

    with vllm(task="embeddings", options={"pooling": "cls"}) as subject:
        subject.try_out(trial)


@pytest.mark.slow
def test_nothing_is_left_when_the_gateway_is_gone(tmp_path: Path) -> None:
    """When the gateway's end of standard input closes, vLLM and the processes that it has started are killed."""
    environment, model = lay_vllm(tmp_path / "python"), lay_model(tmp_path / "m")
    pids = tmp_path / "pids"
    (tmp_path / "python" / "vllm" / "entrypoints" / "cli" / "main.py").write_text(
        "import os, subprocess\n"
        f"worker = subprocess.Popen({shlex.split('sleep 600')!r})\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{worker.pid}}\\n')\n"
        "worker.wait()\n",
        encoding="utf-8",
    )
    launch = VllmEngine().launch(EngineSpec(settings_of(), model), tmp_path / "s")
    launch = replace(launch, env={**launch.env, **environment})
    process = subprocess.Popen(launch.argv, env=engine_environment(launch.env), stdin=subprocess.PIPE)
    eventually(lambda: pids.exists() and pids.read_text().endswith("\n"), "the processes run")
    started = [process.pid, *map(int, pids.read_text().split())]
    assert all(map(_runs, started))
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == -9
    eventually(lambda: not any(map(_runs, started)), "all have ended")


def _runs(pid: int) -> bool:
    """Whether a process runs, and is no zombie that waits for somebody to look at it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_no_part_of_vllm_is_loaded_by_the_gateway() -> None:
    """The engine's half in the gateway loads neither vLLM nor what converts adapters."""
    script = (
        "import sys\nfrom freehold.engines.vllm import VllmEngine\nVllmEngine()\n"
        "print({'vllm', 'numpy', 'gguf', 'safetensors', 'torch'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ}, timeout=60
    )
    assert done.stdout == "set()\n"
