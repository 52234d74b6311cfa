"""The queue against its model, through any sequence of workers that work, are silent, come back and die."""

import asyncio
import tempfile
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from freehold.errors import LeaseLost
from freehold.jobs.queue import JobQueue
from freehold.store.database import Database
from freehold.types.jobs import ENDED, JobState, Lease

LEASE_S = 30
PER_PROJECT = 2
PICK = st.integers(0, 20)


class QueueMachine(RuleBasedStateMachine):
    """Does to the queue what workers do, and knows which lease of each job is good."""

    refused: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.home = tempfile.TemporaryDirectory()
        self.now = 1_000_000.0
        self.database = self.loop.run_until_complete(Database.open(Path(self.home.name) / "freehold.db"))
        self.queue = self._queue()
        self.leases: list[Lease] = []
        self.good: dict[str, tuple[int, float]] = {}
        """The newest token of each running job, and until when it holds."""
        self.states: dict[str, JobState] = {}
        self.projects: dict[str, str] = {}

    def _queue(self) -> JobQueue:
        return JobQueue(self.database, per_project=PER_PROJECT, lease_s=LEASE_S, clock=lambda: self.now)

    def teardown(self) -> None:
        """Close the database."""
        self.loop.run_until_complete(self.database.close())
        self.loop.close()
        self.home.cleanup()

    def holds(self, lease: Lease) -> bool:
        """Whether the model says that a lease is good."""
        token, until = self.good.get(lease.job_id, (0, 0.0))
        return token == lease.token and until > self.now

    @rule(project=st.sampled_from("pq"), priority=st.integers(0, 2))
    def put(self, project: str, priority: int) -> None:
        """A job comes."""
        made = self.queue.new("work", {}, organization_id="o", project_id=project, owner_id="u", priority=priority)
        self.loop.run_until_complete(self.queue.put(made))
        self.states[made.id], self.projects[made.id] = JobState.QUEUED, project

    @rule()
    def take(self) -> None:
        """A worker asks for a job: it gets none that somebody has, and none of a project that has enough."""
        taken = self.loop.run_until_complete(self.queue.take(["work"], "w"))
        if taken is None:
            return
        job, lease = taken
        assert self.states[job.id] not in ENDED
        token, until = self.good.get(job.id, (0, 0.0))
        assert until <= self.now, "nobody has it"
        assert lease.token > token
        self.leases.append(lease)
        self.good[job.id] = (lease.token, self.now + LEASE_S)
        self.states[job.id] = JobState.RUNNING

    @rule(pick=PICK, what=st.sampled_from(("renew", "finish", "retry")))
    def write(self, pick: int, what: str) -> None:
        """Any worker, be it one whose lease is long over, wants to write: only the holder may."""
        if not self.leases:
            return
        lease = self.leases[pick % len(self.leases)]
        if not self.holds(lease):
            with pytest.raises(LeaseLost):
                self.loop.run_until_complete(self._ask(lease, what))
            QueueMachine.refused += 1
            return
        self.loop.run_until_complete(self._ask(lease, what))
        if what == "renew":
            self.good[lease.job_id] = (lease.token, self.now + LEASE_S)
            return
        self.good[lease.job_id] = (lease.token, 0.0)
        self.states[lease.job_id] = JobState.SUCCEEDED if what == "finish" else JobState.QUEUED

    async def _ask(self, lease: Lease, what: str) -> None:
        match what:
            case "renew":
                await self.queue.renew(lease)
            case "finish":
                await self.queue.finish(lease, JobState.SUCCEEDED)
            case _:
                await self.queue.retry(lease, "failed")

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """A job is cancelled; one that was never begun has ended then."""
        if not self.states:
            return
        job_id = sorted(self.states)[pick % len(self.states)]
        state = self.loop.run_until_complete(self.queue.cancel(job_id))
        if job_id not in self.good and self.states[job_id] is JobState.QUEUED:
            assert state is JobState.CANCELLED
        self.states[job_id] = state

    @rule(seconds=st.sampled_from((1.0, 10.0, 31.0, 700.0)))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule()
    def die(self) -> None:
        """The process with all workers dies: whoever comes next may take what they had."""
        self.queue = self._queue()
        self.loop.run_until_complete(self.queue.release(["work"]))
        self.good = {job_id: (token, min(until, self.now)) for job_id, (token, until) in self.good.items()}

    @invariant()
    def as_the_model_says(self) -> None:
        """Every job is in the state of the model, and no project has more at work than it may."""
        for job_id, state in self.states.items():
            found, _ = self.loop.run_until_complete(self.queue.get("o", job_id))
            assert found.state is state
        at_work = [self.projects[job_id] for job_id, (_, until) in self.good.items() if until > self.now]
        assert all(at_work.count(project) <= PER_PROJECT for project in "pq")


def test_the_queue_is_as_its_model() -> None:
    """No job is lost, none is had by two, and nobody writes whose lease is over."""
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert QueueMachine.refused, "some came back too late"
