"""The work on batches where it does not go as it should: time runs out, files go, leases are lost."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import Conflict, LeaseLost
from freehold.gateway.batch_store import Batch, BatchStore
from freehold.gateway.batch_work import Attempt, BatchWork
from freehold.gateway.batches import Batches
from freehold.gateway.file_store import FileStore
from freehold.gateway.files import Files
from freehold.governance.retention import RetentionRegistry
from freehold.jobs.queue import JobQueue
from freehold.jobs.workers import Hold
from freehold.store.database import Database
from freehold.types.batches import BATCH_JOB, BatchesSettings, BatchRequest, LineResult, LineUsage
from freehold.types.content import RetentionSettings
from freehold.types.files import FileQuery, FileRequest, FilesSettings, Purpose
from freehold.types.identity import DATA_PLANE, Principal
from freehold.types.images import HeldUpload
from freehold.types.jobs import JobState
from tests.batching import jsonl, line
from tests.gateway.kept import cipher_of

WHO = Principal("org", "proj", "member", actions=DATA_PLANE)
DAY_S = 86_400


class Clock:
    """A time that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Answers:
    """Answers each line with its number, after `before` was asked."""

    before: Callable[[int], Awaitable[None]]
    after: Callable[[LineResult], Awaitable[None]] | None = None
    most_bytes: int = 10_000
    ran: list[int] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)

    def check(self, _batch: Batch, _model: str | None) -> None:
        """Every model may be asked."""

    async def slots(self, _model: str) -> asyncio.Semaphore:
        """One at a time."""
        return asyncio.Semaphore(1)

    async def paid(self, _batch: Batch, line: int, token: int) -> str:
        """Nothing was; who asks, and for what, is known."""
        self.asked.append((line, token))
        return ""

    async def run(self, _batch: Batch, line: int, raw: bytes, attempt: Attempt) -> LineResult:
        """Say which line it was."""
        await self.before(line)
        self.ran.append(line)
        self.attempts.append(attempt)
        said = {"custom_id": json.loads(raw)["custom_id"], "line": line}
        result = LineResult(line, failed=False, content=json.dumps(said).encode(), usage=LineUsage(input_tokens=1))
        if self.after is not None:
            await self.after(result)
        return result


class SlowStore(BatchStore):
    """Takes `each_s` of the clock's time for each file that it makes."""

    each_s = 0.0

    async def make_file(self, batch: Batch, file_id: str, *, failed: bool) -> bool:
        """See `BatchStore.make_file`."""
        assert isinstance(self.clock, Clock)
        self.clock.now += self.each_s
        return await super().make_file(batch, file_id, failed=failed)


@dataclass
class Bench:
    """A batch of ten lines, and what works on it."""

    clock: Clock
    store: SlowStore
    queue: JobQueue
    files: Files
    batches: Batches
    batch: Batch

    async def work(
        self,
        before: Callable[[int], Awaitable[None]],
        hold: list[Hold] | None = None,
        after: Callable[[LineResult], Awaitable[None]] | None = None,
    ) -> tuple[JobState, Answers]:
        """Take the job and do it, as a worker does; how it has the job is put into `hold`."""
        taken = await self.queue.take([BATCH_JOB], "worker")
        assert taken is not None
        answers, held = Answers(before, after), Hold(*taken)
        if hold is not None:
            hold.append(held)
        state = await BatchWork(self.batches.store, answers, clock=self.clock)(held)
        await self.queue.finish(taken[1], state)
        return state, answers

    async def found(self) -> Batch:
        """The batch as it is now."""
        return await self.batches.get(WHO, self.batch.id)

    async def lines(self, file_id: str) -> list[Any]:
        """The lines of a file."""
        _, pieces = await self.files.content(WHO, file_id)
        return [json.loads(each) for each in b"".join([piece async for piece in pieces]).splitlines()]


@asynccontextmanager
async def bench(path: Path) -> AsyncIterator[Bench]:
    """A home with a batch that nobody works on yet."""
    clock = Clock()
    database = await Database.open(path / "freehold.db")
    retention, cipher = RetentionRegistry(database, RetentionSettings()), cipher_of(database)
    store = FileStore(database, cipher, retention, FilesSettings(), clock=clock)
    files = Files(store)
    queue = JobQueue(database, per_project=2, pausable=[BATCH_JOB], clock=clock)
    slow = SlowStore(store, cipher, retention, clock=clock)
    batches = Batches(slow, files, queue, BatchesSettings())
    data = jsonl(line(f"r{number}") for number in range(1, 11))
    file = await files.create(WHO, HeldUpload(data, "in.jsonl"), FileRequest(purpose=Purpose.BATCH))
    asked = BatchRequest(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    yield Bench(clock, slow, queue, files, batches, await batches.create(WHO, asked, "openai", ""))
    await database.close()


async def nothing(_number: int) -> None:
    """Let a line be run."""


def run(path: Path, scenario: Callable[[Bench], Awaitable[None]]) -> None:
    """Run a scenario."""

    async def main() -> None:
        async with bench(path) as made:
            await scenario(made)

    asyncio.run(main())


def test_what_is_not_run_in_time_is_told_as_expired(tmp_path: Path) -> None:
    """A batch whose day is over has its answers in the one file, and every other line in the other."""

    async def scenario(bench: Bench) -> None:
        async def slowly(number: int) -> None:
            bench.clock.now += DAY_S if number == 4 else 1

        bench.queue.lease_s = 10 * DAY_S
        state, answers = await bench.work(slowly)
        found = await bench.found()
        assert (state, found.row.status, answers.ran) == (JobState.SUCCEEDED, "expired", [1, 2, 3, 4])
        assert [each["line"] for each in await bench.lines(found.row.output_file_id)] == [1, 2, 3, 4]
        expired = await bench.lines(found.row.error_file_id)
        assert [each["custom_id"] for each in expired] == [f"r{number}" for number in range(5, 11)]
        assert {each["error"]["code"] for each in expired} == {"batch_expired"}
        assert (found.row.completed, found.row.failed, found.row.input_tokens) == (4, 6, 4)

    run(tmp_path, scenario)


def test_a_paused_batch_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The lines that are done are not run again, and none is left out."""

    async def scenario(bench: Bench) -> None:
        hold: list[Hold] = []

        async def paused(number: int) -> None:
            if number == 4:
                await bench.batches.pause(WHO, bench.batch.id)
                hold[0].hear(await bench.queue.renew(hold[0].lease))

        state, answers = await bench.work(paused, hold)
        assert (state, answers.ran) == (JobState.PAUSED, [1, 2, 3, 4])
        assert answers.asked == [], "nobody had the job before"
        assert await bench.queue.take([BATCH_JOB], "worker") is None
        assert (await bench.found()).row.status == "in_progress"
        await bench.batches.resume(WHO, bench.batch.id)
        state, answers = await bench.work(nothing)
        assert (state, answers.ran) == (JobState.SUCCEEDED, [5, 6, 7, 8, 9, 10])
        assert answers.asked == [(number, 2) for number in answers.ran], "what may have been paid is looked up"
        assert {attempt.token for attempt in answers.attempts} == {2}
        found = await bench.found()
        assert [each["line"] for each in await bench.lines(found.row.output_file_id)] == list(range(1, 11))
        with pytest.raises(Conflict, match="'completed'"):
            await bench.batches.pause(WHO, bench.batch.id)

    run(tmp_path, scenario)


def test_a_pause_that_is_taken_back_leaves_no_line_out(tmp_path: Path) -> None:
    """A batch that was resumed while it was being paused is worked on again, and is not done before its last line."""

    async def scenario(bench: Bench) -> None:
        hold: list[Hold] = []

        async def wavering(number: int) -> None:
            if number == 4:
                await bench.batches.pause(WHO, bench.batch.id)
                hold[0].hear(await bench.queue.renew(hold[0].lease))
            if number == 5:
                raise AssertionError("no line is begun once that was heard")

        async def resumed(result: LineResult) -> None:
            if result.line == 4:
                await bench.batches.resume(WHO, bench.batch.id)

        state, answers = await bench.work(wavering, hold, after=resumed)
        assert (state, answers.ran) == (JobState.PAUSED, [1, 2, 3, 4])
        state, answers = await bench.work(nothing)
        assert (state, answers.ran) == (JobState.SUCCEEDED, [5, 6, 7, 8, 9, 10])

    run(tmp_path, scenario)


def test_a_paused_batch_expires(tmp_path: Path) -> None:
    """Its day goes on while it is paused: when that is over, what was not run is told as expired."""

    async def scenario(bench: Bench) -> None:
        await bench.batches.pause(WHO, bench.batch.id)
        bench.clock.now += DAY_S - 1
        assert await bench.queue.take([BATCH_JOB], "worker") is None
        assert await bench.queue.due_s([BATCH_JOB]) == 1
        bench.clock.now += 1
        state, answers = await bench.work(nothing)
        assert (state, answers.ran, (await bench.found()).row.status) == (JobState.SUCCEEDED, [], "expired")

    run(tmp_path, scenario)


def test_a_batch_that_is_taken_too_late_expires_unrun(tmp_path: Path) -> None:
    """One that nobody began within its day is expired, and has no files."""

    async def scenario(bench: Bench) -> None:
        async def never(_number: int) -> None:
            raise AssertionError("no line is run")

        bench.clock.now += DAY_S
        await bench.work(never)
        found = await bench.found()
        assert (found.row.status, found.row.output_file_id, found.row.error_file_id) == ("expired", "", "")

    run(tmp_path, scenario)


def test_an_input_that_is_deleted_leaves_what_was_answered(tmp_path: Path) -> None:
    """A batch that is begun anew and does not find its input has failed; its answers are in its file."""

    async def scenario(bench: Bench) -> None:
        async def dies(number: int) -> None:
            if number == 4:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await bench.work(dies)
        await bench.files.delete(WHO, bench.batch.row.input_file_id)
        bench.clock.now += 60
        state, _ = await bench.work(dies)
        found = await bench.found()
        assert (state, found.row.status) == (JobState.FAILED, "failed")
        assert [problem.code for problem in found.problems] == ["input_file_unavailable"]
        assert [each["line"] for each in await bench.lines(found.row.output_file_id)] == [1, 2, 3]

    run(tmp_path, scenario)


def test_who_has_lost_the_lease_writes_nothing(tmp_path: Path) -> None:
    """A worker that comes back late finds its writes refused, and the other's lines are in the file, each once."""

    async def scenario(bench: Bench) -> None:
        others: list[Answers] = []

        async def quickly(_number: int) -> None:
            pass

        async def hangs(number: int) -> None:
            if number == 4:
                bench.clock.now += 31
                others.append((await bench.work(quickly))[1])

        with pytest.raises(LeaseLost):
            await bench.work(hangs)
        assert others[0].ran == [4, 5, 6, 7, 8, 9, 10], "what was stored is not run again"
        found = await bench.found()
        assert (found.row.status, found.row.completed) == ("completed", 10)
        assert [each["line"] for each in await bench.lines(found.row.output_file_id)] == list(range(1, 11))

    run(tmp_path, scenario)


def test_files_are_made_once(tmp_path: Path) -> None:
    """A worker that dies while it makes the files leaves none behind that is not the batch's."""

    async def scenario(bench: Bench) -> None:
        async def quickly(_number: int) -> None:
            pass

        taken = await bench.queue.take([BATCH_JOB], "first")
        assert taken is not None
        bench.store.each_s = 31
        with pytest.raises(LeaseLost):
            await BatchWork(bench.store, Answers(quickly), clock=bench.clock)(Hold(*taken))
        assert (await bench.found()).row.finalizing_at is not None
        bench.store.each_s = 0
        _, again = await bench.work(quickly)
        assert again.ran == []
        found = await bench.found()
        outputs = [
            file for file in (await bench.files.list(WHO, FileQuery()))[0] if file.purpose is Purpose.BATCH_OUTPUT
        ]
        assert [file.id for file in outputs] == [found.row.output_file_id]
        assert len(await bench.lines(found.row.output_file_id)) == 10

    run(tmp_path, scenario)
