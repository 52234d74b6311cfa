"""Which models are read is told from their headers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader

from freehold.engines.gguf_header import read_lengths, read_metadata, read_tensors, read_value, without_tensors
from freehold.engines.openvino_formats import refusal, refused_architecture, shape_of
from tests.engines.gguf_networks import INNER, SIZE, WIDTH, WORDS, tensors_of, write_gguf

I32 = GGMLQuantizationType.I32


def _file(path: Path, architecture: str = "llama", **metadata: Any) -> Path:
    """A file of an architecture, which says this besides or instead."""
    return write_gguf(path, architecture, tensors_of(architecture), metadata=metadata)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_known_models_are_read(tmp_path: Path, architecture: str) -> None:
    """A model of a known architecture, tokenizer and kind of tensors is for this engine, tied or not."""
    tensors = tensors_of(architecture)
    tensors["output.weight"] = tensors["token_embd.weight"]
    assert refusal(_file(tmp_path / "m", architecture)) is None
    assert refusal(write_gguf(tmp_path / "untied", architecture, tensors)) is None


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"tokenizer.ggml.model": "llama"}, "'llama'"),
        ({"tokenizer.ggml.pre": "llama-bpe"}, "llama-bpe"),
        ({"tokenizer.ggml.tokens": ["a", "b"]}, "2 tokens where the network has 64"),
        ({"llama.rope.scaling.type": "yarn"}, "positions are scaled"),
        ({"llama.rope.scaling.factor": 4.0}, "positions are scaled"),
        ({"llama.rope.scale_linear": 2.0}, "positions are scaled"),
        ({"llama.expert_count": 8}, "experts"),
        ({"llama.rope.dimension_count": 8}, "8 of a head's 32"),
        ({"llama.attention.value_length": 16}, "32 numbers in keys and 16 in values"),
        ({"llama.attention.causal": False}, "both directions"),
        ({"llama.attention.sliding_window": 128}, "'llama.attention.sliding_window'"),
        ({"llama.logit_scale": 0.5}, "'llama.logit_scale'"),
        ({"llama.block_count": 3}, "2 layers where 3 are told"),
        ({"llama.block_count": 2**32 - 1}, "2 layers where 4294967295"),
        ({"llama.attention.head_count_kv": None}, "'blk.0.attn_k.weight' has the sides (64, 64), not (64, 128)"),
        ({"llama.attention.head_count_kv": [2, 2]}, "'blk.0.attn_k.weight' has the sides (64, 64), not (64, 128)"),
        ({"llama.attention.key_length": None}, "'blk.0.attn_q.weight' has the sides (64, 128), not (64, 64)"),
        ({"llama.embedding_length": 32}, "'token_embd.weight' has the sides (64, 64), not (32, 64)"),
    ],
)
def test_models_that_say_something_else_are_refused(tmp_path: Path, metadata: dict[str, Any], named: str) -> None:
    """What would be misread is refused with the reason, and with the engine that reads it."""
    reason = refusal(_file(tmp_path / "m", **metadata))
    assert reason is not None
    assert named in reason
    assert "llamacpp" in reason


def test_metadata_that_change_nothing_are_let_pass(tmp_path: Path) -> None:
    """What says of a network that it has nothing more than others is not refused."""
    more: dict[str, Any] = {"expert_count": 0, "rope.scaling.type": "none", "rope.scaling.factor": 1.0}
    more |= {"attention.sliding_window": 0}
    more |= {"rope.dimension_count": SIZE, "attention.value_length": SIZE, "attention.causal": True}
    assert refusal(_file(tmp_path / "m", **{f"llama.{name}": value for name, value in more.items()})) is None


@pytest.mark.parametrize(
    ("architecture", "gone", "more", "named"),
    [
        ("gemma3", None, None, "'gemma3'"),
        ("llama", None, "rope_freqs.weight", "positions are scaled"),
        ("llama", None, "blk.0.attn_sinks.weight", "a tensor 'blk.0.attn_sinks.weight'"),
        ("llama", None, "blk.0.attn_q_norm.weight", "a tensor 'blk.0.attn_q_norm.weight'"),
        ("llama", None, "blk.1.ffn_up.bias", "without the tensor 'blk.0.ffn_up.bias'"),
        ("llama", "blk.1.ffn_down.weight", None, "without the tensor 'blk.1.ffn_down.weight'"),
        ("llama", "output_norm.weight", None, "without the tensor 'output_norm.weight'"),
        ("llama", "token_embd.weight", None, "without the tensor 'token_embd.weight'"),
        ("qwen2", "blk.0.attn_k.bias", None, "without the tensor 'blk.0.attn_k.bias'"),
        ("qwen3", "blk.1.attn_q_norm.weight", None, "without the tensor 'blk.1.attn_q_norm.weight'"),
    ],
)
def test_models_with_other_tensors_are_refused(
    tmp_path: Path, architecture: str, gone: str | None, more: str | None, named: str
) -> None:
    """A tensor too few or too many is another network, also where only one layer has it."""
    tensors = {name: data for name, data in tensors_of(architecture).items() if name != gone}
    if more is not None:
        tensors[more] = np.zeros(INNER, np.float32)
    reason = refusal(write_gguf(tmp_path / "m", architecture, tensors))
    assert reason is not None
    assert named in reason
    assert "llamacpp" in reason


def test_unknown_kinds_of_tensors_are_refused(tmp_path: Path) -> None:
    """A matrix of a kind that is not computed with is named by its number."""
    file = write_gguf(tmp_path / "m", "llama", tensors_of("llama"), {"ffn_up.weight": I32})
    assert "type 26" in str(refusal(file))


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"llama.attention.head_count": 0}, "head_count is 0"),
        ({"llama.attention.head_count": "4"}, "head_count is '4'"),
        ({"llama.attention.head_count": None}, "head_count is None"),
        ({"llama.attention.head_count_kv": 3}, "4 heads of 32 numbers"),
        ({"llama.attention.key_length": 31}, "4 heads of 31 numbers"),
        ({"llama.attention.layer_norm_rms_epsilon": None}, "epsilon is None"),
        ({"llama.rope.freq_base": 0.0}, "freq_base is 0.0"),
        ({"llama.rope.freq_base": float("nan")}, "freq_base is nan"),
        ({"general.alignment": 0}, "power of two"),
        ({"general.alignment": "32"}, "power of two"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, metadata: dict[str, Any], named: str) -> None:
    """A file that says of its network what no network is cannot be read, and what it says is named."""
    with pytest.raises(ValueError, match=named):
        refusal(_file(tmp_path / "m", **metadata))


def test_a_file_that_ends_too_soon_is_told_before_anything_is_built(tmp_path: Path) -> None:
    """A file whose last tensor is cut off cannot be read, and the tensor is named."""
    file = _file(tmp_path / "m")
    file.write_bytes(file.read_bytes()[:-64])
    with pytest.raises(ValueError, match=r"broken off: its tensor 'blk\.1\.ffn_down\.weight'"):
        refusal(file)


def _entry(key: bytes, kind: int, value: bytes) -> bytes:
    return len(key).to_bytes(8, "little") + key + kind.to_bytes(4, "little") + value


def _number(value: int, size: int = 8) -> bytes:
    return value.to_bytes(size, "little")


@pytest.mark.parametrize(
    ("entries", "tensors", "named"),
    [
        ([_entry(b"a", 4, _number(1, 4))] * 2, b"", "twice what 'a' is"),
        ([_entry(b"a", 9, _number(9, 4) + _number(1) + _number(9, 4) + _number(1))], b"", "unknown type"),
        ([_entry(b"a", 9, _number(0, 4) + _number(2**63))], b"", "larger than can be"),
        ([_entry(b"a", 9, _number(8, 4) + _number(1) + _number(2**64 - 1))], b"", "larger than can be"),
        ([_entry(b"a", 8, _number(2**62))], b"", "broken off"),
        ([], _number(1) + b"t" + _number(9, 4), "larger than can be"),
    ],
)
def test_damaged_headers_are_told(tmp_path: Path, entries: list[bytes], tensors: bytes, named: str) -> None:
    """Keys that come twice, lengths beyond any file, and arrays of arrays are errors that say so."""
    count = _number(1 if tensors else 0)
    (tmp_path / "m").write_bytes(b"GGUF" + _number(3, 4) + count + _number(len(entries)) + b"".join(entries) + tensors)
    with pytest.raises(ValueError, match=named):
        read_tensors(tmp_path / "m")


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
    tensor = read_tensors(file).tensors[0]
    assert (tensor.name, tensor.sides, tensor.kind) == ("token_embd.weight", (WIDTH, WORDS), 0)
    assert read_lengths(file) == {"tokenizer.ggml.tokens": WORDS}


def test_metadata_are_told_without_tensors(tmp_path: Path) -> None:
    """A file can be had with the same metadata and no tensors, and it is a GGUF file."""
    file, bare = _file(tmp_path / "m"), tmp_path / "bare"
    bare.write_bytes(without_tensors(file))
    assert read_metadata(bare) == read_metadata(file)
    assert GGUFReader(bare).tensors == []


def test_the_size_of_a_cache_follows_from_the_model(tmp_path: Path) -> None:
    """A block of the cache has the bytes of its layers, heads and precision, told by a file or by a folder."""
    shape = shape_of(_file(tmp_path / "m"))
    assert (shape.layers, shape.heads, shape.size, shape.trained_context) == (2, 2, 32, 512)
    assert shape.block_bytes("f32") == 2 * shape.block_bytes("f16") == 2 * 2 * 2 * 32 * 32 * 4
    folder = tmp_path / "folder"
    folder.mkdir()
    config = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 128, "num_hidden_layers": 2}
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 512}))
    assert shape_of(folder) == shape
