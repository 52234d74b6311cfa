"""Responses in the background that nobody makes any more: another gateway's that is gone, or one that got lost here.

Every gateway looks, and the first that sees it lets the response have failed, in one transaction: so that happens once,
and is recorded where it was done.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import structlog

from freehold.errors import FreeholdError
from freehold.gateway.own_actions import action_body
from freehold.journal.recorder import Recorder
from freehold.journal.records import Kind
from freehold.store.database import Database
from freehold.store.gateway_rows import GONE_S
from freehold.store.kept_responses import LostResponse, any_lost, end_lost

log = structlog.get_logger(__name__)

INTERVAL_S: Final = 5.0


class ResponseWatch:
    """Looks for them.

    Args:
        database: where all gateways keep responses.
        journal: where it is recorded.
        live: gives the ids of those that are being made here.
    """

    def __init__(self, database: Database, journal: Recorder, live: Callable[[], Collection[str]]) -> None:
        self._database = database
        self._journal = journal
        self._live = live

    async def once(self) -> int:
        """Let those have failed that are lost now; how many there were.

        Raises:
            Unavailable: the database cannot be used.
            AuditUnavailable: it cannot be recorded; nothing has changed.
        """
        live, before_s = self._live(), time.time() - GONE_S
        if not await any_lost(self._database, live, before_s):
            return 0
        async with self._database.write() as connection:
            lost = await end_lost(connection, self._database, live, before_s)
            await asyncio.gather(*[self._journal.submit(Kind.ADMIN, _record(each), durable=True) for each in lost])
        for each in lost:
            log.warning("response_interrupted", response=each.id, gateway=each.gateway)
        return len(lost)

    async def run(self) -> None:
        """Look now and then, for ever; what cannot be done is tried again the next time."""
        failing = False
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.once()
                failing = False
            except FreeholdError as exc:
                if not failing:
                    log.warning("responses_not_watched", reason=exc.message)
                failing = True


def _record(lost: LostResponse) -> dict[str, Any]:
    """What the journal says of it."""
    return action_body(
        "response.interrupted",
        ("response", lost.id),
        (lost.organization_id, lost.project_id),
        None,
        {"details": {"gateway": lost.gateway}},
    )


@asynccontextmanager
async def watching(database: Database, journal: Recorder, live: Callable[[], Collection[str]]) -> AsyncIterator[None]:
    """Look for lost responses while the block runs, where there may be other gateways."""
    if not database.is_shared:
        yield
        return
    task = asyncio.create_task(ResponseWatch(database, journal, live).run(), name="lost responses")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
