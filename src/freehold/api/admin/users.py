"""`/v1/organization/users`, as in OpenAI's administration API."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict

from freehold.api.admin.door import allow, caller, record
from freehold.api.admin.pages import After, Limit, page
from freehold.api.admin.roles import check_rank, given_roles, shown_role
from freehold.errors import InvalidRequest
from freehold.governance.directory import WHOLE, Directory, normal_email
from freehold.governance.keys import KeyRing
from freehold.store.directory import MemberRow
from freehold.types.identity import Action


class RoleBody(BaseModel):
    """The role that a user is to have in the organization."""

    model_config = ConfigDict(extra="forbid")

    role: str | None = None
    role_id: str | None = None
    technical_level: str | None = None
    developer_persona: str | None = None

    def wanted(self) -> str:
        """The role's name."""
        name = self.role or self.role_id
        if name is None:
            raise InvalidRequest("Missing required parameter: 'role'.", param="role", code="missing_required_parameter")
        return name


def user_routes(directory: Directory, keys: KeyRing) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["users"])

    @router.get("/users", dependencies=[allow(Action.READ_USERS)])
    async def list_users(
        request: Request,
        limit: Limit = 20,
        after: After = None,
        emails: Annotated[list[str] | None, Query()] = None,
        emails_listed: Annotated[list[str] | None, Query(alias="emails[]")] = None,
    ) -> dict[str, Any]:
        """The organization's users."""
        rows: Sequence[MemberRow] = directory.users(caller(request).organization_id)
        wanted = {normal_email(email) for email in (emails or []) + (emails_listed or [])}
        if wanted:
            rows = [row for row in rows if row.email in wanted]
        return page(rows, lambda row: user_object(directory, keys, row), limit=limit, after=after)

    @router.get("/users/{user_id}", dependencies=[allow(Action.READ_USERS)])
    async def retrieve_user(request: Request, user_id: str) -> dict[str, Any]:
        """One user."""
        return user_object(directory, keys, directory.user(caller(request).organization_id, user_id))

    @router.post("/users/{user_id}", dependencies=[allow(Action.WRITE_USERS)])
    async def modify_user(request: Request, user_id: str, body: RoleBody) -> dict[str, Any]:
        """Give a user another role in the organization; what runs by the old one ends at once."""
        row = directory.user(caller(request).organization_id, user_id)
        before = user_object(directory, keys, row)
        check_rank(request, directory, user_id, WHOLE)
        await directory.set_roles(user_id, WHOLE, given_roles(request, directory, [body.wanted()], WHOLE))
        shown = user_object(directory, keys, row)
        record(request, "user.updated", "user", user_id, before=before, after=shown)
        return shown

    @router.delete("/users/{user_id}", dependencies=[allow(Action.WRITE_USERS)])
    async def delete_user(request: Request, user_id: str) -> dict[str, Any]:
        """Remove a user: keys and sessions open nothing any more, and what runs ends at once."""
        row = directory.user(caller(request).organization_id, user_id)
        check_rank(request, directory, user_id, WHOLE)
        before = user_object(directory, keys, row)
        owned = [key.id for key in keys.rows(row.organization_id) if key.owner_id == user_id and not key.revoked_at]
        await directory.delete_member(user_id)
        if owned:
            await keys.revoke(*owned)
        record(request, "user.deleted", "user", user_id, before=before)
        return {"object": "organization.user.deleted", "id": user_id, "deleted": True}

    return router


def user_object(directory: Directory, keys: KeyRing, row: MemberRow) -> dict[str, Any]:
    """A user as the API shows it."""
    used = [key.last_used_at for key in keys.rows(row.organization_id) if key.owner_id == row.id and key.last_used_at]
    projects = [directory.project(row.organization_id, name) for name in directory.memberships(row.id)]
    return {
        "object": "organization.user",
        "id": row.id,
        "name": row.name,
        "email": row.email,
        "role": shown_role(directory, row.id, WHOLE),
        "added_at": row.created_at,
        "created": row.created_at,
        "is_service_account": False,
        "api_key_last_used_at": max(used, default=None),
        "user": {
            "object": "user",
            "id": row.id,
            "email": row.email,
            "name": row.name,
            "enabled": row.disabled_at is None,
        },
        "projects": {
            "object": "list",
            "data": [
                {"id": project.id, "name": project.name, "role": shown_role(directory, row.id, project.id)}
                for project in projects
            ],
        },
    }
