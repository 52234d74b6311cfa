"""`/admin/keys`: keys for whoever runs the service. A key is shown once, in the answer that made it.

Each gets a service account of its own, with the role that is asked for; `/v1/organization` has the keys of users and of
other service accounts.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.door import allow, caller, record
from freehold.api.admin.project_keys import Rotation, ScopeBody
from freehold.api.admin.roles import given_roles
from freehold.errors import NotFound
from freehold.governance.directory import PROJECT, WHOLE, Directory
from freehold.governance.keys import KeyRing
from freehold.governance.limits import LimitRegistry
from freehold.store.keys import KeyRow
from freehold.types.identity import Action, Role
from freehold.types.limits import Scope


class CreateKeyBody(BaseModel):
    """What the new key is called, what it may do and where; scope and end are optional."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=256)]
    role: Annotated[str, Field(min_length=1, max_length=64)] = Role.USER
    project_id: str = PROJECT
    everywhere: bool = False
    """Whether the role is held in the whole organization; that of an owner always is."""
    scope: ScopeBody = ScopeBody()
    expires_in_seconds: Annotated[int, Field(ge=60, le=10 * 365 * 86_400)] | None = None


def key_routes(directory: Directory, keys: KeyRing, limits: LimitRegistry) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["keys"])

    def find(request: Request, key_id: str) -> KeyRow:
        row = keys.row(key_id)
        if row.organization_id != caller(request).organization_id:
            raise NotFound(f"No API key has the id '{key_id[:64]}'.")
        return row

    def shown(row: KeyRow) -> dict[str, Any]:
        held = directory.held(row.owner_id, row.project_id)
        owner = directory.member(row.owner_id)
        return {
            "object": "api_key",
            "id": row.id,
            "name": row.name,
            "last4": row.last4,
            "role": next((name for name in directory.roles.names() if name in held), None),
            "owner_id": row.owner_id,
            "owner": None if owner is None else owner.name,
            "project_id": row.project_id,
            "scope": dict(row.scope),
            "created_at": row.created_at,
            "expires_at": row.expires_at,
            "last_used_at": row.last_used_at,
            "revoked_at": row.revoked_at,
        }

    @router.get("/keys", dependencies=[allow(Action.READ_KEYS)])
    async def list_keys(request: Request) -> dict[str, Any]:
        """Every key of the organization, revoked ones included, without the keys themselves."""
        return {"object": "list", "data": [shown(row) for row in keys.rows(caller(request).organization_id)]}

    @router.post("/keys", status_code=201, dependencies=[allow(Action.WRITE_KEYS)])
    async def create_key(request: Request, body: CreateKeyBody) -> dict[str, Any]:
        """Make a service account with a role, and a key for it. The answer is the only place where the key stands.

        The role `owner` is held in the whole organization, every other one in the project unless told otherwise.
        """
        organization_id = caller(request).organization_id
        directory.active_project(organization_id, body.project_id)
        whole = body.everywhere or body.role == Role.OWNER
        roles = given_roles(request, directory, [body.role], WHOLE if whole else body.project_id)
        place = None if whole else body.project_id
        scope = body.scope.scope()
        owner = await directory.create_service_account(organization_id, place, body.name, roles)
        row, key = await keys.create(body.name, owner, body.project_id, scope, lifetime_s=body.expires_in_seconds)
        record(request, "api_key.created", "api_key", row.id, after=shown(row), project_id=row.project_id)
        return {**shown(row), "key": key}

    @router.post("/keys/{key_id}/rotate", status_code=201, dependencies=[allow(Action.WRITE_KEYS)])
    async def rotate_key(request: Request, key_id: str, body: Rotation) -> dict[str, Any]:
        """Make a successor with the same owner, scope and limits; the old key ends after the overlap."""
        before = shown(find(request, key_id))
        row, key = await keys.rotate(key_id, body.overlap_seconds)
        passed = await limits.pass_on(Scope.KEY, key_id, row.id)
        after = {"old": shown(keys.row(key_id)), "new": shown(row), "limits": None if passed is None else passed.wire()}
        record(request, "api_key.updated", "api_key", key_id, before=before, after=after, project_id=row.project_id)
        return {**shown(row), "key": key, "replaces": shown(keys.row(key_id))}

    @router.delete("/keys/{key_id}", dependencies=[allow(Action.WRITE_KEYS)])
    async def revoke_key(request: Request, key_id: str) -> dict[str, Any]:
        """Revoke a key; its running requests end at once."""
        before = shown(find(request, key_id))
        (row,) = await keys.revoke(key_id)
        record(
            request,
            "api_key.deleted",
            "api_key",
            key_id,
            before=before,
            after=shown(row),
            project_id=row.project_id,
        )
        return {**shown(row), "revoked": True}

    return router
