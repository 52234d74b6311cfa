"""This gateway among those that share the replicas of one cluster: it leads, or it uses what the one that leads has.

Each second it renews its lease, or tries to take one that has ended, tells what it has to do, and hears what the others
have. It leads from when it has taken over what runs (`_take_over`) until its lease has been given up, or might have
ended by its own clock: then it decides nothing more, and ends nothing.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import structlog

from freehold.cluster.base import Cluster, HostedRecord
from freehold.cluster.leader import LEASE_S, MARGIN_S, led
from freehold.errors import Conflict, FreeholdError, NotFound, Unavailable
from freehold.serving.board import Board, Follows, Standing
from freehold.serving.offers import NOTHING, Offer, Want, offers_of, together, wants_of
from freehold.serving.sharing import Sharer
from freehold.serving.taking_over import adopt
from freehold.store.leading import Told
from freehold.types.cluster import NodeState
from freehold.types.lead import Lead

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
"""How often a gateway renews, tells and hears."""
GONE_US: Final = 10_000_000
"""A gateway that has told nothing for so long is not counted."""
UNFIT_S: Final = 10.0
"""Who could not take over what runs leaves the lead to others for so long."""
_CLUSTER: Final = ""
"""Under which, among the replicas, it is published what holds for the whole cluster."""
_DRAIN_S: Final = 600.0
"""How long requests may go on, on what nobody wants any more."""


class Leading:
    """See above, and `freehold.serving.sharing.Sharing`. Its block takes part; `at_work` lets it lead.

    Args:
        board: where gateways tell each other.
        gateway: this one's name.
        cluster: what they share.
        follows: who decides about room.
        credentials: the folder of this gateway's own; see `freehold.types.address.TlsAddress`.
        clock: seconds, that never go back or stand still.
    """

    def __init__(
        self,
        board: Board,
        gateway: str,
        cluster: Cluster,
        follows: Follows,
        credentials: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = gateway
        self._board = board
        self._cluster = cluster
        self._follows = follows
        self._credentials = credentials
        self._clock = clock
        self._sharers: list[Sharer] = []
        self._lead = Lead()
        self._leads_until = 0.0
        self._took_over = self._at_work = self._handed_over = False
        self._unfit_until = 0.0
        self._epoch = 0
        self._known = -1
        self._offers: dict[str, Offer] = {}
        self._draining: list[str] = []
        self._published: dict[str, Any] | None = None
        self._taken_back: dict[str, int] = {}
        self._others: dict[str, tuple[Told, dict[str, Want]]] = {}
        self._urgent = False
        self._next_s = 0.0
        self._wake = asyncio.Event()
        self._ticked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ids = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._taking: asyncio.Task[None] | None = None
        self._failing = ""
        board.heard = self._heard

    async def __aenter__(self) -> Self:
        await self._try()
        self._begin(self._run(), "cluster's lead")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave; where this gateway still leads, what it had has ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(FreeholdError):
            if self.leads:
                await self._board.publish(self._epoch, {})
            await self._give_up()
            await self._board.leave(self.name)
        await self._board.close()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """This gateway may lead during the block; at its end another one does, if there is one."""
        self._at_work, self._next_s = True, 0.0
        await self._try()
        if self._taking is not None:
            await asyncio.wait({self._taking}, timeout=LEASE_S)
        try:
            yield
        finally:
            self._at_work = False
            if self._others or not self.leads:
                await self._hand_over()

    @property
    def leads(self) -> bool:
        """See `Shares.leads`."""
        return self._took_over and self._clock() < self._leads_until

    @property
    def ends(self) -> bool:
        """See `Shares.ends`."""
        return self._handed_over or self.leads

    @property
    def standing(self) -> Standing:
        """Who leads, as this gateway knows."""
        lead = self._lead
        return Standing(self.name, lead.holder, lead.epoch, lead.since_us, self.leads, len(self._others) + 1)

    def check(self) -> None:
        """See `Shares.check`."""
        if not self.leads:
            who = f"The gateway '{self._lead.holder}' leads" if self._lead.holder else "Another gateway leads"
            raise Unavailable(f"{who} the cluster, and decides what runs there.", retry_after_s=LOOK_S)

    def join(self, sharer: Sharer) -> None:
        """See `Sharing.join`."""
        self._sharers.append(sharer)

    def part(self, sharer: Sharer) -> None:
        """See `Sharing.part`."""
        if sharer in self._sharers:
            self._sharers.remove(sharer)

    def offer(self, replica_id: str) -> Offer | None:
        """See `Shares.offer`."""
        return self._offers.get(replica_id)

    def offers(self, key: str) -> Sequence[Offer]:
        """See `Sharing.offers`."""
        return [each for each in self._offers.values() if _key(each) == key and not each.draining]

    def elsewhere(self, key: str) -> Want:
        """See `Sharing.elsewhere`."""
        return together([wants.get(key, NOTHING) for _, wants in self._others.values()]) if self._others else NOTHING

    def wants(self, key: str) -> Mapping[str, int]:
        """See `Sharing.wants`."""
        found = {name: wants.get(key, NOTHING) for name, (_, wants) in self._others.items()}
        return {name: want.running + want.waiting for name, want in found.items()}

    def urge(self) -> None:
        """See `Sharing.urge`."""
        self._urgent = True
        self._heard()

    def changed(self) -> None:
        """See `Shares.changed`."""
        self._wake.set()

    def new_id(self, deployment: str) -> str:
        """See `Sharing.new_id`."""
        return f"{deployment}-{self._epoch}.{next(self._ids)}"

    async def unused(self, replica_id: str) -> None:
        """See `Shares.unused`."""
        while self.leads:
            number = self._taken_back.get(replica_id)
            if number is not None and not any(
                told.known < number or any(want.held.get(replica_id) for want in wants.values())
                for told, wants in self._others.values()
            ):
                return
            await asyncio.shield(self._ticked)

    # ---- what happens each second

    def _heard(self) -> None:
        self._next_s = 0.0
        self._wake.set()

    def _begin(self, work: Any, name: str) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (defect := task.exception()) is not None:
            log.error("defect", task=task.get_name(), exc_info=defect)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            await self._try()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._next_s - self._clock())):
                    await self._wake.wait()

    async def _try(self) -> None:
        """Do what is due; what cannot be done now is tried again in a moment."""
        try:
            if self._clock() >= self._next_s:
                self._next_s = self._clock() + LOOK_S
                await self._tick()
            await self._publish()
            self._failing = ""
        except FreeholdError as exc:
            if exc.message != self._failing:
                log.warning("cluster_not_shared", reason=exc.message)
            self._failing = exc.message
        # A loop's edge: whoever loses it loses the lead, and would follow nobody.
        except Exception:
            log.exception("defect")
        if self._took_over and not self.leads:
            self._lose()

    async def _tick(self) -> None:
        asked_s = self._clock()
        look = await self._board.look()
        wants = self._at_work and asked_s >= self._unfit_until
        after = led(look.lead, self.name, self._epoch, look.now_us, wants=wants)
        if after != look.lead and not await self._board.put(look.lead, after):
            after = (await self._board.look()).lead
        self._lead = after
        if after.holder == self.name and after.lives(look.now_us) and after.epoch >= self._epoch:
            self._leads_until = asked_s + LEASE_S - MARGIN_S
            taking = self._taking is not None and not self._taking.done()
            if after.epoch != self._epoch or not (self._took_over or taking):
                self._epoch = after.epoch
                self._lose()
                self._taking = self._begin(self._take_over(after.epoch), "take the cluster over")
        else:
            self._leads_until = 0.0
        if not self.leads and look.number != self._known:
            await self._read()
        urgent, self._urgent = self._urgent, False
        mine = {sharer.key: sharer.want().wire() for sharer in self._sharers}
        await self._board.tell(self.name, self._known, mine, urgent=urgent)
        told = await self._board.told()
        self._others = {
            name: (each, wants_of(each.body))
            for name, each in told.items()
            if name != self.name and each.seen_us > look.now_us - GONE_US
        }
        for sharer in list(self._sharers):
            sharer.hear()
        ticked, self._ticked = self._ticked, asyncio.get_running_loop().create_future()
        ticked.set_result(None)

    async def _read(self, *, every: bool = False) -> None:
        """Have in force here what is published."""
        number = (await self._board.look()).number
        wire = await self._board.offers()
        self._draining = wire.pop(_CLUSTER, {}).get("draining", [])
        self._offers = offers_of(wire, self._credentials)
        self._known = number
        for sharer in list(self._sharers):
            sharer.follow(every=every)

    async def _publish(self) -> None:
        """Tell the others what there is, if it is not what was told last."""
        if not self.leads:
            return
        found = {offer.id: offer for offer in self._own_offers()}
        told = {_CLUSTER: {"draining": self._follows.draining()}}
        told |= {replica: offer.wire() for replica, offer in found.items()}
        if told == self._published:
            return
        number = await self._board.publish(self._epoch, told)
        if number is None:
            self._leads_until = 0.0
            return
        self._published, self._known, self._offers = told, number, found
        for offer in found.values():
            if offer.draining:
                self._taken_back.setdefault(offer.id, number)
        self._taken_back = {replica: first for replica, first in self._taken_back.items() if replica in found}

    def _own_offers(self) -> list[Offer]:
        return [
            replace(launching.offer, draining=not taking)
            for sharer in self._sharers
            for launching, taking in sharer.launchings()
            if launching.offer is not None and launching.owned
        ]

    # ---- changes of the lead

    async def _take_over(self, epoch: int) -> None:
        """Have all that runs in this gateway's hands, and decide from then on."""
        try:
            self._cluster.lead(epoch)
            self._follows.begin(epoch)
            await self._read(every=True)
            await self._drain()
            found = await adopt(self._cluster, self._sharers)
        except FreeholdError as exc:
            log.warning("cluster_not_taken_over", reason=exc.message, epoch=epoch)
            self._unfit_until = self._clock() + UNFIT_S
            self._follows.end()
            with suppress(FreeholdError):
                await self._give_up()
            return
        if epoch != self._epoch or self._clock() >= self._leads_until:
            return
        known = {self.name, *self._others}
        strays = [each for each in found if each.owner in known or each.workload in self._offers]
        self._took_over, self._published = True, None
        self._taken_back = {}
        log.info("cluster_led", gateway=self.name, epoch=epoch, replicas=len(self._offers), strays=len(strays))
        for sharer in list(self._sharers):
            sharer.lead()
        for record in strays:
            self._begin(self._dismiss(record), f"dismiss {record.workload}")
        self._heard()

    async def _drain(self) -> None:
        """Have those nodes drain that the leader before had told to, and no others."""
        now = {node.id for node in await self._cluster.nodes() if node.state is NodeState.DRAINING}
        for node in set(self._draining) - now:
            with suppress(NotFound):
                await self._cluster.drain(node)
        for node in now - set(self._draining) if self._lead.epoch > 1 else ():
            await self._cluster.resume(node)
        await self._follows.look()

    async def _dismiss(self, record: HostedRecord) -> None:
        """End what nobody wants, when no gateway has requests on it any more."""
        with suppress(TimeoutError, NotFound, Conflict):
            async with asyncio.timeout(_DRAIN_S):
                while self._is_held(record.workload):
                    await asyncio.shield(self._ticked)
        if self.leads:
            with suppress(FreeholdError):
                await self._cluster.dismiss(record)

    def _is_held(self, replica_id: str) -> bool:
        """Whether another gateway has requests on a replica."""
        return any(want.held.get(replica_id) for _, wants in self._others.values() for want in wants.values())

    def _lose(self) -> None:
        """Decide no more; what runs goes on."""
        if self._took_over:
            log.warning("cluster_led_no_more", gateway=self.name, epoch=self._epoch)
            self._follows.end()
        self._took_over, self._known = False, -1

    async def _give_up(self) -> None:
        """Let go of the lease, if this gateway has it."""
        look = await self._board.look()
        after = led(look.lead, self.name, self._epoch, look.now_us, wants=False)
        if after != look.lead:
            await self._board.put(look.lead, after)
        self._leads_until = 0.0

    async def _hand_over(self) -> None:
        """Have another gateway lead, with all that runs."""
        if self.leads:
            log.info("cluster_handed_over", gateway=self.name, epoch=self._epoch)
            with suppress(FreeholdError):
                await self._publish()
        self._cluster.hand_over()
        self._handed_over = True
        self._leads_until = 0.0
        self._lose()
        with suppress(FreeholdError):
            await self._give_up()
            await self._board.leave(self.name)


def _key(offer: Offer) -> str:
    return f"{offer.deployment} {offer.engine}"
