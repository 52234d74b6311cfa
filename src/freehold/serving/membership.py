"""Which cluster a gateway is on: it is known when that was joined, which is tried until it is done."""

import asyncio
from collections.abc import Callable
from typing import Final

from freehold.cluster.base import Cluster
from freehold.errors import FreeholdError, Unavailable
from freehold.serving.tasks import Tasks

CUT_S: Final = 15.0
"""A gateway that has had no way to the cluster for so long had better leave the lead to another one."""
_AGAIN_S: Final = 5.0
"""How long after a failure it is tried to join again."""


class Membership:
    """See above.

    Args:
        cluster: which is to be joined.
        tasks: takes what goes on by itself.
        clock: seconds, that never go back.
    """

    def __init__(self, cluster: Cluster, tasks: Tasks, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._tasks = tasks
        self._clock = clock
        self._joining: asyncio.Task[None] | None = None
        self._why = ""
        self._again_s = 0.0
        self._reached_s = clock()

    async def join(self, within_s: float) -> None:
        """Join the cluster where that was not done; return after that time at the latest, while it goes on."""
        self._begin()
        if self._joining is not None:
            await asyncio.wait({self._joining}, timeout=within_s)

    def which(self) -> str:
        """The name that the cluster has by itself, equal for all who are on it.

        Raises:
            Unavailable: it was not joined yet; says why.
        """
        identity = self._cluster.identity
        if identity is None:
            self._begin()
            why = f": {self._why}" if self._why else "."
            raise Unavailable(f"This gateway has not joined the cluster yet{why}", retry_after_s=_AGAIN_S)
        return identity

    @property
    def cut(self) -> bool:
        """Whether there has been no way to the cluster for too long."""
        if self._cluster.reachable:
            self._reached_s = self._clock()
        return self._clock() - self._reached_s > CUT_S

    def _begin(self) -> None:
        going_on = self._joining is not None and not self._joining.done()
        if self._cluster.identity is None and not going_on and self._clock() >= self._again_s:
            self._joining = self._tasks.begin(self._join(), "join the cluster")

    async def _join(self) -> None:
        try:
            await self._cluster.nodes()
        except FreeholdError as exc:
            self._why = exc.message
        finally:
            self._again_s = self._clock() + _AGAIN_S
