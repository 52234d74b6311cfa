"""What requests need of the supervisor: replicas, and what is known of deployments."""

from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from freehold.serving.choice import Affinity
from freehold.serving.status import DeploymentStatus, Lease
from freehold.types.engine import Feature, Tier, Traits

__all__ = ["PATIENCE_S", "Affinity", "Lender"]

PATIENCE_S: Final = 5.0
"""How long a request waits for a replica that is about to be ready, such as one that starts again."""


class Lender(Protocol):
    """Lends replicas. In the process that runs the engines it is `freehold.serving.supervisor.Supervisor`."""

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
        """Lend a replica for one request; see `Supervisor.acquire`."""

    async def traits(self, name: str) -> Traits:
        """What the deployment's engine turned out to be; see `Supervisor.traits`."""

    def names(self) -> list[str]:
        """The deployments that there are."""

    def status(self, name: str) -> DeploymentStatus:
        """How a deployment is. Raises DeploymentNotFound."""
