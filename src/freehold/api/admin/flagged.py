"""`flagged`: texts that the content filter blocked, as far as they are kept. Whoever reads one says why."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, StringConstraints

from freehold.api.admin.door import allow, caller, record
from freehold.api.admin.pages import After, Limit
from freehold.api.admin.subjects import digests_of, reaches, visible_projects
from freehold.errors import NotFound
from freehold.gateway.flagged import FlaggedContent
from freehold.store.kept_flagged import KeptFlaggedRow
from freehold.types.abuse import MAX_REASON
from freehold.types.identity import Action


class ReviewBody(BaseModel):
    """Why a text is to be read. It stands in the journal."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_REASON)]


def flagged_routes(flagged: FlaggedContent, digest_end_user: Callable[[str], str]) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["abuse"])
    names = Annotated[list[str] | None, Query()]

    @router.get("/flagged", dependencies=[allow(Action.READ_ABUSE, own_project=True)])
    async def list_flagged(
        request: Request, project: names = None, end_user: names = None, limit: Limit = 20, after: After = None
    ) -> dict[str, Any]:
        """Blocked requests whose text is kept, newest first: whose they are and what was found, and no text."""
        projects = visible_projects(request, Action.READ_ABUSE, project)
        end_users = digests_of(end_user, digest_end_user) if end_user else None
        rows, more = await flagged.list(
            caller(request).organization_id, projects=projects, end_users=end_users, after=after, limit=limit
        )
        data = [_object(row) for row in rows]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": more,
        }

    @router.post("/flagged/{request_id}/review", dependencies=[allow(Action.REVIEW_CONTENT, own_project=True)])
    async def review(request: Request, request_id: str, body: ReviewBody) -> dict[str, Any]:
        """Read the text of a blocked request. Who did, and why, is in the journal before the text is sent."""
        row = await _find(request, flagged, Action.REVIEW_CONTENT, request_id)
        _record(request, "flagged.reviewed", row, {"reason": body.reason})
        text = await flagged.open(row)
        return {**_object(row), "prompt": text.prompt, "completion": text.completion, "cut": list(text.cut)}

    @router.delete("/flagged/{request_id}", dependencies=[allow(Action.WRITE_ABUSE, own_project=True)])
    async def delete(request: Request, request_id: str) -> dict[str, Any]:
        """Delete what is kept of a blocked request."""
        row = await _find(request, flagged, Action.WRITE_ABUSE, request_id)
        await flagged.delete(row)
        _record(request, "flagged.deleted", row, {})
        return {"object": "flagged", "id": row.request_id, "deleted": True}

    return router


async def _find(request: Request, flagged: FlaggedContent, action: Action, request_id: str) -> KeptFlaggedRow:
    """What is kept of a request, if the caller may do that where it was made. Raises NotFound."""
    row = await flagged.get(caller(request).organization_id, request_id)
    if not reaches(request, action, row.project_id):
        raise NotFound(f"Nothing is kept of a request '{request_id[:64]}'.", param="request_id")
    return row


def _record(request: Request, event: str, row: KeptFlaggedRow, details: dict[str, Any]) -> None:
    shown = _object(row)
    record(
        request,
        event,
        "flagged",
        row.request_id,
        before=shown,
        after=None if event == "flagged.deleted" else shown,
        project_id=row.project_id,
        details={**details, **({"end_user": row.end_user} if row.end_user else {})},
    )


def _object(row: KeptFlaggedRow) -> dict[str, Any]:
    return {
        "object": "flagged",
        "id": row.request_id,
        "project_id": row.project_id,
        "principal": row.owner_id,
        "end_user": row.end_user or None,
        "deployment": row.deployment or None,
        "found": row.found,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
    }
