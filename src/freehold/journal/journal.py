"""The journal of a process: records go in, and come to be on the disk.

Records that have come together are appended in one write, wait once until they are on the disk, and everybody who waits
is released: the more come at a time, the less each costs (group commit). The waiting is a thread's.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import structlog

from freehold.config import JournalSettings
from freehold.errors import HomeError
from freehold.journal.carried import Carried
from freehold.journal.disk import Disk
from freehold.journal.kernel_sync import KernelDisk
from freehold.journal.reader import Cursor
from freehold.journal.records import Kind, canonical, is_utc, plain, utc
from freehold.journal.recovery import Place, Tail, open_tail
from freehold.journal.retention import expired_segments
from freehold.journal.signer import Signer
from freehold.journal.waiting import Command, Entry, Position, State, Wish, fail, unavailable
from freehold.journal.writer import Writer

__all__ = ["Journal", "Position"]

log = structlog.get_logger("freehold.journal")

RETRY_S: Final = 1.0
DAY_S: Final = 86_400

_RUNNING: Final = frozenset({State.OK, State.STALLED})

_PACE_S: Final = 0.00025
_MOST_PACE_S: Final = 0.01
"""Between two batches there is so much time for each request that runs, so that many share a sync where many run. It
is what PostgreSQL's `commit_delay` and `commit_siblings` do; who runs alone does not wait."""

_TIMES: Final = ("started_at", "ended_at")


class Journal:
    """Built by `open`.

    Attributes:
        folder: the writer's folder.
        carried: what the limits are rebuilt from, as of the opening.
    """

    def __init__(self, place: Place, tail: Tail, settings: JournalSettings, retry_s: float) -> None:
        self.folder: Path = place.folder
        self.carried = Carried.from_wire(tail.carried.wire())
        self._place = place
        self._settings = settings
        self._listeners: list[Callable[[], None]] = []
        self._begun: list[Entry] = []
        """Records that have come in this turn of the loop, or since the thread is at work, and wait for no sync."""
        self._ended: list[Entry] = []
        """Those that do."""
        self._flushing = False
        self._open: set[str] = set()
        self._synced_at = 0.0
        self._sync_timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._writer = Writer(place, tail, settings, retry_s=retry_s, rested=self._rested)

    @classmethod
    async def open(
        cls,
        folder: Path,
        signer: Signer,
        settings: JournalSettings,
        *,
        writer: str = "main",
        disk: Disk | None = None,
        clock: Callable[[], float] = time.time,
        retry_s: float = RETRY_S,
    ) -> Self:
        """Open the journal of a home, or begin one.

        After an unclean end the torn tail is cut, `recovered` is written, and each request that was admitted and has
        no receipt gets one with the outcome `interrupted`; all of that is on the disk when this returns.

        Args:
            folder: `HOME/journal`. The caller holds the home's lock: one process writes.
            signer: signs the checkpoints.
            settings: when to begin a segment, when to sign, how long to keep.
            writer: the name of the folder in it.
            disk: the file system.
            clock: the time, in seconds since the epoch.
            retry_s: how long after a failed write to try again, in seconds.

        Raises:
            JournalDamaged: the last segment is not what was written, or is signed with another key.
            HomeError: the folder cannot be read or written.
        """
        place = Place(folder / writer, writer, signer, disk or KernelDisk(), clock)
        try:
            tail = await asyncio.to_thread(open_tail, place)
        except OSError as exc:
            raise HomeError(f"the journal {place.folder} cannot be opened: {exc.strerror}") from exc
        return cls(place, tail, settings, retry_s)

    @property
    def state(self) -> State:
        """Whether records can be written."""
        return State.CLOSED if self._closing else self._writer.state

    @property
    def waits_s(self) -> float:
        """How long the disk has been waited for, in seconds; 0 while it is not."""
        return self._writer.waits_s

    @property
    def durable(self) -> Cursor:
        """Everything before it is on the disk; readers go no further."""
        return self._writer.durable

    def submit(self, kind: Kind, body: Mapping[str, Any], *, durable: bool) -> asyncio.Future[Position]:
        """Hand over a record; call it from the event loop.

        Records that wait for the disk are written in the order of their coming; others may go before them.

        To cancel the future takes nothing back. While the journal is stalled, the future of a receipt fails at once
        with AuditUnavailable, and the receipt is written as soon as that is possible: never submit it again. Where
        the journal is dead or closed it is lost, and the next start settles the request as interrupted.

        Args:
            kind: `admitted`, `receipt` or `admin`.
            body: what the kind says; keys whose value is None are left out.
            durable: whether the future waits until the record is on the disk, or only until it is written.

        Raises:
            AuditUnavailable: the record may not begin: it is no receipt, and the journal is stalled, dead or closed.
            TypeError: the body holds something that canonical JSON has not, such as a float.
            ValueError: the kind is another one, or an `admitted` or a receipt lacks its id or times.
        """
        content = plain(body)
        _check_body(kind, content)
        return self._submit(Entry(kind, content, canonical(content), durable, self._loop.create_future()))

    def check(self) -> None:
        """Whether new work may begin.

        Raises:
            AuditUnavailable: it could not be recorded.
        """
        if self.state is not State.OK:
            raise unavailable(self.state)

    def on_durable(self, listener: Callable[[], None]) -> None:
        """Have something called in the event loop each time that records have come to be on the disk."""
        self._listeners.append(listener)

    async def checkpoint(self) -> None:
        """Have everything written so far covered by a checkpoint, on the disk; nothing happens if it is.

        Raises:
            AuditUnavailable: it cannot be written.
        """
        self.check()
        await self._wish(Wish.CHECKPOINT)

    async def retire(self, *, projected_seq: int) -> int:
        """Delete the segments that are older than the settings keep, oldest first; how many there were.

        That a segment is deleted is on the disk before it is. If a deletion fails, the next call does it again.

        Args:
            projected_seq: the last record that is in the usage database; a segment with a later one stays.

        Raises:
            AuditUnavailable: that a segment is deleted cannot be recorded.
            JournalDamaged: a segment is no journal.
        """
        if self._settings.retention_days is None:
            return 0
        before = utc(self._place.clock() - self._settings.retention_days * DAY_S)
        expired = await asyncio.to_thread(
            expired_segments, self.folder, before=before, projected_seq=min(projected_seq, self.durable.seq)
        )
        for done, segment in enumerate(expired):
            waiter = self._loop.create_future()
            await self._submit(Entry(Kind.RETIRED, segment.body, canonical(segment.body), durable=True, waiter=waiter))
            try:
                await asyncio.to_thread(self._delete, segment.path)
            except OSError as exc:
                log.warning("journal.not_deleted", segment=segment.path.name, problem=exc.strerror)
                return done
            log.info("journal.retired", segment=segment.path.name, last=segment.body["last"])
        return len(expired)

    async def close(self) -> None:
        """Write what has come, then `closed` and a checkpoint, and end the thread. A second call does nothing.

        If the disk fails meanwhile, that is logged, and the next start recovers.
        """
        if not self._closing:
            self._closing = True
            await self._wish(Wish.CLOSE)
        await self._writer.join()

    def _submit(self, entry: Entry) -> asyncio.Future[Position]:
        waiter = entry.waiter
        assert waiter is not None
        state = self.state
        if state is not State.OK:
            if entry.kind != Kind.RECEIPT:
                raise unavailable(state)
            fail(waiter, state)
            entry.waiter = None
        if state in _RUNNING:
            if entry.kind is Kind.ADMITTED:
                self._open.add(entry.body["request_id"])
            elif entry.kind is Kind.RECEIPT:
                self._open.discard(entry.body["request_id"])
            is_alone = len(self._open) <= 1 and not self._begun
            if is_alone and not entry.durable and self._writer.append([entry]):
                return waiter
            (self._ended if entry.durable else self._begun).append(entry)
            if not self._flushing:
                self._flushing = True
                self._loop.call_soon(self._flush)
        return waiter

    def _flush(self) -> None:
        """Write what has come, all of it at once, and see to it that it comes to be on the disk.

        While the thread is at work, what has come waits for its end.
        """
        self._flushing = False
        if self._begun or self._ended:
            if not self._writer.append([*self._begun, *self._ended]):
                return
            self._begun, self._ended = [], []
        if self._sync_timer is None and self._writer.has_unsynced:
            due = self._synced_at + min(_PACE_S * len(self._open), _MOST_PACE_S)
            if due > self._loop.time():
                self._sync_timer = self._loop.call_at(due, self._sync)
            else:
                self._sync()
        elif self._sync_timer is not None and not self._open:
            self._sync()

    def _sync(self) -> None:
        if self._sync_timer is not None:
            self._sync_timer.cancel()
            self._sync_timer = None
        self._synced_at = self._loop.time()
        self._writer.sync()

    def _rested(self, has_synced: bool) -> None:
        """Go on after the thread's work."""
        try:
            if has_synced:
                for listener in self._listeners:
                    listener()
        finally:
            self._flush()

    async def _wish(self, wish: Wish) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        entries = [*self._begun, *self._ended]
        self._begun, self._ended = [], []
        self._writer.wish(entries, Command(wish, waiter))
        await waiter

    def _delete(self, path: Path) -> None:
        self._place.disk.unlink(path)
        self._place.disk.sync_folder(self.folder)


def _check_body(kind: Kind, body: Mapping[str, Any]) -> None:
    """ValueError if the thread could not take the body in."""
    if kind is Kind.ADMIN or kind is Kind.TRAINING:
        return
    if kind is not Kind.RECEIPT and kind is not Kind.ADMITTED:
        raise ValueError(f"only the journal itself writes records of the kind '{kind}'")
    if not isinstance(body.get("request_id"), str):
        raise ValueError(f"the {kind} record has no request_id")  # noqa: TRY004 - a key, not a type, is at fault
    for name in _TIMES if kind is Kind.RECEIPT else _TIMES[:1]:
        if not is_utc(body.get(name)):
            raise ValueError(f"{name} is no time as `utc` gives it: {body.get(name)!r}")
