"""Measures which of an engine's options serve a model best on this machine: on demand, and when nothing else is done.

An engine starts with its defaults at once. When its deployment was ready and the whole service has had no request for
a while, a process of the engine's own tries the candidates; it is ended as soon as a request comes, and tried again
later.
What was found is remembered and taken from the next start on; where it is better than what runs, the replicas are
exchanged for new ones, as after a change of settings.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from freehold.cluster.process import EngineProcess, logged
from freehold.engines.base import Engine, EngineSpec, Launch
from freehold.errors import EngineFailed, FreeholdError
from freehold.serving.lanes import Lanes
from freehold.serving.measurements import Candidate, Measurement, Measurements
from freehold.serving.surroundings import Surroundings
from freehold.types.deployment import DeploymentSettings, ReplicaState

LIMIT_S: Final = 600.0
"""How long a measurement may take; on an idle machine it takes some 20 s."""
_LOOK_S: Final = 0.1
"""How often it is looked whether a request has come while something is measured."""
_POLL_S: Final = 2.0
_ROOM: Final = 3
"""Free memory in sizes of the model without which nothing is measured beside what runs."""

log = structlog.get_logger(__name__)


class Measuring:
    """Measures the engines of deployments.

    Args:
        shared: what all deployments share.
        measurements: what is known.
        deployments: those that there are, by name.
    """

    def __init__(
        self, shared: Surroundings, measurements: Measurements, deployments: Callable[[], Mapping[str, Lanes]]
    ) -> None:
        self._shared = shared
        self._measurements = measurements
        self._deployments = deployments
        self._one = asyncio.Lock()
        self._wanted: dict[str, None] = {}
        self._wake = asyncio.Event()

    def ready(self, name: str) -> None:
        """Hear that a deployment is ready; it is measured in time, if it was not."""
        self._wanted[name] = None
        self._wake.set()

    async def measure(self, lanes: Lanes) -> list[Measurement]:
        """Measure every engine of a deployment now, whatever is known; of one that fails the reason is told.

        Raises:
            EngineFailed: none could be measured.
            CatalogError, ConfigError: its model or a secret is not there.
        """
        found: list[Measurement] = []
        failure: EngineFailed | None = None
        for settings in lanes.engines:
            engine, spec, launch = await self._prepared(settings)
            if launch is not None:
                async with self._one:
                    try:
                        found.append(await self._measured(lanes, engine, spec, launch))
                    except EngineFailed as exc:
                        failure = failure or exc
                        found.append(await self._failed(lanes, engine, spec, exc))
        if failure is not None and all(each.failure is not None for each in found):
            raise failure
        return found

    async def when_idle(self) -> None:
        """Measure what was not measured, whenever the service has had nothing to do for a while. Goes on for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for name in list(self._wanted):
                try:
                    done = await self._measure_in_time(name)
                except FreeholdError as exc:
                    log.warning("engine_not_measured", deployment=name, error=exc.message)
                    done = True
                if done:
                    self._wanted.pop(name, None)
            if self._wanted:
                self._wake.set()
                await asyncio.sleep(_POLL_S)

    async def _measure_in_time(self, name: str) -> bool:
        """Measure a deployment's engines when there is time; whether there is nothing more to measure of it."""
        lanes = self._deployments().get(name)
        if lanes is None:
            return True
        for settings in lanes.engines:
            engine, spec, launch = await self._prepared(settings)
            place = self._measurements.place_of(engine, spec)
            if launch is None or self._measurements.find(place) is not None or not _has_room(spec):
                continue
            await self._idle()
            async with self._one:
                working = asyncio.create_task(self._measured(lanes, engine, spec, launch))
                busy = asyncio.create_task(self._busy())
                try:
                    await asyncio.wait({working, busy}, return_when=asyncio.FIRST_COMPLETED)
                    if not working.done():
                        return False
                    await self._outcome(working, lanes, engine, spec)
                finally:
                    for task in (working, busy):
                        task.cancel()
                    await asyncio.wait({working, busy})
        return True

    async def _outcome(
        self, working: "asyncio.Task[Measurement]", lanes: Lanes, engine: Engine, spec: EngineSpec
    ) -> None:
        """See how it ended; what fails is not tried again and again."""
        try:
            working.result()
        except EngineFailed as exc:
            await self._failed(lanes, engine, spec, exc)
            raise

    async def _failed(self, lanes: Lanes, engine: Engine, spec: EngineSpec, failure: EngineFailed) -> Measurement:
        """Remember that it failed, unless more is known from before."""
        place = self._measurements.place_of(engine, spec)
        known = self._measurements.find(place)
        if known is not None and known.failure is None:
            return replace(known, failure=failure.message)
        return await self._measurements.keep(place, lanes.settings.model, {}, (), failure.message)

    async def _prepared(self, settings: DeploymentSettings) -> tuple[Engine, EngineSpec, Launch | None]:
        """What is to be measured; no process where there is nothing to find."""
        engine = self._shared.find_engine(settings.engine)
        spec = await self._shared.prepare_bare(settings, lambda _text: None)
        return engine, spec, engine.measurement(spec)

    async def _measured(self, lanes: Lanes, engine: Engine, spec: EngineSpec, launch: Launch) -> Measurement:
        """Measure, remember and, where something else is best now, have the replicas exchanged."""
        log.info("engine_measuring", deployment=lanes.settings.name, engine=engine.name)
        candidates, best = await _run(launch)
        place = self._measurements.place_of(engine, spec)
        before = self._measurements.find(place)
        found = await self._measurements.keep(place, lanes.settings.model, best, candidates)
        log.info("engine_measured", deployment=lanes.settings.name, engine=engine.name, options=best)
        if best != (before.options if before else {}):
            lanes.renew(engine.name)
        return found

    async def _idle(self) -> None:
        """Wait until the service, and the machine with it, has had nothing to do for a while."""
        limit_s, most = self._shared.limits.measure_after_idle_s, self._shared.limits.measure_below_load
        quiet_s, lent, pause_s = 0.0, self._lent(), min(_POLL_S, limit_s)
        while quiet_s < limit_s:
            await asyncio.sleep(pause_s)
            before, lent = lent, self._lent()
            quiet_s = 0.0 if lent != before or self._at_work() or _machine_is_busy(most) else quiet_s + pause_s

    async def _busy(self) -> None:
        """Wait until a request has come."""
        lent = self._lent()
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._lent() != lent or self._at_work():
                return

    def _lent(self) -> int:
        """How many requests have been served, of the deployments that there are."""
        return sum(lanes.lent for lanes in self._deployments().values())

    def _at_work(self) -> bool:
        """Whether any request runs or waits, or any engine is about to start."""
        on_the_way = (ReplicaState.STARTING, ReplicaState.FETCHING)
        for lanes in self._deployments().values():
            status = lanes.status()
            if status.waiting or any(each.in_flight or each.state in on_the_way for each in status.replicas):
                return True
        return False


async def _run(launch: Launch) -> tuple[list[Candidate], dict[str, Any]]:
    """Run a measurement to its end.

    Raises:
        EngineFailed: it ended with an error, or told nothing that can be read.
    """
    lines: list[str] = []
    try:
        process = await EngineProcess.start(launch.argv, launch.env, logged(log, lines.append))
    except OSError as exc:
        raise EngineFailed(f"the measurement cannot be started: {exc.strerror}") from exc
    try:
        await asyncio.wait({process.exited}, timeout=LIMIT_S)
        if not process.exited.done():
            raise EngineFailed(f"the measurement took more than {LIMIT_S:g} s")
        await process.read_rest()
    finally:
        await process.kill()
    if process.exited.result() != 0:
        last = process.tail[-1] if process.tail else ""
        raise EngineFailed(f"the measurement failed: {process.describe_exit()}: {last}")
    try:
        told = [line.partition(" ")[::2] for line in lines if line.startswith(("measured {", "best {"))]
        candidates = [Candidate(**orjson.loads(body)) for kind, body in told if kind == "measured"]
        (best,) = [orjson.loads(body) for kind, body in told if kind == "best"]
    except (ValueError, TypeError) as exc:
        raise EngineFailed("what the measurement told cannot be read") from exc
    return candidates, best


def _machine_is_busy(most: float) -> bool:
    """Whether other processes want the cores."""
    with contextlib.suppress(OSError):
        return os.getloadavg()[0] > most * (os.cpu_count() or 1)
    return False


def _has_room(spec: EngineSpec) -> bool:
    """Whether the memory holds the model once more; assumed where the system does not tell."""
    if spec.weights is None:
        return True
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free_kib = int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
        return free_kib * 1024 > _ROOM * spec.weights.stat().st_size
    return True
