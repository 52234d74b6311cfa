"""What the deployments of a gateway must know where it shares replicas with others, and what is asked of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from freehold.serving.offers import Offer, Want
from freehold.serving.shared_launching import SharedLaunching, Shares


class Sharer(Protocol):
    """The replicas of one deployment by one engine."""

    @property
    def key(self) -> str:
        """Names deployment and engine."""

    def launchings(self) -> list[tuple[SharedLaunching, bool]]:
        """What started each of its replicas, and whether that one takes requests."""

    def want(self) -> Want:
        """What this gateway has to do."""

    def follow(self, *, every: bool = False) -> None:
        """Have the replicas that are offered; with `every`, those too that are not ready."""

    def lead(self) -> None:
        """Decide from now on, beginning with what is here; what is in nobody's hands has ended."""

    def hear(self) -> None:
        """The other gateways have told something."""


class Sharing(Shares, Protocol):
    """See above; `freehold.serving.leading.Leading` is the one of gateways on one PostgreSQL."""

    def join(self, sharer: Sharer) -> None:
        """Have a deployment's replicas be shared."""

    def part(self, sharer: Sharer) -> None:
        """A deployment is closed."""

    def offers(self, key: str) -> Sequence[Offer]:
        """What may be used of an engine of a deployment; of a gateway that leads, what it has itself."""

    def elsewhere(self, key: str) -> Want:
        """What the other gateways have to do there."""

    def wants(self, key: str) -> Mapping[str, int]:
        """By gateway, how many requests each has there; this one too."""

    @property
    def name(self) -> str:
        """This gateway's."""

    def urge(self) -> None:
        """Have the one that leads hear at once what is wanted here."""

    def new_id(self, deployment: str) -> str:
        """The id of a new replica, which no other gateway gives."""


def offers_in_hand(sharers: Sequence[Sharer]) -> list[Offer]:
    """What a gateway that leads has to publish: the replicas whose engines it has in its hands."""
    return [
        replace(launching.offer, draining=not taking)
        for sharer in sharers
        for launching, taking in sharer.launchings()
        if launching.offer is not None and launching.owned
    ]
