"""`/admin/status`: what is running, for `freehold doctor` and for people."""

import os
import time
from typing import Any

from fastapi import APIRouter

from freehold import __version__


def status_routes() -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["status"])
    started = time.monotonic()

    @router.get("/status")
    async def status() -> dict[str, Any]:
        """Version, process and uptime in seconds."""
        return {
            "object": "status",
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - started, 3),
        }

    return router
