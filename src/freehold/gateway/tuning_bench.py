"""What works on fine-tuning jobs, and one job that is worked on."""

from dataclasses import dataclass
from pathlib import Path

from freehold.cluster.base import Cluster
from freehold.cluster.desk import RoomDesk
from freehold.gateway.training_changes import TrainingChanges
from freehold.gateway.tuned_models import TunedModels
from freehold.gateway.tuning_base import Base, Bases
from freehold.gateway.tuning_origin import Origin, Record
from freehold.gateway.tuning_process import Program
from freehold.gateway.tuning_run import Caller
from freehold.gateway.tuning_store import Tuning, TuningStore
from freehold.jobs.workers import Hold
from freehold.types.fine_tuning import FineTuningSettings


@dataclass(frozen=True, slots=True)
class WorkParts:
    """What works on jobs.

    Args:
        store: where they lie.
        bases: what they start from.
        models: keeps what comes of them.
        changes: records how they end.
        caller: whoever made them.
        record: records artifacts.
        program: what trains.
        settings: threads, and how much there may be.
        folder: where each has its own.
        cluster: on whose machines they run.
        desk: where they ask for room.
    """

    store: TuningStore
    bases: Bases
    models: TunedModels
    changes: TrainingChanges
    caller: Caller
    record: Record
    program: Program
    settings: FineTuningSettings
    folder: Path
    cluster: Cluster
    desk: RoomDesk


@dataclass(frozen=True, slots=True)
class Bench:
    """A job that is worked on: where, from which base, and how it is recorded."""

    hold: Hold
    tuning: Tuning
    folder: Path
    base: Base
    origin: Origin
