"""What a gateway does to keep up with the others on its database, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from freehold.api.door import People
from freehold.app_admin import Governed
from freehold.app_records import Records
from freehold.catalog.deployments import DeploymentRegistry
from freehold.config import Settings
from freehold.gateway.canary_control import CanaryControl
from freehold.gateway.content import Content
from freehold.gateway.control import DeploymentControl
from freehold.gateway.flights import Flights
from freehold.gateway.ledger import Ledger
from freehold.gateway.model_services import ModelServices
from freehold.types.limits import EVERY, Scope
from freehold.workers.copies import Copies, Reading
from freehold.workers.peers import Peers

_RUNNING: Final = frozenset({"deployments", "content_keys"})
"""The tables by which it is decided what runs."""


def copies_of(
    settings: Settings,
    people: People,
    content: Content,
    governed: Governed,
    models: ModelServices,
    deployments: DeploymentRegistry,
    flights: Flights,
) -> Copies:
    """What a gateway has copies of; the arguments as in `Copies`."""
    return Copies(
        settings,
        people,
        content,
        governed.limits,
        deployments,
        governed.filters,
        governed.policies,
        models.versions,
        models.origins,
        flights,
    )


@asynccontextmanager
async def keeping_up(
    records: Records, copies: Copies, control: DeploymentControl, canaries: CanaryControl, ledger: Ledger
) -> AsyncIterator[None]:
    """Have what other gateways change in force here, while the block runs.

    Args:
        records: the database that they write.
        copies: what this gateway has in memory of it.
        control: has run what is deployed.
        canaries: knows which were given up.
        ledger: holds requests to their limits.
    """

    async def follow(tables: frozenset[str]) -> None:
        if "limits" in tables:
            for scope in Scope:
                ledger.refresh(scope, EVERY)
        if "artifacts" in tables:
            await canaries.load()
        if _RUNNING & tables:
            await control.follow()

    async with Peers(records.database, records.url, Reading(copies), follow):
        yield
