"""`/v1/organization/projects/{project_id}/api_keys`, as in OpenAI's administration API.

Making and rotating keys by these paths is Freehold's own: OpenAI has it only for service accounts.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.door import allow, caller, record
from freehold.api.admin.pages import After, Limit, page
from freehold.api.admin.roles import check_rank
from freehold.errors import Forbidden
from freehold.governance.directory import WHOLE, Directory, absent
from freehold.governance.keys import PREFIX, KeyRing
from freehold.store.keys import KeyRow
from freehold.types.identity import Action, KeyScope, MemberKind, Principal

DAY_S = 86_400
MOST_OVERLAP_S = 90 * DAY_S


class ScopeBody(BaseModel):
    """What a key is cut down to; whatever is left out is not restricted."""

    model_config = ConfigDict(extra="forbid")

    models: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(default=None, max_length=100)
    operations: list[Action] | None = None
    ip_ranges: list[str] | None = Field(default=None, max_length=100)

    def scope(self) -> KeyScope:
        """The scope."""
        return KeyScope(
            None if self.models is None else tuple(self.models),
            None if self.operations is None else tuple(self.operations),
            None if self.ip_ranges is None else tuple(self.ip_ranges),
        )


class NewKey(BaseModel):
    """A key to be made: the caller's own, unless it is for a service account or another user."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=256)]
    owner_id: str | None = None
    scope: ScopeBody = ScopeBody()
    expires_in_seconds: Annotated[int, Field(ge=60, le=10 * 365 * DAY_S)] | None = None


class Rotation(BaseModel):
    """How long the old key goes on beside the new one, in seconds."""

    model_config = ConfigDict(extra="forbid")

    overlap_seconds: Annotated[int, Field(ge=0, le=MOST_OVERLAP_S)] = DAY_S


def project_key_routes(directory: Directory, keys: KeyRing) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["api keys"])
    path = "/projects/{project_id}/api_keys"
    one = path + "/{api_key_id}"

    def check_owner(request: Request, owner_id: str, project_id: str) -> None:
        """Whoever gets a key in hand can do what its owner may: raise Forbidden if that is more than the caller may."""
        if owner_id != caller(request).id:
            check_rank(request, directory, owner_id, project_id)
            check_rank(request, directory, owner_id, WHOLE)

    def find(principal: Principal, project_id: str, key_id: str) -> KeyRow:
        rows = keys.rows(principal.organization_id)
        row = next((row for row in rows if (row.id, row.project_id) == (key_id, project_id)), None)
        if row is None or row.revoked_at is not None:
            raise absent("API key", key_id)
        return row

    @router.get(path, dependencies=[allow(Action.READ_KEYS)])
    async def list_keys(
        request: Request,
        project_id: str,
        limit: Limit = 20,
        after: After = None,
        owner_project_access: Literal["active", "inactive", "any"] = "any",
    ) -> dict[str, Any]:
        """The project's keys that are not revoked."""
        rows = [row for row in keys.rows(caller(request).organization_id) if row.project_id == project_id]
        shown = [
            row for row in rows if row.revoked_at is None and owner_project_access in {"any", _access(directory, row)}
        ]
        return page(shown, lambda row: key_object(directory, row), limit=limit, after=after)

    @router.post(path, dependencies=[allow(Action.WRITE_KEYS)])
    async def create_key(request: Request, project_id: str, body: NewKey) -> dict[str, Any]:
        """Make a key. The answer is the only place where it stands."""
        principal = caller(request)
        directory.active_project(principal.organization_id, project_id)
        owner = directory.member(body.owner_id or principal.id)
        if owner is None or owner.organization_id != principal.organization_id:
            raise absent("member", body.owner_id or principal.id)
        if owner.project_id not in {None, project_id}:
            raise Forbidden("A service account has keys in its own project only.")
        check_owner(request, owner.id, project_id)
        row, value = await keys.create(
            body.name, owner, project_id, body.scope.scope(), lifetime_s=body.expires_in_seconds
        )
        record(request, "api_key.created", "api_key", row.id, after=own_object(directory, row), project_id=project_id)
        return {**own_object(directory, row), "value": value}

    @router.get(one, dependencies=[allow(Action.READ_KEYS)])
    async def retrieve_key(request: Request, project_id: str, api_key_id: str) -> dict[str, Any]:
        """One key."""
        return key_object(directory, find(caller(request), project_id, api_key_id))

    @router.post(one + "/rotate", dependencies=[allow(Action.WRITE_KEYS)])
    async def rotate_key(request: Request, project_id: str, api_key_id: str, body: Rotation) -> dict[str, Any]:
        """Make a successor with the same owner and scope; the old key ends after the overlap."""
        old = find(caller(request), project_id, api_key_id)
        check_owner(request, old.owner_id, project_id)
        before = own_object(directory, old)
        row, value = await keys.rotate(api_key_id, body.overlap_seconds)
        after = {"old": own_object(directory, keys.row(api_key_id)), "new": own_object(directory, row)}
        record(request, "api_key.updated", "api_key", api_key_id, before=before, after=after, project_id=project_id)
        return {**own_object(directory, row), "value": value, "replaces": own_object(directory, keys.row(api_key_id))}

    @router.delete(one, dependencies=[allow(Action.WRITE_KEYS)])
    async def delete_key(request: Request, project_id: str, api_key_id: str) -> dict[str, Any]:
        """Revoke a key; its running requests end at once."""
        before = own_object(directory, find(caller(request), project_id, api_key_id))
        await keys.revoke(api_key_id)
        record(request, "api_key.deleted", "api_key", api_key_id, before=before, project_id=project_id)
        return {"object": "organization.project.api_key.deleted", "id": api_key_id, "deleted": True}

    return router


def _access(directory: Directory, row: KeyRow) -> str:
    """Whether the owner still holds a role in the key's project."""
    owner = directory.member(row.owner_id)
    gone = owner is None or owner.disabled_at is not None or not directory.held(row.owner_id, row.project_id)
    return "inactive" if gone else "active"


def key_object(directory: Directory, row: KeyRow) -> dict[str, Any]:
    """A project's key as OpenAI's API shows it."""
    owner = directory.member(row.owner_id)
    kind = MemberKind.SERVICE_ACCOUNT if owner is None else MemberKind(owner.kind)
    person: dict[str, Any] = {
        "id": row.owner_id,
        "name": owner.name if owner else "",
        "created_at": owner.created_at if owner else row.created_at,
        "role": next(iter(sorted(directory.held(row.owner_id, row.project_id))), "none"),
    }
    if kind is MemberKind.USER:
        person |= {"email": (owner.email if owner else None) or ""}
    return {
        "object": "organization.project.api_key",
        "redacted_value": f"{PREFIX}****{row.last4}",
        "name": row.name,
        "created_at": row.created_at,
        "last_used_at": row.last_used_at,
        "id": row.id,
        "owner_project_access": _access(directory, row),
        "owner": {"type": kind.value, kind.value: person},
    }


def own_object(directory: Directory, row: KeyRow) -> dict[str, Any]:
    """A key with what is Freehold's own: scope and end."""
    return {
        **key_object(directory, row),
        "project_id": row.project_id,
        "scope": dict(row.scope),
        "expires_at": row.expires_at,
    }
