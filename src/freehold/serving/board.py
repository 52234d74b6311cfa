"""What a gateway needs to share a cluster with others: where they tell each other, and who decides about room."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from freehold.store.leading import Look, Told
from freehold.types.lead import Lead


class Board(Protocol):
    """Where gateways tell each other; `freehold.store.leading.LeadStore` is the one in PostgreSQL."""

    heard: Callable[[], None]
    cluster: str
    """Names the cluster of which they tell; empty until that is known."""

    async def look(self) -> Look:
        """See `LeadStore.look`."""

    async def put(self, before: Lead, after: Lead) -> bool:
        """See `LeadStore.put`."""

    async def publish(self, epoch: int, offers: Mapping[str, Any]) -> int | None:
        """See `LeadStore.publish`."""

    async def offers(self) -> dict[str, Any]:
        """See `LeadStore.offers`."""

    async def tell(self, gateway: str, known: int, body: Any, *, urgent: bool) -> None:
        """See `LeadStore.tell`."""

    async def told(self) -> dict[str, Told]:
        """See `LeadStore.told`."""

    async def leave(self, gateway: str) -> None:
        """See `LeadStore.leave`."""

    async def close(self) -> None:
        """See `LeadStore.close`."""


class Follows(Protocol):
    """Who decides about room on the cluster while this gateway leads."""

    def begin(self, epoch: int) -> None:
        """This gateway begins to lead in that epoch; nothing is known yet of what runs."""

    async def look(self) -> None:
        """Look at the nodes."""

    def draining(self) -> list[str]:
        """The ids of the nodes that drain, as they were seen last."""

    def end(self) -> None:
        """It leads no more."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Who leads, as this gateway knows.

    Args:
        gateway: this one.
        leader: the one that leads; empty where none does.
        epoch: in which.
        since_us: since when, by the database's clock; microseconds since the epoch of Unix.
        leads: whether this one decides just now.
        gateways: how many take part.
    """

    gateway: str
    leader: str
    epoch: int
    since_us: int
    leads: bool
    gateways: int
