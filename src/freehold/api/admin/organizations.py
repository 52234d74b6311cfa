"""`/admin/organizations`: the tenants of the service, for whoever runs it."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.accounts import link_url
from freehold.api.admin.door import allow, record
from freehold.errors import Conflict
from freehold.governance.directory import Directory
from freehold.governance.invites import Invites
from freehold.governance.keys import KeyRing
from freehold.store.directory import OrganizationRow
from freehold.types.identity import Action, Role


class NewOrganization(BaseModel):
    """An organization to be made. Without `owner_email` it gets a service account that owns it."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=256)]
    owner_email: Annotated[str, Field(max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")] | None = None


def organization_admin_routes(directory: Directory, keys: KeyRing, invites: Invites) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["organizations"])

    def shown(row: OrganizationRow) -> dict[str, Any]:
        return {
            "object": "organization",
            "id": row.id,
            "name": row.name,
            "created_at": row.created_at,
            "projects": len(directory.projects(row.id)),
            "users": len(directory.users(row.id)),
        }

    @router.get("/organizations", dependencies=[allow(Action.MANAGE)])
    async def list_organizations() -> dict[str, Any]:
        """Every organization; the first one runs the service."""
        return {"object": "list", "data": [shown(row) for row in directory.organizations()]}

    @router.post("/organizations", status_code=201, dependencies=[allow(Action.MANAGE)])
    async def create_organization(request: Request, body: NewOrganization) -> dict[str, Any]:
        """Make an organization with a first project, and a way for its first owner to come in.

        That is an invitation with the secret of its link or, without an address, a key. The answer is the only place
        where either stands.
        """
        if body.owner_email is not None:
            _check_new(directory, invites, body.owner_email)
        row = await directory.create_organization(body.name)
        invite = None if body.owner_email is None else await _invite(request, invites, row.id, body.owner_email)
        key = await _key(directory, keys, row.id) if invite is None else None
        record(request, "organization.created", "organization", row.id, after=shown(row))
        return {**shown(row), "invite": invite, "api_key": key}

    return router


def _check_new(directory: Directory, invites: Invites, email: str) -> None:
    """Raise Conflict if somebody of that address is here or invited, before anything is made."""
    if directory.user_by_email(email) is not None or invites.pending(email) is not None:
        raise Conflict(f"'{email}' is a user or was invited already; choose another address.", param="owner_email")


async def _invite(request: Request, invites: Invites, organization_id: str, email: str) -> dict[str, Any]:
    row = await invites.create(organization_id, email, Role.OWNER)
    token = await invites.link(organization_id, row.id)
    link = {"token": token, "url": link_url(request, token), "expires_at": row.expires_at}
    return {"object": "organization.invite", "id": row.id, "email": row.email, "link": link}


async def _key(directory: Directory, keys: KeyRing, organization_id: str) -> dict[str, Any]:
    owner = await directory.create_service_account(organization_id, None, "owner", [Role.OWNER])
    row, value = await keys.create("owner", owner, directory.projects(organization_id)[0].id)
    return {"object": "api_key", "id": row.id, "owner_id": owner.id, "project_id": row.project_id, "value": value}
