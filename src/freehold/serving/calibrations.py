"""What the replicas of deployments were measured to do, and how many units of capacity they carry by that.

A calibration holds for one deployment with one model, engine and options, on one machine or one cluster. Elsewhere it
says nothing of what is carried. What a deployment's work weighs is taken from the last one, wherever that was measured:
so it weighs the same at all gateways that share the units.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeAlias

from freehold.serving.measurements import this_machine
from freehold.serving.room import Room
from freehold.types.capacity import UNMEASURED, Weights, measured_weights, units_of
from freehold.types.deployment import DeploymentSettings

_ELSEWHERE: Final = frozenset({"echo", "remote"})
"""Engines that do not take this machine's processor from others."""

Save: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
"""Keeps a calibration, as JSON values."""


@dataclass(frozen=True, slots=True)
class Level:
    """What so many requests at once came to: tokens or pictures in a second."""

    kind: str
    concurrency: int
    per_s: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the replicas of a deployment did together.

    Args:
        deployment: whose.
        task: of it.
        model: its model.
        engine: which served.
        version: of the package that does the engine's work.
        weights_sha256: the model's.
        machine: the processor and cores of the one on which it was, or the cluster.
        fixed: options of the deployment, as text.
        replicas: how many were ready.
        prompt_per_s: tokens that were read.
        cached_per_s: tokens of prompts that had been read before; None where the engine does not tell of them.
        completion_per_s: tokens that were written.
        images_per_s: pictures that were painted.
        levels: all that was tried.
        disturbed: whether others' requests ran meanwhile.
        measured_at: seconds since the epoch.
    """

    deployment: str
    task: str
    model: str
    engine: str
    version: str
    weights_sha256: str
    machine: str
    fixed: str
    replicas: int
    prompt_per_s: float
    cached_per_s: float | None
    completion_per_s: float
    images_per_s: float
    levels: tuple[Level, ...]
    disturbed: bool
    measured_at: int
    weights: Weights = field(init=False)
    units: int = field(init=False)
    """That all of these replicas carry."""

    def __post_init__(self) -> None:
        weights = measured_weights(
            self.task,
            prompt_per_s=self.prompt_per_s,
            cached_per_s=self.cached_per_s,
            completion_per_s=self.completion_per_s,
            images_per_s=self.images_per_s,
        )
        units = units_of(
            self.task,
            prompt_per_s=self.prompt_per_s,
            completion_per_s=self.completion_per_s,
            images_per_s=self.images_per_s,
        )
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "units", units)

    def holds_for(self, settings: DeploymentSettings, machine: str) -> bool:
        """Whether a deployment is still what was measured."""
        return (self.task, self.model, self.fixed, self.machine) == (
            settings.task,
            settings.model,
            fixed(settings),
            machine,
        )

    def carried(self, replicas: int, room: Room) -> int:
        """Units that so many replicas carry, as far as there is room for them.

        On this machine, more than were measured carry no more until that is measured.
        """
        counted = replicas if room.replicas is None else min(replicas, room.replicas)
        if not room.spread:
            counted = min(counted, self.replicas)
        return self.units * counted // self.replicas


class Calibrations:
    """All that was calibrated, by any gateway.

    Args:
        known: what `save` was given, in its order.
        save: keeps it.
        machine: this one, or the cluster on which engines run.
    """

    def __init__(self, known: Iterable[Mapping[str, Any]] = (), save: Save | None = None, *, machine: str = "") -> None:
        self._save = save
        self.machine = machine or this_machine()
        self.know(known)

    def know(self, known: Iterable[Mapping[str, Any]]) -> None:
        """Take what is kept now in place of what was known, in the order in which it was measured."""
        self._here: dict[str, Calibration] = {}
        self._newest: dict[str, Calibration] = {}
        for found in map(_read, known):
            self._learn(found)

    def _learn(self, found: Calibration) -> None:
        self._newest[found.deployment] = found
        if found.machine == self.machine:
            self._here[found.deployment] = found

    def of(self, name: str) -> Calibration | None:
        """The calibration of a deployment here, or else the last one anywhere, whether or not it still holds."""
        return self._here.get(name) or self._newest.get(name)

    def holding(self, settings: DeploymentSettings) -> Calibration | None:
        """The calibration that holds for a deployment."""
        found = self._here.get(settings.name)
        return found if found is not None and found.holds_for(settings, self.machine) else None

    def weights(self, settings: DeploymentSettings) -> Weights:
        """What the work of a deployment weighs, as far as is known."""
        found = self._newest.get(settings.name)
        return UNMEASURED[settings.task] if found is None or found.task != settings.task else found.weights

    async def keep(self, found: Calibration) -> None:
        """Remember what was measured just now.

        Raises:
            HomeError, Unavailable: it cannot be kept; what was known before holds.
        """
        if self._save is not None:
            await self._save(_wire(found))
        self._learn(found)

    def available(
        self, settings: DeploymentSettings, others: Sequence[DeploymentSettings], room: Room
    ) -> tuple[int, int] | None:
        """Units that a deployment's replicas carry, and how many of them its machine has left beside other deployments.

        What another one's units take of this machine is as much as they are of what it carries alone.

        Args:
            settings: the deployment's.
            others: those of all deployments.
            room: for how many replicas.

        Returns:
            None where no calibration holds.
        """
        found = self.holding(settings)
        if found is None:
            return None
        carried = found.carried(settings.replicas, room)
        if room.spread or found.engine in _ELSEWHERE:
            return carried, carried
        taken = sum(self._share(other) for other in others if other.name != settings.name)
        return carried, max(0, int(carried * (1 - taken)))

    def _share(self, settings: DeploymentSettings) -> float:
        """What a deployment's units take of this machine, of 1."""
        found = self.holding(settings)
        if settings.capacity is None or found is None or found.engine in _ELSEWHERE or not found.units:
            return 0.0
        return settings.capacity.units / found.units


def fixed(settings: DeploymentSettings) -> str:
    """What decides how fast a deployment is, as text."""
    options = {
        "engine": settings.engine,
        "context_length": settings.context_length,
        "parallel": settings.parallel,
        **settings.options,
    }
    return ", ".join(f"{name}={value}" for name, value in sorted(options.items()) if value is not None)


def now() -> int:
    """Seconds since the epoch."""
    return int(time.time())


def _wire(found: Calibration) -> dict[str, Any]:
    """A calibration as JSON values."""
    values = asdict(found)
    del values["weights"], values["units"]
    return values


def _read(known: Mapping[str, Any]) -> Calibration:
    """A calibration from JSON values."""
    return Calibration(**{**known, "levels": tuple(Level(**each) for each in known["levels"])})
