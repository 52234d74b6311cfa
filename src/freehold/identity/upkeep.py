"""What has to be done now and then: sessions that have ended go, and so does what is kept of people who are gone."""

import asyncio
from contextlib import suppress

import structlog

from freehold.errors import HomeError, Unavailable
from freehold.governance.directory import Directory
from freehold.identity.sessions import Sessions
from freehold.store.database import Database
from freehold.store.signin import forget_strangers

log = structlog.get_logger(__name__)

INTERVAL_S = 60.0


class IdentityUpkeep:
    """A task that tidies up every minute.

    Args:
        database: where passwords and identities are.
        directory: who there is.
        sessions: to be swept.
    """

    def __init__(self, database: Database, directory: Directory, sessions: Sessions) -> None:
        self._database = database
        self._sessions = sessions
        self._changed = True
        self._task: asyncio.Task[None] | None = None
        directory.on_change(self._note)

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="identity-upkeep")

    async def stop(self) -> None:
        """End, and note when sessions were last used."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self.once()

    async def once(self) -> None:
        """Tidy up; what cannot be done now is logged, and tried again the next time."""
        try:
            await self._sessions.sweep()
            if self._changed:
                self._changed = False
                await forget_strangers(self._database)
        except (HomeError, Unavailable) as exc:
            self._changed = True
            log.warning("identity_not_tidied", reason=exc.message)

    def _note(self) -> None:
        self._changed = True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.once()
