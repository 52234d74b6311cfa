"""What the training made, as GGUF: a whole model, or the adapter by itself.

Everything that is not learnt is taken from the base's file: sizes, vocabulary, chat template, and the order of rows. So
the result reads texts exactly as its base does, and llama.cpp loads an adapter beside it.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from gguf import GGMLQuantizationType, GGUFEndian, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType, quantize
from peft import PeftModel

from freehold.catalog.convert.llama import interleave
from freehold.catalog.convert.tensors import Array
from freehold.training.finetune.base_model import BaseModel
from freehold.training.finetune.protocol import Export
from freehold.training.finetune.recipe import ALPHA

_LORA: Final = "base_model.model."
_KINDS: Final = {
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
_F16_MAX: Final = 65504.0
_BLOCK: Final = 32
"""Q8_0 has a scale for so many numbers of a row."""
_OF_THE_READER: Final = "GGUF."
_WRITTEN_ANEW: Final = frozenset({"general.architecture", "general.file_type", "general.name", "general.type"})


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written: its size in bytes, and its digest in hex."""

    path: Path
    size_bytes: int
    sha256: str


def export(model: PeftModel, base: BaseModel, target: Path, kind: Export, name: str) -> Exported:
    """Write a trained model.

    Args:
        model: the base with what it has learnt.
        base: the file that it was read from.
        target: the file to write; it is there when it is whole.
        kind: a whole model of half floats or of eight bits a weight, or an adapter.
        name: what the model calls itself in its metadata.

    Raises:
        OSError: it cannot be written.
    """
    partial = target.with_name(target.name + ".partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    learnt = _learnt(model, base)
    try:
        if kind == "lora":
            _write_adapter(learnt, base, partial, name)
        else:
            _write_merged(learnt, base, partial, kind, name)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = partial.stat().st_size
        partial.rename(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return Exported(target, size, digest)


@dataclass(frozen=True, slots=True)
class _Delta:
    """What is added to a matrix: `scale * b @ a`, with the rows of `b` in the engine's order."""

    a: Array
    b: Array
    scale: float

    def merged(self, weight: Array) -> Array:
        return weight + np.float32(self.scale) * (self.b @ self.a)


def _learnt(model: PeftModel, base: BaseModel) -> dict[str, _Delta]:
    """The adapter's matrices by the name of the tensor in GGUF that they belong to."""
    queries, keys = base.heads
    scale = ALPHA / model.peft_config["default"].r
    names = base.names(model.config.num_hidden_layers)
    found = {}
    for name, module in model.named_modules():
        if not hasattr(module, "lora_A") or "default" not in module.lora_A:
            continue
        own = names[name.removeprefix(_LORA) + ".weight"]
        a = module.lora_A["default"].weight.detach().float().cpu().numpy()
        b = module.lora_B["default"].weight.detach().float().cpu().numpy()
        kind = own.split(".")[2]
        if kind in {"attn_q", "attn_k"}:
            b = interleave(b, queries if kind == "attn_q" else keys)
        found[own] = _Delta(a, b, scale)
    return found


def _write_merged(learnt: Mapping[str, _Delta], base: BaseModel, target: Path, kind: str, name: str) -> None:
    writer = GGUFWriter(target, "llama", endianess=GGUFEndian.LITTLE)
    _copy_metadata(base, writer)
    writer.add_type("model")
    writer.add_name(name)
    wanted, file_type = _KINDS[kind]
    writer.add_file_type(file_type)
    for own, values in _merged(learnt, base):
        stored, data = _stored(values, wanted)
        writer.add_tensor(own, data, raw_dtype=stored)
    _finish(writer)


def _merged(learnt: Mapping[str, _Delta], base: BaseModel) -> Iterator[tuple[str, Array]]:
    """Every tensor of the base with what was learnt, in the engine's order of rows, as float32."""
    for own in base.tensors:
        values = base.array(own)
        yield own, learnt[own].merged(values) if own in learnt else values


def _stored(values: Array, wanted: GGMLQuantizationType) -> tuple[GGMLQuantizationType, Array]:
    """Values as they are stored: vectors, and what does not fit the wanted type, as float32."""
    if values.ndim < 2 or (wanted == GGMLQuantizationType.F16 and float(np.abs(values).max(initial=0.0)) > _F16_MAX):
        return GGMLQuantizationType.F32, np.ascontiguousarray(values, np.float32)
    if wanted == GGMLQuantizationType.Q8_0 and values.shape[-1] % _BLOCK == 0:
        return wanted, quantize(values, wanted)
    return GGMLQuantizationType.F16, values.astype(np.float16)


def _write_adapter(learnt: Mapping[str, _Delta], base: BaseModel, target: Path, name: str) -> None:
    """llama.cpp's form of adapters: two matrices a tensor, and the numerator of the scale."""
    writer = GGUFWriter(target, "llama", endianess=GGUFEndian.LITTLE)
    writer.add_type("adapter")
    writer.add_name(name)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(ALPHA))
    for own in base.tensors:
        if own in learnt:
            for part, values in (("lora_a", learnt[own].a), ("lora_b", learnt[own].b)):
                writer.add_tensor(f"{own}.{part}", np.ascontiguousarray(values, np.float32))
    _finish(writer)


def _finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _copy_metadata(base: BaseModel, writer: GGUFWriter) -> None:
    """Every field of the base but those that the result has its own of."""
    for key, field in GGUFReader(base.path).fields.items():
        if key.startswith(_OF_THE_READER) or key in _WRITTEN_ANEW:
            continue
        kind, *inner = field.types
        value: Any = field.contents()
        if kind == GGUFValueType.ARRAY and not value:
            continue
        writer.add_key_value(key, value, kind, sub_type=inner[-1] if kind == GGUFValueType.ARRAY else None)
