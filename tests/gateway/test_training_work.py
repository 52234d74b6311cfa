"""The work on trainings: room is had and given back, what ran is put to account, and what breaks off goes on."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from freehold.errors import Forbidden, InternalError, InvalidRequest, LeaseLost, NoRoom
from freehold.gateway.training_needs import Needs
from freehold.store.training import TrainingRow
from freehold.types.cluster import Resources
from freehold.types.jobs import JobState, Wish
from freehold.types.training import TRAINING_JOB, TrainingRequest
from tests.gateway.training_bench import NOON_S, bench, cut, left_as, preempted, reached, run, waits

pytestmark = pytest.mark.slow


def test_a_training_runs_to_its_end(tmp_path: Path) -> None:
    """It has room, trains, gives the room back, and one record says what it had, for how long, and what that costs."""

    async def scenario() -> None:
        async with bench(tmp_path) as made:
            assert await made.work() is JobState.SUCCEEDED
            (stretch,) = made.journal.stretches
            assert (stretch["outcome"], stretch["step_from"], stretch["step_to"]) == ("finished", 0, 20)
            assert stretch["tokens"] == 20 * 12 * 64
            assert (stretch["processes"], stretch["devices"], stretch["core_milli"]) == (1, 0, 2000)
            assert stretch["cost_micro"] == 2 * stretch["duration_us"] > 0
            row = await made.now()
            assert (row.status, row.step, row.tokens, row.ended_at is None) == ("succeeded", 20, 15_360, False)
            assert (row.cost_micro, row.core_us, row.stretch) == (stretch["cost_micro"], stretch["cost_micro"], 1)
            assert row.metrics["loss"] == 0.05
            assert (await made.job()).done == 20
            assert made.journal.events == ["training.job.succeeded"]
            assert made.desk.had is None
            (workload,) = made.desk.asked
            assert workload.members == (Resources(cores=2.0),)
            assert (workload.organization_id, workload.project_id, workload.checkpoint_s) == ("org", "p", 20.0)

    run(scenario)


def test_its_threads_sleep_while_they_wait(tmp_path: Path) -> None:
    """It shares its processor with serving, so its threads do not spin while they wait for one another."""

    async def scenario() -> None:
        async with bench(tmp_path, "telling") as made:
            assert await made.work() is JobState.SUCCEEDED
            assert (made.out / "environment").read_text(encoding="utf-8") == "PASSIVE"

    run(scenario)


def test_it_gives_its_room_to_what_goes_first(tmp_path: Path) -> None:
    """Asked for its room it writes a checkpoint and is preempted; it goes on from there once there is room again."""

    async def scenario() -> None:
        async with bench(tmp_path, "patient") as made:
            made.desk.open.clear()
            working = asyncio.create_task(made.work())

            async def shown(state: JobState) -> bool:
                return (await made.job()).shown is state

            await made.until(lambda: waits(made))
            assert await shown(JobState.QUEUED)
            made.desk.open.set()
            await made.until(lambda: reached(made, 19))
            assert await shown(JobState.RUNNING)
            made.desk.preempt()
            await made.until(lambda: waits(made, "preempted"))
            assert await shown(JobState.PREEMPTED)
            then = await made.now()
            assert (then.status, then.step, then.preemptions) == ("preempted", 19, 1)
            assert made.desk.given_back == [("train_1", True)]
            (made.out / "go").touch()
            made.desk.open.set()
            assert await working is JobState.SUCCEEDED
            assert [(each["stretch_id"], each["outcome"]) for each in made.journal.stretches] == [
                ("train_1:0", "preempted"),
                ("train_1:1", "finished"),
            ]
            assert [(each["step_from"], each["step_to"]) for each in made.journal.stretches] == [(0, 19), (19, 20)]
            assert sum(each["tokens"] for each in made.journal.stretches) == (await made.now()).tokens == 15_360
            _, events = await made.queue.get("org", made.row.job_id)
            happened = ["queued", "started", "waiting", "placed", "preempted", "waiting", "placed"]
            assert [each.event for each in events] == happened

    run(scenario)


def test_who_does_not_hear_is_killed(tmp_path: Path) -> None:
    """What does not end within its time is killed; it is charged for the time, and not for steps that are lost."""

    async def scenario() -> None:
        async with bench(tmp_path, "deaf", steps=100_000, every=5_000) as made:
            working = asyncio.create_task(made.work())
            await made.until(lambda: reached(made, 3))
            made.desk.preempt(0.2)
            await made.until(lambda: preempted(made))
            (stretch,) = made.journal.stretches
            assert (stretch["outcome"], stretch["step_to"], stretch["tokens"]) == ("preempted", 0, 0)
            assert stretch["cost_micro"] > 0
            assert (await made.now()).step == 0
            working.cancel()
            await asyncio.wait({working})

    run(scenario)


@pytest.mark.parametrize(
    ("wish", "state", "status"),
    [(Wish.CANCEL, JobState.CANCELLED, "cancelled"), (Wish.PAUSE, JobState.PAUSED, "paused")],
)
def test_it_stops_as_it_is_asked(wish: Wish, state: JobState, status: str, tmp_path: Path) -> None:
    """Cancelled or paused, it stops with a checkpoint, and what it had is on its account."""

    async def scenario() -> None:
        async with bench(tmp_path, "patient") as made:
            hold = await made.take()
            working = asyncio.create_task(made.work(hold))
            await made.until(lambda: reached(made, 19))
            hold.hear(wish)
            assert await working is state
            assert (await made.now()).status == status
            (stretch,) = made.journal.stretches
            assert (stretch["outcome"], stretch["step_to"]) == ("stopped", 19)
            assert made.desk.had is None

    run(scenario)


def test_it_stops_waiting_as_it_is_asked(tmp_path: Path) -> None:
    """One that waits for room is cancelled at once, and asks for none any more."""

    async def scenario() -> None:
        async with bench(tmp_path) as made:
            made.desk.open.clear()
            hold = await made.take()
            working = asyncio.create_task(made.work(hold))
            await made.until(lambda: waits(made))
            hold.hear(Wish.CANCEL)
            assert await working is JobState.CANCELLED
            assert made.journal.stretches == []
            assert made.desk.given_back == [("train_1", False)]

    run(scenario)


def test_a_server_that_stops_has_it_stop(tmp_path: Path) -> None:
    """When the server stops, it ends with a checkpoint and is on its account; the next server goes on from there."""

    async def scenario() -> None:
        async with bench(tmp_path, "patient") as made:
            working = asyncio.create_task(made.work())
            await made.until(lambda: reached(made, 19))
            working.cancel()
            await asyncio.wait({working})
            (stretch,) = made.journal.stretches
            assert (stretch["outcome"], stretch["step_to"]) == ("interrupted", 19)
            (made.out / "go").touch()
            await made.queue.release({TRAINING_JOB})
            assert await made.work() is JobState.SUCCEEDED
            assert made.journal.stretches[1]["step_from"] == 19

    run(scenario)


def test_what_a_dead_server_left_is_put_to_account(tmp_path: Path) -> None:
    """A stretch whose end nobody saw is recorded up to when it was last seen, once; then it goes on."""

    async def scenario() -> None:
        async with bench(tmp_path, "patient") as made:
            working = asyncio.create_task(made.work())
            await made.until(lambda: reached(made, 19))
            left = await made.now()
            assert left.stretch_began_us is not None
            assert left.stretch_seen_us is not None
            working.cancel()
            await asyncio.wait({working})
            made.journal.records.clear()
            columns = ("stretch", "stretch_step", "stretch_began_us", "stretch_seen_us", "room", "order_id")
            await left_as(made, {**{name: getattr(left, name) for name in columns}, "core_us": 0, "cost_micro": 0})
            (made.out / "go").touch()
            await made.queue.release({TRAINING_JOB})
            assert await made.work() is JobState.SUCCEEDED
            first, second = made.journal.stretches
            assert (first["stretch_id"], first["outcome"]) == (f"train_1:{left.stretch}", "interrupted")
            assert first["duration_us"] == left.stretch_seen_us - left.stretch_began_us
            assert second["stretch_id"] == f"train_1:{left.stretch + 1}"

    run(scenario)


def test_it_begins_anew_at_midnight(tmp_path: Path) -> None:
    """A stretch ends at midnight, UTC, and the next begins, so that each day has its own on its account."""

    async def scenario() -> None:
        async with bench(tmp_path, "patient") as made:
            made.clock.now = NOON_S + 43_200 - 10
            working = asyncio.create_task(made.work())
            await made.until(lambda: reached(made, 19))
            made.clock.now += 15
            await made.until(lambda: cut(made))
            (made.out / "go").touch()
            assert await working is JobState.SUCCEEDED
            first, second = made.journal.stretches
            assert (first["outcome"], first["step_to"], second["outcome"]) == ("goes_on", 15, "finished")
            assert (second["step_from"], second["step_to"]) == (15, 20)
            assert first["ended_at"] <= second["started_at"]

    run(scenario)


def test_one_that_breaks_off_is_tried_again(tmp_path: Path) -> None:
    """A training that broke off is tried again, and ends well if it does then."""

    async def scenario() -> None:
        async with bench(tmp_path, "crash") as made:
            with pytest.raises(InternalError, match="it broke"):
                await made.work()
            assert (await made.now()).crashes == 1
            await made.queue.release({TRAINING_JOB})
            assert await made.work() is JobState.SUCCEEDED
            assert [each["outcome"] for each in made.journal.stretches] == ["failed", "finished"]

    run(scenario)


def test_one_that_breaks_off_again_and_again_has_failed(tmp_path: Path) -> None:
    """After three times without a new checkpoint it has failed, and says what was said last."""

    async def scenario() -> None:
        async with bench(tmp_path, "always", every=50) as made:
            for _ in range(2):
                with pytest.raises(InternalError):
                    await made.work()
                await made.queue.release({TRAINING_JOB})
            assert await made.work() is JobState.FAILED
            row = await made.now()
            assert (row.status, row.error_code) == ("failed", "training_failed")
            assert "it broke" in row.error
            assert made.journal.events == ["training.job.failed"]

    run(scenario)


def test_one_that_cannot_be_done_fails_at_once(tmp_path: Path) -> None:
    """What the program refuses fails with what it said."""

    async def scenario() -> None:
        async with bench(tmp_path, "wrong") as made:
            assert await made.work() is JobState.FAILED
            row = await made.now()
            assert (row.error_code, row.error) == ("training_refused", "training.batch: it cannot be so")

    run(scenario)


def test_who_may_not_any_more_has_it_fail(tmp_path: Path) -> None:
    """Whoever submitted it must still be allowed to when it is begun."""

    async def refuse(_row: TrainingRow) -> None:
        raise Forbidden("Your role was taken away.")

    async def scenario() -> None:
        async with bench(tmp_path, check=refuse) as made:
            assert await made.work() is JobState.FAILED
            row = await made.now()
            assert (row.error_code, row.error) == ("insufficient_permissions", "Your role was taken away.")

    run(scenario)


def test_what_never_has_room_fails(tmp_path: Path) -> None:
    """Where the arbiter says that there will never be room, the training fails with its reason."""

    async def scenario() -> None:
        async with bench(tmp_path, zones=["b"]) as made:
            made.desk.refusal = InvalidRequest("No node in the zones b.", code="outside_zones")
            assert await made.work() is JobState.FAILED
            assert made.desk.asked[0].zones == frozenset({"b"})
            row = await made.now()
            assert (row.error_code, row.error) == ("outside_zones", "No node in the zones b.")

    run(scenario)


def test_no_room_is_waited_for(tmp_path: Path) -> None:
    """Where nobody decides and the cluster has no room now, the job is tried again later."""

    async def scenario() -> None:
        async with bench(tmp_path, total=Resources(cores=1.0)) as made:
            with pytest.raises(NoRoom, match="needs 2 cores"):
                await made.work()
            assert made.journal.stretches == []
            assert made.desk.had is None

    run(scenario)


def test_a_gang_runs_as_one(tmp_path: Path) -> None:
    """Several processes are placed at once, each with its own cores, and all of them are on the account."""

    async def scenario() -> None:
        async with bench(tmp_path, processes=3, threads=None, total=Resources(cores=6.0)) as made:
            assert await made.work() is JobState.SUCCEEDED
            (workload,) = made.desk.asked
            assert workload.members == (Resources(cores=2.0),) * 3
            (stretch,) = made.journal.stretches
            assert (stretch["processes"], stretch["core_milli"]) == (3, 6000)

    run(scenario)


def test_what_is_lost_is_not_written(tmp_path: Path) -> None:
    """A worker whose lease is over ends the training and writes nothing of it; whoever has it then goes on."""

    async def scenario() -> None:
        async with bench(tmp_path, "patient") as made:
            hold = await made.take()
            working = asyncio.create_task(made.work(hold))
            await made.until(lambda: reached(made, 19))
            await made.queue.release({TRAINING_JOB})
            other = await made.take()
            made.clock.now += 20
            with pytest.raises(LeaseLost):
                await working
            (made.out / "go").touch()
            assert await made.work(other) is JobState.SUCCEEDED
            ids = [each["stretch_id"] for each in made.journal.stretches]
            assert ids[-1] == "train_1:1"
            assert set(ids) == {"train_1:0", "train_1:1"}

    run(scenario)


def test_rounding_and_devices() -> None:
    """A device's hour is charged where there are devices, else that of each part of a core, rounded up."""
    needs = Needs.of(TrainingRequest(recipe={}, data="/d", out="/o", processes=2, device_kind="H100"), 60.0)
    assert needs.device == "cuda"
    room = replace(needs, threads=3).room()
    assert (room.devices, room.device_kind, room.core_milli) == (2, "H100", 6000)
