"""Trainings from nothing as jobs of the service: what is asked, where each has run, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, field_validator

from freehold.types.base import RequestModel, SettingsModel
from freehold.types.money import micro_from_decimal

TRAINING_JOB: Final = "training"
"""What a job is called that trains a model from nothing."""
HOUR_US: Final = 3_600_000_000
MILLI: Final = 1000

Outcome: TypeAlias = Literal["finished", "stopped", "preempted", "failed", "interrupted", "goes_on"]


class TrainingStatus(StrEnum):
    """How far a training is."""

    QUEUED = "queued"
    RUNNING = "running"
    PREEMPTED = "preempted"
    """It ran, its room was taken for what goes first, and it goes on from its checkpoint once there is room again."""
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRAINING_ENDED: Final = frozenset({TrainingStatus.SUCCEEDED, TrainingStatus.FAILED, TrainingStatus.CANCELLED})
"""States that no training leaves."""


class TrainingSettings(SettingsModel):
    """`[training]`: trainings from nothing that are submitted to the service. Times are seconds."""

    max_running: Annotated[int, Field(ge=1, le=1024)] = 1
    """At a time, in all, where no arbiter decides who runs."""
    max_running_per_project: Annotated[int, Field(ge=1, le=1024)] = 1
    """Likewise, of one project."""
    max_asking: Annotated[int, Field(ge=1, le=1024)] = 32
    """Where an arbiter decides: how many run or ask it for room at a time; the others wait in the queue."""
    folders: list[Annotated[str, Field(pattern="^/")]] = Field(default_factory=list)
    """Folders in which data and runs may lie of those who do not run the service; `{project}` is the project's id."""
    python: Annotated[str, Field(min_length=1)] | None = None
    """A Python that has the `train` extra, on every node; without one, that which runs the server, or `.venv-train`
    beside it."""
    checkpoint_s: Annotated[float, Field(gt=0, le=86_400)] = 120.0
    """How long a training may take to write a checkpoint before it is killed, unless it says otherwise."""
    stop_s: Annotated[float, Field(gt=0)] = 30.0
    """The same where the server stops."""
    price_per_device_hour: int = 0
    """Of one accelerator, in micro-units; written as a decimal of the whole unit."""
    price_per_core_hour: int = 0
    """Of one processor core of a training that has no accelerators; likewise."""

    @field_validator("price_per_device_hour", "price_per_core_hour", mode="before")
    @classmethod
    def _micro(cls, value: Any) -> Any:
        return micro_from_decimal(value)


class TrainingRequest(RequestModel):
    """A training that is to be made a job."""

    recipe: dict[str, Any]
    """The whole recipe, as `run.json` of a training's folder has it."""
    data: Annotated[str, Field(min_length=1, max_length=4096)]
    """The folder of the prepared texts, under the same path on every node."""
    out: Annotated[str, Field(min_length=1, max_length=4096)]
    """The folder of the training: checkpoints and log; likewise."""
    resume: bool = False
    """Whether to go on with the training that the folder holds, if it holds one."""
    processes: Annotated[int, Field(ge=1, le=100_000)] = 1
    """One a device; all are placed at once."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """"auto": accelerators where the cluster has some."""
    device_kind: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Which accelerators, as the nodes call them; any if null."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Of each process, which needs as many cores; null is its share of those that there are."""
    memory_bytes: Annotated[int, Field(ge=0)] = 0
    """Main memory that each process needs; 0 is not counted."""
    zones: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1)] | None = None
    """Where it may run; null is anywhere."""
    checkpoint_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """How long writing a checkpoint may take when its room is taken; null is as the service has it."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a training has while it runs, in all its processes.

    Args:
        processes: how many there are.
        devices: accelerators.
        device_kind: of which kind, where it was asked for; empty otherwise.
        core_milli: thousandths of processor cores.
        memory_bytes: main memory that was asked for.
    """

    processes: int
    devices: int
    device_kind: str
    core_milli: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Rate:
    """What an hour costs, in micro-units: of an accelerator, and of a core where there is no accelerator."""

    device_hour_micro: int
    core_hour_micro: int

    def cost_micro(self, room: Room, duration_us: int) -> int:
        """What having a room for so long costs, in micro-units, rounded up to a whole one."""
        if room.devices:
            return -(-self.device_hour_micro * room.devices * duration_us // HOUR_US)
        return -(-self.core_hour_micro * room.core_milli * duration_us // (HOUR_US * MILLI))


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time through which a training ran without a break: what it had, what it did, and what that costs.

    It ends at midnight, UTC, and the next begins, so that what runs for weeks stands on each day's account.

    Args:
        id: names it: that of the training, and a number.
        training: the job's id.
        organization_id: with the next two, whose it is.
        name: of the recipe.
        key_id: with which API key it was submitted; empty without one.
        started_at: when it began, RFC 3339; `ended_at` likewise.
        duration_us: its length in microseconds.
        outcome: how it ended; `goes_on` at midnight, and `interrupted` where the server did not see the end.
        room: what it had.
        step_from: after which step it began, and `step_to` after which its newest checkpoint was when it ended.
        tokens: trained tokens that this checkpoint holds beyond the one before.
        rate: what an hour costs.
        cost_micro: what it costs, in micro-units.
    """

    id: str
    training: str
    organization_id: str
    project_id: str
    principal: str
    name: str
    key_id: str
    started_at: str
    ended_at: str
    duration_us: int
    outcome: Outcome
    room: Room
    step_from: int
    step_to: int
    tokens: int
    rate: Rate
    cost_micro: int

    def body(self) -> dict[str, Any]:
        """The record's body, flat."""
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in {"room", "rate"}}
        return {"stretch_id": own.pop("id"), **own, **_flat(self.room), **_flat(self.rate)}


def _flat(value: Room | Rate) -> Mapping[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}
