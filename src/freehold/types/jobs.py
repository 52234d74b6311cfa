"""Jobs: work that outlives the request that asked for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from freehold.types.base import SettingsModel


class JobState(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    PREEMPTED = "preempted"
    """Only told, of a running job: it gave its room to what goes first, and waits for it again. See `Job.shown`."""
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
"""States that no job leaves."""


class Wish(StrEnum):
    """What is asked of whoever works on a job."""

    GO_ON = "go_on"
    PAUSE = "pause"
    CANCEL = "cancel"


class JobsSettings(SettingsModel):
    """`[jobs]`: how many jobs run at a time, and how."""

    max_running: Annotated[int, Field(ge=1, le=64)] = 4
    """In all."""
    max_running_per_project: Annotated[int, Field(ge=1, le=64)] = 2
    """Of one project, and of one kind."""
    max_waiting_per_project: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Of one project and of one kind: jobs that have not ended, those at work included."""
    isolate: bool = True
    """Whether the processes of jobs have no network."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to work on one job, for a while.

    Args:
        job_id: the job.
        token: greater than that of every lease before it; whoever comes with a smaller one is refused.
        worker: who has it.
        attempts: how often the job was begun since it last went forward, this time included.
    """

    job_id: str
    token: int
    worker: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Job:
    """One job.

    Args:
        id: names it.
        organization_id: with the next two, whose it is.
        kind: what has to be done, such as `batch`.
        payload: what it has to be done with.
        priority: the higher, the sooner.
        state: how far it is.
        subject: the id of what it is about, such as a batch; callers name it by that too.
        private: whether only its owner sees it, and not everybody in its project.
        cancelling: whether it is to end soon.
        pausing: whether whoever works on it is to give it back, to be paused.
        attempts: how often it was begun since it last went forward.
        not_before_ms: when it may be begun, in milliseconds since the epoch. One that is paused, or is to be, goes on
            by itself then; 0 is never.
        worker: who works on it; empty before the first.
        token: of the newest lease; 0 before the first.
        lease_until_ms: when that ends, in milliseconds since the epoch.
        stage: of a running job, what it waits for in the hands of its worker: `queued` for room on the cluster,
            `preempted` for the room that it had; empty while it is done.
        total: how many steps it has, as far as that is known; 0 is unknown.
        done: how many are done, failed ones included.
        failed: how many of these failed.
        error_code: what it failed with, or is tried again for; empty for nothing.
        created_at: in seconds since the epoch, as the next.
        started_at: when it was begun for the first time.
        finished_at: when it ended.
    """

    id: str
    organization_id: str
    project_id: str
    owner_id: str
    kind: str
    payload: Mapping[str, Any]
    priority: int
    state: JobState
    created_at: int
    subject: str = ""
    private: bool = True
    cancelling: bool = False
    pausing: bool = False
    attempts: int = 0
    not_before_ms: int = 0
    worker: str = ""
    token: int = 0
    lease_until_ms: int = 0
    stage: str = ""
    total: int = 0
    done: int = 0
    failed: int = 0
    error_code: str = ""
    started_at: int | None = None
    finished_at: int | None = None

    @property
    def shown(self) -> JobState:
        """The state as callers are told it: one that a worker has, but that waits for room, does not run."""
        return JobState(self.stage) if self.state is JobState.RUNNING and self.stage else self.state


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job: its number, from 1, when, in seconds since the epoch, and what."""

    number: int
    created_at: int
    event: str
    detail: str
