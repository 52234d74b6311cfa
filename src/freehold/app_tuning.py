"""Fine-tuning as the application has it: what makes jobs, and what works on them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from freehold.api.door import Door
from freehold.api.tuning_caller import TuningCaller
from freehold.catalog.catalog import Catalog
from freehold.cluster.base import Cluster
from freehold.cluster.desk import RoomDesk, Unasked, decides
from freehold.cluster.local import LocalCluster
from freehold.config import Settings
from freehold.gateway.content import Content
from freehold.gateway.control import DeploymentControl
from freehold.gateway.fine_tuning import FineTuning, TuningParts
from freehold.gateway.pipeline import Gateway
from freehold.gateway.training_changes import TrainingChanges
from freehold.gateway.tuned_models import TunedModels
from freehold.gateway.tuning_base import Bases
from freehold.gateway.tuning_bench import WorkParts
from freehold.gateway.tuning_checks import TuningChecks
from freehold.gateway.tuning_folder import sweep
from freehold.gateway.tuning_origin import Record
from freehold.gateway.tuning_process import Program
from freehold.gateway.tuning_python import Trainer, trainer_of
from freehold.gateway.tuning_work import TuningWork
from freehold.governance.digests import derived
from freehold.jobs.queue import JobQueue
from freehold.jobs.workers import Workers
from freehold.journal.recorder import Recorder
from freehold.store.home import Home
from freehold.types.fine_tuning import FINE_TUNING_JOB, FineTuningSettings


def open_fine_tuning(
    content: Content,
    catalog: Catalog,
    control: DeploymentControl,
    journal: Recorder,
    settings: Settings,
    trainer: Trainer | None,
) -> FineTuning:
    """What makes fine-tuning jobs; with another program that trains than the configuration's, if one is given."""
    changes = TrainingChanges(journal)
    tuning = FineTuning(
        TuningParts(
            content.tuning,
            content.files,
            content.queue,
            Bases(catalog),
            TunedModels(catalog, control, changes, settings.fine_tuning),
            trainer or trainer_of(settings.fine_tuning),
            changes,
            settings.fine_tuning,
        )
    )
    content.jobs.own(FINE_TUNING_JOB, tuning)
    return tuning


def jobs_folder(home: Home, settings: FineTuningSettings) -> Path:
    """Where jobs have their folders: of what lies elsewhere a folder of this home's own, as the others are swept."""
    if settings.folder is None:
        return home.jobs
    return Path(settings.folder) / f"freehold-{derived(home.pepper(), b'freehold jobs folder').hex()[:16]}"


async def end_tuning(tuning: FineTuning, home: Home, project_id: str | None) -> None:
    """Remove what fine-tuning made of content that was erased: folders of jobs and, of a project, its models."""
    await sweep(jobs_folder(home, tuning.parts.settings), tuning.store)
    if project_id is not None:
        await tuning.parts.models.delete_all(project_id)


@asynccontextmanager
async def tuning_at_work(
    gateway: Gateway,
    door: Door,
    record: Record,
    home: Home,
    settings: Settings,
    content: Content,
    place: tuple[Cluster, RoomDesk],
) -> AsyncIterator[None]:
    """What works on fine-tuning jobs, while the block runs.

    Args:
        gateway: has the jobs, and knows who is suspended.
        door: knows who the callers are now.
        record: records artifacts.
        home: has the jobs' folders.
        settings: the configuration.
        content: has the queue.
        place: on whose machines they train, and where they ask for room.
    """
    parts, own = gateway.fine_tuning.parts, settings.fine_tuning
    elsewhere = settings.cluster.address is not None
    reached = own.folder is not None  # from the nodes, as long as these are other machines
    cluster, desk = place if reached or not elsewhere else (LocalCluster(), Unasked())
    folder = jobs_folder(home, own)
    await sweep(folder, parts.store)
    nodes = cluster if elsewhere and reached else None
    program = Program(parts.trainer, own.max_memory_bytes, settings.jobs.isolate, (home.root, folder), nodes)
    caller = TuningCaller(gateway, door, own)
    work = TuningWork(
        WorkParts(
            parts.store,
            parts.bases,
            parts.models,
            parts.changes,
            caller,
            record,
            program,
            own,
            folder,
            cluster,
            desk,
        )
    )
    undecided = isinstance(desk, Unasked)
    most, of_one = (own.max_running, own.max_running_per_project) if undecided else (own.max_asking, own.max_asking)
    queue = JobQueue(content.queue.database, per_project=of_one)
    content.queue.on_change(queue.announce)
    checks = TuningChecks(parts.store, parts.changes, own)
    gateway.fine_tuning.on_created(checks.add)
    async with checks, Workers(queue, {FINE_TUNING_JOB: work}, most, may=decides(desk)):
        yield
