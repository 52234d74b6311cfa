"""A model's folder: its configuration and its tensors, mapped from their files and not loaded before they are used."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from freehold.catalog.convert.tensors import Array, OutTensor, to_float32
from freehold.catalog.formats import read_safetensors_header
from freehold.errors import UnsupportedModelFormat

_NUMPY = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where a tensor lies."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def load(self) -> Array:
        count = math.prod(self.shape)
        raw = np.fromfile(self.file, dtype=_NUMPY[self.dtype], count=count, offset=self.offset)
        return to_float32(raw, self.dtype).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model as its folder has it."""

    folder: Path
    config: dict[str, Any]
    stored: dict[str, _Stored]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read the configuration and the headers.

        Raises:
            UnsupportedModelFormat: a file is missing or damaged.
        """
        stored: dict[str, _Stored] = {}
        for file in sorted(folder.glob("*.safetensors")):
            header, start = read_safetensors_header(file)
            for name, tensor in header.items():
                begin, end = tensor["data_offsets"]
                kind = _NUMPY.get(tensor["dtype"])
                if kind and end - begin != math.prod(tensor["shape"]) * np.dtype(kind).itemsize:
                    raise UnsupportedModelFormat(f"The tensor {name} has not the size of its shape.")
                stored[name] = _Stored(file, tensor["dtype"], tuple(tensor["shape"]), start + begin)
        return cls(folder, read_json(folder / "config.json"), stored)

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder; empty if there is none."""
        path = self.folder / name
        return read_json(path) if path.is_file() else {}

    def number(self, *names: str) -> Any:
        """A number of the configuration, under the first of the names that is there.

        Raises:
            UnsupportedModelFormat: there is none.
        """
        for name in names:
            if isinstance(self.config.get(name), int | float):
                return self.config[name]
        raise UnsupportedModelFormat(f"The model's config.json has no {names[0]}.")

    def tensor(self, name: str, out_name: str, *, exact: bool = False) -> OutTensor:
        """A tensor under its name in GGUF.

        Raises:
            UnsupportedModelFormat: there is none, or it is of a type that is not converted.
        """
        found = self.stored.get(name)
        if found is None:
            raise UnsupportedModelFormat(f"The model lacks the tensor {name}.")
        if found.dtype not in _NUMPY:
            raise UnsupportedModelFormat(
                f"The tensor {name} is {found.dtype}; only floating-point models are converted."
            )
        return OutTensor(out_name, found.shape, found.load, exact)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        UnsupportedModelFormat: the file is missing or is not one.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise UnsupportedModelFormat(f"The model's {path.name} is missing or is not JSON.") from exc
    if not isinstance(value, dict):
        raise UnsupportedModelFormat(f"The model's {path.name} is not a JSON object.")
    return value
