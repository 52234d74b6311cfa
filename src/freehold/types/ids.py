"""Ids of what is stored, in the order in which it was made."""

import secrets
import threading
import time
from typing import Final

RANDOM_BYTES: Final = 6


def new_id(prefix: str) -> str:
    """An id nobody else has: 24 hexadecimal digits after `prefix`, 12 of the time and 12 by chance.

    The time is in milliseconds since the epoch, as in the UUIDs of version 7 (RFC 9562, section 5.7). Ids of one
    process increase strictly, so rows that were made in the same second are listed as they were made.
    """
    return f"{prefix}{_moments.next_ms():012x}{secrets.token_hex(RANDOM_BYTES)}"


class _Moments:
    """Milliseconds since the epoch, none of them twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next_ms(self) -> int:
        with self._lock:
            self._last = max(time.time_ns() // 1_000_000, self._last + 1)
            return self._last


_moments = _Moments()
