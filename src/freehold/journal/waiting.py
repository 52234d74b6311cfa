"""What the event loop hands to the thread that writes, and what it hears back."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from freehold.errors import AuditUnavailable
from freehold.journal.records import Kind, Plain


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record stands: its number, its segment, and the byte in it at which it begins."""

    seq: int
    segment: int
    offset: int


Waiter: TypeAlias = asyncio.Future[Position]


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

    pairs: list[tuple[Waiter | None, Position]]


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
