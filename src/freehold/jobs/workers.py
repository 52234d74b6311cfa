"""What takes jobs from the queue and has them done, within this process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Self, TypeAlias

import structlog

from freehold.errors import Draining, FreeholdError, LeaseLost
from freehold.jobs.queue import JobQueue
from freehold.store.jobs import worker_name
from freehold.types.ids import new_id
from freehold.types.jobs import Job, JobState, Lease, Wish

log = structlog.get_logger(__name__)

IDLE_S: Final = 5.0
"""How often the queue is looked at though nobody said that something is there."""
RENEWALS: Final = 6
"""How often a lease is renewed in the time for which it holds."""


class Hold:
    """A job in the hands of a worker.

    Args:
        job: as it was when it was taken.
        lease: the right to do it.
    """

    def __init__(self, job: Job, lease: Lease) -> None:
        self.job = job
        self.lease = lease
        self.stopping = asyncio.Event()
        """Set when the job is to end soon."""
        self.pausing = asyncio.Event()
        """Set while the job is to be given back as PAUSED; it may be taken back."""
        self.renewing = asyncio.Event()
        """Set when the lease is to be renewed at once, which also tells what is asked of whoever has the job."""

    async def asked(self) -> None:
        """Wait until the job is to end or to be paused."""
        waiting = [asyncio.create_task(event.wait()) for event in (self.stopping, self.pausing)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    def hear(self, wish: Wish) -> None:
        """Let whoever does the job know what is asked of it."""
        if wish is Wish.CANCEL:
            self.stopping.set()
        if wish is Wish.PAUSE:
            self.pausing.set()
        else:
            self.pausing.clear()


Do: TypeAlias = Callable[[Hold], Awaitable[JobState]]
"""Does a job, and says how it ended, or that it is PAUSED as was asked. Raises FreeholdError where it is to be tried
again later."""


class Workers:
    """Does jobs while its block runs.

    Args:
        queue: where they come from.
        doing: what does the jobs of each kind.
        most: how many are done at a time.
        may: whether any is to be taken here just now, rather than by another gateway.
    """

    def __init__(
        self, queue: JobQueue, doing: Mapping[str, Do], most: int, may: Callable[[], bool] = lambda: True
    ) -> None:
        self._queue = queue
        self._doing = doing
        self._most = most
        self._may = may
        self._name = worker_name(queue.database.gateway, new_id("worker_"))
        self._something = asyncio.Event()
        self._holds: set[Hold] = set()
        self._task: asyncio.Task[None] | None = None
        queue.on_change(self._look)

    async def __aenter__(self) -> Self:
        await self._queue.release(self._doing)
        self._task = asyncio.create_task(self._run(), name="workers")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def _look(self) -> None:
        self._something.set()
        for hold in self._holds:
            hold.renewing.set()

    async def _run(self) -> None:
        """Take jobs and begin them, for ever."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                self._something.clear()
                while len(tasks) < self._most and self._may() and (taken := await self._take()) is not None:
                    task = asyncio.create_task(self._work(*taken), name=f"job {taken[0].id}")
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    task.add_done_callback(lambda _: self._something.set())
                with suppress(TimeoutError):
                    async with asyncio.timeout(await self._pause_s()):
                        await self._something.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self) -> tuple[Job, Lease] | None:
        try:
            return await self._queue.take(self._doing, self._name)
        except FreeholdError as exc:
            log.warning("queue_unavailable", reason=exc.message)
            return None

    async def _pause_s(self) -> float:
        if not self._may():
            return IDLE_S
        try:
            due_s = await self._queue.due_s(self._doing)
        except FreeholdError:
            return IDLE_S
        return IDLE_S if due_s is None else max(0.01, min(IDLE_S, due_s))

    async def _work(self, job: Job, lease: Lease) -> None:
        """Do one job, and say what became of it."""
        hold = Hold(job, lease)
        if job.cancelling:
            hold.hear(Wish.CANCEL)
        elif job.pausing:
            hold.hear(Wish.PAUSE)
        self._holds.add(hold)
        doing = asyncio.create_task(self._done(hold), name=f"doing {job.id}")
        try:
            await self._renewed(hold, doing)
        except LeaseLost as exc:
            log.warning("lease_lost", job=job.id, reason=exc.message)
        except FreeholdError as exc:
            log.warning("job_left", job=job.id, reason=exc.message)
        finally:
            self._holds.discard(hold)
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)

    async def _renewed(self, hold: Hold, doing: "asyncio.Task[None]") -> None:
        """Renew the lease until the job is done."""
        pause_s = self._queue.lease_s / RENEWALS
        while not doing.done():
            changed = asyncio.create_task(hold.renewing.wait())
            try:
                await asyncio.wait({doing, changed}, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()
            hold.renewing.clear()
            if not doing.done():
                hold.hear(await self._queue.renew(hold.lease))
        await doing

    async def _done(self, hold: Hold) -> None:
        """Do the job. What cannot be done now is tried again later, and what is a defect as well."""
        try:
            state = JobState.PAUSED if hold.pausing.is_set() else await self._doing[hold.job.kind](hold)
        except LeaseLost:
            raise
        except FreeholdError as exc:
            after_s = 1.0 if isinstance(exc, Draining) else None
            wait_s = await self._queue.retry(hold.lease, exc.code or "failed", after_s)
            log.warning("job_retried", job=hold.job.id, reason=exc.message, after_s=wait_s)
            return
        except Exception:  # a worker's edge: logged in full, then tried again with back-off
            log.exception("defect", job=hold.job.id)
            await self._queue.retry(hold.lease, "internal_error")
            return
        await self._queue.finish(hold.lease, state)
