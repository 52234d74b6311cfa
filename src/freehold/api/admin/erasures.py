"""Erasing a user or a project, and the certificates of it."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request

from freehold.api.admin.door import allow, caller, record, recorded
from freehold.api.admin.roles import check_rank
from freehold.errors import Conflict
from freehold.gateway.erasure import Erasure, Record
from freehold.governance.directory import WHOLE, Directory
from freehold.journal.journal import Position
from freehold.store.erasures import ErasureRow
from freehold.types.identity import Action


def erasure_routes(erasure: Erasure, directory: Directory) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["erasure"])

    @router.post("/users/{user_id}/erase", dependencies=[allow(Action.ERASE)])
    async def erase_user(request: Request, user_id: str) -> dict[str, Any]:
        """Destroy the keys of everything that was kept for a user, and remove the user; the signed certificate."""
        principal = caller(request)
        if principal.id == user_id:
            raise Conflict("Nobody can erase themselves; have another owner do it.")
        member = directory.member(user_id)
        if member is not None and member.organization_id == principal.organization_id:
            check_rank(request, directory, user_id, WHOLE)
        told = _recording(request, "user.erased", "user", user_id, None)
        return await erasure.erase_user(principal.organization_id, user_id, _by(request), told)

    @router.post("/projects/{project_id}/erase", dependencies=[allow(Action.ERASE)])
    async def erase_project(request: Request, project_id: str) -> dict[str, Any]:
        """Destroy the keys of everything that was kept for a project, and archive it; the signed certificate."""
        principal = caller(request)
        if principal.project_id == project_id:
            raise Conflict("The credential of this call belongs to this project; use one of another project.")
        told = _recording(request, "project.erased", "project", project_id, project_id)
        return await erasure.erase_project(principal.organization_id, project_id, _by(request), told)

    @router.get("/erasures", dependencies=[allow(Action.READ_AUDIT)])
    async def list_erasures(request: Request) -> dict[str, Any]:
        """What was erased in the organization."""
        rows = await erasure.all(caller(request).organization_id)
        return {"object": "list", "data": [_erasure(row) for row in rows]}

    @router.get("/erasures/{erasure_id}", dependencies=[allow(Action.READ_AUDIT)])
    async def get_erasure(request: Request, erasure_id: str) -> dict[str, Any]:
        """The signed certificate of one erasure, as it was given."""
        return (await erasure.get(caller(request).organization_id, erasure_id)).certificate

    return router


def _recording(request: Request, event: str, kind: str, resource_id: str, project_id: str | None) -> Record:
    """Records the facts of an erasure: their digest is the record's `after_sha256`."""

    async def told(facts: Mapping[str, Any]) -> Position:
        record(request, event, kind, resource_id, after=facts, project_id=project_id)
        return await recorded(request)

    return told


def _by(request: Request) -> dict[str, Any]:
    principal = caller(request)
    return {
        "principal": principal.id,
        "principal_kind": principal.kind.value,
        "key_id": principal.key_id or None,
        "request_id": request.scope["state"]["request_id"],
    }


def _erasure(row: ErasureRow) -> dict[str, Any]:
    said = row.certificate["certificate"]
    return {
        "object": "erasure",
        "id": row.id,
        "created_at": row.created_at,
        "subject": said["subject"],
        "content_keys_destroyed": len(said["content_keys_destroyed"]),
        "rows_deleted": said["rows_deleted"],
        "by": said["by"],
    }
