"""Jobs that are paused: at once or by whoever has them, for ever or for a while."""

import asyncio
from pathlib import Path

import pytest

from freehold.errors import Conflict, LeaseLost, NotFound
from freehold.jobs.queue import JobQueue
from freehold.jobs.workers import Hold, Workers
from freehold.store.database import Database
from freehold.store.jobs import get_job
from freehold.types.jobs import JobState, Wish
from tests.jobs.queues import KINDS, Clock, eventually, job, run


def test_a_job_that_nobody_has_is_paused_at_once(tmp_path: Path) -> None:
    """Neither one that was never begun nor one that waits to be tried again is taken until it is resumed."""

    async def scenario(queue: JobQueue, clock: Clock) -> None:
        made = job(queue)
        await queue.put(made)
        assert await queue.pause(made.id) is JobState.PAUSED
        assert await queue.take(KINDS, "w") is None
        assert await queue.due_s(KINDS) is None
        assert await queue.resume(made.id) is JobState.QUEUED
        taken = await queue.take(KINDS, "w")
        assert taken is not None
        await queue.retry(taken[1], "failed")
        assert await queue.pause(made.id) is JobState.PAUSED
        clock.now += 3600
        assert await queue.take(KINDS, "w") is None
        await queue.resume(made.id)
        again = await queue.take(KINDS, "w")
        assert again is not None
        assert again[1].attempts == 1, "it has all its attempts again"
        events = [each.event for each in (await queue.get("o", made.id))[1]]
        assert events == ["queued", "paused", "resumed", "started", "retrying", "paused", "resumed", "started"]

    run(tmp_path, scenario)


def test_a_job_at_work_is_given_back_to_be_paused(tmp_path: Path) -> None:
    """Its worker hears it with the next renewal; a job that it gives back is paused, and has not ended."""

    async def scenario(queue: JobQueue, _clock: Clock) -> None:
        made = job(queue)
        await queue.put(made)
        taken = await queue.take(KINDS, "w")
        assert taken is not None
        assert await queue.pause(made.id) is JobState.RUNNING
        assert await queue.renew(taken[1]) is Wish.PAUSE
        await queue.finish(taken[1], JobState.PAUSED)
        found, _ = await queue.get("o", made.id)
        assert (found.state, found.finished_at, found.pausing) == (JobState.PAUSED, None, False)
        with pytest.raises(LeaseLost):
            await queue.renew(taken[1])
        assert await queue.cancel(made.id) is JobState.QUEUED, "whoever takes it next ends it"
        again = await queue.take(KINDS, "w")
        assert again is not None
        assert again[0].cancelling

    run(tmp_path, scenario)


def test_a_pause_that_is_taken_back_loses_nothing(tmp_path: Path) -> None:
    """A job that was resumed, or cancelled, before its worker gave it back goes on, or is ended, at once."""

    async def scenario(queue: JobQueue, _clock: Clock) -> None:
        for undo, cancelling in ((queue.resume, False), (queue.cancel, True)):
            made = job(queue)
            await queue.put(made)
            taken = await queue.take(KINDS, "w")
            assert taken is not None
            await queue.pause(made.id)
            assert await undo(made.id) is JobState.RUNNING
            await queue.finish(taken[1], JobState.PAUSED)
            again = await queue.take(KINDS, "w")
            assert again is not None
            assert (again[0].id, again[0].cancelling) == (made.id, cancelling)
            await queue.finish(again[1], JobState.CANCELLED)

    run(tmp_path, scenario)


def test_a_pause_can_have_an_end(tmp_path: Path) -> None:
    """A job that is paused until a time is taken then, whether it was at work or not."""

    async def scenario(queue: JobQueue, clock: Clock) -> None:
        begun, waiting = job(queue, "p"), job(queue, "q")
        await queue.put(begun)
        taken = await queue.take(KINDS, "w")
        assert taken is not None
        await queue.put(waiting)
        until = int(clock.now) + 100
        for each in (begun, waiting):
            await queue.pause(each.id, until)
        await queue.finish(taken[1], JobState.PAUSED)
        clock.now += 99
        assert await queue.take(KINDS, "w") is None
        assert await queue.due_s(KINDS) == 1
        clock.now += 1
        assert {found[0].id for found in [await queue.take(KINDS, "w") for _ in range(2)] if found} == {
            begun.id,
            waiting.id,
        }

    run(tmp_path, scenario)


def test_what_cannot_be_paused_is_said(tmp_path: Path) -> None:
    """A job of a kind that cannot, one that has ended or is to end, and one that is not there are told apart."""

    async def scenario(queue: JobQueue, _clock: Clock) -> None:
        other = queue.new("other", {}, organization_id="o", project_id="p", owner_id="u")
        ending, ended = job(queue), job(queue)
        for each in (other, ending):
            await queue.put(each)
        await queue.take(KINDS, "w")
        await queue.put(ended)
        for each in (ending, ended):
            await queue.cancel(each.id)
        with pytest.raises(Conflict, match="of the kind 'other' cannot be paused"):
            await queue.pause(other.id)
        with pytest.raises(Conflict, match="that is cancelling"):
            await queue.pause(ending.id)
        with pytest.raises(Conflict, match="that is cancelled"):
            await queue.pause(ended.id)
        with pytest.raises(Conflict, match="is not paused"):
            await queue.resume(other.id)
        for ask in (queue.pause, queue.resume):
            with pytest.raises(NotFound):
                await ask("job_0")

    run(tmp_path, scenario)


def test_a_running_job_is_paused_and_goes_on(tmp_path: Path) -> None:
    """The work is told at once, gives the job back, and is done again when it is resumed."""

    async def main() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        queue = JobQueue(database, per_project=2, pausable=KINDS, lease_s=3600)
        begun = asyncio.Event()
        times: list[int] = []

        async def work(hold: Hold) -> JobState:
            times.append(hold.lease.token)
            if len(times) > 1:
                return JobState.SUCCEEDED
            begun.set()
            await hold.asked()
            assert not hold.stopping.is_set()
            return JobState.PAUSED

        made = job(queue)

        async def is_now(state: JobState) -> bool:
            found = await get_job(database, made.id)
            return found is not None and found.state is state

        async with asyncio.timeout(30), Workers(queue, {"work": work}, most=1):
            await queue.put(made)
            await begun.wait()
            await queue.pause(made.id)
            await eventually(lambda: is_now(JobState.PAUSED))
            await queue.resume(made.id)
            await eventually(lambda: is_now(JobState.SUCCEEDED))
        assert times == [1, 2]
        await database.close()

    asyncio.run(main())


def test_a_job_whose_worker_died_is_paused_without_work(tmp_path: Path) -> None:
    """Where the worker died before it heard, the next gives the job back without having begun it."""

    async def main() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        queue = JobQueue(database, per_project=2, pausable=KINDS)

        async def work(hold: Hold) -> JobState:
            raise AssertionError(hold.job.id)

        made = job(queue)
        await queue.put(made)
        await queue.take(KINDS, "gone")
        await queue.pause(made.id)

        async def paused() -> bool:
            found = await get_job(database, made.id)
            return found is not None and found.state is JobState.PAUSED

        async with asyncio.timeout(30), Workers(queue, {"work": work}, most=1):
            await eventually(paused)
        await database.close()

    asyncio.run(main())
