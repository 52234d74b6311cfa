"""`/v1/organization/invites`, as in OpenAI's administration API."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.door import allow, caller, record
from freehold.api.admin.pages import After, Limit, page
from freehold.api.admin.roles import MEMBER, given_roles
from freehold.governance.directory import WHOLE, Directory
from freehold.governance.invites import Invites
from freehold.store.directory import InviteRow
from freehold.types.identity import Action, Role


class InvitedProject(BaseModel):
    """A project to be invited into, and the role to hold there."""

    model_config = ConfigDict(extra="forbid")

    id: str
    role: Literal["member", "owner"]


class InviteBody(BaseModel):
    """Whom to invite, to which roles."""

    model_config = ConfigDict(extra="forbid")

    email: Annotated[str, Field(max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")]
    role: Literal["reader", "owner"]
    projects: list[InvitedProject] = Field(default_factory=list, max_length=100)


def invite_routes(directory: Directory, invites: Invites) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["invites"])

    def shown(row: InviteRow) -> dict[str, Any]:
        return {
            "object": "organization.invite",
            "id": row.id,
            "email": row.email,
            "role": row.role,
            "status": invites.status(row),
            "created_at": row.created_at,
            "expires_at": row.expires_at,
            "accepted_at": row.accepted_at,
            "projects": [{"id": name, "role": MEMBER if role == Role.USER else role} for name, role in row.projects],
        }

    @router.get("/invites", dependencies=[allow(Action.READ_USERS)])
    async def list_invites(request: Request, limit: Limit = 20, after: After = None) -> dict[str, Any]:
        """The organization's invitations."""
        return page(invites.all(caller(request).organization_id), shown, limit=limit, after=after)

    @router.post("/invites", dependencies=[allow(Action.WRITE_USERS)])
    async def create_invite(request: Request, body: InviteBody) -> dict[str, Any]:
        """Invite somebody; it holds for seven days."""
        organization_id = caller(request).organization_id
        projects = []
        for project in body.projects:
            directory.active_project(organization_id, project.id)
            projects += [(project.id, role) for role in given_roles(request, directory, [project.role], project.id)]
        (role,) = given_roles(request, directory, [body.role], WHOLE)
        row = await invites.create(organization_id, body.email, role, projects)
        record(request, "invite.sent", "invite", row.id, after=shown(row))
        return shown(row)

    @router.get("/invites/{invite_id}", dependencies=[allow(Action.READ_USERS)])
    async def retrieve_invite(request: Request, invite_id: str) -> dict[str, Any]:
        """One invitation."""
        return shown(invites.get(caller(request).organization_id, invite_id))

    @router.delete("/invites/{invite_id}", dependencies=[allow(Action.WRITE_USERS)])
    async def delete_invite(request: Request, invite_id: str) -> dict[str, Any]:
        """Take an invitation back."""
        organization_id = caller(request).organization_id
        before = shown(invites.get(organization_id, invite_id))
        await invites.delete(organization_id, invite_id)
        record(request, "invite.deleted", "invite", invite_id, before=before)
        return {"object": "organization.invite.deleted", "id": invite_id, "deleted": True}

    @router.post("/invites/{invite_id}/link", dependencies=[allow(Action.WRITE_USERS)])
    async def make_link(request: Request, invite_id: str) -> dict[str, Any]:
        """The secret of a link with which the invited person accepts; the link before holds no more."""
        organization_id = caller(request).organization_id
        token = await invites.link(organization_id, invite_id)
        row = invites.get(organization_id, invite_id)
        record(request, "invite.link_made", "invite", invite_id, before=shown(row), after=shown(row))
        return {"object": "organization.invite.link", "id": invite_id, "token": token, "expires_at": row.expires_at}

    return router
