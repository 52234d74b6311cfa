"""What has to be done now and then.

Old segments of the journal, old kept answers and old pictures go; when keys were last used is written down.
"""

import asyncio
from contextlib import suppress

import structlog

from freehold.errors import FreeholdError
from freehold.gateway.idempotency import KeptAnswers
from freehold.gateway.picture_files import PictureFiles
from freehold.governance.keys import KeyRing
from freehold.journal.journal import Journal
from freehold.journal.projection import Projection

log = structlog.get_logger(__name__)

INTERVAL_S = 600.0


class Upkeep:
    """A task that tidies up, at the start and then every ten minutes.

    Args:
        journal: whose old segments are deleted once they are in the usage database.
        projection: brings them there.
        kept: whose expired answers are deleted.
        files: whose expired pictures are deleted.
        keys: whose last use is written down.
    """

    def __init__(
        self, journal: Journal, projection: Projection, kept: KeptAnswers, files: PictureFiles, keys: KeyRing
    ) -> None:
        self._journal = journal
        self._projection = projection
        self._kept = kept
        self._files = files
        self._keys = keys
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="upkeep")

    async def stop(self) -> None:
        """End, and wait until it has ended."""
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
            answers = await self._kept.expire()
            pictures = await self._files.expire()
            segments = await self._journal.retire(projected_seq=self._projection.projected.seq)
        except FreeholdError as exc:
            log.warning("upkeep_failed", reason=exc.message)
            return
        if answers or pictures or segments:
            log.info("tidied", kept_answers=answers, pictures=pictures, segments=segments)

    async def _run(self) -> None:
        while True:
            await self.once()
            await asyncio.sleep(INTERVAL_S)
