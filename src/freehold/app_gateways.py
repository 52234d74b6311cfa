"""What a gateway does to keep up with the others on its database, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from freehold.app_records import database_url
from freehold.gateway.canary_control import CanaryControl
from freehold.gateway.control import DeploymentControl
from freehold.gateway.ledger import Ledger
from freehold.store.database import Database
from freehold.types.limits import EVERY, Scope
from freehold.workers.copies import Copies, Reading
from freehold.workers.peers import Peers

_RUNNING: Final = frozenset({"deployments", "content_keys"})
"""The tables by which it is decided what runs."""


@asynccontextmanager
async def keeping_up(
    database: Database, copies: Copies, control: DeploymentControl, canaries: CanaryControl, ledger: Ledger
) -> AsyncIterator[None]:
    """Have what other gateways change in force here, while the block runs.

    Args:
        database: what they write.
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

    url = database_url(copies.settings) if database.is_shared else None
    async with Peers(database, url, Reading(copies), follow):
        yield
