"""The metadata at the head of a GGUF file, read without loading the model.

Source: the GGUF specification (ggml, `docs/gguf.md`), version 3, little-endian. Standard library only: the
engine's process imports this before it does anything else.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

MAX_STRING = 16 * 1024 * 1024
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata by key; arrays are left out.

    Raises:
        ValueError: the file is not a GGUF file, or is broken off.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return dict(_entries(file, _begin(file)[1]))


def read_value(path: Path, key: str) -> Any:
    """One value of the metadata, without reading what comes behind it; None where it is missing.

    Raises: as `read_metadata`.
    """
    with path.open("rb") as file:
        return next((value for name, value in _entries(file, _begin(file)[1]) if name == key), None)


def read_tensor_types(path: Path) -> dict[str, int]:
    """The type of each tensor by its name, as ggml numbers them.

    Raises: as `read_metadata`.
    """
    with path.open("rb") as file:
        tensors, entries = _begin(file)
        for _ in _entries(file, entries):
            continue
        found: dict[str, int] = {}
        for _ in range(tensors):
            name = _text(file)
            file.seek(8 * _scalar(file, "<I"), 1)  # the sides
            found[name] = _scalar(file, "<I")
            _scalar(file, "<Q")  # where its data is
        return found


def _begin(file: BinaryIO) -> tuple[int, int]:
    """How many tensors and how many entries of metadata there are."""
    magic, version = file.read(4), _scalar(file, "<I")
    if magic != b"GGUF" or not 2 <= version <= 3:
        raise ValueError("it is not a GGUF file of a version that is known")
    return _scalar(file, "<Q"), _scalar(file, "<Q")


def _entries(file: BinaryIO, count: int) -> Iterator[tuple[str, Any]]:
    for _ in range(count):
        key = _text(file)
        kind = _scalar(file, "<I")
        if kind == _ARRAY:
            _skip_array(file)
        else:
            yield key, _text(file) if kind == _STRING else _scalar(file, _format(kind))


def _format(kind: int) -> str:
    if kind not in _SCALARS:
        raise ValueError("it has metadata of an unknown type")
    return _SCALARS[kind]


def _scalar(file: BinaryIO, form: str) -> Any:
    size = struct.calcsize(form)
    raw = file.read(size)
    if len(raw) != size:
        raise ValueError("it is broken off")
    return struct.unpack(form, raw)[0]


def _text(file: BinaryIO) -> str:
    length = _scalar(file, "<Q")
    raw = file.read(length) if length <= MAX_STRING else b""
    if len(raw) != length:
        raise ValueError("it is broken off")
    return raw.decode(errors="replace")


def _skip_array(file: BinaryIO) -> None:
    kind, count = _scalar(file, "<I"), _scalar(file, "<Q")
    if kind == _STRING:
        for _ in range(count):
            file.seek(_scalar(file, "<Q"), 1)
    elif kind == _ARRAY:
        for _ in range(count):
            _skip_array(file)
    else:
        file.seek(struct.calcsize(_format(kind)) * count, 1)
