"""A training in a queue and what works on it, with a program that only counts, and room that a test gives and takes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import update

from freehold.cluster.base import HostedRecord, Placement
from freehold.cluster.desk import Had
from freehold.cluster.local import LocalCluster
from freehold.errors import FreeholdError
from freehold.gateway.training_changes import TrainingChanges
from freehold.gateway.training_needs import Needs
from freehold.gateway.training_work import TrainingWork, TrainingWorkParts
from freehold.gateway.tuning_python import Trainer
from freehold.jobs.queue import JobQueue
from freehold.jobs.workers import Hold
from freehold.journal.records import Kind
from freehold.store.database import Database
from freehold.store.training import TrainingRow, add_training, load_training
from freehold.store.training_tables import training_jobs
from freehold.training.language.recipes import shakespeare
from freehold.types.cluster import Resources, Workload
from freehold.types.jobs import Job, JobState
from freehold.types.training import TRAINING_JOB, TrainingRequest, TrainingSettings
from tests.jobs.starting import PATHS

SETTINGS = TrainingSettings(price_per_core_hour=3600, stop_s=20.0)
"""A core costs a whole unit each second."""
PROGRAM = Trainer(module="tests.training_program", needs=(), environment=PATHS)
PATIENCE_S = 60.0
NOON_S = 1_795_521_600.0


class Clock:
    """A time that goes by a millisecond each time it is asked for."""

    def __init__(self) -> None:
        self.now = NOON_S

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


class Journal:
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.records: list[tuple[Kind, Mapping[str, Any]]] = []

    def check(self) -> None:
        """Anything can be recorded."""

    def submit(self, kind: Kind, body: Mapping[str, Any], *, durable: bool) -> asyncio.Future[Any]:  # noqa: ARG002
        """Record it."""
        self.records.append((kind, body))
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    @property
    def stretches(self) -> list[Mapping[str, Any]]:
        """The stretches of trainings."""
        return [body for kind, body in self.records if kind is Kind.TRAINING]

    @property
    def events(self) -> list[str]:
        """What happened to trainings."""
        return [body["event"] for kind, body in self.records if kind is Kind.ADMIN]


@dataclass
class Desk:
    """Gives room when it is let, and wants it back when it is told to."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    had: Had | None = None
    given_back: list[tuple[str, bool]] = field(default_factory=list)
    refusal: FreeholdError | None = None
    asked: list[Workload] = field(default_factory=list)
    version: int = 0

    async def room(self, workload: Workload, on_wait: Callable[[], None] = lambda: None) -> Had:
        """See `RoomDesk.room`."""
        self.asked.append(workload)
        if self.refusal is not None:
            raise self.refusal
        if not self.open.is_set():
            on_wait()
        await self.open.wait()
        self.had = Had()
        return self.had

    async def claim(self, workload: Workload, placement: Placement) -> HostedRecord | None:
        """See `RoomDesk.claim`: a job is no engine."""
        raise AssertionError(f"{workload.id} claims {placement.workload}")

    def release(self, workload_id: str, *, again: bool = False) -> None:
        """See `RoomDesk.release`."""
        self.given_back.append((workload_id, again))
        self.had = None

    async def changed(self, version: int, workload: Workload | None = None) -> None:
        """See `RoomDesk.changed`; no training asks."""
        raise AssertionError(f"nobody waits for {workload} since {version}")

    def preempt(self, within_s: float = 30.0) -> None:
        """Want the room back, and give none until it is let again."""
        assert self.had is not None, "somebody has it"
        self.open.clear()
        self.had.wanted_back.set_result(within_s)


@dataclass
class Bench:
    """A training in a queue, and what works on it."""

    database: Database
    queue: JobQueue
    journal: Journal
    desk: Desk
    cluster: LocalCluster
    clock: Clock
    out: Path
    check: Callable[[TrainingRow], Awaitable[None]]
    row: TrainingRow
    held: Hold | None = None

    async def take(self) -> Hold:
        """Take the job, as a worker does."""
        taken = await self.queue.take({TRAINING_JOB}, "worker")
        assert taken is not None, "there is a job to do"
        self.held = Hold(*taken)
        return self.held

    async def work(self, hold: Hold | None = None, settings: TrainingSettings = SETTINGS) -> JobState:
        """Do the job, as a worker does."""
        parts = TrainingWorkParts(
            self.database,
            TrainingChanges(self.journal),
            self.cluster,
            self.desk,
            PROGRAM,
            settings,
            self.check,
            self.clock,
        )
        return await TrainingWork(parts)(hold or await self.take())

    async def now(self) -> TrainingRow:
        """The training as it is."""
        found = await load_training(self.database, self.row.id)
        assert found is not None, "it is there"
        return found

    async def job(self) -> Job:
        """Its job as it is."""
        return (await self.queue.get("org", self.row.job_id))[0]

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait until it holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():  # noqa: ASYNC110  # what changes is in the database
                await asyncio.sleep(0.02)


def recipe(name: str, steps: int, every: int) -> dict[str, Any]:
    """A recipe of which the program does no more than to count to its steps."""
    found = shakespeare(300)
    training = found.training.model_copy(
        update={"steps": steps, "checkpoints": found.training.checkpoints.model_copy(update={"every_steps": every})}
    )
    return found.model_copy(update={"name": name, "training": training}).model_dump(mode="json")


async def allowed(row: TrainingRow) -> None:
    """Everybody may."""


@asynccontextmanager
async def bench(
    folder: Path,
    name: str = "steady",
    *,
    steps: int = 20,
    every: int = 5,
    total: Resources | None = None,
    check: Callable[[TrainingRow], Awaitable[None]] = allowed,
    **asked: Any,
) -> AsyncIterator[Bench]:
    """A training of which nobody has done anything yet."""
    database = await Database.open(folder / "freehold.db")
    cluster = LocalCluster(total)
    clock = Clock()
    queue = JobQueue(database, per_project=9, pausable={TRAINING_JOB}, clock=clock)
    job = queue.new(TRAINING_JOB, {"training": "train_1"}, organization_id="org", project_id="p", owner_id="u")
    given = {"threads": 2, "device": "cpu", "checkpoint_s": 20.0, **asked}
    request = TrainingRequest(recipe={}, data="/data", out=str(folder / "out"), **given)
    row = TrainingRow(
        id="train_1",
        organization_id="org",
        project_id="p",
        owner_id="u",
        job_id=job.id,
        key_id="",
        auth_method="api_key",
        private=True,
        name=name,
        recipe=recipe(name, steps, every),
        data="/data",
        out=str(folder / "out"),
        needs=Needs.of(request, 60.0).wire(),
        steps=steps,
        created_at=int(NOON_S),
    )
    await add_training(database, row, job)
    made = Bench(database, queue, Journal(), Desk(), cluster, clock, folder / "out", check, row)
    made.desk.open.set()
    try:
        yield made
    finally:
        await cluster.close()
        await database.close()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run it on a loop of its own."""

    async def main() -> None:
        await scenario()

    asyncio.run(main())


async def reached(made: Bench, step: int) -> bool:
    """Whether it is known that the training is at a step."""
    return (await made.now()).step >= step


async def preempted(made: Bench) -> bool:
    """Whether its room was taken."""
    return (await made.now()).status == "preempted"


async def waits(made: Bench, stage: str = "queued") -> bool:
    """Whether a worker has it, and waits for room."""
    job, events = await made.queue.get("org", made.row.job_id)
    return job.stage == stage and events[-1].event == "waiting"


async def left_as(made: Bench, values: Mapping[str, Any]) -> None:
    """Have the training's row be as a server left it that died."""
    async with made.database.write() as connection:
        await connection.execute(update(training_jobs).values(dict(values)))


async def cut(made: Bench) -> bool:
    """Whether a stretch of it was put to account."""
    return bool(made.journal.stretches)
