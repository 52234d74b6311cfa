"""Tensors on their way: read from safetensors as they are needed, turned into what GGUF stores."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from gguf import GGMLQuantizationType, LlamaFileType
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

_F16_MAX = 65504.0


@dataclass(frozen=True, slots=True)
class Dtype:
    """How matrices are stored: the tensors' type, and the name of the whole."""

    tensor_type: GGMLQuantizationType
    file_type: LlamaFileType


DTYPES = {
    "f32": Dtype(GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": Dtype(GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": Dtype(GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
}


@dataclass(frozen=True, slots=True)
class OutTensor:
    """One tensor of the GGUF file.

    Args:
        name: its name there.
        shape: rows first, as numpy has it.
        load: reads it as float32, each time anew.
        exact: whether it is kept as float32 whatever the others are.
    """

    name: str
    shape: tuple[int, ...]
    load: Callable[[], Array]
    exact: bool = False

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    def stored_as(self, wanted: GGMLQuantizationType) -> GGMLQuantizationType:
        """The type it is stored as: float32 for vectors and for what float16 cannot hold."""
        if self.exact or len(self.shape) < 2:
            return GGMLQuantizationType.F32
        if wanted == GGMLQuantizationType.F16 and float(np.abs(self.load()).max(initial=0.0)) > _F16_MAX:
            return GGMLQuantizationType.F32
        return wanted


def as_type(array: Array, kind: GGMLQuantizationType) -> Array:
    """Float32 values as they are stored; bfloat16 is rounded to nearest even and held as its bits."""
    if kind == GGMLQuantizationType.F16:
        return array.astype(np.float16)
    if kind == GGMLQuantizationType.BF16:
        bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
        return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return np.ascontiguousarray(array, np.float32)


def to_float32(raw: Array, dtype: str) -> Array:
    """Values as they lie in a safetensors file, as float32."""
    if dtype == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32)
