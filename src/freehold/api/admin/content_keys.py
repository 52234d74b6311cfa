"""The keys of kept content: a project's can be revoked and restored, the master key exchanged."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.door import allow, caller, record
from freehold.gateway.content_control import ContentControl
from freehold.governance.directory import Directory
from freehold.store.content_keys import ContentKeyRow
from freehold.types.identity import Action


class RotateBody(BaseModel):
    """Where a rotation goes on: what the answer before said."""

    model_config = ConfigDict(extra="forbid")

    after: str = Field(default="", max_length=64)


def content_key_routes(content: ContentControl, directory: Directory) -> APIRouter:
    """The routes of tenants."""
    router = APIRouter(tags=["content keys"])

    @router.get("/content-keys", dependencies=[allow(Action.READ_RETENTION)])
    async def list_content_keys(request: Request) -> dict[str, Any]:
        """The organization's content keys, destroyed ones included; never the keys themselves."""
        rows = await content.keys(caller(request).organization_id)
        return {"object": "list", "data": [_content_key(row) for row in rows]}

    @router.get("/projects/{project_id}/content-key", dependencies=[allow(Action.READ_RETENTION)])
    async def get_content_key(request: Request, project_id: str) -> dict[str, Any]:
        """Whether a project's content key may be used."""
        return _project_key(content, caller(request).organization_id, project_id)

    @router.post("/projects/{project_id}/content-key/revoke", dependencies=[allow(Action.ERASE)])
    async def revoke_content_key(request: Request, project_id: str) -> dict[str, Any]:
        """Revoke it: what runs for the project ends at once, nothing is begun, its own deployments stop."""
        organization_id = directory.project(caller(request).organization_id, project_id).organization_id
        before = _project_key(content, organization_id, project_id)
        changed = await content.revoke(organization_id, project_id)
        after = _project_key(content, organization_id, project_id)
        _record(request, "content_key.revoked", project_id, before, after)
        return {**after, "changed": changed}

    @router.post("/projects/{project_id}/content-key/restore", dependencies=[allow(Action.ERASE)])
    async def restore_content_key(request: Request, project_id: str) -> dict[str, Any]:
        """Undo a revocation: the project is served again, and what it had kept can be read again."""
        organization_id = directory.project(caller(request).organization_id, project_id).organization_id
        before = _project_key(content, organization_id, project_id)
        changed = await content.restore(organization_id, project_id)
        after = _project_key(content, organization_id, project_id)
        _record(request, "content_key.restored", project_id, before, after)
        return {**after, "changed": changed}

    return router


def master_key_routes(content: ContentControl) -> APIRouter:
    """The routes of those who run the service."""
    router = APIRouter(tags=["content keys"])

    @router.get("/master-key", dependencies=[allow(Action.MANAGE)])
    async def get_master_key() -> dict[str, Any]:
        """The name of the master key in use, and how many content keys each master key wraps."""
        current, counts = await content.masters()
        return {"object": "master_key", "name": current, "content_keys": counts}

    @router.post("/master-key/rotate", dependencies=[allow(Action.MANAGE)])
    async def rotate_master_key(request: Request, body: RotateBody) -> dict[str, Any]:
        """One step of a rotation; call it again with `after` of the answer until that is null."""
        before, _ = await content.masters()
        done = await content.rewrap(body.after)
        current, counts = await content.masters()
        told = {"name": current, "rewrapped": done.count, "finished": done.after is None}
        record(request, "master_key.rotated", "master_key", current, before={"name": before}, after=told)
        return {
            "object": "master_key",
            "name": current,
            "content_keys": counts,
            "rewrapped": done.count,
            "after": done.after,
        }

    return router


def _record(request: Request, event: str, project_id: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    record(request, event, "content_key", project_id, before=before, after=after, project_id=project_id)


def _project_key(content: ContentControl, organization_id: str, project_id: str) -> dict[str, Any]:
    return {
        "object": "project.content_key",
        "project_id": project_id,
        "state": content.state(organization_id, project_id).value,
    }


def _content_key(row: ContentKeyRow) -> dict[str, Any]:
    return {
        "object": "content_key",
        "id": row.id,
        "project_id": row.project_id or None,
        "owner_id": row.owner_id or None,
        "master_key": row.master or None,
        "state": row.state.value,
        "created_at": row.created_at,
        "revoked_at": row.revoked_at,
        "destroyed_at": row.destroyed_at,
    }
