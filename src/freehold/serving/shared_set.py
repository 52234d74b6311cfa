"""The replicas of one deployment where several gateways share them: the one that leads has them, the others use them.

While this gateway leads it is a set like any other, but for what other gateways have to do, which counts too. While it
does not, it has what is offered, starts and ends nothing, and tells what it has to do.
"""

import hashlib
from typing import Any

import orjson

from freehold.errors import FreeholdError
from freehold.serving.choice import Wish
from freehold.serving.deployment_log import DeploymentLog
from freehold.serving.engine_settings import of_engine
from freehold.serving.launching import Launching
from freehold.serving.offers import Offer, Want
from freehold.serving.parts import on_each, parts
from freehold.serving.replica import Replica
from freehold.serving.replica_set import ReplicaSet
from freehold.serving.shared_launching import SharedLaunching
from freehold.serving.sharing import Sharing
from freehold.serving.surroundings import Surroundings
from freehold.types.deployment import DeploymentSettings, ReplicaState
from freehold.types.engine import EngineCounters


class SharedReplicaSet(ReplicaSet):
    """See above, and `ReplicaSet`."""

    def __init__(self, settings: DeploymentSettings, shared: Surroundings, log: DeploymentLog) -> None:
        assert shared.sharing is not None, "there is somebody to share with"
        self._sharing: Sharing = shared.sharing
        self._lent_elsewhere = 0
        self._urging = False
        super().__init__(settings, shared, log)
        self._sharing.join(self)

    @property
    def key(self) -> str:
        """See `Sharer.key`."""
        return f"{self.settings.name} {self.settings.engine}"

    @property
    def broken(self) -> FreeholdError | None:
        """See `ReplicaSet.broken`: the one that leads says so."""
        return super().broken if self._sharing.leads else None

    def renew(self) -> None:
        """See `ReplicaSet.renew`: the one that leads does it."""
        if self._sharing.leads:
            super().renew()

    def leave(self, nodes: frozenset[str]) -> None:
        """See `ReplicaSet.leave`: the one that leads does it."""
        if self._sharing.leads:
            super().leave(nodes)

    async def counters(self) -> list[tuple[str, EngineCounters]]:
        """See `ReplicaSet.counters`: engines count for all gateways, so one asks them."""
        return await super().counters() if self._sharing.leads else []

    async def close(self, drain_s: float, *, removed: bool = False) -> None:
        """See `ReplicaSet.close`."""
        self._sharing.changed()
        await super().close(drain_s, removed=removed)
        self._sharing.part(self)

    def hopeful(self, wish: Wish, left_s: float) -> bool:
        """See `Outlook.hopeful`: the one that leads may be about to start one."""
        if self._sharing.leads or self._closed:
            return super().hopeful(wish, left_s)
        return self.settings.replicas > 0

    def launchings(self) -> list[tuple[SharedLaunching, bool]]:
        """See `Sharer.launchings`."""
        replicas = (*self._current, *self._outdated, *self._leaving)
        return [(_of(replica), not replica.retiring) for replica in replicas]

    def want(self) -> Want:
        """See `Sharer.want`."""
        replicas = (*self._current, *self._outdated, *self._leaving)
        return Want(
            sum(replica.in_flight for replica in replicas),
            self._lending.waiting + (0 if self._loaded or not self._urging else 1),
            round(self._lending.waited_s, 3),
            self._lending.lent,
            {replica.id: replica.in_flight for replica in replicas if replica.in_flight},
            tuple(replica.id for replica in replicas if replica.state is ReplicaState.UNHEALTHY),
        )

    def follow(self, *, every: bool = False) -> None:
        """See `Sharer.follow`."""
        self._follow(every=every)
        self._changed.set()
        self._lending.announce()

    def lead(self) -> None:
        """See `Sharer.lead`."""
        present = made_for(self.settings)
        replicas, self._current, self._outdated = self.serving(), [], []
        for replica in replicas:
            launching = _of(replica)
            if not launching.owned:
                self._current.append(replica)
                self._retire(replica, self._current)
            elif launching.made_for == present and launching.permitted:
                self._current.append(replica)
            else:
                self._outdated.append(replica)
        self._scaling.begin(max(1, len(self._current) + len(self._outdated)))
        self._loaded = bool(replicas) or self.settings.start == "eager" or self._lending.awaited
        self._touch()
        self._step()
        self._changed.set()
        self._lending.announce()

    def hear(self) -> None:
        """See `Sharer.hear`."""
        elsewhere = self._elsewhere()
        if self._sharing.leads:
            if elsewhere.waiting:
                self._load()
            if elsewhere.busy or elsewhere.lent != self._lent_elsewhere:
                self._touch()
            for replica in self.serving():
                if replica.id in elsewhere.doubted:
                    replica.probe()
            self._changed.set()  # what is idle here may have been busy there until now
        self._lent_elsewhere = elsewhere.lent
        self._share_out()

    def _step(self) -> None:
        if self._sharing.leads:
            super()._step()
        else:
            self._follow()
        self._share_out()

    def _follow(self, *, every: bool = False) -> None:
        """Have what is offered and nothing else."""
        there = {offer.id: offer for offer in self._sharing.offers(self.key)}
        self._leaving = [replica for replica in self._leaving if not replica.ended.is_set()]
        for group in (self._current, self._outdated):
            for replica in list(group):
                if replica.ended.is_set():
                    group.remove(replica)
                elif _is_other(_of(replica), there.get(replica.id)):
                    self._retire(replica, group)
        here = {replica.id: _of(replica) for replica in self.serving()}
        for offer in there.values():
            if offer.id in here:
                here[offer.id].refresh(offer)
            elif (every or offer.traits is not None) and not self._closed:
                replica = self._new_replica(offer.id)
                _of(replica).refresh(offer)
                self._current.append(replica)
        self._loaded = bool(there) or self._lending.awaited
        if self._loaded:
            self._urging = False

    def _share_out(self) -> None:
        """Have each replica take as many requests as are this gateway's part."""
        replicas = sorted((replica for replica in self.serving() if replica.usable), key=lambda replica: replica.id)
        if self.traits is None or self.traits.parallel is None or not replicas:
            return
        wants = {**self._sharing.wants(self.key), self._sharing.name: self._lending.waiting + _running(replicas)}
        part = parts(self.traits.parallel * len(replicas), wants)[self._sharing.name]
        before = [replica.slots for replica in replicas]
        after = on_each(part, len(replicas), sorted(wants).index(self._sharing.name))
        for replica, slots in zip(replicas, after, strict=True):
            replica.slots = slots
        if before != after:
            self._lending.announce()

    def _wanted(self, *, loaded: bool = False) -> int:
        if self._sharing.leads:
            return super()._wanted(loaded=loaded)
        return max(1, len(self.serving())) if self.settings.replicas and not self._closed else 0

    def _load(self) -> None:
        if self._sharing.leads:
            super()._load()
        elif not self.serving() and self._wanted(loaded=True) > 0:
            self._loading = self._urging = True
            self._sharing.urge()

    def _unload_if_idle(self) -> None:
        if self._sharing.leads:
            super()._unload_if_idle()

    def _next_look(self) -> float | None:
        return super()._next_look() if self._sharing.leads else None

    def _elsewhere(self) -> Want:
        return self._sharing.elsewhere(self.key)

    def _launching(self, *plain: Any) -> Launching:
        return SharedLaunching(self._sharing, self.settings.name, made_for(self.settings), *plain)

    def _retire(self, replica: Replica, group: list[Replica]) -> None:
        super()._retire(replica, group)
        self._sharing.changed()


def made_for(settings: DeploymentSettings) -> str:
    """A digest of what an engine sees of a deployment's settings."""
    told = of_engine(settings)
    return hashlib.sha256(orjson.dumps(told, default=str, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _of(replica: Replica) -> SharedLaunching:
    launching = replica.launching
    assert isinstance(launching, SharedLaunching), "made here"
    return launching


def _is_other(launching: SharedLaunching, offer: Offer | None) -> bool:
    """Whether a replica is not what is offered under its name."""
    if offer is None:
        return True
    return launching.offer is not None and launching.offer.address != offer.address


def _running(replicas: list[Replica]) -> int:
    return sum(replica.in_flight for replica in replicas)
