"""The queue of jobs, on the home's database: what is put here is done, whoever dies meanwhile.

A worker has a job by a lease. It renews the lease while it works; where it does not, being dead or hanging, another
takes the job, and whatever the first still wants to write is refused, for its token is not the newest any more.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from freehold.errors import LeaseLost, NotFound
from freehold.store.database import Database
from freehold.store.jobs import (
    add_job,
    cancel_job,
    change_leased,
    events_of,
    get_job,
    next_moment_ms,
    release_jobs,
    take_job,
)
from freehold.types.ids import new_id
from freehold.types.jobs import Job, JobEvent, JobState, Lease

LEASE_S: Final = 30.0
"""How long a worker may be silent."""
MAX_BACKOFF_S: Final = 600.0


class JobQueue:
    """The jobs of one home.

    Every method may raise HomeError where the database cannot be used.

    Args:
        database: where they are.
        per_project: how many of one project run at a time.
        lease_s: how long a lease holds that is not renewed.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        *,
        per_project: int,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self.lease_s = lease_s
        self._per_project = per_project
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
        )

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

    async def renew(self, lease: Lease) -> bool:
        """Have the lease hold for another while; whether the job is to end soon.

        Raises:
            LeaseLost: it was over, and somebody else may have the job.
        """
        return await self._change(lease, {"lease_until_ms": self.now_ms() + int(self.lease_s * 1000)})

    async def finish(self, lease: Lease, state: JobState, error_code: str = "") -> None:
        """Write how the job ended.

        Raises:
            LeaseLost: as `renew`.
        """
        values = {"state": state, "error_code": error_code, "finished_at": self.now_ms() // 1000}
        await self._change(lease, values, state.value, error_code)
        self.announce()

    async def retry(self, lease: Lease, error_code: str, after_s: float | None = None) -> float:
        """Give the job back, to be tried again.

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
        await self._change(lease, values, "retrying", error_code)
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

    async def _change(self, lease: Lease, values: Mapping[str, Any], event: str = "", detail: str = "") -> bool:
        found = await change_leased(self.database, lease, self.now_ms(), values, event, detail)
        if found is None:
            raise LeaseLost(f"The lease of '{lease.job_id}' is lost; somebody else may have the job.")
        return found


def absent(job_id: str) -> NotFound:
    """The answer to a question for a job that does not exist."""
    return NotFound(f"There is no job '{job_id[:64]}'.", param="job_id")
