"""Retention is enforced here: what is kept longer than it may be goes, soon after a change and then again and again."""

import time
from collections.abc import Callable
from typing import Final

from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.jobs import delete_ended, erase_jobs
from freehold.store.kept_content import delete_expired, delete_of, holders, shorten
from freehold.types.content import KINDS

ENDED_JOBS_S: Final = 30 * 86_400
"""How long a job's row stays after it has ended: ids and numbers, no content."""


class Sweep:
    """Deletes kept content of every kind.

    Args:
        database: where it lies.
        retention: how long it may stay.
        clock: seconds since the epoch.
    """

    def __init__(
        self, database: Database, retention: RetentionRegistry, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._retention = retention
        self._clock = clock

    async def run(self) -> dict[str, int]:
        """See that nothing stays longer than it may by now, and delete what has expired; how many by kind.

        What was kept before a setting became shorter goes by the new one; a longer one holds for what is kept from
        then on.

        Raises:
            HomeError: the database cannot be written.
        """
        deleted = {}
        for kind in KINDS:
            for organization_id, project_id in await holders(self._database, kind):
                keep_s = self._retention.may_stay_s(organization_id, project_id, kind)
                await shorten(self._database, kind, organization_id, project_id, keep_s)
            deleted[kind.name] = await delete_expired(self._database, kind, self._clock())
        await delete_ended(self._database, self._clock() - ENDED_JOBS_S)
        return deleted

    async def erase(self, organization_id: str, *, project_id: str = "", owner_id: str = "") -> dict[str, int]:
        """Delete all content of a project, or of an owner; how many by kind.

        Raises:
            HomeError: the database cannot be written.
        """
        now_s = int(self._clock())
        await erase_jobs(self._database, organization_id, now_s, project_id=project_id, owner_id=owner_id)
        return {
            kind.name: await delete_of(self._database, kind, organization_id, project_id=project_id, owner_id=owner_id)
            for kind in KINDS
        }
