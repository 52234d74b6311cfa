"""What was measured of engines on this machine, and the options that follow from it.

A measurement holds for one engine in one version, one model's weights and one machine: where any of them is another, it
is found no more. What a deployment's options say goes before what was measured.
"""

import os
import platform
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeAlias

from freehold.engines.base import Engine, EngineSpec

MOST: Final = 200
"""Measurements that are kept; the oldest go."""

Save: TypeAlias = Callable[[list[dict[str, Any]]], Awaitable[None]]
"""Keeps all measurements, as JSON values."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Options that were tried, and what they came to: figures by name, such as tokens per second."""

    options: Mapping[str, Any]
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Place:
    """What a measurement holds for.

    Args:
        engine: its name.
        version: of the package that does its work.
        weights_sha256: the model's.
        machine: its processor and the cores that may be used.
        fixed: options of the deployment, as text: under others something else is best.
    """

    engine: str
    version: str
    weights_sha256: str
    machine: str
    fixed: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured.

    Args:
        place: what it holds for.
        model: whose weights they are.
        options: that are best; none where the engine's own defaults are, or where nothing could be measured.
        candidates: all that was tried.
        measured_at: seconds since the epoch.
        failure: why nothing could be measured; None where it could.
    """

    place: Place
    model: str
    options: Mapping[str, Any]
    candidates: tuple[Candidate, ...]
    measured_at: int
    failure: str | None = None


class Measurements:
    """All that was measured here.

    Args:
        known: as `save` was given it last.
        save: keeps it.
        machine: this one.
    """

    def __init__(self, known: Iterable[Mapping[str, Any]] = (), save: Save | None = None, *, machine: str = "") -> None:
        self._save = save
        self._machine = machine or this_machine()
        self._found = {found.place: found for found in map(_read, known)}

    def place_of(self, engine: Engine, spec: EngineSpec) -> Place:
        """What a measurement of an engine with a specification holds for."""
        settings = spec.settings
        fixed = {"context_length": settings.context_length, "parallel": settings.parallel, **settings.options}
        text = ", ".join(f"{name}={value}" for name, value in sorted(fixed.items()) if value is not None)
        return Place(engine.name, version_of(engine.package), spec.weights_sha256, self._machine, text)

    def find(self, place: Place) -> Measurement | None:
        """What was measured for it."""
        return self._found.get(place)

    def of_model(self, model: str) -> list[Measurement]:
        """What was measured of a model on this machine, whatever the options; the newest last."""
        return [
            found for found in self._found.values() if found.model == model and found.place.machine == self._machine
        ]

    def applied(self, engine: Engine, spec: EngineSpec) -> EngineSpec:
        """The specification with the options that were measured to be best; those that it has itself stay."""
        found = self.find(self.place_of(engine, spec))
        if found is None or not found.options:
            return spec
        settings = spec.settings
        options = {**found.options, **settings.options}
        return replace(spec, settings=settings.model_copy(update={"options": options}))

    async def keep(
        self,
        place: Place,
        model: str,
        options: Mapping[str, Any],
        candidates: Iterable[Candidate],
        failure: str | None = None,
    ) -> Measurement:
        """Remember what was measured just now, instead of what was measured before; a failure until the next start."""
        found = Measurement(place, model, options, tuple(candidates), int(time.time()), failure)
        self._found.pop(place, None)
        self._found[place] = found
        while len(self._found) > MOST:
            del self._found[next(iter(self._found))]
        if self._save is not None:
            await self._save([asdict(each) for each in self._found.values() if each.failure is None])
        return found


def this_machine() -> str:
    """The processor and how many of its cores may be used."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass  # other systems tell it otherwise, or not at all
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def version_of(package: str | None) -> str:
    """The version of an installed distribution; empty where there is none."""
    if package is None:
        return ""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _read(known: Mapping[str, Any]) -> Measurement:
    """A measurement from JSON values."""
    candidates = tuple(Candidate(**each) for each in known["candidates"])
    return Measurement(**{**known, "place": Place(**known["place"]), "candidates": candidates})
