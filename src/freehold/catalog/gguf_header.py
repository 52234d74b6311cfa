"""The header of a GGUF file: its metadata and where its tensors lie, read without loading them.

The format is described at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Reads versions 2 and 3,
little-endian. Plain Python, because the gateway reads headers and must stay small.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from freehold.errors import UnsupportedModelFormat

MAGIC = b"GGUF"
T = TypeVar("T")
_MAX_ENTRIES = 1 << 20
_MAX_HEADER = 128 << 20
_MAX_STRING = 1 << 26
_MAX_ARRAY = 1 << 26
_MAX_DEPTH = 4
_KEPT_ARRAY = 64
"""Longer arrays, such as vocabularies, are skipped: their value is None."""

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_TOKEN_TABLE, _OUTPUT, _EXPERTS = "token_embd.weight", "output.weight", "_exps."
"""Names of tensors, and what is in the names of experts' tensors."""

BLOCKS: dict[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17),
}  # fmt: skip
"""Tensor type → elements and bytes of one block."""

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0",
}  # fmt: skip
"""`general.file_type` → the name of the quantization."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says about itself.

    Args:
        metadata: by key; long arrays are None.
        parameter_count: elements of all tensors.
        lookup_parameters: of these, the table of token vectors, where the model has another matrix for its output: one
            row of it is read for a token.
        expert_parameters: of these, the experts', of which some are used for a token.
        vocabulary: how many tokens there are; None where the file does not say.
    """

    metadata: dict[str, Any]
    parameter_count: int
    lookup_parameters: int = 0
    expert_parameters: int = 0
    vocabulary: int | None = None


def read_gguf_header(path: Path, size: int | None = None) -> GgufHeader:
    """Read and check a header.

    Args:
        path: the file, or its beginning.
        size: how long the whole file is, where this is only its beginning, in bytes.

    Raises:
        UnsupportedModelFormat: it is not GGUF, of a version that is not read, or damaged or cut short.
    """
    size = path.stat().st_size if size is None else size
    with path.open("rb") as file:
        reader = _Reader(file, size)
        if reader.take(4) != MAGIC:
            raise UnsupportedModelFormat("The file is not GGUF.")
        version = reader.number("I")
        if version not in {2, 3}:
            raise UnsupportedModelFormat("The file's version of GGUF is not 2 or 3 (little-endian).")
        tensors, entries = reader.count(_MAX_ENTRIES), reader.count(_MAX_ENTRIES)
        metadata = {}
        for _ in range(entries):
            key = reader.string()
            metadata[key] = reader.value(reader.number("I"))
        elements: dict[str, int] = {}
        vocabulary, end = None, 0
        for _ in range(tensors):
            name, dimensions, tensor_end = reader.tensor()
            elements[name] = elements.get(name, 0) + math.prod(dimensions)
            end = max(end, tensor_end)
            if name == _TOKEN_TABLE and len(dimensions) == 2:
                vocabulary = dimensions[1]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise _damaged()
        start = -(-file.tell() // alignment) * alignment
        if start + end > size and tensors:
            raise _damaged()
    return GgufHeader(
        metadata,
        sum(elements.values()),
        elements.get(_TOKEN_TABLE, 0) if _OUTPUT in elements else 0,
        sum(count for name, count in elements.items() if _EXPERTS in name),
        vocabulary,
    )


def describe(header: GgufHeader) -> dict[str, Any]:
    """A model's details in the catalog's words; what the file does not say is left out."""
    architecture = _known(header, "general.architecture", str)
    pooling = _known(header, f"{architecture}.pooling_type", int)
    file_type = _known(header, "general.file_type", int)
    causal = header.metadata.get(f"{architecture}.attention.causal", True)
    details = {
        "architecture": architecture,
        "parameter_count": header.parameter_count,
        "context_length": _known(header, f"{architecture}.context_length", int),
        "embedding_length": _known(header, f"{architecture}.embedding_length", int),
        "quantization": None if file_type is None else FILE_TYPES.get(file_type),
        "licence": _known(header, "general.license", str),
        "chat_template": "tokenizer.chat_template" in header.metadata,
        "task": "embeddings" if pooling or not causal else "chat",
    }
    return {key: value for key, value in details.items() if value is not None}


def _known(header: GgufHeader, key: str, kind: type[T]) -> T | None:
    """What stands under a key, if it is of the type that belongs there."""
    value = header.metadata.get(key)
    return value if isinstance(value, kind) else None


def _damaged() -> UnsupportedModelFormat:
    return UnsupportedModelFormat("The GGUF file is damaged or cut short.")


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads values, none of which can reach over the end of the file."""

    file: BinaryIO
    size: int

    def take(self, length: int) -> bytes:
        data = self.file.read(length) if length <= self.size else b""
        if len(data) != length or self.file.tell() > _MAX_HEADER:
            raise _damaged()
        return data

    def number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def count(self, limit: int) -> int:
        number: int = self.number("Q")
        if number > limit:
            raise _damaged()
        return number

    def string(self) -> str:
        return self.take(self.count(_MAX_STRING)).decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY or depth == _MAX_DEPTH:
            raise _damaged()
        inner, length = self.number("I"), self.count(_MAX_ARRAY)
        if length <= _KEPT_ARRAY:
            return [self.value(inner, depth + 1) for _ in range(length)]
        if inner in _SCALARS:
            self.skip(struct.calcsize(f"<{_SCALARS[inner]}") * length)
        elif inner == _STRING:
            for _ in range(length):
                self.skip(self.count(_MAX_STRING))
        else:
            raise _damaged()
        return None

    def skip(self, length: int) -> None:
        if self.file.seek(length, 1) > min(self.size, _MAX_HEADER):
            raise _damaged()

    def tensor(self) -> tuple[str, list[int], int]:
        """A tensor's name and dimensions, and where it ends behind the start of the data."""
        name = self.string()
        count = self.number("I")
        if not 0 <= count <= 8:
            raise _damaged()
        dimensions = [self.number("Q") for _ in range(count)]
        kind, offset = self.number("I"), self.number("Q")
        block, length = BLOCKS.get(kind, (1, 0))
        return name, dimensions, offset + math.prod(dimensions) // block * length
