"""Jobs of every kind as their callers see them: listed, looked at, cancelled, paused and resumed.

What a kind of job is about, such as a batch, has an owner, which changes it together with the job; the queue alone
would leave the batch as it was.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from freehold.errors import NotFound
from freehold.governance.authorization import require
from freehold.jobs.queue import JobQueue
from freehold.store.jobs import events_of, find_job, list_jobs
from freehold.store.kept_items import Reader
from freehold.types.identity import Action, Principal
from freehold.types.jobs import Job, JobEvent, JobState

RESOURCE: Final = "jobs"

Events: TypeAlias = list[JobEvent]


class JobOwner(Protocol):
    """What changes the jobs of one kind, by the ids of what they are about, for callers who may."""

    async def cancel(self, principal: Principal, subject: str, /) -> Any:
        """Have it end soon. Raises: NotFound, Conflict where it has ended, Forbidden."""

    async def pause(self, principal: Principal, subject: str, /) -> Any:
        """Have nobody work on it. Raises: NotFound, Conflict where that is not possible, Forbidden."""

    async def resume(self, principal: Principal, subject: str, /) -> Any:
        """Let it go on. Raises: NotFound, Conflict where it is not paused, Forbidden."""


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs are asked for.

    Args:
        kind: of this kind; of all if None.
        states: in one of these states; in any if there is none.
        after: made before the job of this id, or of what that is about.
        limit: how many at most.
    """

    kind: str | None = None
    states: Collection[JobState] = ()
    after: str | None = None
    limit: int = 20


class Jobs:
    """The jobs of one home: a person's are seen by that person only, a service account's by whoever is in its project.

    Every method may raise Forbidden where the caller may not read the project's files, and HomeError where the
    database cannot be used.

    Args:
        queue: where they are.
        owners: what changes the jobs of each kind.
        clock: seconds since the epoch.
    """

    def __init__(
        self, queue: JobQueue, owners: Mapping[str, JobOwner], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._queue = queue
        self._owners = dict(owners)
        self._clock = clock

    def own(self, kind: str, owner: JobOwner) -> None:
        """Have `owner` change the jobs of a kind from now on."""
        self._owners[kind] = owner

    async def list(self, principal: Principal, query: JobQuery) -> tuple[list[Job], bool]:
        """The jobs that the caller may see, the newest first, and whether there are more of them.

        Raises:
            NotFound: there is no job to go on after.
        """
        require(principal, Action.READ_FILES, RESOURCE)
        after = None if query.after is None else (await self.get(principal, query.after)).id
        found = await list_jobs(
            self._queue.database,
            self._reader(principal),
            kind=query.kind,
            states=query.states,
            after=after,
            limit=query.limit + 1,
        )
        return found[: query.limit], len(found) > query.limit

    async def get(self, principal: Principal, name: str) -> Job:
        """A job that the caller may see, by its id or by that of what it is about.

        Raises:
            NotFound: there is none.
        """
        require(principal, Action.READ_FILES, f"{RESOURCE}/{name[:64]}")
        job = await find_job(self._queue.database, self._reader(principal), name)
        if job is None:
            raise NotFound(f"No job found with id '{name[:64]}'.", param="job_id")
        return job

    async def events(self, principal: Principal, name: str, *, after: int, limit: int) -> tuple[Events, bool]:
        """What happened to a job, from the event behind number `after` on, and whether there is more.

        Raises:
            NotFound: there is no such job.
        """
        job = await self.get(principal, name)
        found = await events_of(self._queue.database, job.id, after, limit + 1)
        return found[:limit], len(found) > limit

    async def cancel(self, principal: Principal, name: str) -> Job:
        """Have a job end soon, and how it is then. Raises: as `JobOwner.cancel`."""
        job, owner = await self._owned(principal, name)
        await (owner.cancel(principal, job.subject) if owner else self._queue.cancel(job.id))
        return await self.get(principal, job.id)

    async def pause(self, principal: Principal, name: str) -> Job:
        """Have nobody work on a job, and how it is then. Raises: as `JobOwner.pause`."""
        job, owner = await self._owned(principal, name)
        await (owner.pause(principal, job.subject) if owner else self._queue.pause(job.id))
        return await self.get(principal, job.id)

    async def resume(self, principal: Principal, name: str) -> Job:
        """Let a job go on, and how it is then. Raises: as `JobOwner.resume`."""
        job, owner = await self._owned(principal, name)
        await (owner.resume(principal, job.subject) if owner else self._queue.resume(job.id))
        return await self.get(principal, job.id)

    async def _owned(self, principal: Principal, name: str) -> tuple[Job, JobOwner | None]:
        """A job that the caller may change, and what changes it; the queue itself, where its kind has nobody.

        Raises:
            Forbidden: the caller may not change what is the project's.
            NotFound: there is no such job.
        """
        require(principal, Action.WRITE_FILES, f"{RESOURCE}/{name[:64]}")
        job = await self.get(principal, name)
        return job, self._owners.get(job.kind)

    def _reader(self, principal: Principal) -> Reader:
        return Reader(principal.organization_id, principal.project_id, principal.id, self._clock())
