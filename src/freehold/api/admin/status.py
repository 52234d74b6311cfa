"""`/admin/status`: what is running, for `freehold doctor` and for people."""

import os
import time
from typing import Any

from fastapi import APIRouter

from freehold import __version__
from freehold.api.admin.door import allow
from freehold.errors import AuditUnavailable
from freehold.journal.journal import Journal
from freehold.journal.projection import Projection
from freehold.types.identity import Action


def status_routes(journal: Journal, projection: Projection) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["status"])
    started = time.monotonic()

    @router.get("/status", dependencies=[allow(Action.MANAGE)])
    async def status() -> dict[str, Any]:
        """Version, process and uptime in seconds."""
        return {
            "object": "status",
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - started, 3),
            "journal": {"records": journal.durable.seq, **_trouble(journal)},
            "usage": {
                "state": projection.state.name,
                "reason": projection.state.reason,
                "lag_records": projection.lag,
            },
        }

    return router


def _trouble(journal: Journal) -> dict[str, Any]:
    """Why the journal cannot be written, if it cannot."""
    try:
        journal.check()
    except AuditUnavailable as exc:
        return {"state": "unavailable", "reason": exc.message}
    return {"state": "ok", "reason": None}
