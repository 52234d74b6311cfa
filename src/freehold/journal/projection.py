"""The projection: carries receipts, administrative actions and trainings from the journal into the usage database.

It works behind the requests' backs.

One task. Reads what is durable in batches, in a thread; writes each batch in one transaction together with how far it
has read, so that a crash at any moment neither loses nor doubles a record. Whatever fails, the journal goes on: the
task backs off, and goes on with a new connection where it stopped. It never holds more than one batch.
"""

import asyncio
import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import orjson
import structlog

from freehold.errors import FreeholdError, HomeError, Unavailable
from freehold.journal.journal import Journal
from freehold.journal.projection_flags import flags_of
from freehold.journal.projection_rows import action_of, row_of, stretch_of
from freehold.journal.reader import Block, Cursor, Line, kind_and_seq, parse_line, read_block, read_line, segment_path
from freehold.journal.records import Kind
from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_writing import Progress, Row, clear, forget_flags, load_progress, write_batch

log = structlog.get_logger("freehold.projection")

BATCH_RECORDS: Final = 5000
"""A batch costs as much as some hundred records, so larger ones cost less; this many are 10 MB."""
_CHUNK_RECORDS: Final = 100
"""After so many records the reading thread lets others run: requests are served by the same interpreter."""
_LINGER_S: Final = 1.0
"""How long to collect records before a batch that is not full, unless somebody waits for it."""
_BACKOFF_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
_STOP_S: Final = 10.0
_BEHIND_RECORDS: Final = 10_000
_PROJECTED: Final = frozenset({Kind.RECEIPT.value, Kind.ADMIN.value, Kind.TRAINING.value})

StateName = Literal["ok", "behind", "failing"]


@dataclass(frozen=True, slots=True)
class ProjectionState:
    """How the projection fares.

    Args:
        name: `ok`; `behind` by more than ten thousand records; `failing`: nothing is projected until it is mended.
        since: when that began, in seconds since the epoch.
        reason: what fails, and what to do about it.
    """

    name: StateName
    since: float
    reason: str | None = None


class WrongJournal(HomeError):
    """The usage database was not made from this journal, or from more of it than there is."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What was read at once: receipts, what was flagged, administrative actions and trainings; how far it goes."""

    rows: list[Row]
    flags: list[Row]
    actions: list[Row]
    stretches: list[Row]
    records: int
    after: Progress


class Projection:
    """Carries receipts, administrative actions and trainings from a journal into a usage database.

    Args:
        journal: where they stand.
        database: where they go.
    """

    def __init__(self, journal: Journal, database: UsageDatabase) -> None:
        self._journal = journal
        self._database = database
        self._writer = journal.folder.name
        self._progress = Progress()
        self._known = False
        self._state = ProjectionState("ok", time.time())
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._moved = asyncio.Condition()
        self._waiting = 0
        self._stopping = False
        self._retry = asyncio.Event()
        self._resting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin. The database need not be there yet."""
        self._journal.on_durable(self._has_come)
        self._task = asyncio.create_task(self._run(), name="projection")

    async def stop(self) -> None:
        """End after the batch at hand; the next start goes on there."""
        self._stopping = True
        self._wake.set()
        self._hurry.set()
        self._retry.set()
        if self._task is not None:
            with suppress(TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(self._task, _STOP_S)
            self._task = None

    @property
    def projected(self) -> Cursor:
        """Everything before it is in the database; the beginning until the database was first reached."""
        return Cursor(self._progress.segment, self._progress.offset, self._progress.seq)

    @property
    def lag(self) -> int:
        """How many durable records are not in the database yet."""
        return max(0, self._journal.durable.seq - self._progress.seq)

    @property
    def state(self) -> ProjectionState:
        """How it fares."""
        if self._state.name != "failing":
            name: StateName = "behind" if self.lag > _BEHIND_RECORDS else "ok"
            if name != self._state.name:
                self._state = ProjectionState(name, time.time())
        return self._state

    async def caught_up(self, timeout_s: float) -> bool:
        """Wait until everything that is durable now is in the database.

        Returns:
            Whether it is, within that time.
        """
        target = self._journal.durable.seq
        self._waiting += 1
        self._wake.set()
        self._hurry.set()
        try:
            async with asyncio.timeout(timeout_s), self._moved:
                await self._moved.wait_for(lambda: self._known and self._progress.seq >= target)
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True

    async def rebuild(self) -> None:
        """Empty the database and begin anew; returns when it is empty.

        What came from parts of the journal that were retired since stays as it is.

        Raises:
            Unavailable, HomeError: the database cannot be used.
        """
        async with self._resting:
            first = await asyncio.to_thread(_first_record, self._journal.folder, self._journal.durable)
            foreign = await self._is_foreign()
            await clear(self._database, self._writer, 0 if foreign else max(1, first))
            self._known = False
            self._progress = Progress()
        log.warning("usage_rebuild", database=self._database.shown)
        self._wake.set()
        self._retry.set()

    async def forget_retired(self) -> int:
        """Delete what was flagged in requests whose receipts were retired from the journal; how many rows.

        Raises:
            Unavailable, HomeError: the database cannot be used.
        """
        first = await asyncio.to_thread(_first_record, self._journal.folder, self._journal.durable)
        if first <= 1:
            return 0
        return await forget_flags(self._database, self._writer, first)

    async def _is_foreign(self) -> bool:
        """Whether the database was made from another journal."""
        stored = await load_progress(self._database, self._writer)
        try:
            await self._check(stored)
        except WrongJournal:
            return True
        return False

    async def _run(self) -> None:
        """Project until `stop`; after a failure again, from where the database says."""
        failures = 0
        while not self._stopping:
            try:
                async with self._resting:
                    moved = await self._step()
                failures = 0
                self._recovered()
                if not moved or self.lag < BATCH_RECORDS:
                    await self._more()
            except FreeholdError as exc:
                self._fail(exc.message)
            except Exception as exc:  # a worker's loop: logged in full, and tried again
                log.exception("defect")
                self._fail(f"a defect of Freehold, {type(exc).__name__}; see the server's log")
            if self._state.name == "failing":
                await self._rest(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1

    async def _step(self) -> bool:
        """Project one batch; False if there was nothing."""
        if not self._known:
            await self._attach()
        until = self._journal.durable
        if self._progress.seq >= until.seq:
            return False
        batch = await asyncio.to_thread(_read, self._journal.folder, self._writer, self._progress, until)
        if not batch.records:
            return False
        before, rows = self._progress, (batch.rows, batch.actions, batch.flags, batch.stretches)
        if not await write_batch(self._database, self._writer, before, batch.after, *rows):
            # Another connection of ours came first, such as one that the server before a crash had left.
            self._known = False
            return True
        await self._move(batch.after)
        return True

    async def _attach(self) -> None:
        """Learn from the database how far it is, and see that it speaks of this journal."""
        stored = await load_progress(self._database, self._writer)
        await self._check(stored)
        self._known = True
        await self._move(stored)

    async def _check(self, stored: Progress) -> None:
        """See that a database that is so far was made from this journal.

        Raises:
            WrongJournal: it was not.
        """
        durable = self._journal.durable
        if stored.seq > durable.seq:
            raise WrongJournal(
                f"the usage database has {stored.seq} records and the journal only {durable.seq}: it was made from "
                "another journal, or the journal is an older backup. Give this home a database of its own, or run "
                "'freehold usage rebuild' to make it anew from the journal that is here."
            )
        if stored.seq:
            await asyncio.to_thread(_compare, self._journal.folder, stored)

    async def _move(self, progress: Progress) -> None:
        self._progress = progress
        async with self._moved:
            self._moved.notify_all()

    def _has_come(self) -> None:
        """Go to work, at once if there is enough for a whole batch."""
        self._wake.set()
        if self.lag >= BATCH_RECORDS:
            self._hurry.set()

    async def _more(self) -> None:
        """Wait for records; then a little for more of them, unless somebody waits for these.

        A batch costs much more than a record, so under load there is one now and then and not one after the other.
        """
        self._wake.clear()
        if not self.lag and not self._stopping:
            await self._wake.wait()
        self._hurry.clear()
        if not self._waiting and not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), _LINGER_S)

    async def _rest(self, seconds: float) -> None:
        """Wait before the next try, which has new connections."""
        with suppress(Unavailable):
            await self._database.drop_connections()
        self._retry.clear()
        if not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._retry.wait(), seconds)

    def _fail(self, reason: str) -> None:
        self._known = False
        if self._state.name != "failing" or self._state.reason != reason:
            since = self._state.since if self._state.name == "failing" else time.time()
            self._state = ProjectionState("failing", since, reason)
            log.error("projection_failing", reason=reason, lag=self.lag)

    def _recovered(self) -> None:
        if self._state.name == "failing":
            self._state = ProjectionState("ok", time.time())
            log.warning("projection_recovered", lag=self.lag)


def _read(folder: Path, writer: str, progress: Progress, until: Cursor) -> _Batch:
    """The next batch. Runs in a thread, and lets the event loop run between chunks.

    Raises:
        WrongJournal: it does not follow what was read before.
        JournalDamaged: a line is no record.
    """
    batch = _Batch([], [], [], [], 0, progress)
    while batch.records < BATCH_RECORDS:
        block = read_block(folder, Cursor(batch.after.segment, batch.after.offset, batch.after.seq), until)
        if block is None:
            break
        after = _read_block(segment_path(folder, block.segment), block, batch, writer)
        batch = replace(batch, records=batch.records + len(block.lines), after=after)
    return batch


def _read_block(path: Path, block: Block, batch: _Batch, writer: str) -> Progress:
    """Add what is projected of a block to the batch's rows; how far that goes."""
    after = batch.after
    _follows(parse_line(path, block.segment, block.offset, block.lines[0] + b"\n"), after)
    offset, seq = block.offset, after.seq
    last_offset = offset
    for number, raw in enumerate(block.lines, 1):
        last_offset = offset
        tail = kind_and_seq(raw)
        if tail is None or tail[0] in _PROJECTED:
            line = parse_line(path, block.segment, offset, raw + b"\n")
            if line.kind == Kind.RECEIPT:
                batch.rows.append(row_of(line, writer))
                batch.flags.extend(flags_of(line, writer))
            elif line.kind == Kind.ADMIN:
                batch.actions.append(action_of(line, writer))
            elif line.kind == Kind.TRAINING:
                batch.stretches.append(stretch_of(line, writer))
            seq = line.seq
        else:
            seq = tail[1]
        offset += len(raw) + 1
        if not number % _CHUNK_RECORDS:
            time.sleep(0)
    head = hashlib.sha256(block.lines[-1]).hexdigest()
    return Progress(block.segment, offset, seq, block.segment, last_offset, head)


def _follows(line: Line, progress: Progress) -> None:
    """See that a record is the next one after those that were read; at the beginning, anything is."""
    if progress.seq and (line.seq != progress.seq + 1 or orjson.loads(line.raw)["prev"] != progress.head):
        raise _another(progress.seq)


def _compare(folder: Path, progress: Progress) -> None:
    """See that the last record that was read is the one that stands there, if it was not retired since."""
    try:
        line = read_line(folder, progress.last_segment, progress.last_offset)
    except FileNotFoundError:
        return
    except FreeholdError:
        raise _another(progress.seq) from None
    if line.seq != progress.seq or hashlib.sha256(line.raw).hexdigest() != progress.head:
        raise _another(progress.seq)


def _another(seq: int) -> WrongJournal:
    return WrongJournal(
        f"record {seq} of the journal is not the one that the usage database has: the database was made from another "
        "journal, or the journal was restored from a backup. Give this home a database of its own, or run 'freehold "
        "usage rebuild' to make it anew from the journal that is here."
    )


def _first_record(folder: Path, until: Cursor) -> int:
    """The number of the oldest record that the journal still has; 1 if it has none yet."""
    block = read_block(folder, Cursor(), until)
    return (
        1
        if block is None
        else parse_line(segment_path(folder, block.segment), block.segment, block.offset, block.lines[0] + b"\n").seq
    )


def unavailable(state: ProjectionState) -> Unavailable:
    """The error of a query that cannot be answered because nothing is projected."""
    return Unavailable(f"Usage cannot be read at the moment: {state.reason}")
