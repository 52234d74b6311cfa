"""The lender as a worker has it: the core lends replicas, and the worker connects to their engines itself."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import structlog

from freehold.engines.base import Connection
from freehold.engines.registry import get_engine
from freehold.errors import DeploymentNotFound, FreeholdError
from freehold.serving.lender import PATIENCE_S, Affinity
from freehold.serving.own_use import OwnCall, OwnUse
from freehold.serving.prompt_cache import Trial, Watch
from freehold.serving.status import DeploymentStatus, Lease
from freehold.types.engine import Feature, Tier, Traits
from freehold.types.generation import Usage
from freehold.workers.link import Link
from freehold.workers.wire import address_of, spec_of, traits_of, wire_of_affinity, wire_of_error, wire_of_usage

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Way:
    """A connection of this worker's to one engine, and how many requests use it."""

    number: int
    connection: Connection
    traits: Traits
    engine: str
    weights_sha256: str
    users: int = 0
    outdated: bool = False


class RemoteLender:
    """Asks the core for replicas. See `freehold.serving.lender.Lender`."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._ways: dict[str, _Way] = {}
        self._opening = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._statuses: dict[str, DeploymentStatus] = {}
        self._several: frozenset[str] = frozenset()
        """The deployments of which there are several replicas."""

    def attach(self, link: Link) -> None:
        """Take the link to the core; to be called before anything is asked."""
        self._link = link

    async def told(self, statuses: Mapping[str, Sequence[Any]]) -> None:
        """Hear how all deployments are: state, traits if they are known, and ids of replicas, by their names."""
        self._statuses = {
            name: DeploymentStatus(name, state, (), None if traits is None else traits_of(traits))
            for name, (state, traits, _) in statuses.items()
        }
        self._several = frozenset(name for name, (_, _, replicas) in statuses.items() if len(replicas) > 1)
        there = {replica for _, _, replicas in statuses.values() for replica in replicas}
        for replica in self._ways.keys() - there:
            await self._leave(self._ways.pop(replica))

    def acquire(
        self,
        name: str,
        needs: frozenset[Feature] = frozenset(),
        *,
        avoid: frozenset[str] = frozenset(),
        affinity: Affinity | None = None,
        patience_s: float = PATIENCE_S,
        tier: Tier = Tier.DEFAULT,
    ) -> AbstractAsyncContextManager[Lease]:
        """See `Lender.acquire`."""
        told = wire_of_affinity(affinity, blocks=name in self._several)
        wish = [name, sorted(needs), sorted(avoid), told, patience_s, tier]
        return _Acquisition(self, next(self._numbers), wish)

    async def traits(self, name: str) -> Traits:
        """See `Lender.traits`."""
        status = self._statuses.get(name)
        if status is not None and status.traits is not None:
            return status.traits
        return traits_of(await self.link.ask("traits", name))

    def names(self) -> list[str]:
        """See `Lender.names`."""
        return list(self._statuses)

    def status(self, name: str) -> DeploymentStatus:
        """See `Lender.status`; without its replicas."""
        found = self._statuses.get(name)
        if found is None:
            raise DeploymentNotFound(name)
        return found

    async def close(self) -> None:
        """Close all connections."""
        for way in self._ways.values():
            await way.connection.close()

    @property
    def link(self) -> Link:
        """The link to the core."""
        assert self._link is not None, "attached before anything is asked"
        return self._link

    async def way(self, replica_id: str, number: int, lease: int) -> _Way:
        """The connection to a replica's engine; made where there is none to the one that runs now.

        Args:
            replica_id: of the replica.
            number: the core's, of its connection; another one after each start of the engine.
            lease: by which it is lent.

        Raises:
            EngineUnavailable, EngineFailed: the engine does not answer.
        """
        known = self._ways.get(replica_id)
        if known is not None and known.number == number:
            return known
        async with self._opening:
            known = self._ways.get(replica_id)
            if known is not None and known.number == number:
                return known
            made = self._ways[replica_id] = await _opened(number, await self.link.ask("engine", lease))
        if known is not None:
            await self._leave(known)
        return made

    async def release(self, way: _Way) -> None:
        """A request uses a connection no more."""
        way.users -= 1
        if way.outdated and not way.users:
            await way.connection.close()

    @staticmethod
    async def _leave(way: _Way) -> None:
        """Close a connection as soon as no request uses it."""
        way.outdated = True
        if not way.users:
            await way.connection.close()


async def _opened(number: int, engine: Mapping[str, Any]) -> _Way:
    connection = get_engine(engine["engine"]).connect(spec_of(engine), address_of(engine["address"]))
    try:
        traits = await connection.open()
    except BaseException:
        await connection.close()
        raise
    return _Way(number, connection, traits, engine["engine"], engine["weights_sha256"])


class _Acquisition(AbstractAsyncContextManager[Lease]):
    """One lease, from asking for it to giving it back."""

    def __init__(self, lender: RemoteLender, number: int, wish: Sequence[Any]) -> None:
        self._lender = lender
        self._number = number
        self._wish = wish
        self._way: _Way | None = None

    async def __aenter__(self) -> Lease:
        link = self._lender.link
        try:
            replica_id, number, choice, watched = await link.ask("acquire", self._number, *self._wish)
            way = await self._lender.way(replica_id, number, self._number)
        except BaseException:
            link.post("release", self._number)
            raise
        way.users += 1
        self._way = way
        return Lease(
            replica_id,
            way.connection,
            way.traits,
            way.engine,
            way.weights_sha256,
            _RemoteOwnUse(link, self._number),
            partial(_report, link, self._number),
            choice,
            _RemoteWatch(link, self._number) if watched else None,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lender.link.post("release", self._number)
        way, self._way = self._way, None
        if way is not None:
            await self._lender.release(way)


class _RemoteOwnUse(OwnUse):
    """Tells the core what the service itself asks an engine for in this worker."""

    def __init__(self, link: Link, lease: int) -> None:
        super().__init__()
        self._link = link
        self._lease = lease

    @contextmanager
    def call(self) -> Iterator[OwnCall]:
        """See `OwnUse.call`."""
        self._link.post("own_begins", self._lease)
        call = OwnCall()
        try:
            yield call
        finally:
            self._link.post("own_ends", self._lease, wire_of_usage(call.usage))


class _RemoteWatch(Watch):
    """Tells the core how a request goes."""

    __slots__ = ("_lease", "_link")

    def __init__(self, link: Link, lease: int) -> None:
        super().__init__(Trial(), time.perf_counter, by_prompt=False)
        self._link = link
        self._lease = lease

    def first(self) -> None:
        """See `Watch.first`."""
        self._link.post("first", self._lease)

    def ended(self, usage: object) -> None:
        """See `Watch.ended`."""
        if isinstance(usage, Usage):
            self._link.post("ended", self._lease, wire_of_usage(usage))


def _report(link: Link, lease: int, _connection: Connection, error: BaseException) -> None:
    """See `Lease.report`."""
    if isinstance(error, FreeholdError):
        link.post("report", lease, wire_of_error(error))
