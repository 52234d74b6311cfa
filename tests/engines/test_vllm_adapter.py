"""Adapters on vLLM: those in PEFT's layout, and those that fine-tuning makes for llama.cpp."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from safetensors.numpy import load_file, save_file

from freehold.catalog.convert.llama import interleave
from freehold.engines.base import Connection, EngineSpec
from freehold.engines.vllm import VllmEngine
from freehold.engines.vllm_adapter import write_peft
from freehold.errors import ConfigError
from freehold.types.engine import Traits
from tests.engines.subject import chat_request, hear
from tests.engines.vllm_subject import CONFIG, lay_model, refusal, settings_of, vllm

RANK, ALPHA, WIDTH, HEADS, KEYS = 4, 16.0, 64, 4, 2


def gguf_adapter(path: Path, names: dict[str, tuple[Any, Any]]) -> Path:
    """An adapter as `freehold.training.finetune.export` writes it, of matrices by the names of their tensors."""
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for name, (a, b) in names.items():
        writer.add_tensor(f"{name}.lora_a", np.ascontiguousarray(a, np.float32))
        writer.add_tensor(f"{name}.lora_b", np.ascontiguousarray(b, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def peft_adapter(folder: Path, rank: int = RANK) -> Path:
    """An adapter in PEFT's layout."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank}))
    save_file({"a": np.zeros((rank, WIDTH), np.float32)}, folder / "adapter_model.safetensors")
    return folder


def test_an_adapter_of_fine_tuning_becomes_pefts(tmp_path: Path) -> None:
    """The numbers are the same under Hugging Face's names, queries and keys in Hugging Face's order of rows."""
    draw = np.random.default_rng(1)
    queries, keys, down = ((draw.normal(size=(RANK, WIDTH)), draw.normal(size=(n, RANK))) for n in (64, 32, 64))
    adapter = gguf_adapter(
        tmp_path / "a.gguf",
        {
            "blk.0.attn_q.weight": (queries[0], interleave(queries[1], HEADS)),
            "blk.0.attn_k.weight": (keys[0], interleave(keys[1], KEYS)),
            "blk.7.ffn_down.weight": down,
        },
    )
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    write_peft(adapter, tmp_path / "config.json", tmp_path / "out")
    found = load_file(tmp_path / "out" / "adapter_model.safetensors")
    head = "base_model.model.model.layers"
    expected = {"0.self_attn.q_proj": queries, "0.self_attn.k_proj": keys, "7.mlp.down_proj": down}
    assert found.keys() == {f"{head}.{name}.lora_{part}.weight" for name in expected for part in "AB"}
    for name, (a, b) in expected.items():
        assert np.array_equal(found[f"{head}.{name}.lora_A.weight"], a.astype(np.float32))
        assert np.array_equal(found[f"{head}.{name}.lora_B.weight"], b.astype(np.float32))
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (RANK, 16, "LORA")
    assert config["target_modules"] == ["down_proj", "k_proj", "q_proj"]


def test_an_adapter_of_other_parts_is_refused(tmp_path: Path) -> None:
    """An adapter of what is no part of a layer is named, not left out."""
    adapter = gguf_adapter(tmp_path / "a.gguf", {"output.weight": (np.zeros((4, 64)), np.zeros((100, 4)))})
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    with pytest.raises(ValueError, match=r"output\.weight"):
        write_peft(adapter, tmp_path / "config.json", tmp_path / "out")


@pytest.mark.slow
def test_a_fine_tuned_adapter_is_served_under_its_name(tmp_path: Path) -> None:
    """A model that is an adapter is served by its base with it; the requests ask for the adapter."""
    zeros = (np.zeros((RANK, WIDTH)), np.zeros((WIDTH, RANK)))
    adapter = gguf_adapter(tmp_path / "a.gguf", {"blk.0.attn_q.weight": zeros})

    async def trial(connection: Connection, _: Traits) -> None:
        assert (await hear(connection.chat(chat_request("one two")))).text == "ONE TWO"

    with vllm(adapter=adapter) as subject:
        subject.try_out(trial)
        assert (Path(f"{subject.socket}.adapter") / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_an_adapter_in_a_folder_is_served(tmp_path: Path) -> None:
    """The option `lora` loads an adapter in PEFT's layout; one that is none, or too large, is told."""
    folder = peft_adapter(tmp_path / "peft", rank=20)

    async def trial(connection: Connection, _: Traits) -> None:
        assert (await hear(connection.chat(chat_request("one two")))).text == "ONE TWO"

    with vllm(options={"lora": str(folder)}) as subject:
        subject.try_out(trial)
    model = lay_model(tmp_path / "m")
    large = settings_of(options={"lora": str(peft_adapter(tmp_path / "large", rank=600))})
    assert "rank 600; vLLM serves at most 512" in refusal(EngineSpec(large, model))
    assert "No such file" in refusal(EngineSpec(settings_of(options={"lora": str(tmp_path / "none")}), model))


def test_two_adapters_at_once_are_refused(tmp_path: Path) -> None:
    """A model that is an adapter takes no second one."""
    settings = settings_of(options={"lora": "/adapters/one"})
    spec = EngineSpec(settings, lay_model(tmp_path), adapter=tmp_path / "a.gguf")
    with pytest.raises(ConfigError, match="adapter itself"):
        VllmEngine().launch(spec, Path("s"))
