"""What has to be done now and then.

Old segments of the journal and old kept content go; when keys were last used is written down.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import structlog

from freehold.errors import FreeholdError
from freehold.gateway.model_services import ModelServices
from freehold.gateway.retention import Sweep
from freehold.governance.keys import KeyRing
from freehold.journal.journal import Journal
from freehold.journal.projection import Projection
from freehold.store.database import Database

log = structlog.get_logger(__name__)

INTERVAL_S = 600.0
_LOCK: Final = 0x46_52_45_45_54_49_44_59
"""The number of the lock of whoever tidies up for all gateways: "FREETIDY"."""


class Upkeep:
    """A task that tidies up while its block runs, at the start and then every ten minutes.

    Args:
        journal: whose old segments are deleted once they are in the usage database, and what was flagged in them there.
        projection: brings them there.
        sweep: deletes kept content that may not stay.
        keys: whose last use is written down.
        models: whose candidates' newest evaluations are looked at, and which of them are exchanged.
        database: which lets one gateway at a time do what is for all of them.
    """

    def __init__(
        self,
        journal: Journal,
        projection: Projection,
        sweep: Sweep,
        keys: KeyRing,
        models: ModelServices,
        database: Database,
    ) -> None:
        self._journal = journal
        self._projection = projection
        self._sweep = sweep
        self._keys = keys
        self._models = models
        self._database = database
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="upkeep")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            with suppress(FreeholdError):
                await self._keys.write_last_used()

    async def once(self) -> None:
        """Tidy up; what cannot be done now is logged, and tried again the next time."""
        try:
            await self._keys.write_last_used()
            content: Mapping[str, int] = {}
            async with self._database.alone(_LOCK) as mine:
                if mine:
                    await self._models.canary_control.review()
                    await self._models.upgrades.run()
                    content = await self._sweep.run()
            segments = await self._journal.retire(projected_seq=self._projection.projected.seq)
            flags = await self._projection.forget_retired()
        except FreeholdError as exc:
            log.warning("upkeep_failed", reason=exc.message)
            return
        if any(content.values()) or segments or flags:
            log.info("tidied", **content, segments=segments, flags=flags)

    async def _run(self) -> None:
        while True:
            await self.once()
            await asyncio.sleep(INTERVAL_S)
