"""`/v1/organization/projects/{project_id}/service_accounts`, as in OpenAI's administration API."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.door import allow, caller, record
from freehold.api.admin.pages import After, Limit, page
from freehold.api.admin.roles import MEMBER, check_rank, given_roles, shown_role
from freehold.errors import InvalidRequest
from freehold.governance.directory import Directory
from freehold.governance.keys import KeyRing
from freehold.store.directory import MemberRow
from freehold.store.keys import KeyRow
from freehold.types.identity import Action, KeyScope, Role

Name = Annotated[str, Field(min_length=1, max_length=256)]
Lifetime = Annotated[int, Field(ge=60, le=10 * 365 * 86_400)]
MODEL_SCOPES = {"model.request": Action.INFER, "model.read": Action.READ_MODELS}
"""OpenAI's names of scopes for which there is an action."""


class NewAccount(BaseModel):
    """A service account to be made, by default with a key."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    create_service_account_only: bool | None = None
    expires_in_seconds: Lifetime | None = None


class AccountChange(BaseModel):
    """What is to be different about a service account."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    role: Literal["member", "owner"] | None = None


class NewKey(BaseModel):
    """A key to be made for a service account."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    scopes: list[str] | None = None
    expires_in_seconds: Lifetime | None = None

    def scope(self) -> KeyScope | None:
        """What the key is cut down to.

        Raises:
            InvalidRequest: there is no such scope.
        """
        if self.scopes is None:
            return None
        named: dict[str, Action] = {**MODEL_SCOPES, **{action.value: action for action in Action}}
        unknown = [name for name in self.scopes if name not in named]
        if unknown:
            raise InvalidRequest(
                f"There is no scope '{unknown[0][:64]}'; there are {', '.join(named)}.", param="scopes"
            )
        return KeyScope(operations=tuple(named[name] for name in self.scopes))


def service_account_routes(directory: Directory, keys: KeyRing) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["service accounts"])
    path = "/projects/{project_id}/service_accounts"
    one = path + "/{service_account_id}"

    def shown(row: MemberRow) -> dict[str, Any]:
        role = shown_role(directory, row.id, str(row.project_id))
        return {
            "object": "organization.project.service_account",
            "id": row.id,
            "name": row.name,
            "role": role if role in {MEMBER, Role.OWNER} else "none",
            "created_at": row.created_at,
        }

    @router.get(path, dependencies=[allow(Action.READ_USERS)])
    async def list_accounts(
        request: Request, project_id: str, limit: Limit = 20, after: After = None
    ) -> dict[str, Any]:
        """The project's service accounts."""
        rows = directory.service_accounts(caller(request).organization_id, project_id)
        return page(rows, shown, limit=limit, after=after)

    @router.post(path, dependencies=[allow(Action.WRITE_USERS)])
    async def create_account(request: Request, project_id: str, body: NewAccount) -> dict[str, Any]:
        """Make a service account and, unless told otherwise, a key for it, which is shown this once."""
        organization_id = caller(request).organization_id
        roles = given_roles(request, directory, [Role.USER], project_id)
        row = await directory.create_service_account(organization_id, project_id, body.name, roles)
        key = None
        if not body.create_service_account_only:
            key = await keys.create("Secret Key", row, project_id, lifetime_s=body.expires_in_seconds)
        record(request, "service_account.created", "service_account", row.id, after=shown(row), project_id=project_id)
        return {**shown(row), "api_key": None if key is None else _key(*key)}

    @router.get(one, dependencies=[allow(Action.READ_USERS)])
    async def retrieve_account(request: Request, project_id: str, service_account_id: str) -> dict[str, Any]:
        """One service account."""
        return shown(directory.service_account(caller(request).organization_id, project_id, service_account_id))

    @router.post(one, dependencies=[allow(Action.WRITE_USERS)])
    async def update_account(
        request: Request, project_id: str, service_account_id: str, body: AccountChange
    ) -> dict[str, Any]:
        """Rename a service account, or give it another role."""
        organization_id = caller(request).organization_id
        before = shown(directory.service_account(organization_id, project_id, service_account_id))
        directory.active_project(organization_id, project_id)
        if body.role is not None:
            check_rank(request, directory, service_account_id, project_id)
            roles = given_roles(request, directory, [body.role], project_id)
            await directory.set_roles(service_account_id, project_id, roles)
        row = await directory.update_member(service_account_id, name=body.name)
        record(
            request,
            "service_account.updated",
            "service_account",
            row.id,
            before=before,
            after=shown(row),
            project_id=project_id,
        )
        return shown(row)

    @router.delete(one, dependencies=[allow(Action.WRITE_USERS)])
    async def delete_account(request: Request, project_id: str, service_account_id: str) -> dict[str, Any]:
        """Remove a service account; its keys open nothing any more, and what runs by them ends at once."""
        row = directory.service_account(caller(request).organization_id, project_id, service_account_id)
        check_rank(request, directory, row.id, project_id)
        before = shown(row)
        owned = [key.id for key in keys.rows(row.organization_id) if key.owner_id == row.id and not key.revoked_at]
        await directory.delete_member(row.id)
        if owned:
            await keys.revoke(*owned)
        record(request, "service_account.deleted", "service_account", row.id, before=before, project_id=project_id)
        return {"object": "organization.project.service_account.deleted", "id": row.id, "deleted": True}

    @router.post(one + "/api_keys", dependencies=[allow(Action.WRITE_KEYS)])
    async def create_key(request: Request, project_id: str, service_account_id: str, body: NewKey) -> dict[str, Any]:
        """Make a key for a service account. The answer is the only place where it stands."""
        organization_id = caller(request).organization_id
        row = directory.service_account(organization_id, project_id, service_account_id)
        directory.active_project(organization_id, project_id)
        check_rank(request, directory, row.id, project_id)
        made = await keys.create(
            body.name or "Secret Key", row, project_id, body.scope(), lifetime_s=body.expires_in_seconds
        )
        told = {name: value for name, value in _key(*made).items() if name != "value"}
        record(request, "api_key.created", "api_key", made[0].id, after=told, project_id=project_id)
        return _key(*made)

    return router


def _key(row: KeyRow, value: str) -> dict[str, Any]:
    return {
        "object": "organization.project.service_account.api_key",
        "value": value,
        "name": row.name,
        "created_at": row.created_at,
        "id": row.id,
    }
