"""A deployment on vLLM, from the pull of its model to the receipt."""

import asyncio
import json
from pathlib import Path

import pytest

from freehold.app_parts import preparer
from freehold.errors import ConfigError
from tests.catalog.llama_folder import byte_level_tokenizer, llama_files
from tests.catalog.making import gguf_bytes
from tests.catalog.serving import open_catalog
from tests.engines.vllm_subject import lay_model, lay_vllm, settings_of
from tests.service import Service

CONFIG = """
[server]
starter = false

[[deployment]]
name = "big"
engine = "vllm"
model = "{model}"
context_length = 500
options = {{ tool_call_parser = "hermes", tensor_parallel = 2 }}
"""


@pytest.mark.slow
def test_a_pulled_model_is_served(tmp_path: Path) -> None:
    """A folder is pulled unconverted and answers over the API; its tokens are counted, its receipt names the engine."""
    lay_model(tmp_path / "m")
    home, environment = tmp_path / "home", lay_vllm(tmp_path / "python")
    with Service(home, CONFIG.format(model=f"file://{tmp_path}/m"), environment=environment) as service:
        body = {"model": "big", "messages": [{"role": "user", "content": "one two three"}]}
        reply = service.post("/v1/chat/completions", body)
        assert reply.status == 200, reply.body
        answer = reply.json()
        assert answer["choices"][0]["message"]["content"] == "one two three"
        assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (3, 3)
        streamed = service.post("/v1/chat/completions", {**body, "stream": True}).body.decode()
        assert streamed.endswith("data: [DONE]\n\n")
        long = {**body, "messages": [{"role": "user", "content": "word " * 600}]}
        refused = service.post("/v1/chat/completions", long)
        assert (refused.status, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
    lines = [line for file in (home / "journal").rglob("*.jsonl") for line in file.read_text().splitlines()]
    receipts = [json.loads(line)["body"] for line in lines if '"receipt"' in line]
    assert {receipt.get("engine") for receipt in receipts if receipt.get("deployment") == "big"} == {"vllm"}


def test_a_converted_model_is_not_served(tmp_path: Path) -> None:
    """A deployment on a model that is here as GGUF only is told how to fetch its safetensors."""
    (tmp_path / "m.gguf").write_bytes(gguf_bytes())

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            await catalog.pull(f"file://{tmp_path}/m.gguf", name="small")
            with pytest.raises(ConfigError, match="--no-convert --name small-safetensors"):
                await preparer(catalog)(settings_of(model="small"), lambda _: None)

    asyncio.run(scenario())


def test_an_adapter_is_served_with_the_safetensors_of_its_base(tmp_path: Path) -> None:
    """Of an adapter that was trained on the converted model, vLLM gets the unconverted weights and the adapter."""
    files = llama_files(byte_level_tokenizer())
    (tmp_path / "tiny").mkdir()
    for name, data in files.items():
        (tmp_path / "tiny" / name).write_bytes(data)
    adapter = tmp_path / "home" / "a.gguf"

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            base = await catalog.pull(f"file://{tmp_path}/tiny")
            whole = await catalog.pull(f"file://{tmp_path}/tiny", name="whole", convert=False)
            adapter.write_bytes(gguf_bytes(seed=2))
            kept = await catalog.keep(adapter, name="ft:tiny:p:s:01234567", source="job://1", parent=base, adapter=True)
            spec = await preparer(catalog)(settings_of(model=kept.name), lambda _: None)
            assert (spec.weights, spec.adapter) == (catalog.path(whole), catalog.path(kept))
            assert spec.weights_sha256 == kept.sha256

    asyncio.run(scenario())
