"""The thread that writes: it takes what has come, writes it at once, syncs once, and releases those who wait.

While the thread has nothing to do, the event loop itself appends, and has the kernel sync or, where that cannot, the
thread: to wake a thread and to wait for it costs far more. It never waits for it: whoever has `_tail` may append.
What the thread tells the event loop goes through `loop.call_soon_threadsafe`, at the end of its work all at once.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

import structlog

from freehold.config import JournalSettings
from freehold.journal.appending import CLOSED, Appending
from freehold.journal.reader import Cursor
from freehold.journal.recovery import Place, Tail
from freehold.journal.segment import DiskLost
from freehold.journal.syncing import Syncing
from freehold.journal.waiting import (
    Bulletin,
    Command,
    Entry,
    Item,
    Pairs,
    Position,
    State,
    Waiter,
    Wish,
    Written,
    fail,
    fulfil,
    resolve,
)

log = structlog.get_logger("freehold.journal")


class Writer:
    """Owns the tail of the journal. Built in the event loop that it answers to.

    Args:
        place: whose journal it is.
        tail: where writing goes on.
        settings: when to begin a segment and when to sign.
        retry_s: how long after a failed write to try again, in seconds.
        rested: called in the loop each time that the thread has done its work, and told whether records have come to
            be on the disk.
    """

    def __init__(
        self, place: Place, tail: Tail, settings: JournalSettings, *, retry_s: float, rested: Callable[[bool], None]
    ) -> None:
        self._end = Appending(place, tail, settings)
        self._retry_s = retry_s
        self._rested = rested
        self._bulletin = Bulletin(rested)
        self._tell = self._bulletin.tell
        self._queue: SimpleQueue[Sequence[Item]] = SimpleQueue()
        self._tail = threading.Lock()
        self._put = 0
        """How often something was put into the queue; `_done`, how often that was dealt with."""
        self._taken = self._done = 0
        self._in_hand: list[Item] = []
        self._at_work_since: float | None = None
        self._kept: list[Entry] = []
        self._unsynced: Pairs = []
        """Who waits for what the loop has written."""
        kernel = place.disk.kernel_sync()
        self._kernel = None if kernel is None else Syncing(kernel, self._kernel_ended)
        self._under_way: tuple[Pairs, Cursor] | None = None
        """Who waits for the sync that the kernel does, and what it covers; while it does, the loop has `_tail`."""
        self._again = False
        """Whether another one is to follow it, although nobody waits for it."""
        self._retry_at = 0.0
        self.state = State.OK
        self.durable = self._end.cursor()
        self._thread = threading.Thread(target=self._run, name="freehold-journal", daemon=True)
        self._thread.start()

    @property
    def waits_s(self) -> float:
        """How long the sync, or the thread's piece of work, that is under way has taken so far; seconds."""
        since = self._at_work_since if self._kernel is None else self._kernel.since or self._at_work_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def has_unsynced(self) -> bool:
        """Whether somebody waits for something that the loop has written and not had synced."""
        return bool(self._unsynced)

    def append(self, entries: Sequence[Entry]) -> bool:
        """Write records, in the event loop; who waits for the disk is told after the next `sync`.

        Returns:
            False if the thread is at work, and nothing was done: come again when it has rested.
        """
        at_work = self._put != self._done or (self._under_way is None and self._tail.locked())
        if at_work and self.state not in {State.DEAD, State.CLOSED}:
            return False
        if not self._write_at_once(entries):
            self._enqueue(entries)
        return True

    def sync(self, *, anyway: bool = False) -> None:
        """Have what the loop has written come to be on the disk, if somebody waits for it."""
        if not (self._unsynced or anyway):
            return
        if self._under_way is not None:
            self._again = self._again or anyway
            return  # what came meanwhile is next
        pairs, self._unsynced = self._unsynced, []
        if not self._begin_in_kernel(pairs):
            self._enqueue([Written(pairs)])

    def _begin_in_kernel(self, pairs: Pairs) -> bool:
        """Have the kernel sync, unless the thread has something to do; whether it does."""
        kernel, is_idle = self._kernel, self._put == self._done and self.state is State.OK
        if kernel is None or not is_idle or not self._tail.acquire(blocking=False):
            return False
        try:
            kernel.begin(self._end.segment)
        except OSError:
            self._tail.release()
            return False
        self._under_way = (pairs, self._end.cursor())
        return True

    def _kernel_ended(self, problem: int) -> None:
        """Hear that the kernel's sync has ended, and tell those who wait for it."""
        assert self._under_way is not None, "it began"
        (pairs, cursor), self._under_way = self._under_way, None
        if problem and self.state is not State.DEAD:
            self._die(f"the segment could not be synced: {os.strerror(problem)}")
        self._tail.release()
        if self.state is State.DEAD:
            self._refuse([Written(pairs)])
            self._enqueue([])  # the thread is to end
            return
        self.durable = cursor
        resolve(pairs)
        again, self._again = self._again, False
        if again:
            self.sync(anyway=True)
        self._rested(True)

    def wish(self, entries: Sequence[Entry], command: Command) -> None:
        """Have the thread do something after records that have come before. Who waits hears of it even if it ended."""
        self.sync()
        pairs, self._unsynced = self._unsynced, []
        self._enqueue([*entries, *([Written(pairs)] if pairs else ()), command])

    def _enqueue(self, items: Sequence[Item]) -> None:
        self._put += 1
        self._queue.put(items)
        if self.state in {State.DEAD, State.CLOSED}:
            self._refuse(self._rest())
            self._queue.put([])  # the thread may have to hear yet that it is to end

    def _write_at_once(self, entries: Sequence[Entry]) -> bool:
        """Append records here and now, if the thread has nothing to do and none of its other work is due.

        Returns:
            Whether the records are dealt with, one way or the other.
        """
        is_ours = self._under_way is not None
        if self._put != self._done or not (is_ours or self._tail.acquire(blocking=False)):
            return False
        try:
            if self.state is not State.OK or self._end.is_full or self._end.is_checkpoint_due:
                return False
            before = self._end.checkpoint_at
            written, durable, covered = self._end.write(entries, checkpoint=False)
        except OSError as exc:
            covered = False
            self._stall(entries, exc)
            self._enqueue([])  # the thread is to try again
        except DiskLost as exc:
            covered = False
            self._die(str(exc), entries)
            self._enqueue([])  # the thread is to end
        else:
            resolve(written)
            self._unsynced += durable
            if not covered and self._end.checkpoint_at != before:
                self._enqueue([])  # the thread is to know when the next checkpoint is due
        finally:
            if not is_ours:
                self._tail.release()
        if covered:
            self.sync(anyway=True)
        return True

    async def join(self) -> None:
        """Wait for the end of the thread, and of what it leaves."""
        await asyncio.to_thread(self._thread.join)
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            kernel.close()

    # --- the thread ---

    def _run(self) -> None:
        try:
            while self.state in {State.OK, State.STALLED}:
                self._step()
        finally:
            if self.state in {State.OK, State.STALLED}:
                self._die("the thread ended by a defect")
            self._bulletin.rested()

    def _step(self) -> None:
        """Take what has come, and do it: the records first, then the wishes."""
        items = self._take()
        with self._tail:
            self._in_hand, self._at_work_since = items, time.monotonic()
            entries = [item for item in items if isinstance(item, Entry)]
            pairs = [pair for item in items if isinstance(item, Written) for pair in item.pairs]
            commands = [item for item in items if isinstance(item, Command)]
            must_sync = any(isinstance(item, Written) for item in items)
            if self.state is State.STALLED:
                self._keep(entries)
                if must_sync:
                    self._sync(pairs)
                if self.state is State.STALLED and (commands or time.monotonic() >= self._retry_at):
                    self._retry()
            elif self.state is State.OK and (entries or self._end.is_checkpoint_due):
                self._commit(entries, pairs, must_sync=must_sync)
            elif self.state is State.OK and must_sync:
                self._sync(pairs)
            elif self.state is State.DEAD:  # since the thread waited for the tail
                self._refuse([item for item in items if not isinstance(item, Command)])
            for command in commands:
                self._obey(command)
            self._in_hand, self._at_work_since = [], None
            self._done = self._taken
        self._bulletin.rested()

    def _take(self) -> list[Item]:
        """What has come; empty if nothing has until there is something to do without."""
        wake_at = self._retry_at if self.state is State.STALLED else self._end.checkpoint_at
        try:
            first = self._queue.get(timeout=None if wake_at is None else max(0.0, wake_at - time.monotonic()))
        except Empty:
            return []
        found = [*first]
        more = self._queue.qsize()
        for _ in range(more):
            found += self._queue.get_nowait()
        self._taken += 1 + more
        return found

    def _obey(self, command: Command) -> None:
        if command.wish is Wish.CLOSE:
            self._close()
        elif self.state is State.OK and (self._end.uncovered or self.durable != self._end.cursor()):
            self._commit([], checkpoint=True)
        if command.wish is Wish.CLOSE or self.state is State.OK:
            self._tell(fulfil, command.waiter)
        else:
            self._tell(fail, command.waiter, self.state)

    def _close(self) -> None:
        """Come to an orderly end: `closed`, a checkpoint, all on the disk."""
        before = self._end.segment.size
        try:
            if self.state is State.OK:
                self._end.write([CLOSED], checkpoint=True)
                self._end.segment.sync()
                self.durable = self._end.cursor()
        except OSError as exc:
            log.warning("journal.not_closed", problem=exc.strerror)
        except DiskLost as exc:
            with suppress(DiskLost):
                self._end.segment.cut(before)  # so that the next start takes nothing for being on the disk
            self._die(str(exc))
        if self._kept:
            log.critical("journal.unwritten", receipts=len(self._kept))
        if self.state is not State.DEAD:
            self.state = State.CLOSED
            self._end.segment.close()

    # --- writing ---

    def _commit(
        self,
        entries: Sequence[Entry],
        pairs: Sequence[tuple[Waiter | None, Position]] = (),
        *,
        must_sync: bool = False,
        checkpoint: bool = False,
    ) -> None:
        """Write, sync if somebody waits for that, and release; or find that it cannot be done.

        Args:
            entries: what to write.
            pairs: those who wait for what was written before.
            must_sync: whether to sync even if none of the entries waits for it.
            checkpoint: whether to write a checkpoint; it is synced.
        """
        must_sync = must_sync or checkpoint or self.state is State.STALLED
        try:
            if entries and self._end.is_full:
                self._end.finish_segment()
                self.durable = self._end.cursor()
                self._end.begin_segment()
                self.durable = self._end.cursor()
                self._bulletin.synced()
            written, durable, covered = self._end.write(entries, checkpoint=checkpoint)
        except OSError as exc:
            self._stall(entries, exc)
            if pairs:
                self._sync(pairs)
            return
        except DiskLost as exc:
            self._die(str(exc))
            return
        if written:
            self._tell(resolve, written)
        if (must_sync or covered or durable) and self._sync([*pairs, *durable]):
            self._resume(len(entries))

    def _sync(self, pairs: Sequence[tuple[Waiter | None, Position]]) -> bool:
        """Have everything that is written come to be on the disk, and tell those who wait; false if it cannot be."""
        try:
            self._end.segment.sync()
        except DiskLost as exc:
            self._die(str(exc))
            for waiter, _ in pairs:
                self._tell(fail, waiter, self.state)
            return False
        self.durable = self._end.cursor()
        self._bulletin.synced(pairs)
        return True

    # --- what goes wrong ---

    def _stall(self, entries: Sequence[Entry], problem: OSError) -> None:
        if self.state is State.OK:
            log.error("journal.stalled", problem=problem.strerror)
        self.state = State.STALLED
        self._retry_at = time.monotonic() + self._retry_s
        self._keep(entries)

    def _resume(self, written: int) -> None:
        if self.state is State.STALLED:
            self.state = State.OK
            log.warning("journal.resumed", written=written)

    def _keep(self, entries: Sequence[Entry]) -> None:
        """Tell all that their records are not written; keep those that must be, in their order."""
        for entry in entries:
            if entry.waiter is not None:
                self._tell(fail, entry.waiter, State.STALLED)
            if entry.must_be_written:
                entry.waiter = None
                self._kept.append(entry)

    def _retry(self) -> None:
        """Write what was kept; if there is nothing, find out whether anything could be written."""
        kept, self._kept = self._kept, []
        try:
            if not kept and not self._end.uncovered:
                self._end.segment.probe()
        except OSError as exc:
            self._stall([], exc)
        except DiskLost as exc:
            self._die(str(exc))
        else:
            self._commit(kept, checkpoint=True)

    def _die(self, problem: str, entries: Sequence[Entry] = ()) -> None:
        """Write no more. What is kept is settled by the recovery at the next start."""
        self.state = State.DEAD
        log.critical("journal.dead", problem=problem)
        self._refuse([*entries, *self._in_hand, *self._rest()])
        self._end.segment.close()

    def _rest(self) -> list[Item]:
        """What came and nobody will do."""
        found: list[Item] = []
        with suppress(Empty):
            while True:
                found += self._queue.get_nowait()
        return found

    def _refuse(self, items: Sequence[Item]) -> None:
        for item in items:
            if isinstance(item, Written):
                for waiter, _ in item.pairs:
                    self._tell(fail, waiter, self.state)
            elif isinstance(item, Command) and item.wish is Wish.CLOSE:
                self._tell(fulfil, item.waiter)
            else:
                self._tell(fail, item.waiter, self.state)
