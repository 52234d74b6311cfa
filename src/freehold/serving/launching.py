"""Starts a replica's engine through the cluster, and makes the connection to it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from structlog.typing import FilteringBoundLogger

from freehold.catalog.blobs import digest_in
from freehold.cluster.base import Cluster, Hosted, Part, Placed, Placement
from freehold.cluster.desk import RoomDesk
from freehold.cluster.process import logged
from freehold.engines.base import Connection, Engine, EngineSpec, Launch
from freehold.errors import Conflict, FreeholdError, InvalidRequest, NotFound
from freehold.governance.directory import ORGANIZATION
from freehold.serving.own_use import OwnUse
from freehold.serving.preparation import Preparation
from freehold.serving.status import Whereabouts
from freehold.types.cluster import Resources, WorkClass, Workload
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Traits

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Started:
    """A started engine.

    Args:
        connection: the way to it.
        whereabouts: where it is.
        process: its process; None where it is somebody else's.
        nodes: the ids of the nodes where that runs, the one that is spoken to first.
    """

    connection: Connection
    whereabouts: Whereabouts
    process: Hosted | None
    nodes: tuple[str, ...]


class Launching:
    """Starts the engine of one replica, as often as that is needed.

    Args:
        replica_id: of the replica.
        cluster: where engines run.
        desk: where room for them is asked for.
        find_engine: gives an engine by its name.
        socket: where the engine is to listen, if it is on this machine.
        on_line: called with every line that it writes.
    """

    def __init__(
        self,
        replica_id: str,
        cluster: Cluster,
        desk: RoomDesk,
        find_engine: Callable[[str], Engine],
        socket: Path,
        on_line: Callable[[str], None],
    ) -> None:
        self._id = replica_id
        self._cluster = cluster
        self._desk = desk
        self._find_engine = find_engine
        self._socket = socket
        self._on_line = on_line
        self._workload: Workload | None = None
        self._is_found = False
        self._version = 0
        self._wanted: Workload | None = None

    async def prepared(self, preparation: Preparation, report: Callable[[str], None]) -> EngineSpec:
        """What is to be started, once all is there that it needs; see `Preparation.spec`."""
        return await preparation.spec(report)

    async def start(self, spec: EngineSpec, log: FilteringBoundLogger, report: Callable[[str], None]) -> Started:
        """Start the engine; whoever gets it ends the process and closes the connection.

        Args:
            spec: what is to be started.
            log: takes what the engine writes.
            report: is told how far its node is with what it must have first.

        Raises:
            NoRoom: no node has room for it.
            InvalidRequest: none will ever have, such as in its zone.
            ConfigError: its settings are wrong.
            EngineFailed, OSError: it cannot be started.
        """
        engine = self._find_engine(spec.settings.engine)
        engine.validate(spec.settings)
        self._version, self._wanted = self._desk.version, None
        if engine.spans:
            spec = engine.spread(spec, await self._cluster.nodes())
        launch = engine.launch(spec, self._socket)
        if launch is None:
            return Started(engine.connect(spec, self._socket), Whereabouts(spec, self._socket), None, ())
        placement = self._placement(spec, launch, engine.needs(spec))
        try:
            placed = await self._placed(placement, spec.settings, logged(log, self._on_line), report)
        except InvalidRequest as exc:
            raise InvalidRequest(spec.misfit or exc.message, code=exc.code) from exc
        try:
            connection = engine.connect(spec, placed.address)
        except BaseException:
            await placed.process.kill()
            raise
        nodes = (placed.node, *placed.others)
        return Started(connection, Whereabouts(spec, placed.address), placed.process, nodes)

    def traits_of(self, told: Traits) -> Traits:
        """What the engine turned out to be, by what it has told."""
        return told

    async def own_use(self, connection: Connection) -> OwnUse:
        """What the engine, which is ready, was asked for beside requests of this run."""
        if not self._is_found:
            return OwnUse()
        try:
            return OwnUse(await connection.counters(), alone=False)
        except FreeholdError:
            return OwnUse(alone=False)

    async def unused(self) -> None:
        """Wait until nobody but this process's requests, which are over, uses the engine."""

    async def possible(self) -> None:
        """Wait until what was refused at the last start may be possible."""
        await self._desk.changed(self._version, self._wanted)

    def clear(self) -> None:
        """Remove what an engine that has gone left behind."""
        self._socket.unlink(missing_ok=True)

    async def _placed(
        self,
        placement: Placement,
        settings: DeploymentSettings,
        on_line: Callable[[str], None],
        report: Callable[[str], None],
    ) -> Placed:
        """Wait for room, which is the engine's until it has gone, and start it there."""
        workload = self._workload = Workload(
            id=placement.workload,
            work_class=WorkClass[settings.work_class.upper()],
            organization_id=ORGANIZATION,
            project_id=settings.project,
            members=placement.members,
            zones=placement.zones,
            queued_at_s=time.time(),
            apart=None if placement.others else placement.workload.rpartition("-")[0] or None,
        )
        self._wanted = workload
        found = await self._found(placement, workload, on_line, report)
        self._is_found = found is not None
        if found is not None:
            return found
        had = await self._desk.room(workload, lambda: report("waiting for room"))
        try:
            placed = await self._cluster.place(replace(placement, nodes=had.nodes), on_line, report)
        except BaseException:
            self._desk.release(workload.id)
            raise
        placed.process.exited.add_done_callback(lambda _: self._desk.release(workload.id))
        return placed

    async def _found(
        self,
        placement: Placement,
        workload: Workload,
        on_line: Callable[[str], None],
        report: Callable[[str], None],
    ) -> Placed | None:
        """The like of it that an earlier run has left and that runs; None where there is none, or it ends just now."""
        record = await self._desk.claim(workload, placement)
        if record is None:
            return None
        try:
            placed = await self._cluster.attach(replace(record, workload=workload.id), on_line, report)
        except BaseException as exc:
            self._desk.release(workload.id)
            if isinstance(exc, NotFound | Conflict):
                log.warning("engine_not_taken", replica=workload.id, reason=exc.message)
                return None
            raise
        placed.process.exited.add_done_callback(lambda _: self._desk.release(workload.id))
        return placed

    def _placement(self, spec: EngineSpec, launch: Launch, needs: Resources) -> Placement:
        zone = spec.settings.zone
        return Placement(
            workload=self._id,
            argv=launch.argv,
            env=launch.env,
            needs=needs,
            zones=None if zone is None else frozenset({zone}),
            files={path: digest_in(path) for path in (spec.weights, spec.adapter) if path is not None},
            socket=self._socket,
            others=tuple(Part(other.argv, other.env, needs) for other in launch.others),
            deployment=spec.settings.name,
            work_class=WorkClass[spec.settings.work_class.upper()],
            project=spec.settings.project,
        )
