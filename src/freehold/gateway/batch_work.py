"""The work on a batch: its input is looked at, its lines are run, its files are made.

Whatever is written is written with the lease of the batch's job, and a line counts once its result is on the disk. So
whoever takes the job after a crash goes on where it stopped: lines that are done are not run again.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol

import orjson

from freehold.errors import (
    AuditUnavailable,
    Draining,
    RateLimited,
    RequestError,
    Unavailable,
)
from freehold.gateway.batch_input import Checker, lines_of
from freehold.gateway.batch_store import Batch, BatchStore, InputGone
from freehold.gateway.sealed_rows import WrittenTogether
from freehold.jobs.workers import Hold
from freehold.types.batches import BatchProblem, BatchStatus, LineResult
from freehold.types.ids import new_id
from freehold.types.jobs import JobState

MAX_PAUSE_S: Final = 60.0
"""The longest pause before a line is tried again."""
AT_ONCE: Final = 64
"""Lines of one batch that run at a time, whatever room their deployment has."""
PATIENT: Final = 10
"""How often a line is tried whose deployment cannot serve it for the moment."""
_ADDED: Final = 200
"""Results that are written at a time for lines that were not run."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One of the times that a line is run.

    Args:
        token: of the lease under which it is.
        number: which one under that lease, from 0.
        paid: the request by which it was paid already; empty for none.
    """

    token: int
    number: int
    paid: str = ""

    def request_id(self, batch_id: str, line: int) -> str:
        """Names the request: it can be told again by whoever runs the line after this process died."""
        told = f"{batch_id}/{line}/{self.token}/{self.number}".encode()
        return "req_" + hashlib.blake2b(told, digest_size=12).hexdigest()


class Lines(Protocol):
    """What runs the lines of batches."""

    most_bytes: int
    """How long a line may be."""

    def check(self, batch: Batch, model: str | None) -> None:
        """Return if the caller of a batch may ask for its model.

        Raises:
            RequestError: it may not, or there is none of that name.
        """

    async def slots(self, model: str) -> asyncio.Semaphore:
        """What bounds how many lines ask a model at a time, over all batches."""

    async def run(self, batch: Batch, line: int, raw: bytes, attempt: Attempt) -> LineResult:
        """Run a line.

        Raises:
            RateLimited, Unavailable: it can be tried again.
        """

    async def paid(self, batch: Batch, line: int, token: int) -> str:
        """The request by which a line was paid under a lease before the one of a token, its answer being lost.

        It is empty where there is none.

        Raises:
            Unavailable: nobody can tell yet.
        """


class Stop:
    """Why a batch is to end, or to be paused, before its last line.

    Args:
        hold: the batch's job.
        ends_at: when its time is over, in seconds since the epoch.
        clock: seconds since the epoch.
    """

    def __init__(self, hold: Hold, ends_at: int, clock: Callable[[], float]) -> None:
        self.cancel = hold.stopping.set
        self.paused = False
        """Whether it was seen that the batch is to be paused; lines may have been left since."""
        self._hold = hold
        self._ends_at = ends_at
        self._clock = clock

    @property
    def reason(self) -> BatchStatus | None:
        """What it is to end as; None if it may go on."""
        return self.reason_at(self._clock())

    def reason_at(self, moment_s: float) -> BatchStatus | None:
        """As `reason`, at another time."""
        if self._hold.stopping.is_set():
            return BatchStatus.CANCELLED
        return BatchStatus.EXPIRED if moment_s >= self._ends_at else None

    @property
    def goes_on(self) -> bool:
        """Whether another line may be begun."""
        self.paused = self.paused or self._hold.pausing.is_set()
        return not self.paused and self.reason is None

    async def wait(self, seconds: float) -> None:
        """Wait, but not longer than the batch may go on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(seconds, self._ends_at - self._clock()))):
                await self._hold.asked()


class Pace:
    """How many lines of a batch run at a time: half as many after one met a limit, slowly more where none does.

    Args:
        most: never more than these.
    """

    def __init__(self, most: int) -> None:
        self.width = float(most)
        self._most = most
        self._running = 0
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._running < int(self.width))
            self._running += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running -= 1
        limited = isinstance(error, RateLimited)
        self.width = max(1.0, self.width / 2) if limited else min(float(self._most), self.width + 1 / self.width)
        async with self._changed:
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Room:
    """What a line needs: a place in its batch's pace, one of its deployment's, and where its result is written.

    And the token of the lease under which it is run.
    """

    pace: Pace
    slots: asyncio.Semaphore
    log: WrittenTogether[LineResult]
    token: int


class BatchWork:
    """Does the jobs of batches.

    Args:
        store: where they lie.
        lines: runs their lines.
        clock: seconds since the epoch.
    """

    def __init__(self, store: BatchStore, lines: Lines, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._lines = lines
        self._clock = clock

    async def __call__(self, hold: Hold) -> JobState:
        """Do all that there is left to do of a batch, and say how its job ended.

        Raises:
            LeaseLost: somebody else has the job.
            FreeholdError: it cannot be done now.
        """
        batch = await self._store.load(hold.job.payload["batch"])
        if batch is None:
            return JobState.CANCELLED
        stop = Stop(hold, batch.row.ends_at, self._clock)
        if batch.row.finalizing_at is not None:
            return await self._finish(hold, batch, stop.reason_at(batch.row.finalizing_at), [])
        problems: list[BatchProblem] = []
        if batch.row.in_progress_at is None and stop.reason is None:
            problems = await self._begun(hold, batch)
        if problems:
            return await self._finish(hold, batch, BatchStatus.FAILED, problems)
        try:
            reason = await self._run(hold, batch, stop)
        except InputGone as exc:
            problems = [BatchProblem("input_file_unavailable", exc.message)]
            reason = BatchStatus.FAILED
        if stop.reason is BatchStatus.CANCELLED:
            reason = BatchStatus.CANCELLED
        if stop.paused and reason is None and await self._is_short(batch):
            return JobState.PAUSED
        return await self._finish(hold, batch, reason, problems)

    async def _begun(self, hold: Hold, batch: Batch) -> list[BatchProblem]:
        """Look at the input; what is wrong with it."""
        checker = Checker(batch.row.endpoint, self._lines.most_bytes)
        try:
            await checker.check(await self._store.input(batch))
        except InputGone as exc:
            return [BatchProblem("input_file_unavailable", exc.message)]
        if not checker.problems:
            try:
                self._lines.check(batch, checker.model)
            except RequestError as exc:
                return [BatchProblem(exc.code or "invalid_value", exc.message, checker.first_line, "body.model")]
            await self._store.change(
                hold.lease,
                batch,
                total=checker.total,
                status=BatchStatus.IN_PROGRESS,
                in_progress_at=self._store.now_s(),
                model=checker.model or "",
            )
        return checker.problems

    async def _run(self, hold: Hold, batch: Batch, stop: Stop) -> BatchStatus | None:
        """Run the lines that are not done, some at a time; why it stopped before the last, None if it did not."""
        found = await self._store.load(batch.id)
        if found is None or found.row.in_progress_at is None:
            return stop.reason  # it was to end before its first line was looked at

        async def write(results: Sequence[LineResult]) -> bool:
            if ending := await self._store.put(hold.lease, batch, results):
                stop.cancel()
            return ending

        done = await self._store.finished(batch)
        log = WrittenTogether[LineResult](write)
        slots, places = await self._lines.slots(found.row.model), asyncio.Semaphore(AT_ONCE)
        room = _Room(Pace(AT_ONCE), slots, log, hold.lease.token)
        doubtful = AT_ONCE if hold.lease.token > 1 else 0
        reason: BatchStatus | None = None

        async def run(number: int, raw: bytes, paid: str) -> None:
            await self._tried(batch, number, raw, stop, room, paid)

        lines = lines_of(await self._store.input(batch), self._lines.most_bytes)
        try:
            async with asyncio.TaskGroup() as group, aclosing(lines):
                async for number, raw in lines:
                    if number in done or raw is None:
                        continue
                    await places.acquire()
                    reason = stop.reason
                    if not stop.goes_on:
                        break
                    # Lines are begun in order, AT_ONCE at a time: only these can whoever had the job before have run.
                    paid = await self._lines.paid(batch, number, room.token) if doubtful else ""
                    doubtful = max(0, doubtful - 1)
                    group.create_task(run(number, raw, paid)).add_done_callback(lambda _: places.release())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        reason = reason or (stop.reason if await self._is_short(batch) else None)
        if reason is BatchStatus.EXPIRED:
            await self._expire(hold, batch)
        return reason

    async def _is_short(self, batch: Batch) -> bool:
        """Whether there are lines without a result."""
        found = await self._store.load(batch.id)
        return found is not None and found.row.completed + found.row.failed < found.row.total

    async def _tried(self, batch: Batch, number: int, raw: bytes, stop: Stop, room: _Room, paid: str) -> None:
        """Run a line and write what becomes of it; again and again where that helps, while the batch goes on."""
        tries, result = 0, None
        while stop.goes_on:
            try:
                async with room.pace, room.slots:  # neither is held while the line waits to be tried again
                    if stop.goes_on:
                        result = await self._lines.run(batch, number, raw, Attempt(room.token, tries, paid))
                        await room.log.put(result)
                return
            except (AuditUnavailable, Draining):
                raise
            except (RateLimited, Unavailable) as exc:
                if result is not None:
                    raise  # the line was run; it is the result that cannot be written
                tries += 1
                if isinstance(exc, Unavailable) and tries >= PATIENT:
                    await room.log.put(failed_line(number, raw, exc.code or "server_error", exc.message))
                    return
                wait_s = min(MAX_PAUSE_S, max(exc.retry_after_s or 0.0, 2.0 ** (tries - 1)))
                await stop.wait(wait_s * random.uniform(0.5, 1.5))  # noqa: S311  # only so that not all come at once

    async def _expire(self, hold: Hold, batch: Batch) -> None:
        """Write of every line that was not run that its time was over."""
        done, together = await self._store.finished(batch), list[LineResult]()
        message = "This request could not be executed before the completion window expired."
        async for number, raw in lines_of(await self._store.input(batch), self._lines.most_bytes):
            if number in done or raw is None:
                continue
            together.append(failed_line(number, raw, "batch_expired", message))
            if len(together) >= _ADDED:
                await self._store.put(hold.lease, batch, together)
                together = []
        if together:
            await self._store.put(hold.lease, batch, together)

    async def _finish(
        self, hold: Hold, batch: Batch, reason: BatchStatus | None, problems: list[BatchProblem]
    ) -> JobState:
        """Make the files, and write how the batch ended: as the reason says why it did before its end, if it did."""
        status = reason or BatchStatus.COMPLETED
        lease, columns = hold.lease, dict[str, Any]()
        if problems:
            columns["problems"] = await self._store.sealed_problems(batch, problems)
        found = await self._store.load(batch.id)
        batch = found or batch
        if batch.row.in_progress_at is not None:
            ids: dict[str, Any] = {
                name: getattr(batch.row, name) or new_id("file-") for name in ("output_file_id", "error_file_id")
            }
            if batch.row.finalizing_at is None:
                now = self._store.now_s()
                await self._store.change(lease, batch, status=BatchStatus.FINALIZING, finalizing_at=now, **ids)
            for name, failed in (("output_file_id", False), ("error_file_id", True)):
                made = await self._store.make_file(batch, ids[name], failed=failed)
                columns[name] = ids[name] if made else ""
        await self._store.change(lease, batch, status=status, ended_at=self._store.now_s(), **columns)
        return _JOBS.get(status, JobState.SUCCEEDED)


_JOBS: Final = {BatchStatus.FAILED: JobState.FAILED, BatchStatus.CANCELLED: JobState.CANCELLED}


def failed_line(number: int, raw: bytes, code: str, message: str) -> LineResult:
    """A line of the file of errors, for a request that was not answered.

    Args:
        number: of the line in the input.
        raw: that line.
        code: why, in a word.
        message: why.
    """
    said = {
        "id": new_id("batch_req_"),
        "custom_id": orjson.loads(raw)["custom_id"],
        "response": None,
        "error": {"code": code, "message": message},
    }
    return LineResult(number, failed=True, content=orjson.dumps(said))
