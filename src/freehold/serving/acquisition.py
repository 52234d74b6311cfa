"""One lease of a replica, from choosing it to giving it back."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from freehold.serving.choice import Wish
from freehold.serving.lanes import Lanes
from freehold.serving.replica import Replica
from freehold.serving.status import Lease
from freehold.types.engine import Tier


class Acquisition(AbstractAsyncContextManager[Lease]):
    """One lease, from choosing the replica to giving it back. Made by `Supervisor.acquire`."""

    def __init__(self, get: Callable[[str], Lanes], name: str, wish: Wish, patience_s: float, tier: Tier) -> None:
        self._get = get
        self._name = name
        self._wish = wish
        self._patience_s = patience_s
        self._tier = tier
        self._held: tuple[Lanes, Replica] | None = None

    def at_once(self) -> Lease | None:
        """Enter without waiting; None where that is not possible, and `__aenter__` may be awaited then.

        Raises:
            DeploymentNotFound: there is none of that name.
            UnsupportedParameter: none of its engines has what the request needs.
        """
        replicas = self._get(self._name)
        grant = replicas.lease_at_once(self._wish)
        if grant is None:
            return None
        replica, lease = grant
        self._held = (replicas, replica)
        return lease

    async def __aenter__(self) -> Lease:
        lent = self.at_once()
        if lent is not None:
            return lent
        replicas = self._get(self._name)
        replica, lease = await replicas.lease(self._wish, self._patience_s, self._tier)
        self._held = (replicas, replica)
        return lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Give the replica back, if one is held."""
        if self._held is not None:
            replicas, replica = self._held
            self._held = None
            replicas.give_back(replica)
