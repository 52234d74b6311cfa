"""A tiny random Llama in the layout of Hugging Face."""

import json
from typing import Any

import numpy as np

from tests.catalog.making import safetensors_bytes

HIDDEN, HEADS, KV_HEADS, INNER, LAYERS, CONTEXT = 64, 4, 2, 128, 2, 256
WORD_START = "\u2581"
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def byte_level_tokenizer() -> dict[str, Any]:
    """A byte-level BPE vocabulary: the 256 bytes, two merges, and two special tokens."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [chr(256 + index) for index in range(256 - len(printable))]
    pieces = [*map(chr, printable), *others, "th", "the"]
    return {
        "added_tokens": [
            {"id": len(pieces), "content": "<s>", "special": True},
            {"id": len(pieces) + 1, "content": "</s>", "special": True},
        ],
        "pre_tokenizer": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "vocab": {piece: index for index, piece in enumerate(pieces)},
            "merges": [["t", "h"], ["th", "e"]],
        },
    }


def sentencepiece_tokenizer() -> dict[str, Any]:
    """A vocabulary in SentencePiece's manner: special tokens, bytes, then pieces with their merges."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256))]
    pieces += [WORD_START, "a", "b", "ab", WORD_START + "ab"]
    return {
        "added_tokens": [
            {"id": index, "content": text, "special": True} for index, text in enumerate(("<unk>", "<s>", "</s>"))
        ],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": WORD_START}]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "byte_fallback": True,
            "vocab": {piece: index for index, piece in enumerate(pieces)},
            "merges": ["a b", f"{WORD_START} ab"],
        },
    }


def llama_files(
    tokenizer: dict[str, Any], config: dict[str, Any] | None = None, *, shards: int = 1
) -> dict[str, bytes]:
    """The files of a random model by name; config.json is changed by `config`."""
    vocabulary = len(tokenizer["model"]["vocab"]) + 4
    settings: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "max_position_embeddings": CONTEXT,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": KV_HEADS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "vocab_size": vocabulary,
        **(config or {}),
    }
    files = {
        "config.json": json.dumps(settings).encode(),
        "tokenizer.json": json.dumps(tokenizer).encode(),
        "tokenizer_config.json": b'{"bos_token": "<s>", "eos_token": "</s>"}',
    }
    tensors = _tensors(vocabulary)
    if shards == 1:
        return files | {"model.safetensors": _pack(tensors)}
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {key: tensors[key] for key in list(tensors)[shard::shards]}
        files[name] = _pack(part)
        weight_map |= dict.fromkeys(part, name)
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    return files


def _tensors(vocabulary: int) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    narrow = HIDDEN // HEADS * KV_HEADS
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, HIDDEN)}
    for layer in range(LAYERS):
        for name, shape in {
            "input_layernorm": (HIDDEN,),
            "self_attn.q_proj": (HIDDEN, HIDDEN),
            "self_attn.k_proj": (narrow, HIDDEN),
            "self_attn.v_proj": (narrow, HIDDEN),
            "self_attn.o_proj": (HIDDEN, HIDDEN),
            "post_attention_layernorm": (HIDDEN,),
            "mlp.gate_proj": (INNER, HIDDEN),
            "mlp.up_proj": (INNER, HIDDEN),
            "mlp.down_proj": (HIDDEN, INNER),
        }.items():
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
    shapes |= {"model.norm.weight": (HIDDEN,), "lm_head.weight": (vocabulary, HIDDEN)}
    numbers = np.random.default_rng(7)
    return {name: numbers.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}


def _pack(tensors: dict[str, np.ndarray[Any, np.dtype[np.float32]]]) -> bytes:
    header: dict[str, object] = {}
    blocks: list[bytes] = []
    offset = 0
    for name, values in tensors.items():
        raw = values.tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [offset, offset + len(raw)]}
        blocks.append(raw)
        offset += len(raw)
    return safetensors_bytes(header, b"".join(blocks))
