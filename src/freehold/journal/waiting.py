"""What the event loop hands to the thread that writes, and what it hears back."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from freehold.errors import AuditUnavailable
from freehold.journal.records import Kind, Plain


class Position(NamedTuple):
    """Where a record stands: its number, its segment, and the byte in it at which it begins."""

    seq: int
    segment: int
    offset: int


Waiter: TypeAlias = asyncio.Future[Position]
Pairs: TypeAlias = list[tuple[Waiter | None, Position]]
"""Who waits for which records."""


class State(StrEnum):
    """Whether records can be written."""

    OK = "ok"
    STALLED = "stalled"
    """Not now: a write failed, and is tried again every second."""
    DEAD = "dead"
    """Not before a restart: a sync failed, and nobody knows what is on the disk."""
    CLOSED = "closed"


@dataclass(slots=True)
class Entry:
    """A record on its way."""

    kind: Kind
    body: Plain
    encoded: bytes
    """The body in canonical form."""
    durable: bool
    waiter: Waiter | None
    """None if nobody waits, or if the waiter was told already that the record is not written yet."""

    @property
    def must_be_written(self) -> bool:
        """Whether it is kept until it can be written: what happened is recorded, what has not begun need not begin."""
        return self.kind in {Kind.RECEIPT, Kind.RECOVERED}


@dataclass(slots=True)
class Written:
    """Records that are in the file and are to come to be on the disk, and who waits for that."""

    pairs: Pairs


class Wish(StrEnum):
    """What the thread can be asked to do besides writing records."""

    CHECKPOINT = "checkpoint"
    CLOSE = "close"


@dataclass(slots=True)
class Command:
    """A wish and who waits for it."""

    wish: Wish
    waiter: asyncio.Future[None]


Item: TypeAlias = Entry | Written | Command


class Bulletin:
    """What the thread tells the event loop. Built in the loop; if that is closed, nobody listens.

    Args:
        rested: called in the loop at the end of each piece of work, and told whether records have come to be on the
            disk in it.
    """

    def __init__(self, rested: Callable[[bool], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._rested = rested
        self._pairs: Pairs = []
        self._has_synced = False

    def tell(self, what: Callable[..., None], *arguments: Any) -> None:
        """Have something done in the loop."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *arguments)

    def synced(self, pairs: Sequence[tuple[Waiter | None, Position]] = ()) -> None:
        """Note that records are on the disk, and who waits for that."""
        self._pairs += pairs
        self._has_synced = True

    def rested(self) -> None:
        """Tell what was noted, at the end of a piece of work: so the loop is woken once."""
        self.tell(self._hear, self._pairs, self._has_synced)
        self._pairs, self._has_synced = [], False

    def _hear(self, pairs: Sequence[tuple[Waiter | None, Position]], has_synced: bool) -> None:
        resolve(pairs)
        self._rested(has_synced)


def unavailable(state: State) -> AuditUnavailable:
    """What a caller is told where a record cannot be written."""
    if state == State.CLOSED:
        return AuditUnavailable("The journal is closed: the server is shutting down.")
    if state == State.DEAD:
        return AuditUnavailable("The journal's disk failed, and nothing is done unrecorded: restart the server.")
    return AuditUnavailable("The journal cannot be written at the moment, and nothing is done unrecorded: try later.")


def resolve(pairs: Iterable[tuple[Waiter | None, Position]]) -> None:
    """Tell waiters where their records stand; one that was cancelled need not know."""
    for waiter, position in pairs:
        if waiter is not None and not waiter.done():
            waiter.set_result(position)


def fulfil(waiter: asyncio.Future[None]) -> None:
    """Tell whoever had a wish that it is done."""
    if not waiter.done():
        waiter.set_result(None)


def fail(waiter: asyncio.Future[Position] | asyncio.Future[None] | None, state: State) -> None:
    """Tell a waiter that it cannot be done."""
    if waiter is not None and not waiter.done():
        waiter.set_exception(unavailable(state))
        waiter.exception()  # whoever does not wait for its record is not told in the log
