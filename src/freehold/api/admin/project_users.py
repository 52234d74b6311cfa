"""`/v1/organization/projects/{project_id}/users`, as in OpenAI's administration API."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from freehold.api.admin.door import allow, caller, record
from freehold.api.admin.pages import After, Limit, page
from freehold.api.admin.roles import check_rank, given_roles, shown_role
from freehold.errors import Conflict, InvalidRequest, NotFound
from freehold.governance.directory import Directory, absent
from freehold.store.directory import MemberRow
from freehold.types.identity import Action


class NewProjectUser(BaseModel):
    """Who is to have which role in the project."""

    model_config = ConfigDict(extra="forbid")

    user_id: str | None = None
    email: str | None = None
    role: str


class ProjectRole(BaseModel):
    """The role that a user is to have in the project."""

    model_config = ConfigDict(extra="forbid")

    role: str | None = None


def project_user_routes(directory: Directory) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["project users"])
    path = "/projects/{project_id}/users"

    @router.get(path, dependencies=[allow(Action.READ_USERS)])
    async def list_users(request: Request, project_id: str, limit: Limit = 20, after: After = None) -> dict[str, Any]:
        """The users who hold a role in the project itself."""
        rows = directory.project_users(caller(request).organization_id, project_id)
        return page(rows, lambda row: _object(directory, row, project_id), limit=limit, after=after)

    @router.post(path, dependencies=[allow(Action.WRITE_USERS)])
    async def create_user(request: Request, project_id: str, body: NewProjectUser) -> dict[str, Any]:
        """Give a user of the organization a role in the project."""
        organization_id = caller(request).organization_id
        row = _meant(directory, organization_id, body)
        directory.active_project(organization_id, project_id)
        if directory.assignments(row.id, project_id):
            raise Conflict(f"The user '{row.id}' is already in the project; change its role instead.")
        await directory.set_roles(row.id, project_id, given_roles(request, directory, [body.role], project_id))
        shown = _object(directory, row, project_id)
        record(request, "user.added", "project.user", row.id, after=shown, project_id=project_id)
        return shown

    @router.get(path + "/{user_id}", dependencies=[allow(Action.READ_USERS)])
    async def retrieve_user(request: Request, project_id: str, user_id: str) -> dict[str, Any]:
        """One user of the project."""
        row = _one(directory, caller(request).organization_id, project_id, user_id)
        return _object(directory, row, project_id)

    @router.post(path + "/{user_id}", dependencies=[allow(Action.WRITE_USERS)])
    async def modify_user(request: Request, project_id: str, user_id: str, body: ProjectRole) -> dict[str, Any]:
        """Give a user another role in the project; what runs by the old one ends at once."""
        organization_id = caller(request).organization_id
        row = _one(directory, organization_id, project_id, user_id)
        directory.active_project(organization_id, project_id)
        before = _object(directory, row, project_id)
        if body.role is None:
            raise InvalidRequest("Missing required parameter: 'role'.", param="role", code="missing_required_parameter")
        check_rank(request, directory, user_id, project_id)
        await directory.set_roles(user_id, project_id, given_roles(request, directory, [body.role], project_id))
        shown = _object(directory, row, project_id)
        record(request, "user.updated", "project.user", user_id, before=before, after=shown, project_id=project_id)
        return shown

    @router.delete(path + "/{user_id}", dependencies=[allow(Action.WRITE_USERS)])
    async def delete_user(request: Request, project_id: str, user_id: str) -> dict[str, Any]:
        """Take a user out of the project."""
        row = _one(directory, caller(request).organization_id, project_id, user_id)
        check_rank(request, directory, user_id, project_id)
        before = _object(directory, row, project_id)
        await directory.leave_project(user_id, project_id)
        record(request, "user.removed", "project.user", user_id, before=before, project_id=project_id)
        return {"object": "organization.project.user.deleted", "id": user_id, "deleted": True}

    return router


def _meant(directory: Directory, organization_id: str, body: NewProjectUser) -> MemberRow:
    """The user whom a body names by its id or its address."""
    if body.user_id is not None:
        return directory.user(organization_id, body.user_id)
    if body.email is None:
        raise InvalidRequest("Give 'user_id' or 'email'.", param="user_id", code="missing_required_parameter")
    row = directory.user_by_email(body.email)
    if row is None or row.organization_id != organization_id:
        raise NotFound("No user of the organization has that address; invite them first.", param="email")
    return row


def _one(directory: Directory, organization_id: str, project_id: str, user_id: str) -> MemberRow:
    row = directory.user(organization_id, user_id)
    if not directory.assignments(user_id, project_id):
        raise absent("user", user_id)
    return row


def _object(directory: Directory, row: MemberRow, project_id: str) -> dict[str, Any]:
    return {
        "object": "organization.project.user",
        "id": row.id,
        "name": row.name,
        "email": row.email,
        "role": shown_role(directory, row.id, project_id) or "none",
        "added_at": min(
            (held.created_at for held in directory.assignments(row.id, project_id)), default=row.created_at
        ),
    }
