"""What the other gateways that share replicas have told last, each of them."""

from collections.abc import Mapping
from typing import Final

from freehold.serving.offers import NOTHING, Want, together, wants_of
from freehold.store.leading import Told

GONE_US: Final = 10_000_000
"""A gateway that has told nothing for so long is not counted."""


class Others:
    """See above.

    Args:
        name: of the gateway whose others they are.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._told: dict[str, tuple[Told, dict[str, Want]]] = {}

    def hear(self, told: Mapping[str, Told], now_us: int) -> None:
        """Take note of what all have told, this gateway too, at that time of the database."""
        recent = {name: each for name, each in told.items() if each.seen_us > now_us - GONE_US}
        self._told = {name: (each, wants_of(each.body)) for name, each in recent.items() if name != self._name}

    @property
    def names(self) -> frozenset[str]:
        """Which there are."""
        return frozenset(self._told)

    def together(self, key: str) -> Want:
        """What they have to do between them, for an engine of a deployment."""
        return together([wants.get(key, NOTHING) for _, wants in self._told.values()]) if self._told else NOTHING

    def wants(self, key: str) -> dict[str, int]:
        """How many requests each has there."""
        found = {name: wants.get(key, NOTHING) for name, (_, wants) in self._told.items()}
        return {name: want.running + want.waiting for name, want in found.items()}

    def hold(self, replica_id: str) -> bool:
        """Whether one has requests on a replica."""
        return any(want.held.get(replica_id) for _, wants in self._told.values() for want in wants.values())

    def know(self, number: int) -> bool:
        """Whether all have a publication in force."""
        return all(told.known >= number for told, _ in self._told.values())
