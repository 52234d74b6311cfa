"""`/admin/keys`. A key is shown once, in the answer that made it."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from freehold.governance.keys import KeyRing
from freehold.store.keys import KeyRow
from freehold.types.identity import Role


class CreateKeyBody(BaseModel):
    """What the new key is called and what it may do."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=256)]
    role: Role = Role.USER


def key_routes(keys: KeyRing) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["keys"])

    @router.get("/keys")
    async def list_keys() -> dict[str, Any]:
        """Every key, revoked ones included, without the keys themselves."""
        return {"object": "list", "data": [_key(row) for row in keys.rows()]}

    @router.post("/keys", status_code=201)
    async def create_key(body: CreateKeyBody) -> dict[str, Any]:
        """Make a key. The answer is the only place where it stands."""
        row, key = await keys.create(body.name, body.role)
        return {**_key(row), "key": key}

    @router.delete("/keys/{key_id}")
    async def revoke_key(key_id: str) -> dict[str, Any]:
        """Revoke a key; its running requests end at once."""
        row = await keys.revoke(key_id)
        return {**_key(row), "revoked": True}

    return router


def _key(row: KeyRow) -> dict[str, Any]:
    return {
        "object": "api_key",
        "id": row.id,
        "name": row.name,
        "last4": row.last4,
        "role": row.roles[0],
        "project_id": row.project_id,
        "created_at": row.created_at,
        "revoked_at": row.revoked_at,
    }
