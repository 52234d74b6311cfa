"""Starts a replica's engine where gateways share them, or takes one that runs: another gateway's, or one left to us."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from freehold.cluster.base import Hosted, HostedRecord, Placed, Placement
from freehold.cluster.desk import ArbiterDesk
from freehold.cluster.process import TAIL_LINES
from freehold.engines.base import Connection, EngineSpec
from freehold.errors import EngineUnavailable
from freehold.governance.directory import ORGANIZATION
from freehold.serving.launching import Launching, Started
from freehold.serving.offers import Offer
from freehold.serving.own_use import OwnUse
from freehold.serving.preparation import Preparation
from freehold.serving.status import Whereabouts
from freehold.types.address import TlsAddress
from freehold.types.cluster import Workload
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Traits


class Shares(Protocol):
    """What the replicas of a gateway know of the others."""

    @property
    def leads(self) -> bool:
        """Whether this gateway decides what runs, just now."""

    @property
    def ends(self) -> bool:
        """Whether engines may be told to end: it leads, or has handed them over, so that they are only let go."""

    def check(self) -> None:
        """Return if it does. Raises Unavailable, naming the one that does."""

    def offer(self, replica_id: str) -> Offer | None:
        """The replica of that id that this gateway may use."""

    def changed(self) -> None:
        """Have the others told soon of what this gateway has."""

    async def unused(self, replica_id: str) -> None:
        """Wait until no other gateway has requests on a replica that takes none any more."""


class Kept:
    """An engine that other gateways use too: only the one that leads ends it. See `freehold.cluster.base.Hosted`.

    Args:
        pid: of its process, on its node.
        shares: what is known of the other gateways.
    """

    def __init__(self, pid: int, shares: Shares) -> None:
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._pid = pid
        self._shares = shares
        self._process: Hosted | None = None

    @property
    def pid(self) -> int:
        """See `Hosted.pid`."""
        return self._pid if self._process is None else self._process.pid

    @property
    def owned(self) -> bool:
        """Whether this gateway has it in its hands."""
        return self._process is not None and not self._process.exited.done()

    def own(self, process: Hosted) -> None:
        """Have it in this gateway's hands."""
        self._process, self.tail = process, process.tail
        process.exited.add_done_callback(lambda _: self._ended(process))

    def describe_exit(self) -> str:
        """See `Hosted.describe_exit`."""
        return "the engine is another gateway's" if self._process is None else self._process.describe_exit()

    async def terminate(self, grace_s: float) -> None:
        """See `Hosted.terminate`; of another gateway's the hands are taken off."""
        if self._process is not None and self._shares.ends:
            await self._process.terminate(grace_s)
        self._let_go()

    async def kill(self) -> bool:
        """See `Hosted.kill`; as `terminate`."""
        gone = True
        if self._process is not None and self._shares.ends:
            gone = await self._process.kill()
        self._let_go()
        return gone

    async def read_rest(self) -> None:
        """See `Hosted.read_rest`."""
        if self._process is not None:
            await self._process.read_rest()

    def _ended(self, process: Hosted) -> None:
        """It has ended; where another gateway leads, it may only be in that one's hands now."""
        if self._process is not process:
            return
        if not self._shares.leads:
            self._process = None
        elif not self.exited.done():
            self.exited.set_result(process.exited.result())

    def _let_go(self) -> None:
        if not self.exited.done():
            self.exited.set_result(0)


class SharedLaunching(Launching):
    """See above. Used by one replica.

    Args:
        shares: what is known of the other gateways.
        deployment: the deployment's name.
        made_for: a digest of the settings that its engine is for.
        plain: what `Launching` takes.

    Attributes:
        id: the replica's.
        offer: the engine that runs, for all gateways; None while none does.
    """

    def __init__(self, shares: Shares, deployment: str, made_for: str, *plain: Any) -> None:
        super().__init__(*plain)
        self.id: str = self._id
        self.made_for = made_for
        self.offer: Offer | None = None
        self._shares = shares
        self._deployment = deployment
        self._kept: Kept | None = None
        self._left: Placed | None = None

    @property
    def owned(self) -> bool:
        """Whether its engine is in this gateway's hands."""
        found = self._kept.owned if self._kept is not None else False
        return found or (self._left is not None and not self._left.process.exited.done())

    async def prepared(self, preparation: Preparation, report: Callable[[str], None]) -> EngineSpec:
        """See `Launching.prepared`; for an engine that runs nothing has to be there.

        Raises:
            Unavailable: another gateway decides, and offers none.
        """
        running = self._running()
        if running is not None:
            return running.spec
        self._shares.check()
        return await super().prepared(preparation, report)

    async def start(self, spec: EngineSpec, log: FilteringBoundLogger, report: Callable[[str], None]) -> Started:
        """See `Launching.start`; one that runs is only connected to."""
        running = self._running()
        if running is not None:
            return await self._connected(running)
        self._shares.check()
        started = await super().start(spec, log, report)
        if started.process is not None:
            where, spec = started.whereabouts, started.whereabouts.spec
            self.offer = Offer(
                self.id,
                self._deployment,
                spec.settings.engine,
                started.nodes,
                started.process.pid,
                where.address,
                spec.settings,
                spec.weights_sha256,
                adapted=spec.adapter is not None,
                made_for=self.made_for,
            )
            self._shares.changed()
        return started

    def traits_of(self, told: Traits) -> Traits:
        """See `Launching.traits_of`: what the gateway found out that had the engine's files goes before."""
        if self.offer is None:
            return told
        if self.offer.traits is not None:
            return self.offer.traits
        self.offer = replace(self.offer, traits=told)
        self._shares.changed()
        return told

    async def own_use(self, connection: Connection) -> OwnUse:  # noqa: ARG002
        """See `Launching.own_use`: other gateways ask the engine too."""
        return OwnUse(alone=False)

    async def unused(self) -> None:
        """See `Launching.unused`."""
        if self._shares.leads and self.offer is not None:
            await self._shares.unused(self.id)

    def clear(self) -> None:
        """See `Launching.clear`: the engine has gone, or is used here no more."""
        super().clear()
        self._kept = None
        if self._left is None or self._left.process.exited.done():
            self._left = self.offer = None
        self._shares.changed()

    async def own(self, record: HostedRecord) -> None:
        """Take the engine that runs into this gateway's hands.

        Raises:
            NotFound: it has ended.
            Conflict: another gateway has it, that has begun to lead later.
        """
        if not self.owned:
            self._left = await self._cluster.attach(record, self._on_line)
            if self._kept is not None and not self._kept.exited.done():
                self._kept.own(self._left.process)
        self._workload = Workload(
            id=self.id,
            work_class=record.work_class,
            organization_id=ORGANIZATION,
            project_id=record.project,
            members=record.members,
            zones=record.zones,
            queued_at_s=time.time(),
            apart=None if len(record.members) > 1 else self.id.rpartition("-")[0] or None,
        )
        self.account(record.nodes)
        if self._left is not None:
            self._left.process.exited.add_done_callback(lambda _: self._desk.release(self.id))

    def is_of(self, record: HostedRecord) -> bool:
        """Whether that is this replica's engine, by its id and, where it is known, by where it listens."""
        return record.workload == self.id and (self.offer is None or record.address == self.offer.address)

    @property
    def permitted(self) -> bool:
        """Whether its engine may be where it runs, by what is permitted now."""
        return (
            self._workload is None or not isinstance(self._desk, ArbiterDesk) or self._desk.permits(self._workload.id)
        )

    def refresh(self, offer: Offer) -> None:
        """Take note of what is offered under this replica's name."""
        self.offer, self.made_for = offer, offer.made_for

    def account_again(self) -> None:
        """Have an arbiter that begins anew know what the engine has. Raises KeyError: its node is not seen."""
        if self.offer is not None:
            self.account(self.offer.nodes)

    def account(self, nodes: tuple[str, ...]) -> None:
        """Have the arbiter know what the engine has. Raises KeyError: a node is not seen."""
        if self._workload is not None and isinstance(self._desk, ArbiterDesk):
            self._desk.adopt(self._workload, nodes)

    def _running(self) -> Offer | None:
        """The engine that runs already: one that was left to this gateway, or another one's."""
        if self._left is not None and not self._left.process.exited.done():
            return self.offer
        return None if self._shares.leads else self._shares.offer(self.id)

    async def _connected(self, offer: Offer) -> Started:
        if isinstance(offer.address, TlsAddress):
            await self._cluster.nodes()  # who has joined the cluster has what its relays ask for
        self.offer, self._kept = offer, Kept(offer.pid, self._shares)
        if self._left is not None:
            self._kept.own(self._left.process)
        engine = self._find_engine(offer.engine)
        connection = engine.connect(offer.spec, offer.address)
        return Started(connection, Whereabouts(offer.spec, offer.address), self._kept, offer.nodes)

    async def _placed(
        self,
        placement: Placement,
        settings: DeploymentSettings,
        on_line: Callable[[str], None],
        report: Callable[[str], None],
    ) -> Placed:
        """See `Launching`; what was placed when another gateway had begun to lead is ended."""
        placed = await super()._placed(placement, settings, on_line, report)
        if not self._shares.leads:
            await placed.process.kill()
            raise EngineUnavailable("Another gateway leads the cluster now.")
        self._kept = Kept(placed.process.pid, self._shares)
        self._kept.own(placed.process)
        return replace(placed, process=self._kept)
