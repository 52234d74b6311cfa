"""`/v1/organization/admin_api_keys`, as in OpenAI's administration API: keys that administer and run no model."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.door import allow, caller, record
from freehold.api.admin.pages import After, Limit, Order, page
from freehold.api.admin.roles import shown_role
from freehold.governance.directory import WHOLE, Directory, absent
from freehold.governance.keys import PREFIX, KeyRing
from freehold.store.keys import KeyRow
from freehold.types.identity import Action, MemberKind


class NewAdminKey(BaseModel):
    """A key to be made for the caller."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=256)]
    expires_in_seconds: Annotated[int, Field(ge=60, le=10 * 365 * 86_400)] | None = None


def admin_key_routes(directory: Directory, keys: KeyRing) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["admin api keys"])

    def find(organization_id: str, key_id: str) -> KeyRow:
        row = next((row for row in keys.rows(organization_id) if row.id == key_id), None)
        if row is None or row.project_id != WHOLE or row.revoked_at is not None:
            raise absent("admin API key", key_id)
        return row

    @router.get("/admin_api_keys", dependencies=[allow(Action.READ_KEYS)])
    async def list_keys(
        request: Request, limit: Limit = 20, after: After = None, order: Order = "asc"
    ) -> dict[str, Any]:
        """The organization's keys that are not revoked."""
        rows = keys.rows(caller(request).organization_id)
        own = [row for row in rows if row.project_id == WHOLE and row.revoked_at is None]
        return page(own, lambda row: _object(directory, row), limit=limit, after=after, order=order)

    @router.post("/admin_api_keys", dependencies=[allow(Action.WRITE_KEYS)])
    async def create_key(request: Request, body: NewAdminKey) -> dict[str, Any]:
        """Make a key of the caller's. The answer is the only place where it stands."""
        owner = directory.member(caller(request).id)
        assert owner is not None, "who calls is a member"
        row, value = await keys.create(body.name, owner, WHOLE, lifetime_s=body.expires_in_seconds)
        record(request, "api_key.created", "admin_api_key", row.id, after=_object(directory, row))
        return {**_object(directory, row), "value": value}

    @router.get("/admin_api_keys/{key_id}", dependencies=[allow(Action.READ_KEYS)])
    async def retrieve_key(request: Request, key_id: str) -> dict[str, Any]:
        """One key."""
        return _object(directory, find(caller(request).organization_id, key_id))

    @router.delete("/admin_api_keys/{key_id}", dependencies=[allow(Action.WRITE_KEYS)])
    async def delete_key(request: Request, key_id: str) -> dict[str, Any]:
        """Revoke a key."""
        before = _object(directory, find(caller(request).organization_id, key_id))
        await keys.revoke(key_id)
        record(request, "api_key.deleted", "admin_api_key", key_id, before=before)
        return {"id": key_id, "object": "organization.admin_api_key.deleted", "deleted": True}

    return router


def _object(directory: Directory, row: KeyRow) -> dict[str, Any]:
    owner = directory.member(row.owner_id)
    return {
        "object": "organization.admin_api_key",
        "id": row.id,
        "name": row.name,
        "redacted_value": f"{PREFIX}****{row.last4}",
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "last_used_at": row.last_used_at,
        "owner": {
            "type": owner.kind if owner else MemberKind.SERVICE_ACCOUNT,
            "object": "organization.user",
            "id": row.owner_id,
            "name": owner.name if owner else "",
            "created_at": owner.created_at if owner else row.created_at,
            "role": shown_role(directory, row.owner_id, WHOLE) or "none",
        },
    }
