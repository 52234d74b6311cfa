"""This gateway among those that share the replicas of one cluster: it leads, or it uses what the one that leads has.

Each second it renews its lease, or tries to take one that has ended, tells what it has to do, and hears what the others
have. It leads from when it has taken over what runs (`_take_over`) until its lease has been given up, or might have
ended by its own clock: then it decides nothing more, and ends nothing. The lease is of the cluster by the name that it
has itself, so it begins when the cluster was joined; a gateway that has lost the way there leaves the lead to others.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import structlog

from freehold.cluster.base import Cluster, HostedRecord
from freehold.cluster.leader import LEASE_S, MARGIN_S, led
from freehold.errors import FreeholdError, Unavailable
from freehold.serving.board import Board, Follows, Standing
from freehold.serving.membership import Membership
from freehold.serving.offers import Offer, Want, offers_of
from freehold.serving.others import Others
from freehold.serving.sharing import Sharer, offers_in_hand
from freehold.serving.taking_over import take_over
from freehold.serving.tasks import Tasks, cancel
from freehold.store.leading import Look
from freehold.types.lead import Lead

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
"""How often a gateway renews, tells and hears."""
UNFIT_S: Final = 10.0
"""Who could not take over what runs leaves the lead to others for so long."""
TAKE_OVER_S: Final = 180.0
"""So long it may take to take over what runs: longer than nodes that are lost are waited for."""
_GIVING_UP: Final = 3
"""So often it is tried to give a lease up that is renewed at the same time."""
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
        self._tasks = Tasks()
        self._membership = Membership(cluster, self._tasks, clock)
        self._sharers: list[Sharer] = []
        self._lead = Lead()
        self._led = False
        self._leads_until = 0.0
        self._took_over = self._at_work = self._handed_over = False
        self._unfit_until = 0.0
        self._epoch = self._left_to = 0
        self._known = -1
        self._offers: dict[str, Offer] = {}
        self._draining: list[str] | None = None
        self._published: dict[str, Any] | None = None
        self._taken_back: dict[str, int] = {}
        self._others = Others(gateway)
        self._urgent = False
        self._next_s = 0.0
        self._wake = asyncio.Event()
        self._ticked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ids = itertools.count(1)
        self._taking: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._failing = ""
        board.heard = self._heard

    async def __aenter__(self) -> Self:
        await self._membership.join(LEASE_S)
        await self._try()
        self._tasks.begin(self._run(), "cluster's lead")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Leave; where this gateway still leads, what it had has ended."""
        await self._tasks.close()
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
            if self._others.names or not self.leads:
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
        leader = lead.holder if self._led else ""
        return Standing(self.name, leader, lead.epoch, lead.since_us, self.leads, len(self._others.names) + 1)

    def check(self) -> None:
        """See `Shares.check`."""
        if not self.leads:
            self._membership.which()
            leader, said = self.standing.leader, "No gateway leads the cluster just now, but one will soon."
            if leader not in {"", self.name}:
                said = f"The gateway '{leader}' leads the cluster, and decides what runs there."
            raise Unavailable(said, retry_after_s=LOOK_S)

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
        return self._others.together(key)

    def wants(self, key: str) -> Mapping[str, int]:
        """See `Sharing.wants`."""
        return self._others.wants(key)

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
            if number is not None and self._others.know(number) and not self._others.hold(replica_id):
                return
            await asyncio.shield(self._ticked)

    def _heard(self) -> None:
        self._next_s = 0.0
        self._wake.set()

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
        self._be_on(self._membership.which())
        asked_s = self._clock()
        look = await self._board.look()
        fit = asked_s >= self._unfit_until and not self._membership.cut
        after = led(look.lead, self.name, self._epoch, look.now_us, wants=self._at_work and fit)
        if after != look.lead and not await self._board.put(look.lead, after):
            after = (await self._board.look()).lead
        self._see(after, look, asked_s)
        if not self.leads and look.number != self._known:
            await self._read()
        urgent, self._urgent = self._urgent, False
        mine = {sharer.key: sharer.want().wire() for sharer in self._sharers}
        await self._board.tell(self.name, self._known, mine, urgent=urgent)
        self._others.hear(await self._board.told(), look.now_us)
        for sharer in list(self._sharers):
            sharer.hear()
        ticked, self._ticked = self._ticked, asyncio.get_running_loop().create_future()
        ticked.set_result(None)

    def _be_on(self, cluster: str) -> None:
        """Be one of those that share that cluster; on another one than before everything begins anew."""
        if cluster == self._board.cluster:
            return
        if self._board.cluster:
            log.warning("cluster_is_another", before=self._board.cluster, now=cluster)
        if self._taking is not None:
            self._taking.cancel()
        self._leads_until = 0.0
        self._lose()
        self._board.cluster, self._lead, self._led, self._epoch, self._left_to = cluster, Lead(), False, 0, 0

    def _see(self, lead: Lead, look: Look, asked_s: float) -> None:
        """Take note of who leads, as it was written or read after the look for which was asked then."""
        self._lead, self._led = lead, lead.lives(look.now_us)
        if self._led and lead.holder == self.name and lead.epoch >= self._epoch and not self._handed_over:
            self._leads_until = asked_s + LEASE_S - MARGIN_S
            taking = self._taking is not None and not self._taking.done()
            if lead.epoch != self._epoch or not (self._took_over or taking):
                self._epoch = lead.epoch
                self._lose()
                work = self._take_over(lead.epoch, self._taking)
                self._taking = self._tasks.begin(work, "take the cluster over")
            return
        self._leads_until = 0.0
        if self._led and lead.holder != self.name and lead.epoch != self._left_to:
            self._left_to = lead.epoch
            self._leaving = self._tasks.begin(self._cluster.let_go(), "let go of engines")

    async def _read(self, *, every: bool = False) -> None:
        """Have in force here what is published."""
        number = (await self._board.look()).number
        wire = await self._board.offers()
        told = wire.pop(_CLUSTER, None)
        self._draining = None if told is None else told.get("draining", [])
        self._offers = offers_of(wire, self._credentials)
        self._known = number
        for sharer in list(self._sharers):
            sharer.follow(every=every)

    async def _publish(self) -> None:
        """Tell the others what there is, if it is not what was told last."""
        if not self.leads:
            return
        found = {offer.id: offer for offer in offers_in_hand(self._sharers)}
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

    async def _take_over(self, epoch: int, before: "asyncio.Task[None] | None") -> None:
        """Have all that runs in this gateway's hands, and decide from then on; what it began before is over first."""
        if before is not None:
            await cancel(before)
        if self._leaving is not None:
            await asyncio.wait({self._leaving})
        try:
            async with asyncio.timeout(TAKE_OVER_S):
                self._follows.begin(epoch)
                await self._cluster.lead(epoch)
                await self._read(every=True)
                found = await take_over(self._cluster, self._follows, self._sharers, self._draining)
        except FreeholdError as exc:
            log.warning("cluster_not_taken_over", reason=exc.message, epoch=epoch)
            await self._resign()
        # A task's end: whoever has the lease and cannot lead would keep all others from it.
        except Exception:
            log.exception("defect", epoch=epoch)
            await self._resign()
        else:
            if epoch == self._epoch and self._clock() < self._leads_until:
                self._begin_to_lead(epoch, found)
            else:
                self._follows.end()

    def _begin_to_lead(self, epoch: int, found: Sequence[HostedRecord]) -> None:
        """Decide from now on; of the engines that were left over, end those that gateways here had."""
        known = {self.name, *self._others.names}
        strays = [each for each in found if each.owner in known or each.workload in self._offers]
        self._took_over, self._published = True, None
        self._taken_back = {}
        log.info("cluster_led", gateway=self.name, epoch=epoch, replicas=len(self._offers), strays=len(strays))
        for sharer in list(self._sharers):
            sharer.lead()
        for record in strays:
            self._tasks.begin(self._dismiss(record), f"dismiss {record.workload}")
        self._heard()

    async def _resign(self) -> None:
        """Leave the lead to others for a while."""
        self._unfit_until = self._clock() + UNFIT_S
        self._follows.end()
        with suppress(FreeholdError):
            await self._give_up()

    async def _dismiss(self, record: HostedRecord) -> None:
        """End what nobody wants, when no gateway has requests on it any more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while self._others.hold(record.workload):
                    await asyncio.shield(self._ticked)
        if self.leads:
            with suppress(FreeholdError):
                await self._cluster.dismiss(record)

    def _lose(self) -> None:
        """Decide no more; what runs goes on."""
        if self._took_over:
            log.warning("cluster_led_no_more", gateway=self.name, epoch=self._epoch)
            self._follows.end()
        self._took_over, self._known = False, -1

    async def _give_up(self) -> None:
        """Let go of the lease, if this gateway has it."""
        self._leads_until = 0.0
        for _ in range(_GIVING_UP):
            look = await self._board.look()
            after = led(look.lead, self.name, self._epoch, look.now_us, wants=False)
            if after == look.lead or await self._board.put(look.lead, after):
                return

    async def _hand_over(self) -> None:
        """Have another gateway lead, with all that runs."""
        if self.leads:
            log.info("cluster_handed_over", gateway=self.name, epoch=self._epoch)
            with suppress(FreeholdError):
                await self._publish()
        self._handed_over = True
        if self._taking is not None:
            await cancel(self._taking)
        self._cluster.hand_over()
        self._lose()
        with suppress(FreeholdError):
            await self._give_up()
            await self._board.leave(self.name)


def _key(offer: Offer) -> str:
    return f"{offer.deployment} {offer.engine}"
