"""A LoRA adapter in PEFT's layout, which vLLM reads, from the GGUF file that fine-tuning makes for llama.cpp.

The inverse of what `freehold.training.finetune.export` writes: the same numbers under Hugging Face's names, the rows of
queries and keys in Hugging Face's order. The layout: `adapter_config.json` and `adapter_model.safetensors`, see
https://huggingface.co/docs/peft/developer_guides/checkpoint.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from gguf import GGUFReader, ReaderTensor, dequantize
from safetensors.numpy import save_file

from freehold.catalog.convert.llama import LAYER, uninterleave

_TENSOR: Final = re.compile(r"blk\.(\d+)\.([a-z_]+)\.weight\.lora_([ab])")
_NAMES: Final = {own: theirs for theirs, own in LAYER.items()}
"""The parts of a layer: their names in GGUF, and Hugging Face's."""


def write_peft(adapter: Path, config: Path, folder: Path) -> None:
    """Write an adapter into a folder, which is made; what was there of an earlier one is replaced.

    Args:
        adapter: the GGUF file.
        config: the `config.json` of the model that it is for.
        folder: where to.

    Raises:
        ValueError: it is no LoRA adapter, or not one for that model.
        OSError: a file cannot be read or written.
    """
    sizes = json.loads(config.read_text(encoding="utf-8"))
    try:
        heads = int(sizes["num_attention_heads"])
        keys = int(sizes.get("num_key_value_heads") or heads)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError("the model's config.json does not say how many heads it has") from exc
    reader = GGUFReader(adapter)
    alpha = _field(reader, "adapter.lora.alpha")
    if _field(reader, "adapter.type") != "lora" or not isinstance(alpha, int | float):
        raise ValueError("the adapter's file is no LoRA adapter")
    tensors, ranks, modules = {}, set(), set()
    for tensor in reader.tensors:
        found = _TENSOR.fullmatch(tensor.name)
        if found is None or found[2] not in _NAMES:
            raise ValueError(f"the adapter changes '{tensor.name}', which is no part of a layer")
        layer, own, part = found.groups()
        values = _values(tensor)
        if part == "b" and own in {"attn_q", "attn_k"}:
            values = uninterleave(values, heads if own == "attn_q" else keys)
        ranks.add(values.shape[0 if part == "a" else 1])
        modules.add(_NAMES[own].rpartition(".")[2])
        name = f"base_model.model.model.layers.{layer}.{_NAMES[own]}.lora_{part.upper()}.weight"
        tensors[name] = np.ascontiguousarray(values, np.float32)
    if len(ranks) != 1:
        raise ValueError("the adapter has no rank, or several")
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "adapter_config.json").write_text(
        json.dumps(_described(ranks.pop(), float(alpha), sorted(modules))), encoding="utf-8"
    )
    save_file(tensors, folder / "adapter_model.safetensors")


def _described(rank: int, alpha: float, modules: list[str]) -> dict[str, Any]:
    """What `adapter_config.json` says."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "modules_to_save": None,
        "target_modules": modules,
    }


def _values(tensor: ReaderTensor) -> np.ndarray[Any, np.dtype[Any]]:
    """A tensor as float32, row by row."""
    values: np.ndarray[Any, np.dtype[Any]] = dequantize(tensor.data, tensor.tensor_type)
    return values


def _field(reader: GGUFReader, name: str) -> Any:
    field = reader.get_field(name)
    return None if field is None else field.contents()
