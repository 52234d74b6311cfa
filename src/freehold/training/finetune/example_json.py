"""One line of a file of examples, decoded: strict JSON, each key once, bounded in length and depth."""

import json
from typing import Any, Final

import orjson

MAX_LINE_BYTES: Final = 1024 * 1024
"""The longest line. Much longer than any context of the models that are trained here."""
MAX_DEPTH: Final = 64


class Malformed(ValueError):
    """A line is not acceptable JSON.

    Args:
        message: what is wrong.
        field: where, if that is known.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field


def decode_line(raw: bytes) -> dict[str, Any]:
    """Decode a line that holds a JSON object.

    orjson goes first: it refuses NaN, lone surrogates and deep nesting at once. The standard library's decoder follows,
    because it can tell a key that stands twice.

    Raises:
        Malformed: it is not one, a key stands twice, or it is nested too deep.
    """
    if len(raw) > MAX_LINE_BYTES + 2:
        raise Malformed(f"is longer than {MAX_LINE_BYTES:,} bytes; make the example shorter")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Malformed(f"is not UTF-8: the byte at column {exc.start + 1} does not fit") from exc
    try:
        orjson.loads(raw)
        value = json.loads(text, object_pairs_hook=_unique)
    except orjson.JSONDecodeError as exc:
        raise Malformed(f"is not valid JSON: {exc.msg}") from exc
    except RecursionError as exc:
        raise Malformed(f"is nested more than {MAX_DEPTH} levels deep") from exc
    if not isinstance(value, dict):
        raise Malformed("must be a JSON object")
    _hold_depth(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise Malformed("the key stands twice in one object", twice[:64])
    return found


def _hold_depth(value: Any) -> None:
    """Walk the value level by level, without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return
        level = below
    raise Malformed(f"is nested more than {MAX_DEPTH} levels deep")
