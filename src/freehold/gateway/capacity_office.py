"""Provisioned capacity as administrators have it: whether what is asked for is carried, and how it is used."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from freehold.catalog.deployments import DeploymentRegistry
from freehold.errors import ConfigError
from freehold.gateway.capacity import Capacities, CapacityUse
from freehold.gateway.capacity_shared import SharedBuckets
from freehold.serving.calibrating import Calibrator, Effort
from freehold.serving.calibrations import Calibration, Calibrations
from freehold.serving.lender import Lender
from freehold.serving.room import THIS_MACHINE, Room
from freehold.store.calibration_rows import all_calibrations, put_calibration
from freehold.store.database import Database
from freehold.types.cluster_settings import ClusterSettings
from freehold.types.deployment import DeploymentSettings

FindRoom: TypeAlias = Callable[[DeploymentSettings], Awaitable[Room]]
"""For how many replicas of a deployment there is room."""


@dataclass(frozen=True, slots=True)
class CapacityView:
    """The units of one deployment.

    Args:
        use: how they are used; None where it has none.
        calibration: what its replicas were measured to do, if they were; it may not hold any more.
        holds: whether it does.
        carried: units that its replicas carry; None where no calibration holds.
        available: of those, what its machine has left beside other deployments' units.
        warning: why what is asked for is not carried; None where it is.
    """

    use: CapacityUse | None
    calibration: Calibration | None
    holds: bool
    carried: int | None
    available: int | None
    warning: str | None


async def open_capacity(
    database: Database,
    registry: DeploymentRegistry,
    room: FindRoom,
    shared: SharedBuckets | None,
    cluster: ClusterSettings,
) -> "tuple[Capacities, CapacityOffice]":
    """The provisioned units of deployments, and what their replicas were measured to carry.

    Args:
        database: the home's.
        registry: the deployments.
        room: for how many replicas there is room.
        shared: the buckets, where several gateways share them.
        cluster: where engines run.
    """
    save, machine = partial(put_calibration, database), f"the cluster {cluster.address}" if cluster.address else ""
    calibrations = Calibrations(await all_calibrations(database), save, machine=machine)
    capacities = Capacities(registry.find, calibrations.weights, buckets=shared)
    return capacities, CapacityOffice(calibrations, capacities, room, shared, partial(all_calibrations, database))


class CapacityOffice:
    """Knows what was calibrated and what is used.

    Args:
        calibrations: what replicas were measured to do.
        capacities: what is used.
        room: for how many replicas there is room.
        shared: the buckets, where several gateways share them.
        known: reads what was calibrated, by any gateway.
    """

    def __init__(
        self,
        calibrations: Calibrations,
        capacities: Capacities,
        room: FindRoom,
        shared: SharedBuckets | None,
        known: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]],
    ) -> None:
        self._shared = shared
        self._known = known
        self._calibrations = calibrations
        self._capacities = capacities
        self._room = room
        self._rooms: dict[str, Room] = {}
        self._one = asyncio.Lock()

    async def check(
        self, before: DeploymentSettings | None, settings: DeploymentSettings, others: Sequence[DeploymentSettings]
    ) -> None:
        """Return if a deployment carries what is asked of it now, or no more is asked than before.

        Args:
            before: what the deployment was, if it was there.
            settings: what it is to be.
            others: all deployments.

        Raises:
            ConfigError: it does not; says how many units there are.
        """
        if settings.capacity is None:
            return
        self._rooms[settings.name] = await self._room(settings)
        if before is not None and before.capacity is not None:
            fewer = settings.replicas < before.replicas
            if not fewer and settings.capacity.units <= before.capacity.units:
                return
        objection = self._objection(settings, others)
        if objection is not None:
            raise ConfigError(f"{objection}, or say force", param="capacity.units")

    async def load(self) -> None:
        """Know what was calibrated, by other gateways too. Raises: Unavailable."""
        self._calibrations.know(await self._known())

    async def refresh(self) -> None:
        """Learn what other gateways take of the units, where they share them; what cannot be learnt stays as it was."""
        if self._shared is not None:
            await self._shared.refresh()

    def view(self, settings: DeploymentSettings, others: Sequence[DeploymentSettings]) -> CapacityView | None:
        """How a deployment's units are; None where it has none and was never calibrated."""
        calibration = self._calibrations.of(settings.name)
        if settings.capacity is None and calibration is None:
            return None
        there = self._calibrations.available(settings, others, self._room_of(settings))
        return CapacityView(
            use=self._capacities.use(settings.name),
            calibration=calibration,
            holds=there is not None,
            carried=None if there is None else there[0],
            available=None if there is None else there[1],
            warning=self._objection(settings, others),
        )

    def _room_of(self, settings: DeploymentSettings) -> Room:
        """The room as it was last looked for."""
        return self._rooms.get(settings.name, THIS_MACHINE)

    async def calibrate(self, lender: Lender, settings: DeploymentSettings, effort: Effort) -> Calibration:
        """Measure what the replicas of a deployment do, one deployment at a time.

        Raises:
            Conflict: it has no replica that is ready.
            EngineFailed, EngineTimeout, EngineUnavailable: a replica does not answer.
            HomeError, Unavailable: what was measured cannot be kept.
        """
        async with self._one:
            found = await Calibrator(lender, settings, self._calibrations.machine, effort).run()
            await self._calibrations.keep(found)
        return found

    def _objection(self, settings: DeploymentSettings, others: Sequence[DeploymentSettings]) -> str | None:
        """Why the units of a deployment are not carried, and what to do; None where they are, or there are none."""
        if settings.capacity is None:
            return None
        asked, name = settings.capacity.units, settings.name
        room = self._room_of(settings)
        there = self._calibrations.available(settings, others, room)
        found = self._calibrations.of(name)
        if there is None or found is None:
            why = "was calibrated with another model, engine or machine" if found is not None else "is not calibrated"
            return (
                f"capacity.units: {asked} units are asked for, but the deployment {why}, so nobody knows what it "
                f"carries; have it run without 'capacity' and say 'freehold deployments calibrate {name}' first"
            )
        carried, available = there
        if asked <= available:
            return None
        replicas = "1 replica carries" if settings.replicas == 1 else f"{settings.replicas} replicas carry"
        told = f"capacity.units: {asked} units are asked for and {available} are available: {replicas} {carried}"
        if room.replicas is not None and room.replicas < settings.replicas:
            told += f", for nodes have room for {room.replicas} of them"
        elif settings.replicas > found.replicas and not room.spread:
            told += f", as {found.replicas} did when that was measured on this machine"
        if available < carried:
            told += f", of which other deployments' units on this machine leave {available}"
        return f"{told}; ask for fewer, or add replicas and calibrate again"
