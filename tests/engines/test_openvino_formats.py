"""Which models are read is told from their headers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import quantize

from freehold.engines.gguf_header import read_metadata, read_tensors, read_value, without_tensors
from freehold.engines.openvino_formats import refusal, refused_architecture, shape_of

GOOD: dict[str, Any] = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2"}


def _file(
    path: Path,
    architecture: str = "llama",
    kinds: tuple[GGMLQuantizationType, ...] = (GGMLQuantizationType.F32,),
    names: tuple[str, ...] = ("token_embd.weight",),
    **metadata: Any,
) -> Path:
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(2)
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    for key, value in {**GOOD, **metadata}.items():
        (writer.add_string if isinstance(value, str) else writer.add_uint32)(key, value)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    random = np.random.default_rng(1)
    for kind, name in zip(kinds, names, strict=True):
        data = random.normal(size=(48, 96)).astype(np.float32)
        plain = {GGMLQuantizationType.F32: np.float32, GGMLQuantizationType.I32: np.int32}.get(kind)
        writer.add_tensor(name, quantize(data, kind) if plain is None else data.astype(plain), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_known_models_are_read(tmp_path: Path, architecture: str) -> None:
    """A model of a known architecture, tokenizer and kind of tensors is for this engine."""
    assert refusal(_file(tmp_path / "m", architecture)) is None


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ({"architecture": "gemma3"}, "gemma3"),
        ({"tokenizer.ggml.model": "llama"}, "'llama'"),
        ({"tokenizer.ggml.pre": "llama-bpe"}, "llama-bpe"),
        ({"llama.rope.scaling.type": "yarn"}, "positions are scaled"),
        ({"names": ("rope_freqs.weight",)}, "positions are scaled"),
        ({"llama.expert_count": 8}, "experts"),
        ({"kinds": (GGMLQuantizationType.I32,)}, "type 26"),
        ({"llama.rope.dimension_count": 8}, "8 of a head's 16"),
        ({"names": ("blk.0.attn_sinks.weight",)}, "'blk.0.attn_sinks.weight'"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, file: dict[str, Any], named: str) -> None:
    """What the library would misread is refused with the reason, and with the engine that reads it."""
    reason = refusal(_file(tmp_path / "m", **file))
    assert reason is not None
    assert named in reason
    assert "llamacpp" in reason


def test_no_model_at_all_is_told(tmp_path: Path) -> None:
    """A file that is no GGUF is an error, and a folder that lacks a part is refused by the part's name."""
    (tmp_path / "m").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="GGUF"):
        refused_architecture(tmp_path / "m")
    assert "openvino_model.xml" in str(refused_architecture(tmp_path))


def test_headers_are_read_in_part(tmp_path: Path) -> None:
    """One value is read without the rest, and tensors are told with their place."""
    file = _file(tmp_path / "m")
    assert read_value(file, "general.architecture") == "llama"
    assert read_value(file, "there.is.none") is None
    assert read_metadata(file)["llama.block_count"] == 2
    (tensor,) = read_tensors(file).tensors
    assert (tensor.name, tensor.sides, tensor.kind) == ("token_embd.weight", (96, 48), 0)


def test_metadata_are_told_without_tensors(tmp_path: Path) -> None:
    """A file can be had with the same metadata and no tensors, and it is a GGUF file."""
    file, bare = _file(tmp_path / "m"), tmp_path / "bare"
    bare.write_bytes(without_tensors(file))
    assert read_metadata(bare) == read_metadata(file)
    assert GGUFReader(bare).tensors == []


def test_the_size_of_a_cache_follows_from_the_model(tmp_path: Path) -> None:
    """A block of the cache has the bytes of its layers, heads and precision, told by a file or by a folder."""
    shape = shape_of(_file(tmp_path / "m"))
    assert (shape.layers, shape.heads, shape.size, shape.trained_context) == (2, 2, 16, 512)
    assert shape.block_bytes("f32") == 2 * shape.block_bytes("f16") == 2 * 2 * 2 * 32 * 16 * 4
    folder = tmp_path / "folder"
    folder.mkdir()
    config = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64, "num_hidden_layers": 2}
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 512}))
    assert shape_of(folder) == shape
