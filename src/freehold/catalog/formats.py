"""What a model file is, by its content: GGUF or safetensors. Its name is not looked at."""

import json
from pathlib import Path
from typing import Any, Literal, TypeAlias

from freehold.catalog.gguf_header import MAGIC, read_gguf_header
from freehold.errors import UnsupportedModelFormat

Format: TypeAlias = Literal["gguf", "safetensors", "openvino", "transformers"]
"""The last two are those of whole folders only: no single file is identified as one of them."""

_MAX_HEADER = 32 << 20
"""Less than the format's 100 MB, which would take a gigabyte to parse; headers of large models have a few."""
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_PICKLE_PROTOCOLS = range(6)


def identify(path: Path) -> Format:
    """Which of the two formats a file has: GGUF or safetensors.

    Raises:
        UnsupportedModelFormat: neither, or it is damaged.
    """
    with path.open("rb") as file:
        start = file.read(8)
    if start[:4] == MAGIC:
        read_gguf_header(path)
        return "gguf"
    if start[:4] in _ZIP or (start[:1] == b"\x80" and len(start) > 1 and start[1] in _PICKLE_PROTOCOLS):
        raise UnsupportedModelFormat(
            "The file is a pickle or an archive, as PyTorch writes them: it can run code when it is loaded, and is "
            "refused whatever its name. Use a GGUF or a safetensors file."
        )
    read_safetensors_header(path)
    return "safetensors"


def read_safetensors_header(path: Path) -> tuple[dict[str, Any], int]:
    """The tensors of a safetensors file by name, and where the data begins, in bytes.

    The format: eight bytes of length, little-endian, that many bytes of JSON, then the data; each tensor has
    `dtype`, `shape` and `data_offsets` behind the header (https://github.com/huggingface/safetensors).

    Raises:
        UnsupportedModelFormat: it is not safetensors, or damaged or cut short.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or not 2 <= length <= min(_MAX_HEADER, size - 8):
            raise _refused()
        raw = file.read(length)
    if raw[:1] != b"{":
        raise _refused()
    try:
        header = json.loads(raw)
        header.pop("__metadata__", None)
        for tensor in header.values():
            begin, end = tensor["data_offsets"]
            if not 0 <= begin <= end <= size - 8 - length or not isinstance(tensor["dtype"], str):
                raise _refused()
            if not all(isinstance(extent, int) and extent >= 0 for extent in tensor["shape"]):
                raise _refused()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise _refused() from exc
    return header, 8 + length


def _refused() -> UnsupportedModelFormat:
    return UnsupportedModelFormat("The file is neither GGUF nor safetensors, or it is damaged or cut short.")
