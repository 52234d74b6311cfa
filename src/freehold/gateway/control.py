"""Changing deployments: checked by their engine, remembered, then made true by the supervisor."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from freehold.catalog.deployments import Deployment, DeploymentRegistry
from freehold.cluster.base import Cluster
from freehold.cluster.desk import RoomDesk
from freehold.engines.auto import check as check_engine
from freehold.errors import ConfigError, Conflict
from freehold.gateway.canary import SUFFIX
from freehold.gateway.capacity_office import CapacityOffice, CapacityView
from freehold.serving.board import Standing
from freehold.serving.calibrating import Effort
from freehold.serving.calibrations import Calibration
from freehold.serving.deployment_log import LogEntry
from freehold.serving.supervisor import DeploymentStatus, Measurement, Supervisor
from freehold.types.deployment import DeploymentSettings

log = structlog.get_logger(__name__)

REMOVAL_S = 2.0
"""How long deleting waits for running requests before it answers; they may go on after that."""


Gate: TypeAlias = Callable[[DeploymentSettings | None, DeploymentSettings], Awaitable[None]]
"""Is told what a deployment is, if it is there, and what it is to be."""


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """A deployment and, where engines run, how it fares.

    One that is `suspended` serves nobody: the content key of the project whose own it is is revoked or destroyed.
    """

    deployment: Deployment
    status: DeploymentStatus | None
    suspended: bool = False
    capacity: CapacityView | None = None

    @property
    def state(self) -> str:
        """That of its replicas, `suspended`, or `unknown` where engines do not run."""
        return "suspended" if self.suspended else self.status.state if self.status else "unknown"


class DeploymentControl:
    """The operations on deployments.

    Args:
        registry: which there are.
        supervisor: runs them.
        running: whether engines run here; without, only the record changes.
        is_stopped: whether a project, by its id, may not be served, so that its own deployments do not run.
        is_filter: whether there is a content-filter policy of that name.
        gate: raises where a deployment may not change so.
        candidate_of: gives what runs beside a deployment for its canary, if it has one.
        capacity: knows how many units deployments carry; None where they have none.
    """

    def __init__(
        self,
        registry: DeploymentRegistry,
        supervisor: Supervisor,
        *,
        running: bool,
        is_stopped: Callable[[str], bool] = lambda _project_id: False,
        is_filter: Callable[[str], bool] = lambda _name: True,
        gate: Gate | None = None,
        candidate_of: Callable[[DeploymentSettings], DeploymentSettings | None] = lambda _settings: None,
        capacity: CapacityOffice | None = None,
    ) -> None:
        self._registry = registry
        self._supervisor = supervisor
        self._running = running
        self._is_stopped = is_stopped
        self._is_filter = is_filter
        self._gate = gate
        self._candidate_of = candidate_of
        self._capacity = capacity
        self._changing = asyncio.Lock()
        self._removing: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        """Set every known deployment going."""
        if self._running:
            for deployment in self._registry.all():
                await self._set(deployment.settings)
                capacity = self._capacity_of(deployment.settings)
                if capacity is not None and capacity.warning is not None:
                    log.warning("capacity_not_carried", deployment=deployment.name, reason=capacity.warning)

    async def review(self) -> None:
        """Stop the deployments of projects that may not be served, and start those of projects that may be again."""
        if not self._running:
            return
        there = set(self._supervisor.names())
        stopping = []
        for deployment in self._registry.all():
            if self._suspended(deployment.settings):
                names = {deployment.name, f"{deployment.name}{SUFFIX}"} & there
                stopping += [asyncio.ensure_future(self._supervisor.remove(name)) for name in names]
            elif deployment.name not in there:
                await self._set(deployment.settings)
        if stopping:
            await asyncio.wait(stopping, timeout=REMOVAL_S)

    def turn(self) -> AbstractAsyncContextManager[None]:
        """A turn to change deployments by what is known of them, also by other gateways."""
        return self._registry.turn()

    async def follow(self) -> None:
        """Have run what the registry has now, after it was read again: begin what is new, end what is gone."""
        if not self._running:
            return
        deployments = self._registry.all()
        named = {name for each in deployments for name in (each.name, f"{each.name}{SUFFIX}")}
        for name in set(self._supervisor.names()) - named:
            removing = asyncio.ensure_future(self._supervisor.remove(name))
            self._removing.add(removing)
            removing.add_done_callback(self._removing.discard)
        for deployment in deployments:
            await self._set(deployment.settings)

    async def refresh(self, name: str) -> None:
        """Have a deployment run as it is set, after something else about it has changed.

        Raises:
            DeploymentNotFound: there is none.
        """
        if self._running:
            await self._set(self._registry.get(name).settings)

    @property
    def desk(self) -> RoomDesk:
        """Where room for replicas is asked for."""
        return self._supervisor.desk

    def all(self) -> list[DeploymentView]:
        """Every deployment."""
        return [self._view(deployment) for deployment in self._registry.all()]

    def get(self, name: str) -> DeploymentView:
        """One deployment by its name.

        Raises:
            DeploymentNotFound: there is none.
        """
        return self._view(self._registry.get(name))

    def log(self, name: str, count: int) -> list[LogEntry]:
        """The last that happened to a deployment, the oldest first; nothing where it does not run.

        Raises:
            DeploymentNotFound: there is none.
        """
        self._registry.get(name)
        return self._supervisor.log(name, count) if self._running and name in self._supervisor.names() else []

    @property
    def cluster(self) -> Cluster:
        """Where engines and jobs run."""
        return self._supervisor.cluster

    @property
    def standing(self) -> Standing | None:
        """Which gateway leads the cluster that several share; None where they share none."""
        return self._supervisor.standing

    def check_leads(self) -> None:
        """Return if it is decided here what runs on the cluster.

        Raises:
            Unavailable: another gateway leads; says which.
        """
        if self._supervisor.sharing is not None:
            self._supervisor.sharing.check()

    async def measure(self, name: str) -> list[Measurement]:
        """Measure which options of a deployment's engines are best on this machine, and have them served by those.

        Raises:
            DeploymentNotFound: there is none.
            Conflict: its engines do not run here.
            EngineFailed, CatalogError: it could not be measured.
        """
        self._registry.get(name)
        if not self._running or name not in self._supervisor.names():
            raise Conflict(f"The deployment '{name}' does not run; start the server with 'freehold serve' first.")
        return await self._supervisor.measure(name)

    def measured(self, name: str) -> list[Measurement]:
        """What is known of the engines of a deployment on this machine.

        Raises:
            DeploymentNotFound: there is none.
        """
        return self._supervisor.measured(self._registry.get(name).settings.model)

    async def calibrate(self, name: str, effort: Effort) -> Calibration:
        """Measure how many units of capacity the replicas of a deployment carry.

        Args:
            name: the deployment.
            effort: how much is tried.

        Raises:
            DeploymentNotFound: there is none.
            Conflict: its engines do not run here.
            EngineFailed, EngineTimeout, EngineUnavailable: a replica does not answer.
            Unavailable: another gateway leads the cluster, and calibrates.
        """
        settings = self._registry.get(name).settings
        if self._capacity is None or not self._running or name not in self._supervisor.names():
            raise Conflict(f"The deployment '{name}' does not run; start the server with 'freehold serve' first.")
        self.check_leads()
        return await self._capacity.calibrate(self._supervisor, settings, effort)

    async def refresh_capacity(self) -> None:
        """Learn how other gateways use units that are shared; what cannot be learnt stays as it was known."""
        if self._capacity is not None:
            await self._capacity.refresh()

    def settings_of(self, name: str) -> DeploymentSettings:
        """The settings of the deployment of that name or alias.

        Raises:
            DeploymentNotFound: there is none.
        """
        return self._registry.resolve(name).settings

    async def create(self, settings: DeploymentSettings, *, force: bool = False) -> DeploymentView:
        """Make a new deployment.

        Args:
            settings: what it is to be.
            force: as `put`.

        Raises:
            Conflict: the name is taken.
            ConfigError: its engine does not take these settings.
        """
        async with self.turn():
            if any(d.name == settings.name for d in self._registry.all()):
                raise Conflict(f"The deployment '{settings.name}' exists already.")
            await self.put(settings, force=force)
        return self.get(settings.name)

    async def put(self, settings: DeploymentSettings, *, force: bool = False) -> bool:
        """Create a deployment or change it to these settings; false if it was so already.

        Args:
            settings: what it is to be.
            force: take more units of capacity than its replicas were measured to carry.

        Raises:
            Conflict: it stands in the configuration file, or a name or alias is taken.
            PromotionRefused: it may not change to another model; see `promote_if`.
            ConfigError: its engine does not take these settings, a fallback or its content-filter policy does not
                exist, or its replicas do not carry its units.
        """
        async with self.turn(), self._changing:
            self.check(settings)
            if self._capacity is not None and not force:
                await self._capacity.check(self._before(settings.name), settings, self._all_settings())
            if self._gate is not None:
                self._registry.check(settings)
                await self._gate(self._before(settings.name), settings)
            changed = await self._registry.put(settings)
        if changed and self._running:
            await self._set(settings)
        return changed

    async def scale(self, name: str, replicas: int, *, force: bool = False) -> DeploymentView:
        """Change the number of replicas; `force` as in `put`.

        Raises:
            DeploymentNotFound, Conflict: as in `get` and `put`.
        """
        async with self.turn():
            settings = self._registry.get(name).settings
            changed = DeploymentSettings.model_validate({**settings.wire(), "replicas": replicas})
            await self.put(changed, force=force)
        return self.get(name)

    async def delete(self, name: str) -> None:
        """Remove a deployment; its running requests may finish.

        Raises:
            DeploymentNotFound, Conflict: it is not there, is defined in the file, or is a fallback.
        """
        async with self.turn():
            await self._registry.delete(name)
        there = {name, f"{name}{SUFFIX}"} & set(self._supervisor.names()) if self._running else set()
        if there:
            removing = {asyncio.ensure_future(self._supervisor.remove(each)) for each in there}
            await asyncio.wait(removing, timeout=REMOVAL_S)

    def check(self, settings: DeploymentSettings) -> None:
        """Return if an engine takes these settings, and every fallback and the content-filter policy exist.

        Raises:
            ConfigError: names the offending key.
        """
        check_engine(settings)
        if settings.content_filter is not None and not self._is_filter(settings.content_filter):
            raise ConfigError(
                f"content_filter: there is no content-filter policy '{settings.content_filter}'", param="content_filter"
            )
        names = {d.name for d in self._registry.all()}
        for index, fallback in enumerate(settings.fallbacks):
            if fallback not in names:
                raise ConfigError(
                    f"fallbacks[{index}]: there is no deployment '{fallback}'", param=f"fallbacks[{index}]"
                )
        spillover = None if settings.capacity is None else settings.capacity.spillover
        if spillover is not None and spillover not in names:
            raise ConfigError(f"capacity.spillover: there is no deployment '{spillover}'", param="capacity.spillover")

    def _before(self, name: str) -> DeploymentSettings | None:
        """The settings that a deployment has; None if there is none."""
        return next((found.settings for found in self._registry.all() if found.name == name), None)

    def _view(self, deployment: Deployment) -> DeploymentView:
        suspended = self._suspended(deployment.settings)
        status = self._supervisor.status(deployment.name) if self._running and not suspended else None
        return DeploymentView(deployment, status, suspended, self._capacity_of(deployment.settings))

    def _capacity_of(self, settings: DeploymentSettings) -> CapacityView | None:
        """How the deployment's units are; None where it has none, or nothing is served here."""
        if self._capacity is None:
            return None
        return self._capacity.view(settings, self._all_settings())

    def _all_settings(self) -> list[DeploymentSettings]:
        return [deployment.settings for deployment in self._registry.all()]

    async def _set(self, settings: DeploymentSettings) -> None:
        """Have a deployment run as its settings say, unless its project may not be served."""
        if not self._suspended(settings):
            await self._supervisor.set(settings)
            await self._set_candidate(settings)
            return
        for name in {settings.name, f"{settings.name}{SUFFIX}"} & set(self._supervisor.names()):
            await self._supervisor.remove(name)

    async def _set_candidate(self, settings: DeploymentSettings) -> None:
        """Have a deployment's candidate run, or not run any more; its running requests may finish."""
        candidate, name = self._candidate_of(settings), f"{settings.name}{SUFFIX}"
        if candidate is not None:
            await self._supervisor.set(candidate)
        elif name in self._supervisor.names():
            removing = asyncio.ensure_future(self._supervisor.remove(name))
            self._removing.add(removing)
            removing.add_done_callback(self._removing.discard)

    def _suspended(self, settings: DeploymentSettings) -> bool:
        return settings.project is not None and self._is_stopped(settings.project)
