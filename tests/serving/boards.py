"""What PostgreSQL is to gateways that share a cluster, in memory, with a clock that tests move."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from freehold.errors import Unavailable
from freehold.store.leading import Look, Told
from freehold.types.lead import Lead


@dataclass
class Shared:
    """What stands in the database, with its clock."""

    passed_us: int = 0
    lead: Lead = field(default_factory=Lead)
    number: int = 0
    offers: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    boards: "list[MemoryBoard]" = field(default_factory=list)
    clusters: "dict[str, Shared]" = field(default_factory=dict)

    def of(self, cluster: str) -> "Shared":
        """What stands there of a cluster; this, of the first of which anything is asked."""
        return self.clusters.setdefault(cluster, self if not self.clusters else Shared(boards=self.boards))

    @property
    def now_us(self) -> int:
        """The time, for the database and for all gateways."""
        return self.passed_us + time.monotonic_ns() // 1000

    def pass_time(self, seconds: float) -> None:
        """Have more time pass."""
        self.passed_us += round(seconds * 1_000_000)
        self.notify()

    def notify(self) -> None:
        """Have every gateway look."""
        for board in self.boards:
            board.heard()


class MemoryBoard:
    """See `freehold.serving.board.Board`; `cut`: the database does not answer it, `turn`: it may write who leads."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.cut = False
        self.cluster = ""
        self.turn = asyncio.Event()
        self.turn.set()
        self.heard: Callable[[], None] = lambda: None
        shared.boards.append(self)

    async def look(self) -> Look:
        """See `Board.look`."""
        shared = await self._answering()
        return Look(shared.now_us, shared.lead, shared.number)

    async def put(self, before: Lead, after: Lead) -> bool:
        """See `Board.put`."""
        shared = await self._answering()
        await self.turn.wait()
        if shared.lead != before:
            return False
        shared.lead = after
        return True

    async def publish(self, epoch: int, offers: Mapping[str, Any]) -> int | None:
        """See `Board.publish`."""
        shared = await self._answering()
        if shared.lead.epoch != epoch or not shared.lead.lives(shared.now_us):
            return None
        shared.number += 1
        shared.offers = dict(offers)
        shared.notify()
        return shared.number

    async def offers(self) -> dict[str, Any]:
        """See `Board.offers`."""
        return dict((await self._answering()).offers)

    async def tell(self, gateway: str, known: int, body: Any, *, urgent: bool) -> None:
        """See `Board.tell`."""
        shared = await self._answering()
        shared.told[gateway] = Told(known, shared.now_us, body)
        if urgent:
            shared.notify()

    async def told(self) -> dict[str, Told]:
        """See `Board.told`."""
        return dict((await self._answering()).told)

    async def leave(self, gateway: str) -> None:
        """See `Board.leave`."""
        (await self._answering()).told.pop(gateway, None)

    async def close(self) -> None:
        """See `Board.close`."""

    async def _answering(self) -> Shared:
        await asyncio.sleep(0)
        if self.cut:
            raise Unavailable("The database cannot be reached.")
        return self._shared.of(self.cluster)
