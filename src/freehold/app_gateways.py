"""What a gateway does to keep up with the others on its database, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from freehold.api.door import People
from freehold.app_admin import Governed
from freehold.app_records import Records
from freehold.catalog.deployments import DeploymentRegistry
from freehold.config import Settings
from freehold.gateway.capacity_office import CapacityOffice
from freehold.gateway.content import Content
from freehold.gateway.ledger import Ledger
from freehold.gateway.model_services import ModelServices
from freehold.gateway.pipeline import Gateway
from freehold.gateway.response_watch import watching
from freehold.store.calibration_rows import calibrations
from freehold.types.limits import EVERY, Scope
from freehold.workers.copies import Copies, Reading
from freehold.workers.peers import Peers

_RUNNING: Final = frozenset({"deployments", "content_keys"})
"""The tables by which it is decided what runs."""


@asynccontextmanager
async def keeping_up(
    records: Records,
    settings: Settings,
    people: People,
    content: Content,
    governed: Governed,
    ledger: Ledger,
    models: ModelServices,
    deployments: DeploymentRegistry,
    gateway: Gateway,
    units: CapacityOffice,
) -> AsyncIterator[None]:
    """Have in force here what other gateways change, while the block runs.

    Args:
        records: what they write, and where is recorded what is done for one that is gone.
        settings: the configuration.
        people: who is let in.
        content: what is kept, and under which keys.
        governed: what requests are held to.
        ledger: what they have used of limits.
        models: which models are retired, and what runs.
        deployments: which there are.
        gateway: whose requests run, and which makes responses.
        units: what deployments carry.
    """
    copies = Copies(
        settings,
        people,
        content,
        governed.limits,
        deployments,
        governed.filters,
        governed.policies,
        models.versions,
        models.origins,
        gateway.flights,
    )

    async def follow(tables: frozenset[str]) -> None:
        if "limits" in tables:
            for scope in Scope:
                ledger.refresh(scope, EVERY)
        if "artifacts" in tables:
            await models.canary_control.load()
        if _RUNNING & tables:
            await models.control.follow()

    reading = Reading(copies, ((frozenset({calibrations.name}), units.load),))
    peers = Peers(records.database, reading, follow)
    async with peers, watching(records.database, records.journal, gateway.responses.live_ids):
        yield
