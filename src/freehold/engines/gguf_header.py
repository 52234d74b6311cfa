"""The metadata at the head of a GGUF file, read without loading the model.

Source: the GGUF specification (ggml, `docs/gguf.md`), version 3, little-endian. Standard library only: the
engine's process imports this before it does anything else.
"""

import struct
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
        magic, version = file.read(4), _scalar(file, "<I")
        if magic != b"GGUF" or not 2 <= version <= 3:
            raise ValueError("it is not a GGUF file of a version that is known")
        _scalar(file, "<Q")  # tensors
        found: dict[str, Any] = {}
        for _ in range(_scalar(file, "<Q")):
            key = _text(file)
            kind = _scalar(file, "<I")
            if kind == _ARRAY:
                _skip_array(file)
            else:
                found[key] = _text(file) if kind == _STRING else _scalar(file, _format(kind))
        return found


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
