"""What passes between Freehold and its provenance worker: one JSON object and some bytes, each way, in turn.

A frame is four bytes of length, big-endian, a JSON object of that length, and the blobs whose lengths the object's
`blobs` lists. The answer to a frame is a frame; one with `error` tells what went wrong.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

UNREADABLE = "unreadable_picture"
UNREADABLE_PARENT = "unreadable_parent"
UNSIGNED = "cannot_sign"
TOO_LARGE = "too_large"
"""The kinds of an error: what was at fault."""

HEAD = struct.Struct(">I")
MAX_HEAD_BYTES = 8 << 20
MAX_BLOB_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Frame:
    """A request to the worker, or its answer.

    Args:
        values: JSON values.
        blobs: the bytes that go with them.
    """

    values: Mapping[str, Any]
    blobs: Sequence[bytes] = field(default=(), repr=False)


def pack(frame: Frame) -> list[bytes]:
    """The pieces to write, one after the other."""
    head = json.dumps({**frame.values, "blobs": [len(blob) for blob in frame.blobs]}).encode()
    return [HEAD.pack(len(head)), head, *frame.blobs]


def head_length(raw: bytes) -> int:
    """The length of the JSON object that follows.

    Raises:
        ValueError: it is out of range, so these are not a frame's bytes.
    """
    length: int = HEAD.unpack(raw)[0]
    if not 2 <= length <= MAX_HEAD_BYTES:
        raise ValueError("not a frame")
    return length


def read_head(raw: bytes) -> tuple[dict[str, Any], list[int]]:
    """The object of a frame, and the lengths of its blobs.

    Raises:
        ValueError: these are not a frame's bytes.
    """
    values = json.loads(raw)
    if not isinstance(values, dict):
        raise ValueError("not a frame")  # noqa: TRY004  # one error for all that is no frame
    lengths = values.pop("blobs", None)
    if not isinstance(lengths, list) or not all(isinstance(n, int) and 0 <= n <= MAX_BLOB_BYTES for n in lengths):
        raise ValueError("not a frame")
    return values, lengths
