"""The queue against its model, through any sequence of workers that work, are silent, come back and die."""

import asyncio
import tempfile
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from freehold.errors import Conflict, LeaseLost
from freehold.jobs.queue import JobQueue
from freehold.store.database import Database
from freehold.types.jobs import ENDED, JobState, Lease, Wish

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
        self.wishes: dict[str, Wish] = {}
        """What was asked of whoever has a job."""
        self.states: dict[str, JobState] = {}
        self.projects: dict[str, str] = {}

    def _queue(self) -> JobQueue:
        return JobQueue(
            self.database, per_project=PER_PROJECT, pausable=["work"], lease_s=LEASE_S, clock=lambda: self.now
        )

    def teardown(self) -> None:
        """Close the database."""
        self.loop.run_until_complete(self.database.close())
        self.loop.close()
        self.home.cleanup()

    def holds(self, lease: Lease) -> bool:
        """Whether the model says that a lease is good."""
        token, until = self.good.get(lease.job_id, (0, 0.0))
        return token == lease.token and until > self.now

    @initialize()
    def begin(self) -> None:
        """There is a job, and a worker has it."""
        self.put("p", 0)
        self.take()

    @rule(project=st.sampled_from("pq"), priority=st.integers(0, 2))
    def put(self, project: str, priority: int) -> None:
        """A job comes."""
        made = self.queue.new("work", {}, organization_id="o", project_id=project, owner_id="u", priority=priority)
        self.loop.run_until_complete(self.queue.put(made))
        self.states[made.id], self.projects[made.id] = JobState.QUEUED, project
        self.wishes[made.id] = Wish.GO_ON

    @rule()
    def take(self) -> None:
        """A worker asks for a job: it gets none that somebody has, and none of a project that has enough."""
        taken = self.loop.run_until_complete(self.queue.take(["work"], "w"))
        if taken is None:
            return
        job, lease = taken
        assert self.states[job.id] not in {*ENDED, JobState.PAUSED}
        assert job.cancelling == (self.wishes[job.id] is Wish.CANCEL)
        assert job.pausing == (self.wishes[job.id] is Wish.PAUSE)
        token, until = self.good.get(job.id, (0, 0.0))
        assert until <= self.now, "nobody has it"
        assert lease.token > token
        self.leases.append(lease)
        self.good[job.id] = (lease.token, self.now + LEASE_S)
        self.states[job.id] = JobState.RUNNING

    @rule(pick=PICK, what=st.sampled_from(("renew", "progress", "finish", "retry", "give back")))
    def write(self, pick: int, what: str) -> None:
        """A worker whose lease is over, and one that holds a job, want to write: only the holder may."""
        late = [lease for lease in self.leases if not self.holds(lease)]
        if late:
            with pytest.raises(LeaseLost):
                self.loop.run_until_complete(self._ask(late[pick % len(late)], what))
            QueueMachine.refused += 1
        good = [lease for lease in self.leases if self.holds(lease)]
        if not good:
            return
        lease = good[pick % len(good)]
        heard = self.loop.run_until_complete(self._ask(lease, what))
        wish = self.wishes[lease.job_id]
        if heard is not None:
            assert heard is wish
            until = self.now + LEASE_S if what == "renew" else self.good[lease.job_id][1]
            self.good[lease.job_id] = (lease.token, until)
            return
        self.good[lease.job_id] = (lease.token, 0.0)
        if what == "finish":
            self.states[lease.job_id] = JobState.SUCCEEDED
            self.wishes[lease.job_id] = Wish.GO_ON
            return
        self.states[lease.job_id] = JobState.PAUSED if wish is Wish.PAUSE else JobState.QUEUED
        self.wishes[lease.job_id] = Wish.CANCEL if wish is Wish.CANCEL else Wish.GO_ON

    async def _ask(self, lease: Lease, what: str) -> Wish | None:
        match what:
            case "renew":
                return await self.queue.renew(lease)
            case "progress":
                return await self.queue.progress(lease, 1, 2)
            case "give back":
                await self.queue.finish(lease, JobState.PAUSED)
            case "finish":
                await self.queue.finish(lease, JobState.SUCCEEDED)
            case _:
                await self.queue.retry(lease, "failed")
        return None

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """A job is cancelled; one that was never begun has ended then."""
        if not self.states:
            return
        job_id = sorted(self.states)[pick % len(self.states)]
        state = self.loop.run_until_complete(self.queue.cancel(job_id))
        if job_id not in self.good and self.states[job_id] in {JobState.QUEUED, JobState.PAUSED}:
            assert state is JobState.CANCELLED
        self.states[job_id] = state
        self.wishes[job_id] = Wish.CANCEL

    @rule(pick=PICK)
    def pause(self, pick: int) -> None:
        """A job is paused: at once where nobody has it, and not at all where it has ended or is to end."""
        if not self.states:
            return
        job_id = sorted(self.states)[pick % len(self.states)]
        state, wish = self.states[job_id], self.wishes[job_id]
        if state in ENDED or wish is Wish.CANCEL:
            with pytest.raises(Conflict):
                self.loop.run_until_complete(self.queue.pause(job_id))
            return
        found = self.loop.run_until_complete(self.queue.pause(job_id))
        _, until = self.good.get(job_id, (0, 0.0))
        if state is JobState.RUNNING and (until > self.now or wish is Wish.PAUSE):
            assert found is JobState.RUNNING
            self.wishes[job_id] = Wish.PAUSE
        else:
            assert found is JobState.PAUSED
            self.states[job_id] = found

    @rule(pick=PICK)
    def resume(self, pick: int) -> None:
        """A job is resumed: it goes on, if it was paused or was to be."""
        if not self.states:
            return
        job_id = sorted(self.states)[pick % len(self.states)]
        state, wish = self.states[job_id], self.wishes[job_id]
        if state is not JobState.PAUSED and wish is not Wish.PAUSE:
            with pytest.raises(Conflict):
                self.loop.run_until_complete(self.queue.resume(job_id))
            return
        self.states[job_id] = self.loop.run_until_complete(self.queue.resume(job_id))
        assert self.states[job_id] in {JobState.QUEUED, JobState.RUNNING}
        self.wishes[job_id] = Wish.GO_ON

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


@pytest.mark.slow
def test_the_queue_is_as_its_model() -> None:
    """No job is lost, none is had by two, and nobody writes whose lease is over."""
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=20,
            derandomize=True,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert QueueMachine.refused, "some came back too late"
