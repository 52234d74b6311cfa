"""Trainings from nothing as the application has them: what submits them, and what works on them."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from freehold.api.door import Door
from freehold.cluster.base import Cluster
from freehold.cluster.desk import RoomDesk, Unasked, decides
from freehold.config import Settings
from freehold.gateway.content import Content
from freehold.gateway.pipeline import Gateway
from freehold.gateway.training_changes import TrainingChanges
from freehold.gateway.training_stretch import MODULE
from freehold.gateway.training_work import TrainingWork, TrainingWorkParts
from freehold.gateway.trainings import TrainingParts, Trainings
from freehold.gateway.tuning_python import Trainer
from freehold.jobs.queue import JobQueue
from freehold.jobs.workers import Workers
from freehold.journal.recorder import Recorder
from freehold.store.training import TrainingRow
from freehold.training.process import NEEDS, found_python
from freehold.types.ids import new_id
from freehold.types.training import TRAINING_JOB, TrainingSettings

_ROUTE: Final = "/v1/training/jobs"


def open_trainings(content: Content, journal: Recorder, settings: Settings) -> Trainings:
    """What submits trainings."""
    own = settings.training
    trainings = Trainings(TrainingParts(content.queue, TrainingChanges(journal), trainer_of(own), own))
    content.jobs.own(TRAINING_JOB, trainings)
    return trainings


def trainer_of(settings: TrainingSettings) -> Trainer:
    """The program that trains: in the Python that the configuration names or, where it names none, that is found."""
    python = settings.python or found_python(Path(sys.prefix), NEEDS)
    return Trainer(python, MODULE, NEEDS, setting="[training] python")


@asynccontextmanager
async def trainings_at_work(
    gateway: Gateway,
    door: Door,
    content: Content,
    trainings: Trainings,
    cluster: Cluster,
    desk: RoomDesk,
    settings: Settings,
) -> AsyncIterator[None]:
    """What works on trainings, while the block runs.

    Args:
        gateway: knows who is suspended.
        door: knows who the callers are now.
        content: has the queue.
        trainings: what submits them.
        cluster: what runs them.
        desk: where they ask for room.
        settings: the configuration.
    """
    own, parts = settings.training, trainings.parts

    async def check(row: TrainingRow) -> None:
        principal = door.returning(row.owner_id, row.project_id, row.key_id, row.auth_method)
        door.check_served(principal)
        gateway.check_caller(principal, gateway.books.open(new_id("req_"), _ROUTE, "openai"))
        await trainings.check(principal, row)

    work = TrainingWork(
        TrainingWorkParts(content.queue.database, parts.changes, cluster, desk, parts.trainer, own, check)
    )
    undecided = isinstance(desk, Unasked)
    most, of_one = (own.max_running, own.max_running_per_project) if undecided else (own.max_asking, own.max_asking)
    queue = JobQueue(content.queue.database, per_project=of_one)
    content.queue.on_change(queue.announce)
    async with Workers(queue, {TRAINING_JOB: work}, most, may=decides(desk)):
        yield
