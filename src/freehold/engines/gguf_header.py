"""The metadata at the head of a GGUF file, read without loading the model.

Source: the GGUF specification (ggml, `docs/gguf.md`), version 3, little-endian. Standard library only: the
engine's process imports this before it does anything else.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MAX_STRING = 16 * 1024 * 1024
MAX_SIDES = 8
MAX_ARRAY = 1 << 26
ALIGNMENT = 32
_COUNT = 8
"""Where the number of tensors stands."""
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata by key; arrays are left out.

    Raises:
        ValueError: the file is not a GGUF file, or is broken off.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return _once(_entries(file, _begin(file)[1]))


def read_lengths(path: Path) -> dict[str, int]:
    """How many values the arrays of the metadata have, by key.

    Raises: as `read_metadata`.
    """
    lengths: dict[str, int] = {}
    with path.open("rb") as file:
        for _ in _entries(file, _begin(file)[1], lengths):
            pass
    return lengths


def read_value(path: Path, key: str) -> Any:
    """One value of the metadata, without reading what comes behind it; None where it is missing.

    Raises: as `read_metadata`.
    """
    with path.open("rb") as file:
        return next((value for name, value in _entries(file, _begin(file)[1]) if name == key), None)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: its sides, the one that varies fastest first, ggml's number of its kind, and where its data is."""

    name: str
    sides: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True, slots=True)
class Tensors:
    """The tensors of a file.

    Args:
        tensors: in their order.
        tensors_begin: where their list is in the file.
        data_begin: where their data is; offsets count from there.
        alignment: of each one's data.
    """

    tensors: tuple[Tensor, ...]
    tensors_begin: int
    data_begin: int
    alignment: int


def read_tensors(path: Path) -> Tensors:
    """What tensors a file has.

    Raises: as `read_metadata`.
    """
    with path.open("rb") as file:
        count, entries = _begin(file)
        alignment = _once(_entries(file, entries)).get("general.alignment", ALIGNMENT)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise ValueError("the alignment of its tensors is no power of two")
        begin = file.tell()
        tensors = []
        for _ in range(count):
            name = _text(file)
            sides = tuple(_scalar(file, "<Q") for _ in range(_scalar_to(file, "<I", MAX_SIDES)))
            tensors.append(Tensor(name, sides, _scalar(file, "<I"), _scalar(file, "<Q")))
        return Tensors(tuple(tensors), begin, -(-file.tell() // alignment) * alignment, alignment)


def without_tensors(path: Path) -> bytes:
    """A file of the same metadata and no tensors.

    Raises: as `read_metadata`.
    """
    end = read_tensors(path).tensors_begin
    with path.open("rb") as file:
        head = file.read(end)
    count = struct.pack("<Q", 0)
    return head[:_COUNT] + count + head[_COUNT + len(count) :] + bytes(ALIGNMENT)


def _begin(file: BinaryIO) -> tuple[int, int]:
    """How many tensors and how many entries of metadata there are."""
    magic, version = file.read(4), _scalar(file, "<I")
    if magic != b"GGUF" or not 2 <= version <= 3:
        raise ValueError("it is not a GGUF file of a version that is known")
    return _scalar(file, "<Q"), _scalar(file, "<Q")


def _entries(file: BinaryIO, count: int, lengths: dict[str, int] | None = None) -> Iterator[tuple[str, Any]]:
    """Keys and values; of arrays nothing but, where asked for, their lengths."""
    for _ in range(count):
        key = _text(file)
        kind = _scalar(file, "<I")
        if kind == _ARRAY:
            length = _skip_array(file)
            if lengths is not None:
                lengths[key] = length
        else:
            yield key, _text(file) if kind == _STRING else _scalar(file, _format(kind))


def _once(entries: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in entries:
        if key in found:
            raise ValueError(f"it says twice what '{key}' is")
        found[key] = value
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


def _skip_array(file: BinaryIO) -> int:
    """Pass over an array; how many values it has."""
    kind, count = _scalar(file, "<I"), _scalar_to(file, "<Q", MAX_ARRAY)
    if kind == _STRING:
        for _ in range(count):
            file.seek(_scalar_to(file, "<Q", MAX_STRING), 1)
    else:
        file.seek(struct.calcsize(_format(kind)) * count, 1)
    return int(count)


def _scalar_to(file: BinaryIO, form: str, most: int) -> int:
    """A number that is not larger than can be."""
    found = int(_scalar(file, form))
    if found > most:
        raise ValueError("it is damaged: a length is larger than can be")
    return found
