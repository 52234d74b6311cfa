"""`/admin/journal`: how the journal stands, and whether it is what was written."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request

from freehold.api.admin.door import allow, record
from freehold.errors import AuditUnavailable, NotFound
from freehold.journal.journal import Journal
from freehold.journal.standing import standing
from freehold.journal.verification import Verification, Verifier
from freehold.types.identity import Action


def journal_routes(journal: Journal, verifier: Verifier) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["audit"])

    @router.get("/journal", dependencies=[allow(Action.READ_AUDIT)])
    async def show_journal() -> dict[str, Any]:
        """How much of a journal there is, until where it is signed, and what its last verification came to."""
        return await journal_object(journal, verifier)

    @router.get("/journal/verification", dependencies=[allow(Action.READ_AUDIT)])
    async def show_verification() -> dict[str, Any]:
        """The verification that runs, or the last one there was."""
        if verifier.last is None:
            raise NotFound("The journal was not verified by this server yet.")
        return _verification(verifier.last)

    @router.post("/journal/verification", status_code=202, dependencies=[allow(Action.READ_AUDIT)])
    async def begin_verification(request: Request) -> dict[str, Any]:
        """Begin to verify the whole journal, in a process of its own; 409 while that is done already."""
        begun = await verifier.begin()
        record(request, "journal.verification_started", "journal", journal.folder.name)
        return _verification(begun)

    return router


async def journal_object(journal: Journal, verifier: Verifier) -> dict[str, Any]:
    """The journal as the API shows it."""
    found = await asyncio.to_thread(standing, journal.folder)
    signed = found.checkpoint
    try:
        journal.check()
        reason = None
    except AuditUnavailable as exc:
        reason = exc.message
    return {
        "object": "journal",
        "writer": journal.folder.name,
        "state": "ok" if reason is None else "unavailable",
        "reason": reason,
        "records": journal.durable.seq,
        "segments": found.segments,
        "size_bytes": found.size_bytes,
        "checkpoint": None if signed is None else {"seq": signed.seq, "at": signed.at, "head": signed.head},
        "verification": None if verifier.last is None else _verification(verifier.last),
    }


def _verification(found: Verification) -> dict[str, Any]:
    return {
        "object": "journal.verification",
        "state": found.state,
        "started_at": found.started_at,
        "finished_at": found.finished_at,
        **{name: sum(report[name] for report in found.reports) for name in ("records", "receipts", "checkpoints")},
        "problem": found.problem,
        "reports": list(found.reports),
    }
