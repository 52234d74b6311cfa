"""GGUF files whose four-bit weights OpenVINO GenAI would read wrongly, written anew in eight bits.

A block of Q4_1 or Q4_K is `scale * number + least`. The library has a whole number of four bits in the place of `least`
and rounds it there, which moves every weight of a block by up to half a step: measured on SmolLM2-135M, the likeliest
next token of a prompt had a probability of 0.41 instead of 0.82. Blocks of Q8_0 have no `least`, and it reads them as
they are; to write the weights so costs a sixteenth of the error that they have already, and no speed. Everything
else of a file is copied.
"""

import math
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

from freehold.engines.gguf_header import Tensor, read_tensors

MISREAD: Final = frozenset({GGMLQuantizationType.Q4_1, GGMLQuantizationType.Q4_K})
TARGET: Final = GGMLQuantizationType.Q8_0
ROWS_AT_ONCE: Final = 4096


def needs_rewriting(path: Path) -> bool:
    """Whether a file has weights that would be read wrongly.

    Raises:
        ValueError, OSError: it cannot be read.
    """
    return any(tensor.kind in MISREAD for tensor in read_tensors(path).tensors)


@dataclass(frozen=True, slots=True)
class _Part:
    """One tensor on its way."""

    tensor: Tensor
    begin: int
    """Where its data begins in the old file."""
    kind: GGMLQuantizationType
    """In the new one."""

    def size(self, kind: int) -> int:
        """Bytes of its data."""
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        return math.prod(self.tensor.sides) // int(block) * int(block_bytes)


def rewrite(source: Path, target: Path) -> None:
    """Write a file anew.

    Raises:
        ValueError, OSError: it cannot be read or written.
    """
    header = read_tensors(source)
    parts = [
        _Part(
            tensor,
            header.data_begin + tensor.offset,
            TARGET if tensor.kind in MISREAD else GGMLQuantizationType(tensor.kind),
        )
        for tensor in header.tensors
    ]
    with source.open("rb") as old, target.open("wb") as new:
        new.write(old.read(header.tensors_begin))
        offset = 0
        for part in parts:
            new.write(_info(part, offset))
            offset += _aligned(part.size(part.kind), header.alignment)
        _pad(new, header.alignment)
        for part in parts:
            old.seek(part.begin)
            if part.kind == part.tensor.kind:
                _copy(old, new, part.size(part.kind))
            else:
                _convert(old, new, part)
            _pad(new, header.alignment)


def _info(part: _Part, offset: int) -> bytes:
    name, sides = part.tensor.name.encode(), part.tensor.sides
    numbers = struct.pack(f"<I{len(sides)}QIQ", len(sides), *sides, int(part.kind), offset)
    return struct.pack("<Q", len(name)) + name + numbers


def _convert(old: BinaryIO, new: BinaryIO, part: _Part) -> None:
    """Write a tensor in the new kind, some rows at a time."""
    width = part.tensor.sides[0]
    block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(part.tensor.kind)]
    row_bytes = width // block * block_bytes
    left = part.size(part.tensor.kind) // row_bytes
    while left:
        rows = min(left, ROWS_AT_ONCE)
        raw: Any = np.frombuffer(old.read(rows * row_bytes), np.uint8).reshape(rows, row_bytes)
        new.write(quantize(dequantize(raw, GGMLQuantizationType(part.tensor.kind)), part.kind).tobytes())
        left -= rows


def _copy(old: BinaryIO, new: BinaryIO, size: int) -> None:
    while size:
        piece = old.read(min(size, 1 << 24))
        if not piece:
            raise ValueError("it is broken off")
        new.write(piece)
        size -= len(piece)


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _pad(file: BinaryIO, alignment: int) -> None:
    file.write(b"\0" * (-file.tell() % alignment))


def room_for(source: Path, folder: Path) -> bool:
    """Whether a folder has room for the file in eight bits, which is at most twice as large."""
    return shutil.disk_usage(folder).free > 2 * source.stat().st_size + (64 << 20)
