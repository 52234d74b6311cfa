"""The weights of a GGUF file in the forms in which OpenVINO computes with them.

    Q8_0             as they are: whole numbers of eight bits in groups of 32, and a scale for each group
    Q4_0             likewise, in four bits
    F16, BF16        in sixteen bits; BF16 in 32 where a number is too large for that
    F32              as they are
    everything else  in eight bits like Q8_0

Blocks of Q4_1 and Q4_K have a minimum besides their scale, which the library's own reader rounds to a whole step: it
moves every weight of a block by up to half a step. Eight bits add a sixteenth of the error that such weights have
already. Blocks without a minimum are also what is computed fastest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

from freehold.engines.gguf_header import Tensor, read_tensors

Array: TypeAlias = Any
"""Of NumPy."""
GROUP: Final = 32
"""Weights that share a scale."""
ROWS_AT_ONCE: Final = 256
"""So few that their numbers stay in the processor's cache: a quarter faster than with thousands."""
_KEPT: Final = frozenset(
    {
        *(GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16),
        *(GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q8_0),
    }
)
"""Kinds that take as much in a network as in a file; all others take what Q8_0 does."""
_AROUND_BYTES: Final = 64 << 20
_EIGHT_BITS: Final = np.dtype([("scale", "<f2"), ("numbers", "i1", GROUP)])
_FOUR_BITS: Final = np.dtype([("scale", "<f2"), ("numbers", "u1", GROUP // 2)])


@dataclass(frozen=True, slots=True)
class Matrix:
    """Weights of one product, a row for each number that comes out.

    Args:
        numbers: rows by columns; whole ones are rows by groups by 32, those of four bits in bytes from -8 to 7.
        scales: rows by groups by 1, where numbers are whole.
        bits: of a number.
    """

    numbers: Array
    scales: Array | None
    bits: int

    @property
    def rows(self) -> int:
        """How many numbers come out."""
        return int(self.numbers.shape[0])

    @property
    def columns(self) -> int:
        """How many go in."""
        return int(np.prod(self.numbers.shape[1:]))

    def picked(self, rows: Sequence[int]) -> "Matrix":
        """Rows in another order."""
        scales = None if self.scales is None else self.scales[rows]
        return Matrix(self.numbers[rows], scales, self.bits)


def network_bytes(path: Path) -> int:
    """At least how many bytes the weights of a file take in these forms, with something for the network itself.

    Raises:
        ValueError, OSError: it cannot be read.
    """
    found = 0
    for tensor in read_tensors(path).tensors:
        kind = GGMLQuantizationType(tensor.kind)
        block, block_bytes = GGML_QUANT_SIZES[kind if kind in _KEPT else GGMLQuantizationType.Q8_0]
        found += int(np.prod(tensor.sides, dtype=np.int64)) // int(block) * int(block_bytes)
    return found + _AROUND_BYTES


def stacked(matrices: Sequence[Matrix]) -> Matrix | None:
    """Matrices below each other as one; None where they are of different kinds."""
    first = matrices[0]
    if any((each.bits, each.columns) != (first.bits, first.columns) for each in matrices):
        return None
    if any((each.scales is None) != (first.scales is None) for each in matrices):
        return None
    scales = None if first.scales is None else np.concatenate([each.scales for each in matrices])
    return Matrix(np.concatenate([each.numbers for each in matrices]), scales, first.bits)


class WeightsFile:
    """The tensors of a GGUF file, by name.

    Args:
        path: of the file.

    Raises:
        ValueError, OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        header = read_tensors(path)
        self._begin = header.data_begin
        self._tensors: Mapping[str, Tensor] = {tensor.name: tensor for tensor in header.tensors}
        self._data = np.memmap(path, np.uint8, "r")

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def vector(self, name: str) -> Array:
        """A tensor of one side, in 32 bits.

        Raises:
            ValueError: it is not there, or is broken off.
        """
        tensor = self._found(name)
        kind = GGMLQuantizationType(tensor.kind)
        return dequantize(self._rows(tensor)[0], kind).astype(np.float32)

    def matrix(self, name: str) -> Matrix:
        """A tensor of two sides.

        Raises: as `vector`.
        """
        tensor = self._found(name)
        kind, raw = GGMLQuantizationType(tensor.kind), self._rows(tensor)
        if kind == GGMLQuantizationType.F32:
            return Matrix(raw.view(np.float32), None, 32)
        if kind == GGMLQuantizationType.F16:
            return Matrix(raw.view(np.float16), None, 16)
        if kind == GGMLQuantizationType.BF16:
            return _sixteen_bits(dequantize(raw, kind))
        if kind == GGMLQuantizationType.Q4_0:
            return _four_bits(raw.view(_FOUR_BITS))
        if kind != GGMLQuantizationType.Q8_0:
            raw = _in_eight_bits(raw, kind)
        blocks = raw.view(_EIGHT_BITS)
        return Matrix(np.ascontiguousarray(blocks["numbers"]), blocks["scale"][..., None], 8)

    def _found(self, name: str) -> Tensor:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise ValueError(f"it has no tensor '{name}'")
        return tensor

    def _rows(self, tensor: Tensor) -> Array:
        """The bytes of a tensor, a row for each of its rows."""
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.kind)]
        width = tensor.sides[0] // int(block) * int(block_bytes)
        rows = int(np.prod(tensor.sides[1:], dtype=np.int64))
        begin = self._begin + tensor.offset
        found = self._data[begin : begin + rows * width]
        if found.size != rows * width:
            raise ValueError("it is broken off")
        return found.reshape(rows, width)


def _sixteen_bits(numbers: Array) -> Matrix:
    """Numbers in sixteen bits, or as they are where those do not reach so far."""
    with np.errstate(over="ignore"):
        halves = numbers.astype(np.float16)
    return Matrix(halves, None, 16) if np.isfinite(halves).all() else Matrix(numbers, None, 32)


def _in_eight_bits(raw: Array, kind: GGMLQuantizationType) -> Array:
    """Rows written anew, some at a time."""
    parts = [raw[begin : begin + ROWS_AT_ONCE] for begin in range(0, len(raw), ROWS_AT_ONCE)]
    return np.concatenate([quantize(dequantize(part, kind), GGMLQuantizationType.Q8_0) for part in parts])


def _four_bits(blocks: Array) -> Matrix:
    """Blocks of Q4_0: the lower halves of their bytes come first, then the upper ones."""
    packed = blocks["numbers"]
    numbers = np.concatenate([packed & 0x0F, packed >> 4], axis=-1).astype(np.int8) - np.int8(8)
    return Matrix(numbers, blocks["scale"][..., None], 4)
