"""The supervisor: from the deployments that are wanted to engine processes that serve them.

It is told what is wanted (`set`, `remove`), keeps it so until `stop`, and lends replicas to requests (`acquire`).
All of it happens on one event loop; no method may be called from another thread.
"""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from pathlib import Path

from freehold.cluster.base import Cluster
from freehold.cluster.desk import RoomDesk, Unasked
from freehold.cluster.local import LocalCluster
from freehold.config import SupervisorSettings
from freehold.engines.auto import FASTEST_FIRST, FastestFirst, plan
from freehold.engines.base import Engine, EngineSpec
from freehold.engines.registry import get_engine
from freehold.errors import DeploymentNotFound, Draining, FreeholdError
from freehold.serving.acquisition import Acquisition
from freehold.serving.board import Standing
from freehold.serving.choice import Affinity, Wish
from freehold.serving.deployment_log import LogEntry
from freehold.serving.lanes import Lanes
from freehold.serving.leading import Leading
from freehold.serving.lender import PATIENCE_S
from freehold.serving.measurements import Measurement, Measurements
from freehold.serving.measuring import Measuring
from freehold.serving.preparation import Prepare, Progress
from freehold.serving.prompt_key import PromptKey
from freehold.serving.room import Room, room_for
from freehold.serving.sockets import SocketFolder
from freehold.serving.status import DeploymentStatus, LaneStatus, Lease, ReplicaStatus, StateListener
from freehold.serving.surroundings import Surroundings
from freehold.serving.tasks import cancel
from freehold.types.cluster import NodeState
from freehold.types.deployment import DeploymentSettings, ReplicaState
from freehold.types.engine import EngineCounters, Feature, Tier, Traits

__all__ = [
    "Affinity",
    "DeploymentStatus",
    "LaneStatus",
    "Lease",
    "Measurement",
    "Measurements",
    "Prepare",
    "Progress",
    "PromptKey",
    "ReplicaStatus",
    "StateListener",
    "Supervisor",
]

DRAIN_S = 600.0
"""How long running requests may go on when their replica is removed or replaced."""


class Supervisor:
    """Starts, watches, restarts, replaces and stops engine processes. Built inside a running event loop.

    Args:
        settings: times and intervals.
        run_dir: where the engines' sockets lie; made if missing.
        prepare: fetches the model of a deployment where it is missing, and reads its secrets.
        drain_s: how long running requests may go on when their replica is removed or replaced.
        find_engine: gives an engine by its name; raises ConfigError where there is none.
        fastest_first: the engines that `engine = "auto"` stands for, by the deployment's task.
        measurements: which options were found to be best on this machine.
        cluster: where engines run; this machine where there is none.
        desk: where room for them is asked for; nobody is asked where there is none.
        sharing: shares the replicas with other gateways; None where there are none.
    """

    def __init__(
        self,
        settings: SupervisorSettings,
        run_dir: Path,
        prepare: Prepare,
        *,
        drain_s: float = DRAIN_S,
        find_engine: Callable[[str], Engine] = get_engine,
        fastest_first: FastestFirst = FASTEST_FIRST,
        measurements: Measurements | None = None,
        cluster: Cluster | None = None,
        desk: RoomDesk | None = None,
        sharing: Leading | None = None,
    ) -> None:
        self._sockets = SocketFolder(run_dir)
        self._measurements = measurements or Measurements()
        self._shared = Surroundings(
            limits=settings,
            sockets=self._sockets,
            prepare=partial(_prepare_measured, prepare, find_engine, self._measurements),
            prepare_bare=prepare,
            find_engine=find_engine,
            drain_s=drain_s,
            new_replica_id=self._new_replica_id,
            on_change=self._tell,
            plan=partial(plan, find_engine=find_engine, fastest_first=fastest_first),
            cluster=cluster or LocalCluster(),
            desk=desk or Unasked(),
            sharing=sharing,
        )
        self.sharing = sharing
        self._sets: dict[str, Lanes] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._removed: set[Lanes] = set()
        self._numbers: dict[str, itertools.count[int]] = {}
        self._listeners: list[StateListener] = []
        self._stopped = False
        self._measuring = Measuring(self._shared, self._measurements, lambda: self._sets)
        self._measurer: asyncio.Task[None] | None = None
        self._moving: asyncio.Task[None] | None = None
        self._shared.cluster.on_change(self._nodes_changed)

    @property
    def cluster(self) -> Cluster:
        """Where engines run, and jobs can."""
        return self._shared.cluster

    @property
    def standing(self) -> Standing | None:
        """Which gateway leads the cluster that several share; None where they share none."""
        return None if self.sharing is None else self.sharing.standing

    def at_work(self) -> AbstractAsyncContextManager[None]:
        """Where the replicas are shared, this gateway may be the one that leads, while the block runs."""
        return nullcontext() if self.sharing is None else self.sharing.at_work()

    @property
    def desk(self) -> RoomDesk:
        """Where room on it is asked for."""
        return self._shared.desk

    def measure_when_idle(self) -> None:
        """Measure from now on, whenever there is nothing to do, which options are best; see `serving.measuring`."""
        if self._measurer is None:
            self._measurer = asyncio.create_task(self._measuring.when_idle(), name="measure engines")
            for name in self._sets:
                self._measuring.ready(name)

    async def measure(self, name: str) -> list[Measurement]:
        """Measure a deployment's engines now; their replicas are exchanged where other options are best.

        Raises:
            DeploymentNotFound: there is none of that name.
            EngineFailed: it could not be measured.
            CatalogError, ConfigError: its model or a secret is not there.
            Unavailable: another gateway leads the cluster, and measures.
        """
        if self.sharing is not None:
            self.sharing.check()
        return await self._measuring.measure(self._get(name))

    async def room(self, settings: DeploymentSettings) -> Room:
        """For how many replicas of a deployment there is room where engines run, those that run included.

        Raises:
            Unavailable: the cluster does not tell.
        """
        cluster, lanes = self._shared.cluster, self._sets.get(settings.name)
        replicas = () if lanes is None else lanes.status().replicas
        running = sum(replica.node is not None for replica in replicas)
        engine, spread = self._shared.find_engine(settings.engine), not isinstance(cluster, LocalCluster)
        if engine.elsewhere:
            return Room(spread=spread)
        nodes = await cluster.nodes()
        spec = engine.spread(EngineSpec(settings), nodes)
        return room_for(nodes, engine.needs(spec), settings.zone, running, spread=spread, members=spec.members)

    def measured(self, model: str) -> list[Measurement]:
        """What is known of the engines of a model on this machine."""
        return self._measurements.of_model(model)

    async def set(self, deployment: DeploymentSettings) -> None:
        """Create a deployment or change it. Returns at once; the work goes on by itself.

        Settings that the engine sees (model, engine, options, context length, parallel, address, key) lead to
        new replicas, and the old ones are drained as the new become ready. Others take effect as they are.

        Raises:
            Draining: the supervisor was stopped.
        """
        if self._stopped:
            raise Draining("The server is shutting down.")
        present = self._sets.get(deployment.name)
        if present is not None:
            present.configure(deployment)
        else:
            self._sets[deployment.name] = Lanes(deployment, self._shared)

    async def remove(self, name: str) -> None:
        """Forget a deployment at once; returns when its running requests have finished and its engines stopped.

        Cancelling the call does not cancel the work.

        Raises:
            DeploymentNotFound: there is none of that name.
        """
        replicas = self._get(name)
        del self._sets[name]
        self._removed.add(replicas)
        closing = asyncio.create_task(replicas.close(self._shared.drain_s, removed=True))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        closing.add_done_callback(lambda _: self._removed.discard(replicas))
        await asyncio.shield(closing)

    def names(self) -> list[str]:
        """The deployments that there are, in the order of their making."""
        return list(self._sets)

    def status(self, name: str) -> DeploymentStatus:
        """How a deployment is.

        Raises:
            DeploymentNotFound: there is none of that name.
        """
        return self._get(name).status()

    def log(self, name: str, count: int) -> list[LogEntry]:
        """The last that happened to a deployment, the oldest first.

        Raises:
            DeploymentNotFound: there is none of that name.
        """
        return self._get(name).log.tail(count)

    def on_state(self, listener: StateListener) -> None:
        """Tell `listener` of every change of a replica's state, soon after it."""
        self._listeners.append(listener)

    def acquire(
        self,
        name: str,
        needs: frozenset[Feature] = frozenset(),
        *,
        avoid: frozenset[str] = frozenset(),
        affinity: Affinity | None = None,
        patience_s: float = PATIENCE_S,
        tier: Tier = Tier.DEFAULT,
    ) -> Acquisition:
        """Lend a replica for one request: the least busy of the healthy ones, first among those that have `needs`.

        Loads a deployment that is unloaded and waits for it, for at most `start_timeout_s`. Waits up to
        `patience_s` for a replica that is about to be ready. Where every replica works on as many requests as it
        does at once, waits in the deployment's queue until one is free, however long that takes.

        Args:
            name: the deployment.
            needs: features that the request uses.
            avoid: ids of replicas that must not be taken, such as one that failed this very request.
            affinity: equal texts get the same replica where several are equally busy; a prompt, one that has read it.
            patience_s: 0 where there is something better to do than to wait; then it does not queue either.
            tier: who goes first in the queue, and who is refused last where too many wait.

        Raises (on entering):
            DeploymentNotFound: there is none of that name.
            EngineUnavailable: no replica can take the request; says why, and when to try again.
            Overloaded: all replicas are busy, and the request cannot wait or was pushed out of the queue.
        """
        return Acquisition(self._get, name, Wish(needs, avoid, affinity), patience_s, tier)

    async def traits(self, name: str) -> Traits:
        """What the deployment's engine turned out to be; loads it where it never was.

        Raises:
            DeploymentNotFound: there is none of that name.
            EngineUnavailable: none was ever ready, nor becomes so soon.
        """
        return await self._get(name).known_traits(PATIENCE_S)

    async def counters(self) -> list[tuple[str, str, EngineCounters]]:
        """What the engines themselves say that they have done: deployment, replica's id and counters.

        Of every replica that is ready or drains, its engine having counters and answering.
        """
        sets = list(self._sets.items())
        sets += [(replicas.settings.name, replicas) for replicas in self._removed]
        found = await asyncio.gather(*(replicas.counters() for _, replicas in sets))
        return [(name, *pair) for (name, _), pairs in zip(sets, found, strict=True) for pair in pairs]

    async def wait_ready(self, name: str, timeout_s: float) -> None:
        """Wait until a replica can take requests; loads nothing.

        Raises:
            DeploymentNotFound: there is none of that name.
            EngineUnavailable: none can after that time; says why.
        """
        await self._get(name).wait_ready(timeout_s)

    async def stop(self) -> None:
        """Stop every engine at once, all in parallel, within `stop_timeout_s`. Afterwards none of them is alive."""
        self._stopped = True
        for task in (self._measurer, self._moving):
            if task is not None:
                await cancel(task)
        closing = [asyncio.create_task(replicas.close(0)) for replicas in (*self._sets.values(), *self._removed)]
        self._closing.update(closing)
        for task in closing:
            task.add_done_callback(self._closing.discard)
        if self._closing:
            await asyncio.wait(set(self._closing))
        self._sockets.close()

    def _nodes_changed(self) -> None:
        """Hear that the cluster's nodes are others, or otherwise."""
        if not self._stopped and (self._moving is None or self._moving.done()):
            self._moving = asyncio.create_task(self._leave_draining_nodes(), name="leave draining nodes")

    async def _leave_draining_nodes(self) -> None:
        """Move replicas from the nodes that drain."""
        try:
            nodes = await self._shared.cluster.nodes()
        except FreeholdError:
            return  # the cluster cannot be reached: there is nothing to be moved
        draining = frozenset(node.id for node in nodes if node.state is NodeState.DRAINING)
        if draining:
            for lanes in self._sets.values():
                lanes.leave(draining)

    def _get(self, name: str) -> Lanes:
        replicas = self._sets.get(name)
        if replicas is None:
            raise DeploymentNotFound(name)
        return replicas

    def _new_replica_id(self, name: str) -> str:
        if self.sharing is not None:
            return self.sharing.new_id(name)
        return f"{name}-{next(self._numbers.setdefault(name, itertools.count(1)))}"

    def _tell(self, deployment: str, status: ReplicaStatus) -> None:
        """Pass a change on, each listener for itself: one that raises harms nothing but its own log line."""
        decides = self.sharing is None or self.sharing.leads
        if status.state is ReplicaState.READY and self._measurer is not None and decides:
            self._measuring.ready(deployment)
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.call_soon(listener, deployment, status)


async def _prepare_measured(
    prepare: Prepare,
    find_engine: Callable[[str], Engine],
    measurements: Measurements,
    settings: DeploymentSettings,
    progress: Progress,
) -> EngineSpec:
    """A specification with the options that were measured to be best."""
    return measurements.applied(find_engine(settings.engine), await prepare(settings, progress))
