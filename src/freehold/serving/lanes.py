"""The engines of one deployment, the fastest first, and which of them a request gets.

A deployment that names its engine has one lane, its replicas. `engine = "auto"` may stand for several: the first serves
whatever it has the features for; each of the others starts with the first request that needs it, or that has waited too
long for the first start of a faster one, and is stopped when it is not used. An engine that fails for good is given up,
and the next one serves in its place, until the deployment's settings change or the server starts again. Within a lane
nobody is overtaken; see `freehold.serving.lending`.
"""

import asyncio
from collections.abc import Awaitable, Collection
from dataclasses import replace
from typing import Final

import structlog

from freehold.engines.auto import AUTO, LeftOut, Plan
from freehold.errors import EngineUnavailable, FreeholdError, UnsupportedParameter
from freehold.serving.choice import Wish
from freehold.serving.deployment_log import DeploymentLog
from freehold.serving.engine_settings import of_engine
from freehold.serving.lending import Grant
from freehold.serving.replica import Replica
from freehold.serving.replica_set import ReplicaSet
from freehold.serving.shared_set import SharedReplicaSet
from freehold.serving.status import DeploymentStatus, LaneStatus, ReplicaStatus
from freehold.serving.surroundings import Surroundings
from freehold.types.deployment import DeploymentSettings, ReplicaState
from freehold.types.engine import EngineCounters, Feature, Tier, Traits

LEFT_OUT: Final = "left_out"
_WRITING: Final = frozenset({Feature.CHAT, Feature.COMPLETION})
_OF_ALL: Final = frozenset({Feature.N})
"""Features that say how a thing is done, not whether: a deployment has them only where every engine of it has."""


class Lanes:
    """What serves one deployment. `configure` says what is wanted.

    Args:
        settings: the deployment's.
        shared: what all deployments share.
    """

    def __init__(self, settings: DeploymentSettings, shared: Surroundings) -> None:
        self.settings = settings
        self.log = DeploymentLog()
        self._supervisor = shared
        self._shared = replace(shared, on_change=self._heard)
        self._loop = asyncio.get_running_loop()
        self._sets: list[ReplicaSet] = []
        self._leaving: dict[asyncio.Task[None], ReplicaSet] = {}
        self._given_up: dict[str, LeftOut] = {}
        self._plan = Plan((settings,))
        self._traits: Traits | None = None
        self._able: dict[frozenset[Feature], list[tuple[ReplicaSet, str]]] = {}
        self._closed = False
        self._arrange()

    def configure(self, settings: DeploymentSettings) -> None:
        """Take new settings; those that an engine sees lead to new replicas, which replace the old ones."""
        before, self.settings = self.settings, settings
        if of_engine(before) != of_engine(settings):
            self._given_up = {}
        self._arrange()

    @property
    def lent(self) -> int:
        """How many requests got a replica."""
        return sum(replicas.lent for replicas in self._sets)

    @property
    def engines(self) -> list[DeploymentSettings]:
        """The deployment's settings for each engine that serves it, or would."""
        return [replicas.settings for replicas in self._sets]

    def renew(self, engine: str) -> None:
        """Exchange the replicas of an engine for new ones of the same settings."""
        for replicas in self._sets:
            if replicas.settings.engine == engine:
                replicas.renew()

    def leave(self, nodes: frozenset[str]) -> None:
        """Have its replicas leave those nodes of the cluster."""
        for replicas in self._sets:
            replicas.leave(nodes)

    def status(self) -> DeploymentStatus:
        """What there is to see now."""
        found = [replicas.status() for replicas in (*self._sets, *self._leaving.values())]
        return DeploymentStatus(
            name=self.settings.name,
            state=self._state(),
            replicas=tuple(replica for status in found for replica in status.replicas),
            traits=self._known(),
            waiting=sum(status.waiting for status in found),
            lanes=self._lanes() if self.settings.engine == AUTO else (),
            prompt_cache=found[0].prompt_cache,
            scale=found[0].scale,
        )

    def lease(self, wish: Wish, patience_s: float, tier: Tier) -> Awaitable[Grant]:
        """Lend a replica of the fastest engine that can do what the request needs; see `ReplicaSet.lease`.

        Raises: as that; UnsupportedParameter where no engine turns out to have what the request needs.
        """
        if self.settings.engine != AUTO:
            return self._sets[0].lease(wish, patience_s, tier)
        return self._choose_and_lease(wish, patience_s, tier)

    def lease_at_once(self, wish: Wish) -> Grant | None:
        """As `lease`, where that is possible without waiting; None where it is not.

        Raises:
            UnsupportedParameter: no engine has what the request needs.
        """
        if self.settings.engine != AUTO:
            return self._sets[0].lease_at_once(wish)
        replicas, possible, why = self._pick(wish)
        grant = replicas.lease_at_once(possible)
        if grant is None:
            return None
        replica, lease = grant
        if not wish.needs <= replica.traits.features:
            replicas.give_back(replica)
            return None
        return replica, replace(lease, choice=why)

    def give_back(self, replica: Replica) -> None:
        """Take a lent replica back; whoever is next gets it."""
        for replicas in (*self._sets, *self._leaving.values()):
            if replicas.owns(replica):
                replicas.give_back(replica)
                return
        replica.release()

    async def known_traits(self, patience_s: float) -> Traits:
        """What the deployment can do, by whichever engine; waits, as `lease` does, where none was ever ready."""
        while (traits := self._known()) is None:
            first, engine = self._sets[0], self._sets[0].settings.engine
            try:
                async with asyncio.timeout(self._head_start_s(first, patience_s, len(self._sets) > 1)):
                    await first.known_traits(patience_s)
            except TimeoutError:
                await self._sets[-1].known_traits(patience_s)
            except EngineUnavailable:
                if self._stands(first, engine):
                    raise
        return traits

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until a replica is ready; loads nothing.

        Raises:
            EngineUnavailable: none is after that time, or none ever will be by itself.
        """
        deadline = self._loop.time() + timeout_s
        while True:
            first, engine = self._sets[0], self._sets[0].settings.engine
            try:
                return await first.wait_ready(deadline - self._loop.time())
            except EngineUnavailable:
                if self._stands(first, engine):
                    raise

    async def counters(self) -> list[tuple[str, EngineCounters]]:
        """See `ReplicaSet.counters`; without engines that count for other gateways too."""
        own = [each for each in (*self._sets, *self._leaving.values()) if not isinstance(each, SharedReplicaSet)]
        found = await asyncio.gather(*(replicas.counters() for replicas in own))
        return [pair for pairs in found for pair in pairs]

    async def close(self, drain_s: float, *, removed: bool = False) -> None:
        """Retire every replica and wait until all have ended. May be called again, with 0 for `drain_s`."""
        self._closed = True
        closing = (*self._sets, *self._leaving.values())
        await asyncio.gather(*(replicas.close(drain_s, removed=removed) for replicas in closing))

    def _arrange(self) -> None:
        """Have the replicas that the settings want, of the engines that were not given up."""
        if self._closed:
            return
        self._plan = self._supervisor.plan(self.settings)
        first, *others = (lane for lane in self._plan.lanes if lane.engine not in self._given_up)
        wanted = [first, *map(self._on_demand, others)]
        for index, (replicas, settings) in enumerate(zip(self._sets, wanted, strict=False)):
            if isinstance(replicas, SharedReplicaSet) is self._is_shared(settings):
                replicas.configure(settings)
            else:
                self._dismiss(replicas)
                self._sets[index] = self._new_set(settings)
        while len(self._sets) > len(wanted):
            self._dismiss(self._sets.pop())
        self._sets += [self._new_set(lane) for lane in wanted[len(self._sets) :]]
        self._forget()

    def _new_set(self, lane: DeploymentSettings) -> ReplicaSet:
        kind = SharedReplicaSet if self._is_shared(lane) else ReplicaSet
        return kind(lane, self._shared, self.log)

    def _is_shared(self, lane: DeploymentSettings) -> bool:
        """Whether other gateways use the same replicas: somebody is there, and the engine is a process of ours."""
        return self._shared.sharing is not None and not self._shared.find_engine(lane.engine).elsewhere

    def _on_demand(self, lane: DeploymentSettings) -> DeploymentSettings:
        """The settings of an engine beside a faster one: one replica, when it is needed."""
        unload_s = self.settings.idle_unload_s or self._shared.limits.full_engine_unload_s
        update = {"start": "on_demand", "replicas": min(1, lane.replicas), "idle_unload_s": unload_s, "autoscale": None}
        return lane.model_copy(update=update)

    def _dismiss(self, replicas: ReplicaSet) -> None:
        """Have replicas end when their running requests are done."""
        task = asyncio.create_task(replicas.close(self._shared.drain_s))
        self._leaving[task] = replicas
        task.add_done_callback(self._leaving.pop)

    def _heard(self, name: str, status: ReplicaStatus) -> None:
        """Hear of a replica's new state."""
        self._forget()
        self._supervisor.on_change(name, status)
        self._loop.call_soon(self._review)

    def _forget(self) -> None:
        """What was concluded from the engines' features may hold no more."""
        self._traits = None
        self._able.clear()

    def _review(self) -> None:
        """Give up an engine that fails for good, if there is another."""
        for replicas in self._sets[:-1]:
            failure = replicas.broken
            if failure is not None and not self._closed:
                self._give_up(replicas, failure)
                return

    def _give_up(self, replicas: ReplicaSet, failure: FreeholdError) -> None:
        """Serve by the next engine: if that runs, what is given up ends; else its replicas are exchanged."""
        engine, following = replicas.settings.engine, self._sets[self._sets.index(replicas) + 1]
        self._given_up[engine] = LeftOut(engine, failure.message)
        follower = following.settings.engine
        structlog.get_logger().warning(
            "engine_given_up", deployment=self.settings.name, engine=engine, error=failure.message, instead=follower
        )
        self.log.heard(engine, f"given up, '{follower}' serves in its place: {failure.message}")
        if following.loaded:
            self._sets.remove(replicas)
            self._dismiss(replicas)
        self._arrange()

    def _stands(self, replicas: ReplicaSet, engine: str) -> bool:
        """Whether these replicas still are what was asked for, or all is over."""
        return self._closed or (replicas in self._sets and replicas.settings.engine == engine)

    async def _choose_and_lease(self, wish: Wish, patience_s: float, tier: Tier) -> Grant:
        """Lend of the engine that can, and of another if it turns out that it cannot."""
        late: set[ReplicaSet] = set()
        while True:
            replicas, possible, why = self._pick(wish, late)
            engine, others = replicas.settings.engine, len(self._able[wish.needs]) > len(late) + 1
            try:
                async with asyncio.timeout(self._head_start_s(replicas, patience_s, others)):
                    replica, lease = await replicas.lease(possible, patience_s, tier)
            except TimeoutError:
                late.add(replicas)
                continue
            except EngineUnavailable:
                if self._stands(replicas, engine):
                    raise
                continue
            if wish.needs <= replica.traits.features:
                if replicas.settings.engine != engine and replicas in self._sets:
                    why = self._reason(replicas, wish.needs)  # its engine was given up while the request waited
                return replica, replace(lease, choice=why)
            replicas.give_back(replica)
            if replicas.traits is not None and wish.needs <= replicas.traits.features:
                raise EngineUnavailable(f"The deployment `{self.settings.name}` is changing.", retry_after_s=1.0)

    def _head_start_s(self, replicas: ReplicaSet, patience_s: float, others: bool) -> float | None:
        """How long a request waits for replicas until it goes to `others`, if there are; None without end.

        Only a start that computes is not waited for: whoever fetches a model fetches it for all.
        """
        starting = replicas.traits is None and replicas.state == ReplicaState.STARTING
        return self._shared.limits.full_engine_after_s if others and starting and patience_s > 0 else None

    def _pick(self, wish: Wish, late: Collection[ReplicaSet] = ()) -> tuple[ReplicaSet, Wish, str]:
        """The replicas for a request, what it can wish of them, and why those; for `late` ones it has waited already.

        Raises:
            UnsupportedParameter: no engine has what it needs.
        """
        able = self._able.get(wish.needs)
        if able is None:
            able = self._able[wish.needs] = self._those_with(wish.needs)
        for replicas, why in able:
            if replicas.serves(wish):
                return replicas, wish, why
        for replicas, why in able:
            if replicas not in late and replicas.could_serve(wish):
                return replicas, wish, why
        # there is no other: better the same again than nothing
        return able[0][0], replace(wish, avoid=frozenset()), able[0][1]

    def _those_with(self, needs: frozenset[Feature]) -> list[tuple[ReplicaSet, str]]:
        """The engines that have these features, the fastest first, and why each may be chosen.

        Raises:
            UnsupportedParameter: there is none.
        """
        wanted = needs | self._of_defaults() if needs & _WRITING else needs
        able = [replicas for replicas in self._sets if wanted <= self._features(replicas)]
        if not able:
            wanted = needs
            able = [replicas for replicas in self._sets if needs <= self._features(replicas)]
        if not able:
            raise UnsupportedParameter(
                f"The model '{self.settings.name}' does not do what the request asks for: "
                f"{', '.join(sorted(needs - self._union()))}."
            )
        return [(replicas, self._reason(replicas, wanted)) for replicas in able]

    def _of_defaults(self) -> frozenset[Feature]:
        """What an engine must have to do what the deployment's defaults add to a request that leaves it out."""
        defaults = self.settings.defaults
        penalties = defaults.frequency_penalty or defaults.presence_penalty
        return frozenset({Feature.PENALTIES}) if penalties else frozenset()

    def _reason(self, chosen: ReplicaSet, needs: frozenset[Feature]) -> str:
        """Why an engine was chosen, in a few words."""
        faster = self._sets[: self._sets.index(chosen)]
        if not faster:
            passed = next((lane for lane in (*self._plan.left_out, *self._given_up.values())), None)
            return "fastest" if passed is None else f"{passed.engine} is left out"
        lacking = needs - self._features(faster[0])
        if lacking:
            return f"needs {', '.join(sorted(lacking))}"
        return f"{faster[0].settings.engine} is not ready"

    def _features(self, replicas: ReplicaSet) -> frozenset[Feature]:
        """What the engine can do; where it has never run, what it may turn out to do."""
        if replicas.traits is not None:
            return replicas.traits.features
        settings = replicas.settings
        return self._shared.find_engine(settings.engine).potential(settings)

    def _union(self) -> frozenset[Feature]:
        """What the deployment can do, by whichever engine."""
        features = [self._features(replicas) for replicas in self._sets]
        return frozenset().union(*features) - (_OF_ALL - frozenset.intersection(*features))

    def _known(self) -> Traits | None:
        """The fastest engine's traits, with the features of all; None where none was ever ready."""
        if self._traits is None:
            first = next((replicas.traits for replicas in self._sets if replicas.traits is not None), None)
            if first is not None and len(self._sets) > 1:
                first = replace(first, features=self._union())
            self._traits = first
        return self._traits

    def _state(self) -> str:
        """See `DeploymentStatus.state`: that of the fastest engine, or `ready` where another one is."""
        states = [replicas.state for replicas in self._sets]
        return "ready" if "ready" in states else states[0]

    def _lanes(self) -> tuple[LaneStatus, ...]:
        """How the engines fare, the fastest first."""
        out = {each.engine: each.why for each in (*self._plan.left_out, *self._given_up.values())}
        lanes = [LaneStatus(engine, LEFT_OUT, why) for engine, why in out.items()]
        return (*lanes, *(LaneStatus(replicas.settings.engine, replicas.state) for replicas in self._sets))
