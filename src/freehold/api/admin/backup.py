"""`/admin/backup`: what `freehold backup` needs of the service; the files of the home it reads itself.

No secret of the home leaves by the API: whoever makes a backup must be able to read the home's files.
"""

from typing import Any

from fastapi import APIRouter, Request

from freehold import __version__
from freehold.api.admin.changes import Changes
from freehold.api.admin.door import allow, record
from freehold.journal.journal import Journal
from freehold.types.identity import Action


def backup_routes(journal: Journal, changes: Changes, *, shared: bool) -> APIRouter:
    """The routes.

    Args:
        journal: this server's.
        changes: counts administrative changes.
        shared: whether the home's database is on PostgreSQL, where it has to be copied from.
    """
    router = APIRouter(tags=["backup"])

    @router.post("/backup", dependencies=[allow(Action.MANAGE)])
    async def begin_backup(request: Request) -> dict[str, Any]:
        """Record that a backup is made, and have all that was recorded before covered by a checkpoint."""
        await journal.checkpoint()
        record(request, "backup.made", "home", "home")
        return {"object": "backup", "version": __version__}

    @router.get("/backup", dependencies=[allow(Action.MANAGE)])
    async def backup_point() -> dict[str, Any]:
        """How many administrative changes there were, how many are not recorded yet, and what the journal holds.

        A copy of the database whose moment is between two such answers fits to the journal of the second if `changes`
        is the same in both and `running` is 0.
        """
        durable = journal.durable
        return {
            "object": "backup.point",
            "changes": changes.begun,
            "running": changes.running,
            "writer": journal.folder.name,
            "segment": durable.segment,
            "offset": durable.offset,
            "seq": durable.seq,
            "shared": shared,
        }

    return router
