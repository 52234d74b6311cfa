"""Small GGUF files of the architectures that the `openvino` engine reads, with weights of chance."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFWriter
from gguf.quants import quantize

WORDS, WIDTH, HEADS, PAIRS, SIZE, INNER, LAYERS = 64, 64, 4, 2, 32, 96, 2
EPSILON, BASE = 1e-5, 10_000.0
Tensors = Mapping[str, Any]
WORDS_OF: Final[Mapping[str, Any]] = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "qwen2",
    "tokenizer.ggml.tokens": [f"t{number}" for number in range(WORDS)],
}


def metadata_of(architecture: str) -> dict[str, Any]:
    """What a file of an architecture says of itself."""
    sizes = {
        "block_count": LAYERS,
        "context_length": 512,
        "embedding_length": WIDTH,
        "attention.head_count": HEADS,
        "attention.head_count_kv": PAIRS,
        "attention.key_length": SIZE,
        "attention.layer_norm_rms_epsilon": EPSILON,
        "rope.freq_base": BASE,
    }
    return {**{f"{architecture}.{name}": value for name, value in sizes.items()}, **WORDS_OF}


def tensors_of(architecture: str) -> dict[str, Any]:
    """Weights of chance, as the file of an architecture has them."""
    random = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (WORDS, WIDTH), "output_norm.weight": (WIDTH,)}
    if architecture == "qwen3":
        shapes["output.weight"] = (WORDS, WIDTH)
    for layer in range(LAYERS):
        names: dict[str, tuple[int, ...]] = {
            "attn_norm.weight": (WIDTH,),
            "attn_q.weight": (HEADS * SIZE, WIDTH),
            "attn_k.weight": (PAIRS * SIZE, WIDTH),
            "attn_v.weight": (PAIRS * SIZE, WIDTH),
            "attn_output.weight": (WIDTH, HEADS * SIZE),
            "ffn_norm.weight": (WIDTH,),
            "ffn_gate.weight": (INNER, WIDTH),
            "ffn_up.weight": (INNER, WIDTH),
            "ffn_down.weight": (WIDTH, INNER),
        }
        if architecture == "qwen2":
            names |= {"attn_q.bias": (HEADS * SIZE,), "attn_k.bias": (PAIRS * SIZE,), "attn_v.bias": (PAIRS * SIZE,)}
        if architecture == "qwen3":
            names |= {"attn_q_norm.weight": (SIZE,), "attn_k_norm.weight": (SIZE,)}
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in names.items()}
    return {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def write_gguf(
    path: Path,
    architecture: str,
    tensors: Tensors,
    kinds: Mapping[str, Kind] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """A file of these tensors.

    Args:
        path: of the file.
        architecture: which it names.
        tensors: by name, in 32 bits.
        kinds: of what matrices are whose names end so; others are in 32 bits.
        metadata: what it says besides or instead; what is None it does not say.
    """
    writer = GGUFWriter(path, architecture)
    for key, value in {**metadata_of(architecture), **(metadata or {})}.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif value is not None:
            writer.add_array(key, value)
    for name, data in tensors.items():
        kind = next((kind for end, kind in (kinds or {}).items() if name.endswith(end)), Kind.F32)
        plain = {Kind.F32: np.float32, Kind.I32: np.int32}.get(kind)
        writer.add_tensor(name, quantize(data, kind) if plain is None else data.astype(plain), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
