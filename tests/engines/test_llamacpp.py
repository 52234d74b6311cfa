"""The llama.cpp engine judges its options, and with a real model keeps its promises about JSON and tool calls."""

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from freehold.engines.base import Connection, EngineSpec
from freehold.engines.gguf_header import read_metadata
from freehold.engines.llamacpp import LlamaCppEngine
from freehold.engines.model_defaults import chat_template, default_context
from freehold.errors import ConfigError, ContextLengthExceeded, InvalidRequest
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature, Traits
from tests.conftest import StarterModels
from tests.engines.grammar_schemas import SCHEMAS
from tests.engines.llamacpp_models import llamacpp
from tests.engines.subject import Subject, chat_request, completion_request, hear

HELD = ("person", "nested", "list", "enum", "nullable", "anyof", "defs", "optional", "tuple", "pattern")
CHATML = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou are Ada<|im_end|>\\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message.content }}{% endfor %}"
)
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "add_numbers", "parameters": SCHEMAS["alloptional"]}},
    {"type": "function", "function": {"name": "now"}},
]


@pytest.mark.parametrize(
    "options",
    [
        {"gpu": 1},
        {"threads": "2"},
        {"threads": 0},
        {"cache_type_k": "q3"},
        {"pooling": "max"},
        {"lora": [{"file": "a"}]},
        {"mlock": 1},
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any]) -> None:
    """An option that the engine does not have, or a value that it cannot use, is a configuration error naming it."""
    with pytest.raises(ConfigError) as refusal:
        LlamaCppEngine().validate(DeploymentSettings(name="a", model="m", options=options))
    assert refusal.value.param == f"options.{next(iter(options))}"


def test_launching_needs_a_model_file() -> None:
    """Without weights there is nothing to launch, and the error says so."""
    with pytest.raises(ConfigError):
        LlamaCppEngine().launch(EngineSpec(DeploymentSettings(name="a", model="m")), Path("s"))


def test_a_chatml_template_without_tools_is_replaced_by_one_that_knows_them() -> None:
    """The replacement keeps the model's own default system prompt; other templates stay as they are."""
    replaced = chat_template(CHATML, None)
    assert '"You are Ada"' in replaced
    assert "<tool_call>" in replaced
    assert not chat_template(CHATML + "{{ tools }}", None)
    assert not chat_template("[INST]{{ messages }}[/INST]", None)


def test_default_context_fits_the_memory_that_is_set_aside() -> None:
    """A large model with many slots gets shorter contexts than a small one; none gets more than it was trained for."""
    small = {"general.architecture": "llama", "llama.context_length": 4096, "llama.block_count": 2}
    large = {**small, "llama.block_count": 80, "llama.context_length": 131_072, "llama.embedding_length": 8192}
    assert default_context(small | {"llama.embedding_length": 64}, 1) == 4096
    assert default_context(large, 8) == 2048


def test_a_file_that_is_no_model_ends_the_process_with_one_line(tmp_path: Path) -> None:
    """The process exits with 1 and says why on one line when the file cannot be served."""
    broken = tmp_path / "model.gguf"
    broken.write_bytes(b"GGUF\x03\x00\x00\x00")
    with pytest.raises(ValueError, match="broken off"):
        read_metadata(broken)
    spec = EngineSpec(DeploymentSettings(name="a", model="m"), broken)
    ended = subprocess.run(
        LlamaCppEngine().launch(spec, tmp_path / "s").argv, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1] == "the model cannot be served: it is broken off"


@pytest.fixture(scope="module")
def started(starter_models: StarterModels) -> Iterator[Subject]:
    """The engine with short contexts, so that nothing runs for long."""
    with llamacpp(starter_models.chat, context_length=512) as subject:
        yield subject


async def _together(trials: list[Any]) -> None:
    """Run the trials, eight at a time."""
    slots = asyncio.Semaphore(8)

    async def one(trial: Any) -> None:
        async with slots:
            await trial

    await asyncio.gather(*(one(trial) for trial in trials))


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, pytest.param(10, marks=pytest.mark.long)])
def test_json_is_valid_under_its_schema_whatever_the_seed(started: Subject, seeds: int) -> None:
    """At temperature 1, ten schemas give JSON that is valid under them, for each of so many seeds."""

    async def trial(connection: Connection, _: Traits) -> None:
        async def one(name: str, seed: int) -> None:
            wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMAS[name]}}
            request = chat_request(f"Invent an example: {name}.", response_format=wanted, seed=seed)
            heard = await hear(connection.chat(request))
            Draft202012Validator(SCHEMAS[name]).validate(json.loads(heard.text))
            assert heard.finish == "stop"

        await _together([one(name, seed) for name in HELD for seed in range(seeds)])

    started.try_out(trial, Feature.JSON_SCHEMA)


@pytest.mark.slow
def test_json_object_always_parses(started: Subject) -> None:
    """Asked for a JSON object, the model gives one, whatever the seed."""

    async def trial(connection: Connection, _: Traits) -> None:
        async def one(seed: int) -> None:
            request = chat_request("Describe a cat in JSON.", response_format={"type": "json_object"}, seed=seed)
            heard = await hear(connection.chat(request))
            assert isinstance(json.loads(heard.text), dict)

        await _together([one(seed) for seed in range(8)])

    started.try_out(trial, Feature.JSON_OBJECT)


@pytest.mark.slow
def test_a_demanded_tool_call_always_comes_and_parses(starter_models: StarterModels) -> None:
    """Required and named tool choices give a call with valid arguments, for every seed and at both temperatures."""
    named = {"type": "function", "function": {"name": "add_numbers"}}
    schemas = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in TOOLS}

    async def trial(connection: Connection, _: Traits) -> None:
        async def one(choice: Any, seed: int) -> None:
            request = chat_request(
                "Weather in Paris?", tools=TOOLS, tool_choice=choice, seed=seed, temperature=float(seed % 4 != 0)
            )
            heard = await hear(connection.chat(request))
            assert heard.finish == "tool_calls"
            assert not heard.text
            ((name, arguments),) = heard.calls
            assert choice == "required" or name == "add_numbers"
            Draft202012Validator(schemas[name]).validate(json.loads(arguments))

        await _together([one(choice, seed) for choice in ("required", named) for seed in range(20)])

    with llamacpp(starter_models.chat, context_length=1024) as subject:
        subject.try_out(trial, Feature.TOOLS)


@pytest.mark.slow
def test_refusals_name_what_is_wrong(started: Subject) -> None:
    """A prompt that is too long, an unknown token and an unknown bias are refused with what names them."""

    async def trial(connection: Connection, traits: Traits) -> None:
        with pytest.raises(ContextLengthExceeded) as long:
            await hear(connection.chat(chat_request("word " * 600)))
        assert long.value.limit == traits.context_length
        with pytest.raises(InvalidRequest) as token:
            await hear(connection.complete(completion_request(max_tokens=1), [1, 10**6]))
        assert token.value.param == "prompt"
        with pytest.raises(InvalidRequest) as bias:
            await hear(connection.chat(chat_request(logit_bias={"49152": 1.0})))
        assert bias.value.param == "logit_bias"

    started.try_out(trial)


@pytest.mark.slow
def test_an_answer_without_a_limit_ends_at_the_end_of_the_context(started: Subject) -> None:
    """Without max_tokens, and beyond the context with one, an answer that never stops ends with `length`."""

    async def trial(connection: Connection, traits: Traits) -> None:
        endless = {"logit_bias": {"2": -100.0, "0": -100.0}, "temperature": 0.0}
        heard = await hear(connection.chat(chat_request("word " * 400, max_tokens=5000, **endless)))
        assert heard.finish == "length"
        assert heard.usage.total_tokens <= (traits.context_length or 0)

    started.try_out(trial)


@pytest.mark.slow
def test_the_process_ends_with_the_one_that_started_it(tmp_path: Path, starter_models: StarterModels) -> None:
    """An engine whose parent is killed ends by itself."""
    settings = DeploymentSettings(name="a", model="m", context_length=256, parallel=1)
    spec = EngineSpec(settings, starter_models.chat)
    argv = LlamaCppEngine().launch(spec, tmp_path / "s").argv
    starter = "import subprocess, sys, time; print(subprocess.Popen(sys.argv[1:]).pid, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", starter, *argv], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = Path("/proc") / parent.stdout.readline().strip()
        deadline = time.monotonic() + 60
        while not (tmp_path / "s").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        parent.kill()
    while child.exists() and "\tZ" not in (child / "status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_embeddings_are_unit_vectors_that_can_be_shortened(starter_models: StarterModels) -> None:
    """Vectors have unit length at every size, token ids give what their text gives, and refusals name the parameter."""

    async def trial(connection: Connection, traits: Traits) -> None:
        texts = ["a cat on a mat", "the history of banking in Florence"]
        native = traits.embedding_dimensions
        assert native is not None
        whole = await connection.embed(texts, None)
        short = await connection.embed(texts, 64)
        assert [len(vector) for vector in whole.vectors] == [native, native]
        assert [len(vector) for vector in short.vectors] == [64, 64]
        for vector in (*whole.vectors, *short.vectors):
            assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)
        assert sum(a * b for a, b in zip(*whole.vectors, strict=True)) < 0.5
        assert whole.usage.prompt_tokens == short.usage.prompt_tokens > 0
        assert not whole.usage.estimated
        with pytest.raises(InvalidRequest) as size:
            await connection.embed(texts, native + 1)
        assert size.value.param == "dimensions"
        with pytest.raises(ContextLengthExceeded) as long:
            await connection.embed(["word " * 2000], None)
        assert long.value.param == "input"

    with llamacpp(starter_models.embed, context_length=None, task="embeddings", parallel=2) as subject:
        subject.try_out(trial, Feature.EMBEDDINGS, Feature.DIMENSIONS)


@pytest.mark.slow
def test_a_template_of_another_style_calls_tools_too(starter_models: StarterModels, tmp_path: Path) -> None:
    """With a template that writes calls in its own way, a demanded call comes, and text that is none is text."""
    template = tmp_path / "bare.jinja"
    template.write_text(
        "{% if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}"
        'Answer with {"name": function, "parameters": arguments}.{% endif %}'
        "{% for message in messages %}<|im_start|>{{ message.role }}\n"
        "{% if message.tool_calls %}{% for call in message.tool_calls %}"
        '{"name": "{{ call.function.name }}", "parameters": {{ call.function.arguments | tojson }}}{% endfor %}'
        "{% else %}{{ message.content }}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )

    async def trial(connection: Connection, _: Traits) -> None:
        demanded = await hear(connection.chat(chat_request(tools=TOOLS, tool_choice="required", seed=1)))
        assert demanded.finish == "tool_calls"
        assert len(demanded.calls) == 1
        for seed in range(4):
            free = await hear(connection.chat(chat_request(tools=TOOLS, seed=seed, max_tokens=24)))
            assert free.calls or free.text

    with llamacpp(starter_models.chat, options={"chat_template": str(template)}) as subject:
        subject.try_out(trial, Feature.TOOLS)
