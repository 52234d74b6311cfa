"""The queue of jobs, on the home's database: what is put here is done, whoever dies meanwhile.

A worker has a job by a lease. It renews the lease while it works; where it does not, being dead or hanging, another
takes the job, and whatever the first still wants to write is refused, for its token is not the newest any more.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from freehold.errors import Conflict, LeaseLost, NotFound, RateLimited
from freehold.store.database import Database
from freehold.store.jobs import (
    add_job,
    cancel_job,
    change_leased,
    count_waiting,
    events_of,
    get_job,
    give_back,
    go_forward,
    next_moment_ms,
    pause_job,
    release_jobs,
    resume_job,
    take_job,
)
from freehold.types.ids import new_id
from freehold.types.jobs import ENDED, Job, JobEvent, JobState, Lease, Wish

LEASE_S: Final = 30.0
"""How long a worker may be silent."""
MAX_BACKOFF_S: Final = 600.0


class JobQueue:
    """The jobs of one home.

    Every method may raise HomeError where the database cannot be used.

    Args:
        database: where they are.
        per_project: how many of one project and one kind run at a time.
        most_waiting: how many of one project and one kind there may be that have not ended; no bound if None.
        pausable: the kinds whose work can be paused.
        lease_s: how long a lease holds that is not renewed.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        *,
        per_project: int,
        most_waiting: int | None = None,
        pausable: Collection[str] = (),
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self.lease_s = lease_s
        self._per_project = per_project
        self._most_waiting = most_waiting
        self._adding = asyncio.Lock()
        self._pausable = frozenset(pausable)
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever there may be something to do, or to stop."""
        self._listeners.append(listener)

    def announce(self) -> None:
        """Tell workers that there may be something to do, or to stop."""
        for listener in self._listeners:
            listener()

    def now_ms(self) -> int:
        """The time, in milliseconds since the epoch."""
        return int(self._clock() * 1000)

    def new(
        self,
        kind: str,
        payload: Mapping[str, Any],
        *,
        organization_id: str,
        project_id: str,
        owner_id: str,
        priority: int = 0,
        subject: str = "",
        private: bool = True,
    ) -> Job:
        """A job that is not in the queue yet; the arguments as in `Job`."""
        return Job(
            id=new_id("job_"),
            organization_id=organization_id,
            project_id=project_id,
            owner_id=owner_id,
            kind=kind,
            payload=dict(payload),
            priority=priority,
            state=JobState.QUEUED,
            created_at=self.now_ms() // 1000,
            subject=subject,
            private=private,
        )

    @asynccontextmanager
    async def room(self, job: Job) -> AsyncIterator[None]:
        """Add the job in this block: no other comes in between. Workers are told of it at the block's end.

        Raises:
            RateLimited: too many of its project's have not ended.
        """
        most = self._most_waiting
        async with self._adding, self.database.turn():
            if most is not None and await count_waiting(self.database, job.project_id, job.kind) >= most:
                raise RateLimited(
                    f"The project has {most} jobs of the kind '{job.kind}' that have not ended, and may have no more; "
                    "try again once some have ended, or cancel some.",
                    code="too_many_jobs",
                    scope="project",
                )
            yield
        self.announce()

    async def put(self, job: Job) -> None:
        """Have a job done."""
        async with self.database.write() as connection:
            await add_job(connection, job)
        self.announce()

    async def take(self, kinds: Collection[str], worker: str) -> tuple[Job, Lease] | None:
        """The next job of these kinds, and the right to do it; None if there is nothing to do now."""
        lease_ms = int(self.lease_s * 1000)
        job = await take_job(self.database, kinds, worker, self.now_ms(), lease_ms, per_project=self._per_project)
        return None if job is None else (job, Lease(job.id, job.token, worker, job.attempts))

    async def renew(self, lease: Lease) -> Wish:
        """Have the lease hold for another while; what is asked of its holder.

        Raises:
            LeaseLost: it was over, and somebody else may have the job.
        """
        return await self._change(lease, {"lease_until_ms": self.now_ms() + int(self.lease_s * 1000)})

    async def progress(self, lease: Lease, done: int, total: int, failed: int = 0) -> Wish:
        """Write how far a job is; what is asked of the holder. A job that goes forward has all its attempts again.

        Args:
            lease: the worker's.
            done: how many steps are done, failed ones included.
            total: how many there are; 0 is unknown.
            failed: how many of those done failed.

        Raises:
            LeaseLost: as `renew`.
        """
        wish = await go_forward(self.database, lease, self.now_ms(), done=done, total=total, failed=failed)
        return _held(lease, wish)

    async def note(self, lease: Lease, event: str, detail: str = "") -> Wish:
        """Write that something happened; what is asked of the holder.

        Args:
            lease: the worker's.
            event: what, in a word.
            detail: ids and numbers, up to 200 characters; nothing that a caller wrote.

        Raises:
            LeaseLost: as `renew`.
        """
        return await self._change(lease, {}, event, detail)

    async def finish(self, lease: Lease, state: JobState, error_code: str = "") -> None:
        """Write how the job ended; or, as PAUSED, give it back, to be paused as long as that is still asked.

        Raises:
            LeaseLost: as `renew`.
        """
        if state is JobState.PAUSED:
            values = {"state": JobState.QUEUED, "not_before_ms": 0}
            _held(lease, await give_back(self.database, lease, self.now_ms(), values, "requeued"))
        else:
            assert state in ENDED, "a job is given back by `retry`"
            ended: dict[str, Any] = {"state": state, "pausing": False, "stage": "", "error_code": error_code}
            ended["finished_at"] = self.now_ms() // 1000
            await self._change(lease, ended, state.value, error_code)
        self.announce()

    async def retry(self, lease: Lease, error_code: str, after_s: float | None = None) -> float:
        """Give the job back, to be tried again, or paused where that is asked.

        Args:
            lease: the worker's.
            error_code: why it could not be done.
            after_s: when; without, the later, the more often it was begun without going forward.

        Returns:
            After how many seconds it is tried again.

        Raises:
            LeaseLost: as `renew`.
        """
        wait_s = min(MAX_BACKOFF_S, 2.0 ** min(lease.attempts - 1, 16)) if after_s is None else after_s
        values = {
            "state": JobState.QUEUED,
            "error_code": error_code,
            "not_before_ms": self.now_ms() + int(wait_s * 1000),
        }
        _held(lease, await give_back(self.database, lease, self.now_ms(), values, "retrying", error_code))
        self.announce()
        return wait_s

    async def cancel(self, job_id: str) -> JobState:
        """Ask a job to end; one that was never begun ends at once. Its state afterwards.

        Raises:
            NotFound: there is no such job.
        """
        async with self.database.write() as connection:
            state = await cancel_job(connection, job_id, self.now_ms() // 1000)
        if state is None:
            raise absent(job_id)
        self.announce()
        return state

    async def pause(self, job_id: str, until_s: int = 0) -> JobState:
        """Ask that nobody works on a job; one that nobody has is paused at once. Its state afterwards.

        Args:
            job_id: names it.
            until_s: when it goes on by itself, in seconds since the epoch; 0 is never.

        Raises:
            NotFound: there is no such job.
            Conflict: it has ended or is to end, or its kind cannot be paused.
        """
        await self.check_pausable(job_id)
        async with self.database.write() as connection:
            state = await pause_job(connection, job_id, self.now_ms(), until_s * 1000)
        self.announce()
        return state or JobState.PAUSED

    async def check_pausable(self, job_id: str) -> None:
        """Return if a job can be paused. Raises: as `pause`."""
        job = await get_job(self.database, job_id)
        if job is None:
            raise absent(job_id)
        if job.kind not in self._pausable:
            raise Conflict(f"A job of the kind '{job.kind}' cannot be paused; cancel it, or let it run.")
        if job.state in ENDED or job.cancelling:
            state = job.state.value if job.state in ENDED else "cancelling"
            raise Conflict(f"Cannot pause a job that is {state}.")

    async def resume(self, job_id: str) -> JobState:
        """Let a job that is paused, or is to be, go on. Its state afterwards.

        Raises:
            NotFound: there is no such job.
            Conflict: it is not paused.
        """
        await self.check_resumable(job_id)
        async with self.database.write() as connection:
            state = await resume_job(connection, job_id, self.now_ms() // 1000)
        self.announce()
        return state or JobState.QUEUED

    async def check_resumable(self, job_id: str) -> None:
        """Return if a job is paused, or is to be. Raises: as `resume`."""
        job = await get_job(self.database, job_id)
        if job is None:
            raise absent(job_id)
        if job.state is not JobState.PAUSED and not job.pausing:
            raise Conflict(f"Cannot resume a job that is {job.state.value}; it is not paused.")

    async def release(self, kinds: Collection[str]) -> int:
        """Let jobs of these kinds be taken whose workers lived in a process that is gone; how many there were."""
        return await release_jobs(self.database, kinds, self.now_ms())

    async def get(self, organization_id: str, job_id: str) -> tuple[Job, list[JobEvent]]:
        """A job of an organization, and what happened to it.

        Raises:
            NotFound: there is none.
        """
        job = await get_job(self.database, job_id)
        if job is None or job.organization_id != organization_id:
            raise absent(job_id)
        return job, await events_of(self.database, job_id)

    async def due_s(self, kinds: Collection[str]) -> float | None:
        """In how many seconds the next job may be begun that waits for its time; None if none does."""
        now = self.now_ms()
        moment = await next_moment_ms(self.database, kinds, now)
        return None if moment is None else (moment - now) / 1000

    async def _change(self, lease: Lease, values: Mapping[str, Any], event: str = "", detail: str = "") -> Wish:
        return _held(lease, await change_leased(self.database, lease, self.now_ms(), values, event, detail))


def _held(lease: Lease, wish: Wish | None) -> Wish:
    """What is asked of the holder of a lease.

    Raises:
        LeaseLost: it is no more.
    """
    if wish is None:
        raise LeaseLost(f"The lease of '{lease.job_id}' is lost; somebody else may have the job.")
    return wish


def absent(job_id: str) -> NotFound:
    """The answer to a question for a job that does not exist."""
    return NotFound(f"There is no job '{job_id[:64]}'.", param="job_id")
