"""Ids of what is stored, in the order in which it was made."""

import os
import threading
import time
from typing import Final

RANDOM_BYTES: Final = 6
_FETCHED_BYTES: Final = 4096


def new_id(prefix: str) -> str:
    """An id nobody else has: 24 hexadecimal digits after `prefix`, 12 of the time and 12 by chance.

    The time is in milliseconds since the epoch, as in the UUIDs of version 7 (RFC 9562, section 5.7). Ids of one
    process increase strictly, so rows that were made in the same second are listed as they were made.
    """
    return f"{prefix}{_moments.next_ms():012x}{random_hex(RANDOM_BYTES)}"


def random_hex(count: int) -> str:
    """`count` random bytes as hexadecimal digits, fit for ids: as `secrets.token_hex`, without a system call each."""
    return _randomness.take(count).hex()


class _Randomness:
    """Random bytes of the system's, fetched many at a time; none is given twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = b""
        self._used = 0
        os.register_at_fork(after_in_child=self._forget)

    def take(self, count: int) -> bytes:
        with self._lock:
            if self._used + count > len(self._bytes):
                self._bytes, self._used = os.urandom(max(count, _FETCHED_BYTES)), 0
            begin, self._used = self._used, self._used + count
            return self._bytes[begin : self._used]

    def _forget(self) -> None:
        """In a process that was forked: what is left belongs to the parent."""
        self._lock = threading.Lock()
        self._bytes, self._used = b"", 0


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
_randomness = _Randomness()
