"""The queue of jobs: who gets what, for how long, and what is refused to whom has lost it."""

import asyncio
from pathlib import Path

import pytest

from freehold.errors import LeaseLost, NotFound, RateLimited
from freehold.gateway.retention import ENDED_JOBS_S, Sweep
from freehold.governance.retention import RetentionRegistry
from freehold.jobs.queue import JobQueue
from freehold.jobs.workers import Hold, Workers
from freehold.store.database import Database
from freehold.store.jobs import add_job, events_of, get_job
from freehold.types.content import RetentionSettings
from freehold.types.jobs import JobState, Wish
from tests.jobs.queues import KINDS, Clock, eventually, job, run


def test_jobs_are_taken_by_priority_and_then_by_age(tmp_path: Path) -> None:
    """The most urgent job goes first, among equals the oldest, and each is taken once."""

    async def scenario(queue: JobQueue, _clock: Clock) -> None:
        made = [job(queue, f"p{number}", priority) for number, priority in enumerate((0, 5, 0, 5))]
        for each in made:
            await queue.put(each)
        taken = await asyncio.gather(*(queue.take(KINDS, f"w{number}") for number in range(5)))
        assert sorted(found[0].id for found in taken if found) == sorted(each.id for each in made)
        assert [found[0].priority for found in taken if found][:2] == [5, 5]
        assert sum(found is None for found in taken) == 1
        assert await queue.take(("other",), "w") is None

    run(tmp_path, scenario)


def test_a_project_has_no_more_running_than_it_may(tmp_path: Path) -> None:
    """A project's third job waits, whatever its priority, and another project's goes before it."""

    async def scenario(queue: JobQueue, _clock: Clock) -> None:
        for project, priority in (("p", 9), ("p", 9), ("p", 9), ("q", 0)):
            await queue.put(job(queue, project, priority))
        taken = [await queue.take(KINDS, "w") for _ in range(4)]
        assert [found[0].project_id for found in taken if found] == ["p", "p", "q"]
        assert taken[0] is not None
        await queue.finish(taken[0][1], JobState.SUCCEEDED)
        again = await queue.take(KINDS, "w")
        assert again is not None
        assert again[0].project_id == "p"

    run(tmp_path, scenario)


def test_a_lease_that_is_over_is_refused_every_write(tmp_path: Path) -> None:
    """A worker that was silent for too long can neither renew nor finish nor give back."""

    async def scenario(queue: JobQueue, clock: Clock) -> None:
        made = job(queue)
        await queue.put(made)
        first = await queue.take(KINDS, "a")
        assert first is not None
        clock.now += 29
        await queue.renew(first[1])
        clock.now += 29
        assert await queue.take(KINDS, "b") is None
        clock.now += 2
        with pytest.raises(LeaseLost):
            await queue.renew(first[1])
        second = await queue.take(KINDS, "b")
        assert second is not None
        assert second[1].token > first[1].token
        for write in (
            queue.renew(first[1]),
            queue.finish(first[1], JobState.SUCCEEDED),
            queue.retry(first[1], "failed"),
        ):
            with pytest.raises(LeaseLost, match=made.id):
                await write
        await queue.finish(second[1], JobState.SUCCEEDED)
        found, events = await queue.get("o", made.id)
        assert (found.state, found.worker) == (JobState.SUCCEEDED, "b")
        assert [each.event for each in events] == ["queued", "started", "taken_over", "succeeded"]

    run(tmp_path, scenario)


def test_what_fails_is_tried_again_later_and_later(tmp_path: Path) -> None:
    """A job that is given back waits twice as long each time, up to ten minutes."""

    async def scenario(queue: JobQueue, clock: Clock) -> None:
        await queue.put(job(queue))
        waits = []
        for _ in range(12):
            taken = await queue.take(KINDS, "w")
            assert taken is not None
            waits.append(await queue.retry(taken[1], "engine_unavailable"))
            assert await queue.take(KINDS, "w") is None
            clock.now += waits[-1]
        assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]

    run(tmp_path, scenario)


def test_a_job_is_cancelled(tmp_path: Path) -> None:
    """One that was never begun ends at once; one that runs is told so when it renews its lease."""

    async def scenario(queue: JobQueue, _clock: Clock) -> None:
        running, waiting = job(queue), job(queue)
        await queue.put(running)
        taken = await queue.take(KINDS, "w")
        assert taken is not None
        await queue.put(waiting)
        assert await queue.cancel(waiting.id) is JobState.CANCELLED
        assert await queue.take(KINDS, "w") is None
        assert await queue.renew(taken[1]) is Wish.GO_ON
        assert await queue.cancel(running.id) is JobState.RUNNING
        assert await queue.renew(taken[1]) is Wish.CANCEL
        await queue.finish(taken[1], JobState.CANCELLED)
        assert await queue.cancel(running.id) is JobState.CANCELLED
        with pytest.raises(NotFound):
            await queue.cancel("job_0")

    run(tmp_path, scenario)


def test_another_organization_has_no_such_job(tmp_path: Path) -> None:
    """A job is told only to its organization."""

    async def scenario(queue: JobQueue, _clock: Clock) -> None:
        made = job(queue)
        await queue.put(made)
        with pytest.raises(NotFound):
            await queue.get("other", made.id)
        assert (await queue.get("o", made.id))[0].state is JobState.QUEUED

    run(tmp_path, scenario)


def test_workers_do_jobs_and_try_again_after_a_defect(tmp_path: Path) -> None:
    """A job whose work breaks is begun again, and the one beside it is done all the same."""

    async def main() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        queue = JobQueue(database, per_project=2)
        begun: list[str] = []

        async def work(hold: Hold) -> JobState:
            begun.append(hold.job.id)
            if begun.count(hold.job.id) == 1 and hold.job.payload["breaks"]:
                raise ZeroDivisionError
            return JobState.SUCCEEDED

        jobs = [
            queue.new("work", {"breaks": breaks}, organization_id="o", project_id="p", owner_id="u")
            for breaks in (True, False)
        ]
        async with Workers(queue, {"work": work}, most=2):
            for each in jobs:
                await queue.put(each)

            async def done() -> bool:
                found = [await get_job(database, each.id) for each in jobs]
                return all(each is not None and each.state is JobState.SUCCEEDED for each in found)

            await eventually(done)
        assert sorted(begun) == sorted([jobs[0].id, *(each.id for each in jobs)])
        await database.close()

    asyncio.run(main())


def test_a_running_job_learns_that_it_is_to_stop(tmp_path: Path) -> None:
    """Whoever cancels need not wait until the lease is renewed: the work is told at once."""

    async def main() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        queue = JobQueue(database, per_project=2, lease_s=3600)
        begun = asyncio.Event()

        async def work(hold: Hold) -> JobState:
            begun.set()
            await hold.stopping.wait()
            return JobState.CANCELLED

        made = job(queue)
        async with asyncio.timeout(30), Workers(queue, {"work": work}, most=1):
            await queue.put(made)
            await begun.wait()
            await queue.cancel(made.id)

            async def done() -> bool:
                found = await get_job(database, made.id)
                return found is not None and found.state is JobState.CANCELLED

            await eventually(done)
        await database.close()

    asyncio.run(main())


def test_jobs_are_left_to_others_while_none_may_be_taken_here(tmp_path: Path) -> None:
    """Of two that work on a queue the one that may take jobs does them all."""

    async def main() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        queue = JobQueue(database, per_project=4)
        done: list[str] = []

        async def here(hold: Hold) -> JobState:
            done.append(f"here {hold.job.id}")
            return JobState.SUCCEEDED

        async def there(hold: Hold) -> JobState:
            done.append(f"there {hold.job.id}")
            return JobState.SUCCEEDED

        made = [job(queue) for _ in range(3)]
        async with (
            Workers(queue, {"work": there}, most=4, may=lambda: False),
            Workers(queue, {"work": here}, most=1),
        ):
            for each in made:
                await queue.put(each)

            async def all_done() -> bool:
                return len(done) == len(made)

            await eventually(all_done)
        assert sorted(done) == sorted(f"here {each.id}" for each in made)
        await database.close()

    asyncio.run(main())


def test_a_kind_does_not_wait_for_another(tmp_path: Path) -> None:
    """A project whose jobs of one kind are as many as may run has those of another kind begun all the same."""

    async def scenario(queue: JobQueue, _clock: Clock) -> None:
        for _ in range(2):
            await queue.put(job(queue))
        await queue.put(queue.new("other", {}, organization_id="o", project_id="p", owner_id="u"))
        taken = [await queue.take(("work", "other"), "w") for _ in range(3)]
        assert [found[0].kind for found in taken if found] == ["work", "other"]

    run(tmp_path, scenario, per_project=1)


def test_progress_is_the_holders_to_tell(tmp_path: Path) -> None:
    """How far a job is, and what happened, is written with its lease; going forward gives it its attempts again."""

    async def scenario(queue: JobQueue, clock: Clock) -> None:
        made = job(queue)
        await queue.put(made)
        for attempts in (1, 2):
            taken = await queue.take(KINDS, "w")
            assert taken is not None
            assert taken[1].attempts == attempts
            assert await queue.progress(taken[1], 0, 10) is Wish.GO_ON, "no step forward"
            clock.now += 31
        taken = await queue.take(KINDS, "w")
        assert taken is not None
        await queue.progress(taken[1], 4, 10, 1)
        await queue.note(taken[1], "metrics", "loss 0.5")
        found, events = await queue.get("o", made.id)
        assert (found.done, found.total, found.failed, found.attempts) == (4, 10, 1, 1)
        assert (events[-1].event, events[-1].detail) == ("metrics", "loss 0.5")
        clock.now += 31
        for write in (queue.progress(taken[1], 5, 10), queue.note(taken[1], "late")):
            with pytest.raises(LeaseLost):
                await write

    run(tmp_path, scenario)


def test_a_project_has_so_many_jobs_that_have_not_ended(tmp_path: Path) -> None:
    """However many ask at once, no more get in; another project's do, and one that has ended makes room."""

    async def main() -> None:
        database = await Database.open(tmp_path / "freehold.db")
        queue = JobQueue(database, per_project=2, most_waiting=3)

        async def add(project: str = "p") -> str:
            made = job(queue, project)
            async with queue.room(made), database.write() as connection:
                await add_job(connection, made)
            return made.id

        found = await asyncio.gather(*(add() for _ in range(10)), return_exceptions=True)
        refused = [each for each in found if isinstance(each, RateLimited)]
        assert (len(refused), {each.code for each in refused}) == (7, {"too_many_jobs"})
        await add("other")
        await queue.cancel(next(each for each in found if isinstance(each, str)))
        await add()
        await database.close()

    asyncio.run(main())


def test_ended_jobs_go_after_a_month(tmp_path: Path) -> None:
    """Rows and events of what ended 30 days ago are deleted; what ended later, or has not, stays."""

    async def scenario(queue: JobQueue, clock: Clock) -> None:
        old, new, waiting = job(queue), job(queue), job(queue)
        for each in (old, new, waiting):
            await queue.put(each)
        await queue.cancel(old.id)
        clock.now += ENDED_JOBS_S
        await queue.cancel(new.id)
        sweep = Sweep(queue.database, RetentionRegistry(queue.database, RetentionSettings()), clock=clock)
        await sweep.run()
        there = [each.id for each in (old, new, waiting) if await get_job(queue.database, each.id)]
        assert there == [new.id, waiting.id]
        assert await events_of(queue.database, old.id) == []

    run(tmp_path, scenario)


def test_jobs_go_with_whom_is_erased(tmp_path: Path) -> None:
    """What waits is deleted, what somebody works on is told to end; others' jobs stay."""

    async def scenario(queue: JobQueue, clock: Clock) -> None:
        working, waiting, others = job(queue), job(queue), job(queue, "q")
        for each in (working, waiting, others):
            await queue.put(each)
        taken = await queue.take(KINDS, "w")
        assert taken is not None
        sweep = Sweep(queue.database, RetentionRegistry(queue.database, RetentionSettings()), clock=clock)
        await sweep.erase("o", project_id="p")
        assert await get_job(queue.database, waiting.id) is None
        assert await get_job(queue.database, others.id) is not None
        assert await queue.renew(taken[1]) is Wish.CANCEL

    run(tmp_path, scenario)
