"""How many lines of batches a deployment serves at a time, so that whoever waits for an answer finds room.

Questions of evaluations count like lines.
"""

import asyncio
from typing import Final

from freehold.catalog.deployments import DeploymentRegistry
from freehold.errors import FreeholdError
from freehold.serving.supervisor import Supervisor

WAITING: Final = 16
"""Where the engine says of itself no bound."""


class Room:
    """The room for lines of batches.

    Args:
        deployments: those there are.
        supervisor: runs them.
    """

    def __init__(self, deployments: DeploymentRegistry, supervisor: Supervisor) -> None:
        self._deployments = deployments
        self._supervisor = supervisor
        self._slots: dict[tuple[str, int], asyncio.Semaphore] = {}

    async def slots(self, name: str) -> asyncio.Semaphore:
        """What bounds how many requests that can wait ask a deployment at a time, over all that make some."""
        where = await self.of(name)
        return self._slots.setdefault(where, asyncio.Semaphore(where[1]))

    async def of(self, name: str) -> tuple[str, int]:
        """The deployment that a name or an alias stands for, and how many lines it serves at a time.

        One place stays free for those who wait for an answer; where there is only one, it is shared.
        """
        try:
            deployment = self._deployments.resolve(name)
            traits = await self._supervisor.traits(deployment.name)
        except FreeholdError:
            return name, 1  # the lines themselves are told why they cannot be served
        parallel = deployment.settings.parallel or traits.parallel
        return deployment.name, WAITING if parallel is None else max(1, parallel * deployment.settings.replicas - 1)
