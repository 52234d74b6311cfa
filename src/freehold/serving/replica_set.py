"""The replicas of one deployment: as many as are wanted, of the settings that are wanted, and who gets which.

Knows nothing of how a replica lives; that is `freehold.serving.replica`'s business.
"""

import asyncio
import contextlib
from functools import partial
from typing import Any

import structlog

from freehold.errors import CatalogError, DeploymentNotFound, EngineUnavailable, FreeholdError
from freehold.serving.choice import ANY, Wish, hopeful, room, surplus
from freehold.serving.deployment_log import DeploymentLog
from freehold.serving.engine_settings import of_engine
from freehold.serving.launching import Launching
from freehold.serving.lending import Grant, Lending
from freehold.serving.offers import NOTHING, Want
from freehold.serving.preparation import Preparation
from freehold.serving.prompt_cache import PromptCache
from freehold.serving.queue import Waiter
from freehold.serving.replica import Replica
from freehold.serving.scaling import Scaling
from freehold.serving.status import DeploymentStatus, Lease
from freehold.serving.surroundings import Surroundings
from freehold.serving.unavailable import RETRY_STARTING_S, unavailable
from freehold.types.deployment import DeploymentSettings, ReplicaState
from freehold.types.engine import EngineCounters, Tier, Traits

_ON_THE_WAY = (ReplicaState.STARTING, ReplicaState.FETCHING)
_BEST_FIRST = (
    ReplicaState.READY,
    ReplicaState.STARTING,
    ReplicaState.FETCHING,
    ReplicaState.UNHEALTHY,
    ReplicaState.BACKING_OFF,
)


class ReplicaSet:
    """The replicas of one deployment. `configure` says what is wanted; a task brings it about.

    Args:
        settings: the deployment's.
        shared: what all sets share.
        log: takes what happens.
    """

    def __init__(self, settings: DeploymentSettings, shared: Surroundings, log: DeploymentLog) -> None:
        self.settings = settings
        self.log = log
        self.traits: Traits | None = None
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._preparation = Preparation(shared.prepare, settings)
        self._current: list[Replica] = []
        self._outdated: list[Replica] = []
        self._leaving: list[Replica] = []
        self._loaded = settings.start == "eager"
        self._loading = False
        self._closed = False
        self._removed = False
        self._last_used = self._loop.time()
        self._scaling = Scaling(settings, self.counters, self._loop.time)
        self.prompts = PromptCache(settings.prompt_cache_routing)
        self._lending: Lending[Replica, Lease] = Lending(settings.name, self, self.prompts, self._loop.time)
        self._changed = asyncio.Event()
        self._step()
        self._task = asyncio.create_task(self._reconcile(), name=f"deployment {settings.name}")
        self._task.add_done_callback(self._note_end)

    def configure(self, settings: DeploymentSettings) -> None:
        """Take new settings; those that the engine sees lead to new replicas, which replace the old ones."""
        before, self.settings = self.settings, settings
        if settings == before:
            return
        self.prompts.mode = settings.prompt_cache_routing
        self._scaling.configure(settings)
        if of_engine(settings) != of_engine(before):
            self._outdate()
        if settings.start == "eager" and before.start != "eager":
            self._loaded = True
        self._touch()
        self._step()
        self._changed.set()
        self._lending.announce()

    def renew(self) -> None:
        """Exchange the replicas for new ones of the same settings, if they run."""
        self._outdate()
        self._step()
        self._changed.set()
        self._lending.announce()

    def leave(self, nodes: frozenset[str]) -> None:
        """Exchange the replicas on those nodes for new ones; each serves until a new one is ready."""
        leaving = [replica for replica in self._current if nodes.intersection(replica.nodes)]
        if leaving:
            self._current = [replica for replica in self._current if replica not in leaving]
            self._outdated += leaving
            self._step()
            self._changed.set()

    def _outdate(self) -> None:
        """Have new replicas take the place of those that there are."""
        self._preparation = Preparation(self._shared.prepare, self.settings)
        self._outdated += self._current
        self._current = []
        if not any(replica.usable for replica in self._outdated):
            self.traits = None

    def status(self) -> DeploymentStatus:
        """What there is to see now."""
        replicas = (*self._current, *self._outdated, *self._leaving)
        return DeploymentStatus(
            name=self.settings.name,
            state=self.state,
            replicas=tuple(replica.status() for replica in replicas),
            traits=self.traits,
            waiting=self._lending.waiting,
            prompt_cache=self.prompts.status() if len(replicas) > 1 else None,
            scale=self._scaling.status(self._wanted()),
        )

    @property
    def lent(self) -> int:
        """How many requests got a replica."""
        return self._lending.lent

    @property
    def loaded(self) -> bool:
        """Whether its replicas run, or are about to."""
        return self._loaded

    @property
    def broken(self) -> FreeholdError | None:
        """What keeps its engine from serving for good; None while there is hope, or where only the model is missing."""
        failures = [replica.failure for replica in self._current if replica.given_up]
        lost = bool(failures) and len(failures) == len(self._current)
        return None if not lost or any(isinstance(failure, CatalogError) for failure in failures) else failures[0]

    def serves(self, wish: Wish) -> bool:
        """Whether a replica that is in no doubt can take such requests now, or could if it were not busy."""
        return any(r.usable and r.doubt == 0 and r.id not in wish.avoid for r in self.serving())

    def could_serve(self, wish: Wish) -> bool:
        """Whether there may be a replica for such requests soon."""
        return not self._loaded or any(r.id not in wish.avoid for r in self.serving())

    def owns(self, replica: Replica) -> bool:
        """Whether the replica is one of these, or was until lately."""
        return replica in self._current or replica in self._outdated or replica in self._leaving

    @property
    def state(self) -> str:
        """See `DeploymentStatus.state`."""
        if self._closed or self.settings.replicas == 0:
            return ReplicaState.STOPPED.value
        if not self._loaded:
            return ReplicaState.UNLOADED.value
        states = {replica.state for replica in self.serving()}
        best = (state for state in _BEST_FIRST if state in states)
        return next(best, ReplicaState.STARTING).value

    async def lease(self, wish: Wish, patience_s: float, tier: Tier) -> Grant:
        """Lend a replica; whoever gets it calls `give_back`.

        Where nothing is loaded, load it and wait for at most `start_timeout_s`; where a replica is about to be
        ready, or a suspicion about the only one about to be settled, wait for at most `patience_s`. Where all are
        busy, wait for a slot, however long it takes, unless `patience_s` is 0.

        Raises:
            EngineUnavailable: none can take the request; says why, and when to try again.
            Overloaded: all are busy, and the request may not wait.
            DeploymentNotFound: it was removed meanwhile.
        """
        grant = self.lease_at_once(wish)
        if grant is not None:
            return grant
        self._load()
        return await self._lending.in_turn(Waiter(tier, wish, patience_s))

    def lease_at_once(self, wish: Wish) -> Grant | None:
        """Lend a replica if one has a free slot now; whoever gets it calls `give_back`."""
        grant = self._lending.at_once(wish)
        if grant is not None:
            self._touch()
        return grant

    def give_back(self, replica: Replica) -> None:
        """Take a lent replica back; whoever is next gets it."""
        self._lending.give_back(replica)

    async def known_traits(self, patience_s: float) -> Traits:
        """The traits; waits, as `lease` does but not for a slot, where no replica was ever ready."""
        if self.traits is not None:
            return self.traits
        self._load()
        deadline = self._loop.time() + self.limit_s(patience_s)
        replica = await self._lending.any_replica(deadline, lambda left_s: self.hopeful(ANY, min(left_s, patience_s)))
        return replica.traits

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until a replica is ready; loads nothing.

        Raises:
            EngineUnavailable: none is after that time, or none ever will be by itself.
        """
        await self._lending.any_replica(self._loop.time() + timeout_s, lambda _left_s: self._wanted() > 0)

    async def counters(self) -> list[tuple[str, EngineCounters]]:
        """The counters of each ready replica's engine, by the replica's id; those that do not answer are left out."""
        ready = [replica for replica in (*self.serving(), *self._leaving) if replica.connection is not None]
        found = await asyncio.gather(*(_counters(replica) for replica in ready))
        return [(replica.id, counters) for replica, counters in zip(ready, found, strict=True) if counters is not None]

    async def close(self, drain_s: float, *, removed: bool = False) -> None:
        """Retire every replica and wait until all have ended. May be called again, with 0 for `drain_s`.

        Args:
            drain_s: how long running requests may go on.
            removed: whether the deployment is no more, rather than the server.
        """
        self._closed = True
        self._removed = self._removed or removed
        self._task.cancel()
        replicas = (*self._current, *self._outdated, *self._leaving)
        for replica in replicas:
            replica.retire(drain_s)
        self._lending.announce()
        await asyncio.wait({self._task})
        await self._scaling.close()
        await asyncio.gather(*(replica.ended.wait() for replica in replicas))
        self._leaving = self._outdated = self._current = []

    def serving(self) -> list[Replica]:
        """See `Outlook.serving`."""
        return [*self._current, *self._outdated]

    def _wanted(self, *, loaded: bool = False) -> int:
        return self._scaling.replicas if (loaded or self._loaded) and not self._closed else 0

    def _load(self) -> None:
        """Load the deployment where it is unloaded."""
        if not self._loaded and self._wanted(loaded=True) > 0:
            self._loaded = self._loading = True
            self._scaling.wake()
            self._touch()
            self._step()
            self._changed.set()

    def room(self) -> int:
        """See `Outlook.room`."""
        parallel = self.settings.parallel if self.traits is None else self.traits.parallel
        return room(self.settings.queue, self.serving(), self._wanted(), parallel)

    def limit_s(self, patience_s: float) -> float:
        """See `Outlook.limit_s`; a load on demand may take as long as a start may."""
        return self._shared.limits.start_timeout_s if self._loading else patience_s

    def hopeful(self, wish: Wish, left_s: float) -> bool:
        """See `Outlook.hopeful`."""
        serving = [] if self._closed else self.serving()
        return hopeful(serving, wish, self._loop.time(), left_s, loading=self._loading)

    def used(self) -> None:
        """See `Outlook.used`."""
        self._touch()
        if self._idle_left() is not None:
            self._changed.set()

    def unavailable(self, wish: Wish) -> EngineUnavailable | DeploymentNotFound:
        """See `Outlook.unavailable`."""
        name = self.settings.name
        if self._removed:
            return DeploymentNotFound(name)
        if self._closed:
            return EngineUnavailable("The server is shutting down.", retry_after_s=RETRY_STARTING_S)
        return unavailable(self.settings, self.serving(), wish, self._loop.time(), loaded=self._loaded)

    async def _reconcile(self) -> None:
        """Bring about what is wanted whenever something changes, and unload what is idle."""
        while True:
            self._changed.clear()
            self._unload_if_idle()
            self._step()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._next_look()):
                    await self._changed.wait()

    def _next_look(self) -> float | None:
        """Seconds until something is to be done although nothing changes."""
        looks = [left_s for left_s in (self._idle_left(), self._scaling.left_s()) if left_s is not None]
        return min(looks) if looks and self._loaded else None

    def _step(self) -> None:
        """Start what is missing and retire what is too much.

        New replicas come one by one while outdated ones still serve, each sends one of those home once it is
        ready: the deployment never has fewer that can serve than before, and only one more than wanted.
        """
        self._leaving = [replica for replica in self._leaving if not replica.ended.is_set()]
        self._current = [replica for replica in self._current if not replica.ended.is_set()]
        wanted = self._wanted()
        for replica in surplus(self._current, wanted):
            self._retire(replica, self._current)
        ready = sum(replica.usable and replica.doubt == 0 for replica in self._current)
        serving = [replica for replica in self._outdated if replica.usable]
        kept = serving[: max(0, wanted - ready)]
        for replica in [replica for replica in self._outdated if replica not in kept]:
            self._retire(replica, self._outdated)
        allowed = min(wanted, ready + 1) if kept else wanted
        while len(self._current) < allowed:
            self._current.append(self._new_replica())

    def _new_replica(self, replica_id: str | None = None) -> Replica:
        name, shared = self.settings.name, self._shared
        replica_id = replica_id or shared.new_replica_id(name)
        heard = partial(self.log.heard, replica_id)
        launching = self._launching(
            replica_id, shared.cluster, shared.desk, shared.find_engine, shared.sockets.new(), heard
        )
        replica = Replica(replica_id, name, self._preparation, launching, shared.limits, self._replica_changed)
        self.log.changed(replica.status())
        return replica

    def _launching(self, *plain: Any) -> Launching:
        """What starts the engine of a replica."""
        return Launching(*plain)

    def _retire(self, replica: Replica, group: list[Replica]) -> None:
        group.remove(replica)
        self._lending.forget(replica)
        self._leaving.append(replica)
        replica.retire(self._shared.drain_s)

    def _replica_changed(self, replica: Replica) -> None:
        """Hear of a replica's new state."""
        if replica.connection is None:
            self.prompts.forget(replica.id)
        if replica.state is ReplicaState.READY:
            self._loading = False
            self._touch()
            if replica in self._current or self.traits is None:
                self.traits = replica.traits
        status = replica.status()
        self.log.changed(status)
        self._shared.on_change(self.settings.name, status)
        self._changed.set()
        self._lending.announce()

    def _touch(self) -> None:
        self._last_used = self._loop.time()

    def _idle_left(self) -> float | None:
        """Seconds until an unused deployment is unloaded; None while it is in use, on its way or to stay."""
        idle_s = self.settings.idle_unload_s
        if idle_s is None or not self._loaded or self._lending.awaited:
            return None
        if any(r.in_flight or r.state in _ON_THE_WAY for r in self.serving()) or self._elsewhere().busy:
            return None
        return max(0.0, self._last_used + idle_s - self._loop.time())

    def _unload_if_idle(self) -> None:
        left_s = self._idle_left()
        lending, elsewhere = self._lending, self._elsewhere()
        empty = self._scaling.look(self.serving(), lending.waiting, lending.waited_s, self.traits, elsewhere)
        awaited = lending.awaited or elsewhere.waiting
        if (left_s is not None and left_s <= 0) or (empty and self._loaded and not awaited):
            structlog.get_logger(__name__).info("deployment_unloaded", deployment=self.settings.name)
            self._loaded = False

    def _elsewhere(self) -> Want:
        """What other gateways have to do with these replicas."""
        return NOTHING

    def _note_end(self, task: "asyncio.Task[None]") -> None:
        """A defect that ends the task is logged; requests go on being served by what runs."""
        if not task.cancelled() and (defect := task.exception()) is not None:
            structlog.get_logger(__name__).error("deployment_defect", deployment=self.settings.name, exc_info=defect)


async def _counters(replica: Replica) -> EngineCounters | None:
    """Its engine's counters; None where it has none or does not answer."""
    try:
        return await replica.counters()
    except FreeholdError:
        return None
