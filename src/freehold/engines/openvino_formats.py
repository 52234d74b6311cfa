"""Which model files the `openvino` engine reads, told from their headers, and how much memory keys and values take.

`openvino_network` builds the networks of three architectures (`openvino_form`), and OpenVINO GenAI makes the tokenizer,
which splits text in the ways that it knows; whatever else a file wants would be passed over in silence, and the model
would answer nonsense. So that is refused here. Source: the library's `src/cpp/src/gguf_utils`, as of 2026.4. Standard
library only: the gateway asks before it starts a process.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from freehold.engines.gguf_header import Tensors, read_lengths, read_metadata, read_tensors, read_value
from freehold.engines.openvino_form import TOKENS, Form, another_network, check_extent, other_tensors

ARCHITECTURES: Final = ("llama", "qwen2", "qwen3")
SPLITS: Final = ("default", "qwen2", "smollm")
"""The ways to split text into words that the reader knows (`tokenizer.ggml.pre`); any other it takes for `default`."""
TENSOR_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1",
    8: "Q8_0", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 30: "BF16",
}  # fmt: skip
"""Kinds of tensors. Those of fewer bits would take several times their memory, as they are computed in eight bits."""
NETWORK: Final = "openvino_model.xml"
"""What a folder of a model that was exported has."""
TOKENIZERS: Final = ("openvino_tokenizer.xml", "openvino_detokenizer.xml")
BLOCK_TOKENS: Final = 32
"""Tokens of a block of keys and values on a CPU."""
DEFAULT_TRAINED: Final = 2048
"""Tokens that a model is taken to be trained for where it does not say."""
CACHE_PRECISIONS: Final = {"u8": 1, "f16": 2, "bf16": 2, "f32": 4}
"""How a cache can be kept: bytes a value."""
_ELSEWHERE: Final = "use the engine 'llamacpp' for it"


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model decides how large its cache is.

    Args:
        trained_context: tokens that it was trained to read at once.
        layers: of attention.
        heads: of keys and values in a layer.
        size: numbers of a head.
    """

    trained_context: int
    layers: int
    heads: int
    size: int

    def block_bytes(self, precision: str) -> int:
        """Bytes of one block's keys and values; in eight bits keys have their scales by number, values by token."""
        tokens = BLOCK_TOKENS
        if precision == "u8":
            head = tokens * self.size + 8 * self.size + tokens * (self.size + 8)
        else:
            head = 2 * tokens * self.size * CACHE_PRECISIONS[precision]
        return self.layers * self.heads * head


def refused_architecture(path: Path) -> str | None:
    """Why a model is not for this engine, as far as its first lines tell; None where they tell nothing against it.

    Raises:
        ValueError, OSError: it cannot be read.
    """
    if path.is_dir():
        return _refused_folder(path)
    architecture = read_value(path, "general.architecture")
    if architecture in ARCHITECTURES:
        return None
    return (
        f"the engine 'openvino' does not read GGUF files of the architecture '{architecture}' "
        f"(it reads: {', '.join(ARCHITECTURES)}); {_ELSEWHERE}"
    )


def refusal(path: Path) -> str | None:
    """Why a model is not for this engine, told from all of its header; None where it is.

    Raises:
        ValueError, OSError: it cannot be read.
    """
    early = refused_architecture(path)
    if early is not None or path.is_dir():
        return early
    metadata, found = read_metadata(path), read_tensors(path)
    form = Form.of(metadata)
    tokenizer, split = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "default")
    unknown = sorted({tensor.kind for tensor in found.tensors if tensor.kind not in TENSOR_TYPES})
    check_extent(found, path.stat().st_size)
    if tokenizer != "gpt2":
        reason: str | None = f"with a tokenizer of the kind '{tokenizer}' (it knows: gpt2)"
    elif split not in SPLITS:
        reason = f"whose tokenizer splits text in the way '{split}' (it knows: {', '.join(SPLITS)})"
    elif unknown:
        kinds = ", ".join(str(kind) for kind in unknown)
        reason = f"with tensors of ggml's type {kinds} (it reads: {', '.join(TENSOR_TYPES.values())})"
    else:
        reason = another_network(form, metadata) or other_tensors(form, found) or _other_words(path, found)
    return None if reason is None else f"the engine 'openvino' does not read models {reason}; {_ELSEWHERE}"


def _other_words(path: Path, found: Tensors) -> str | None:
    """How many tokens the tokenizer has and how many the network, where they differ."""
    told = read_lengths(path).get("tokenizer.ggml.tokens", 0)
    known = next(tensor.sides[1] for tensor in found.tensors if tensor.name == TOKENS)
    return None if told == known else f"whose tokenizer has {told} tokens where the network has {known}"


def shape_of(path: Path) -> Shape:
    """What decides the size of a model's cache.

    Raises:
        ValueError, OSError: it cannot be read, or does not say.
    """
    found = _folder_shape(path) if path.is_dir() else _gguf_shape(read_metadata(path))
    if min(found.trained_context, found.layers, found.heads, found.size) < 1:
        raise ValueError("the model does not say how large its cache is")
    return found


def _gguf_shape(metadata: Mapping[str, Any]) -> Shape:
    form = Form.of(metadata)
    trained = metadata.get(f"{form.architecture}.context_length", DEFAULT_TRAINED)
    return Shape(trained if type(trained) is int else DEFAULT_TRAINED, form.layers, form.pairs, form.size)


def _folder_shape(path: Path) -> Shape:
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        heads = int(config["num_attention_heads"])
        size = int(config.get("head_dim") or config["hidden_size"] // heads)
        trained = int(config.get("max_position_embeddings") or DEFAULT_TRAINED)
        return Shape(trained, int(config["num_hidden_layers"]), int(config.get("num_key_value_heads") or heads), size)
    except (KeyError, TypeError, AttributeError, ZeroDivisionError, RecursionError) as exc:
        raise ValueError("config.json does not tell the model's shape") from exc


def _refused_folder(path: Path) -> str | None:
    for name in (NETWORK, *TOKENIZERS, "config.json"):
        if not (path / name).is_file():
            return f"the folder has no {name}; export the model with 'optimum-cli export openvino'"
    return None
