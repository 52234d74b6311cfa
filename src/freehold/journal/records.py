"""Records: their kinds, their times and their canonical form.

The form is JSON as RFC 8785 has it, with integers as the only numbers: sorted keys, no white space, UTF-8, no
escapes but those that JSON demands. It equals Python's `json.dumps(value, sort_keys=True, separators=(",", ":"),
ensure_ascii=False)`.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from time import gmtime
from typing import Any, Final, TypeAlias

import orjson

from freehold.types.receipt import NESTED, Outcome, RecordBody

FORMAT: Final = 1
NOTHING: Final = "0" * 64
"""What stands as `prev` in the first record."""

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_SIMPLE = frozenset({str, int, bool, Outcome})

_TIME = re.compile(
    r"[1-9]\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z", re.ASCII
).fullmatch

Plain: TypeAlias = dict[str, Any]


class Kind(StrEnum):
    """What a record is about; docs/reference/journal.md has the body of each."""

    SEGMENT = "segment"
    ADMITTED = "admitted"
    RECEIPT = "receipt"
    ADMIN = "admin"
    TRAINING = "training"
    CHECKPOINT = "checkpoint"
    RETIRED = "retired"
    RECOVERED = "recovered"
    CLOSED = "closed"


def utc(seconds: float) -> str:
    """A time as RFC 3339 in UTC with microseconds, such as `2026-01-31T09:30:00.000123Z`.

    Args:
        seconds: since the epoch.
    """
    whole, micro = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}{micro:06d}Z"


@lru_cache(maxsize=256)
def _second(whole: int) -> str:
    t = gmtime(whole)
    return f"{t.tm_year:04d}-{t.tm_mon:02d}-{t.tm_mday:02d}T{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}."


def is_utc(value: object) -> bool:
    """Whether a value is a time as `utc` gives it."""
    return isinstance(value, str) and _TIME(value) is not None


def plain(body: Mapping[str, Any]) -> Plain:
    """A copy of a body with nothing in it but what canonical JSON can say; keys whose value is None are left out.

    Raises:
        TypeError: a value is a float, or nothing that JSON has; a key is no string.
    """
    found = dict(body)
    if _SIMPLE.issuperset(map(type, found.values())):  # as most are
        return found
    for key in [key for key, value in found.items() if type(value) not in _SIMPLE]:
        value = found.pop(key)
        if value is not None:
            found[key] = _plain(value)
    return found


def settled(body: RecordBody) -> Plain:
    """A body that was made for one record, of which only what lies in it is looked at, as `plain` does.

    Raises:
        TypeError: as `plain`.
    """
    for name in NESTED:
        value = body.get(name)
        if value is not None and type(value) is not RecordBody:
            body[name] = _plain(value)
    return body


def _plain(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in _SIMPLE:
        return value
    if kind is dict or isinstance(value, Mapping):  # the usual one first: to ask for a mapping is slow
        return plain(value)
    if isinstance(value, list | tuple):
        return [item if type(item) in _SIMPLE else _plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    raise TypeError(
        f"a record holds text, integers, booleans, lists and objects, not {type(value).__name__}; "
        "give a fraction as text or in a smaller unit"
    )


def canonical(value: Mapping[str, Any]) -> bytes:
    """The canonical form of what `plain` gave.

    Raises:
        TypeError: a value that JSON has not, a key that is no string, text that is not Unicode (a lone surrogate), or
            an integer that does not fit 64 bits.
    """
    return orjson.dumps(value, option=_OPTIONS)
