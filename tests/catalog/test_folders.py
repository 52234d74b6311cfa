"""Models that are kept as the safetensors that they came as."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import CatalogError, DigestMismatch, UnknownModel, UnsupportedModelFormat
from tests.catalog.llama_folder import byte_level_tokenizer, llama_files
from tests.catalog.making import safetensors_bytes
from tests.catalog.serving import open_catalog


def lay(folder: Path, config: dict[str, Any] | None = None, **files: str) -> Path:
    """A model's folder as a hub has it."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"architectures": ["Qwen3ForCausalLM"], "max_position_embeddings": 4096, "hidden_size": 8, **(config or {})}
    (folder / "config.json").write_text(json.dumps(found), encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(safetensors_bytes())
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def test_a_model_is_kept_with_what_belongs_to_it(tmp_path: Path) -> None:
    """Weights, configuration, vocabulary and template are kept, code is not, and the entry tells what they say."""
    folder = lay(
        tmp_path / "qwen",
        {"dtype": "bfloat16"},
        chat_template__jinja="{{ messages }}",
        modeling_qwen__py="import os",
        pytorch_model__bin="x",
    )

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            entry = await catalog.pull(f"file://{folder}", convert=False)
            kept = catalog.path(entry)
            assert {each.name for each in kept.rglob("*") if each.is_file()} == {
                "chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"
            }  # fmt: skip
            assert (entry.name, entry.format) == ("qwen", "transformers")
            assert entry.details == {
                "architecture": "Qwen3ForCausalLM",
                "parameter_count": 4,
                "context_length": 4096,
                "embedding_length": 8,
                "quantization": "BFLOAT16",
                "chat_template": True,
                "task": "chat",
            }
            assert await catalog.pull(f"file://{folder}", convert=False) == entry
            await catalog.verify("qwen")
            (kept / "tokenizer.json").write_text("[]", encoding="utf-8")
            with pytest.raises(DigestMismatch, match="has changed on the disk"):
                await catalog.verify("qwen")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("config", "files", "task"),
    [
        ({"architectures": ["BertModel"]}, {}, "embeddings"),
        ({}, {"modules__json": "[]"}, "embeddings"),
        ({"architectures": ["Gemma3ForConditionalGeneration"], "text_config": {"hidden_size": 16}}, {}, "chat"),
    ],
)
def test_the_task_is_what_the_files_say(
    config: dict[str, Any], files: dict[str, str], task: str, tmp_path: Path
) -> None:
    """Models whose files are those of sentence-transformers, or whose architecture writes nothing, make vectors."""
    folder = lay(tmp_path / "m", config, **files)

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            assert (await catalog.pull(f"file://{folder}", convert=False)).details["task"] == task

    asyncio.run(scenario())


def test_weights_in_several_files_are_kept_together(tmp_path: Path) -> None:
    """Of an index all files are taken, and one that is missing or no safetensors ends the pull."""
    folder = lay(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name in names:
        (folder / name).write_bytes(safetensors_bytes())
    index = {"weight_map": dict(zip(("a", "b"), names, strict=True))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            entry = await catalog.pull(f"file://{folder}", convert=False)
            assert entry.details["parameter_count"] == 8
            assert {*names, "model.safetensors.index.json"} <= {each.name for each in catalog.path(entry).iterdir()}
            (folder / names[1]).write_bytes(b"\x80\x04 a pickle")
            with pytest.raises(UnsupportedModelFormat, match="pickle"):
                await catalog.pull(f"file://{folder}", name="other", sha256="00" * 32, convert=False)

    asyncio.run(scenario())


@pytest.mark.slow
def test_both_forms_of_a_model_are_there_side_by_side(tmp_path: Path) -> None:
    """A model can be pulled converted and unconverted under two names, and each is found from the other's weights."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name, data in llama_files(byte_level_tokenizer()).items():
        (folder / name).write_bytes(data)

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            converted = await catalog.pull(f"file://{folder}")
            with pytest.raises(UnknownModel, match="--no-convert --name tiny-safetensors"):
                await catalog.unconverted(converted)
            with pytest.raises(CatalogError, match="the same model, converted to GGUF"):
                await catalog.pull(f"file://{folder}", convert=False)
            kept = await catalog.pull(f"file://{folder}", name="whole", convert=False)
            assert (converted.format, kept.format) == ("safetensors", "transformers")
            assert await catalog.unconverted(converted) == await catalog.unconverted(kept) == kept
            assert await catalog.pull(f"file://{folder}") == converted
            with pytest.raises(CatalogError, match="the same model, kept as safetensors"):
                await catalog.pull(f"file://{folder}", name="whole")

    asyncio.run(scenario())
